package norm

// A bufferPool hands out buffers for blocks within a fixed amount of memory, which it takes only when it is first
// needed.
type bufferPool struct {
	limit int      // bytes
	taken int      // bytes handed out or in free
	free  [][]byte // to be used again
	idle  int      // bytes in free
}

// get returns a buffer of n bytes with arbitrary content, or nil if there is no memory for it.
func (p *bufferPool) get(n int) []byte {
	for i := len(p.free) - 1; i >= 0; i-- {
		b := p.free[i]
		if cap(b) < n || cap(b) > 2*n {
			continue // of an object with other blocks
		}
		p.free[i] = p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.idle -= cap(b)
		return b[:n]
	}
	for p.taken+n > p.limit && len(p.free) > 0 {
		p.trim(len(p.free) - 1)
	}
	if p.taken+n > p.limit {
		return nil
	}
	b := make([]byte, n)
	p.taken += cap(b)
	return b
}

// put takes a buffer back.
func (p *bufferPool) put(b []byte) {
	p.free = append(p.free, b)
	p.idle += cap(b)
}

// available returns how many bytes can still be handed out.
func (p *bufferPool) available() int { return p.limit - p.taken + p.idle }

// trim gives memory back but for n free buffers.
func (p *bufferPool) trim(n int) {
	for len(p.free) > n {
		last := len(p.free) - 1
		p.idle -= cap(p.free[last])
		p.taken -= cap(p.free[last])
		p.free[last] = nil
		p.free = p.free[:last]
	}
}

package norm

import "time"

// keptBlocks and keptBuffers are how many of them are kept to be used again when there is nothing to do.
const (
	keptBlocks  = 64
	keptBuffers = 4
)

// newBlock returns an empty block n of an object, and adds it to the blocks of that.
func (r *Receiver) newBlock(o *incoming, n uint32) *block {
	b := new(block)
	if last := len(r.freed) - 1; last >= 0 {
		b, r.freed = r.freed[last], r.freed[:last]
	}
	b.reset(o, n, r.width(&o.layout))
	if o.blocks == nil {
		o.blocks = make(map[uint32]*block)
	}
	o.blocks[o.layout.number(n)] = b
	return b
}

// freeBlock takes a block from its object, with its memory. Nothing of it may be in flight.
func (r *Receiver) freeBlock(b *block) {
	o := b.object
	if b.fresh {
		o.stream.fresh.remove(b)
		b.fresh = false
	}
	r.trust(b)
	if b.buf != nil {
		if b.phase == collecting && o.stream == nil {
			r.held.remove(b)
		}
		r.pool.put(b.buf)
		b.buf = nil
	}
	delete(o.blocks, o.layout.number(b.number))
	if o.recent == b {
		o.recent = nil
	}
	b.object = nil
	if len(r.freed) < keptBlocks {
		r.freed = append(r.freed, b)
	}
}

// dropEmpty frees a block that holds nothing.
func (r *Receiver) dropEmpty(b *block) {
	if b.held == 0 && b.io == 0 {
		r.freeBlock(b)
	}
}

// reserve is how many bytes are to be free before a block takes size of them.
func (r *Receiver) reserve(size int) int { return max(r.pool.limit/8, size) }

// grant gives a block memory. If little is left, the oldest incomplete blocks are spilled, so that memory does not
// grow with rate times repair time. It reports false if there is none now.
func (r *Receiver) grant(b *block) bool {
	size := b.k * b.width
	r.usual = size
	for oldest := r.held.oldest; oldest != nil && r.pool.available()-size+r.parting < r.reserve(size); {
		next := oldest.newer
		if oldest.object.state == accepted {
			r.spill(oldest)
		}
		oldest = next
	}
	if b.buf = r.pool.get(size); b.buf == nil {
		return false
	}
	if b.object.stream == nil {
		r.held.add(b) // what is held of a stream is to be read from memory
	}
	return true
}

// finish makes the object's bytes of a block that holds k symbols, and has them written.
func (r *Receiver) finish(b *block) {
	o := b.object
	o.setDone(b.number)
	if o.stream != nil { // stays in memory until it is read
		if b.missing() > 0 {
			r.rebuild(b)
		}
		return
	}
	if b.buf != nil {
		r.held.remove(b)
	}
	if b.missing() == 0 && b.suspect == nil {
		r.record(b)
		r.write(b)
		return
	}
	r.fetch(b)
}

// fetch has what is in the sink of a block read, which is needed for decoding.
func (r *Receiver) fetch(b *block) {
	b.phase = fetching
	r.each(b, func(i int) bool { return b.occupied(i) && b.stored.has(i) }, func(first, last int) {
		r.request(b, Read, first, last)
	})
	if b.io == 0 {
		r.decode(b)
	}
}

// decode completes a block from parity, and has it written.
func (r *Receiver) decode(b *block) {
	if b.suspect != nil {
		if !r.judge(b) {
			return
		}
		if o := b.object; !o.isDone(b.number) {
			o.setDone(b.number)
		}
	}
	if b.missing() == 0 {
		r.record(b)
		r.write(b)
	} else if r.rebuild(b) {
		r.write(b)
	}
}

// rebuild makes the missing source symbols of a block from parity.
func (r *Receiver) rebuild(b *block) bool {
	if r.decoder == nil {
		r.decoder = new(decoder)
	}
	if err := r.decoder.decode(b); err != nil {
		r.abort(b.object, err) // a scheme that cannot decode what it accepted: an error of ours, but no reason to panic
		return false
	}
	if !r.credible(b) {
		r.disbelieve(b)
		return false
	}
	r.decoder.settle(b)
	r.record(b)
	r.stats.Decoded += uint64(b.missing())
	for i := range b.k {
		if b.source.has(i) {
			continue
		}
		b.source.add(i)
		b.stored.remove(i)
		if b.object.stream != nil {
			r.storedSegment(b, i)
		}
	}
	b.parity, b.repair, b.lent = b.parity[:0], b.repair[:0], b.lent[:0]
	return true
}

// write has the source symbols of a complete block written that are not in the sink.
func (r *Receiver) write(b *block) {
	b.phase = writing
	r.parting += len(b.buf)
	r.each(b, func(i int) bool { return !b.stored.has(i) }, func(first, last int) {
		r.request(b, Write, first, last)
	})
	if b.io == 0 {
		r.written(b)
	}
}

// written reports the bytes of a block that is in the sink to its end.
func (r *Receiver) written(b *block) {
	o := b.object
	r.each(b, func(i int) bool { return !b.told.has(i) }, func(first, last int) {
		at := b.at(first, last)
		o.received += at.Length
		r.events.push(Event{Kind: ObjectData, Sender: o.remote.id, Object: o.handle, Range: at})
	})
	r.parting -= len(b.buf)
	r.freeBlock(b)
	r.checkComplete(o)
}

// spill has an incomplete block written to the sink as it stands, to free its memory.
func (r *Receiver) spill(b *block) {
	r.stats.Spilled++
	r.held.remove(b)
	b.phase = spilling
	b.stored = b.stored.grown(b.k)
	r.parting += len(b.buf)
	r.each(b, func(i int) bool { return b.occupied(i) && !b.stored.has(i) }, func(first, last int) {
		r.request(b, Write, first, last)
	})
	if b.io == 0 {
		r.spilled(b)
	}
}

// spilled frees the memory of a block that was spilled.
func (r *Receiver) spilled(b *block) {
	for i := range b.k {
		if b.occupied(i) {
			b.stored.add(i)
		}
	}
	r.parting -= len(b.buf)
	r.pool.put(b.buf)
	b.buf, b.phase = nil, collecting
}

// each calls f for each run of slots of which is holds.
func (r *Receiver) each(b *block, is func(i int) bool, f func(first, last int)) {
	for i := 0; i < b.k; i++ {
		first := i
		for i < b.k && is(i) {
			i++
		}
		if first < i {
			f(first, i-1)
		}
	}
}

// at returns where in the object the slots from first to last are.
func (b *block) at(first, last int) Range {
	l := &b.object.layout
	offset := l.Offset(b.number, first)
	return Range{int64(offset), int64(l.Offset(b.number, last)) + int64(l.SymbolLen(b.number, last)) - int64(offset)}
}

// request asks for slots of a block to be read or written.
func (r *Receiver) request(b *block, op Op, first, last int) {
	at := b.at(first, last)
	from, to := first*b.width, last*b.width+min(b.width, b.object.layout.SymbolLen(b.number, last))
	io := new(IO)
	if n := len(r.freedIO) - 1; n >= 0 {
		io, r.freedIO = r.freedIO[n], r.freedIO[:n]
	}
	*io = IO{Op: op, Object: b.object.handle, Offset: at.Offset, B: b.buf[from:to], tag: b}
	b.io++
	b.object.io++
	r.flying++
	r.requests.push(io)
}

// Complete takes back an IO that was asked for by Requests and is done.
func (r *Receiver) Complete(now time.Time, io *IO) {
	b := io.tag.(*block)
	o, err := b.object, io.Err
	*io = IO{}
	r.freedIO = append(r.freedIO, io)
	b.io--
	o.io--
	r.flying--
	switch {
	case o.state == released || b.rejected:
		r.discard(b)
	case err != nil:
		r.abort(o, err)
	case b.io > 0:
	case b.phase == spilling:
		r.spilled(b)
	case b.phase == fetching:
		r.decode(b)
	case b.phase == writing:
		r.written(b)
		r.checkWatermarks(now, o.remote)
	}
}

// discard drops a block with all its symbols, now or when its requests are done.
func (r *Receiver) discard(b *block) {
	if b.rejected = true; b.io > 0 {
		return
	}
	if b.phase == spilling || b.phase == writing {
		r.parting -= len(b.buf)
	}
	r.freeBlock(b)
}

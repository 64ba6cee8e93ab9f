package norm

import "time"

const (
	newAhead    = 4 // blocks read ahead of new data
	repairAhead = 2 // and of repairs
)

// A blockBuffer holds the source symbols of one block of an object, once they are read.
type blockBuffer struct {
	object *outgoing // nil: the buffer is free, or will be when it is read
	block  uint32
	state  bufferState
	io     IO
	used   uint64 // when it was last wanted; see blockCache.tick
	memory []byte
}

type bufferState uint8

const (
	bufferFree bufferState = iota
	bufferReading
	bufferReady
)

// A blockCache is the fixed memory in which blocks are sent and coded from. Blocks stay until their buffer is needed for
// another one, those longest unused first, so that most repairs need no second read.
type blockCache struct {
	buffers []*blockBuffer
	limit   int // most buffers
	size    int // of each, in bytes
	tick    uint64
	last    *blockBuffer // the one found last
	reads   []*IO        // to hand out by Requests
}

// find returns the buffer of a block, being read or ready, or nil.
func (c *blockCache) find(o *outgoing, b uint32) *blockBuffer {
	if c.last != nil && c.last.object == o && c.last.block == b {
		return c.last
	}
	for _, buf := range c.buffers {
		if buf.object == o && buf.block == b {
			c.last = buf
			return buf
		}
	}
	return nil
}

// ready returns the buffer of a block if its symbols are there.
func (c *blockCache) ready(o *outgoing, b uint32) *blockBuffer {
	if buf := c.find(o, b); buf != nil && buf.state == bufferReady {
		return buf
	}
	return nil
}

// read asks for a block. It reports false if all buffers are being read into or wanted since the last tick.
func (c *blockCache) read(o *outgoing, b uint32) bool {
	buf := c.reusable()
	if buf == nil {
		return false
	}
	first := o.Offset(b, 0)
	length := min(uint64(o.BlockLen(b)*o.E), o.L-first)
	buf.object, buf.block, buf.state, buf.used = o, b, bufferReading, c.tick
	buf.io = IO{Op: Read, Object: o.handle, Offset: int64(first), B: buf.memory[:length], tag: buf}
	c.reads = append(c.reads, &buf.io)
	return true
}

// reusable returns a free buffer, a new one, or the one longest unused.
func (c *blockCache) reusable() *blockBuffer {
	var oldest *blockBuffer
	for _, buf := range c.buffers {
		switch {
		case buf.state == bufferFree:
			return buf
		case buf.state == bufferReady && buf.used < c.tick && (oldest == nil || buf.used < oldest.used):
			oldest = buf
		}
	}
	if len(c.buffers) < c.limit {
		buf := &blockBuffer{memory: make([]byte, c.size)}
		c.buffers = append(c.buffers, buf)
		return buf
	}
	return oldest
}

// forget gives up the blocks of an object. What is being read stays taken until the driver hands it back.
func (c *blockCache) forget(o *outgoing) {
	kept := c.reads[:0]
	for _, io := range c.reads {
		if buf := io.tag.(*blockBuffer); buf.object == o {
			buf.state = bufferFree // never handed out
		} else {
			kept = append(kept, io)
		}
	}
	c.reads = kept
	for _, buf := range c.buffers {
		if buf.object != o {
			continue
		}
		buf.object = nil
		if buf.state == bufferReady {
			buf.state = bufferFree
		}
	}
}

// symbol returns source symbol i of the block, which may be shorter than the others if it ends the object.
func (buf *blockBuffer) symbol(i int) []byte {
	e := buf.object.E
	return buf.io.B[i*e : min((i+1)*e, len(buf.io.B))]
}

// source appends all source symbols of the block to dst.
func (buf *blockBuffer) source(dst [][]byte) [][]byte {
	for i := range buf.object.BlockLen(buf.block) {
		dst = append(dst, buf.symbol(i))
	}
	return dst
}

// Complete takes back a read that Requests handed out. An object that cannot be read is purged.
func (s *Sender) Complete(now time.Time, io *IO) {
	s.expire(now)
	buf, ok := io.tag.(*blockBuffer)
	if !ok || io != &buf.io || buf.state != bufferReading {
		return
	}
	buf.state = bufferReady
	switch {
	case buf.object == nil: // purged meanwhile
		buf.state = bufferFree
	case io.Err != nil:
		s.purge(buf.object, io.Err)
	}
	s.readAheadDue = true
	s.settle(now)
}

// readAhead asks for the blocks that are to be sent next, as far as there are buffers: those of pending repairs, then
// those of new data.
func (s *Sender) readAhead() {
	if !s.readAheadDue || s.ending {
		return
	}
	s.readAheadDue = false
	s.cache.tick++
	repairs := 0
	for i := s.repairIndex(); repairs < repairAhead && i < len(s.objects); i++ {
		for b := range s.objects[i].plan.pending() {
			if repairs == repairAhead || !s.want(s.objects[i], b) {
				break
			}
			repairs++
		}
	}
	if s.current == nil {
		return
	}
	ahead := 0
	for _, o := range s.objects[s.firstUnsent():] {
		if o.repairOnly {
			continue
		}
		for b := o.block; b < o.N; b++ {
			if ahead == newAhead || !s.want(o, uint32(b)) {
				return
			}
			ahead++
		}
		if ahead == newAhead {
			return
		}
	}
}

// want keeps or reads a block, and reports whether there was a buffer for it.
func (s *Sender) want(o *outgoing, b uint32) bool {
	if buf := s.cache.find(o, b); buf != nil {
		buf.used = s.cache.tick
		return true
	}
	return s.cache.read(o, b)
}

package norm

import (
	"iter"
	"time"
)

// maxBuffers is how many buffers there are at most, for they are searched one by one.
const maxBuffers = 256

// newBlockCache returns a cache of memory bytes for blocks of size bytes.
func newBlockCache(memory, size int) blockCache {
	return blockCache{
		limit: min(memory/size, maxBuffers),
		size:  size,
		ahead: min(max(1<<20/size, 4), 16),
	}
}

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
	ahead   int // blocks read ahead of repairs, and of new data: a megabyte unless they are large
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
	if buf.object.stream != nil {
		return streamSymbol(buf.memory[i*e : (i+1)*e])
	}
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
	s.wantSome(s.repairBlocks())
	s.wantSome(s.newBlocks())
}

// wantSome wants as many of the blocks as are read ahead. If half of them are there it reads none, so that several are asked
// for at once.
func (s *Sender) wantSome(blocks iter.Seq2[*outgoing, uint32]) {
	n, reading := 0, false
	for o, b := range blocks {
		if n == s.cache.ahead {
			return
		}
		if !s.keep(o, b) {
			reading = reading || n < s.cache.ahead/2
			if !reading || !s.cache.read(o, b) {
				return
			}
		}
		n++
	}
}

// repairBlocks returns the blocks that are to be repaired, in order.
func (s *Sender) repairBlocks() iter.Seq2[*outgoing, uint32] {
	return func(yield func(*outgoing, uint32) bool) {
		for _, o := range s.objects[s.repairIndex():] {
			for b := range o.plan.pending() {
				if !yield(o, b) {
					return
				}
			}
		}
	}
}

// newBlocks returns the blocks that are to be sent for the first time, in order.
func (s *Sender) newBlocks() iter.Seq2[*outgoing, uint32] {
	return func(yield func(*outgoing, uint32) bool) {
		for _, o := range s.objects[s.firstUnsent():] {
			for b := o.block; b < o.N && !o.repairOnly && o.stream == nil; b++ {
				if !yield(o, uint32(b)) {
					return
				}
			}
		}
	}
}

// keep keeps the buffer of a block, and reports whether there is one.
func (s *Sender) keep(o *outgoing, b uint32) bool {
	if o.stream != nil {
		return true // is in memory
	}
	buf := s.cache.find(o, b)
	if buf != nil {
		buf.used = s.cache.tick
	}
	return buf != nil
}

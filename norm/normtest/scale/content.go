package scale

import (
	"bytes"
	"errors"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// keep is how many bytes of each symbol receivers keep: that a wrong one is taken for right has a probability of 2^-64.
const keep = 8

// content is the object: whole where the sender reads it, and the first bytes of each symbol for the receivers.
type content struct {
	*normtest.Pattern
	segment int
	symbols int
	heads   []byte // of all symbols, keep bytes each, the last one's perhaps fewer
}

func newContent(cfg Config) *content {
	c := &content{Pattern: normtest.Source(cfg.Seed+1, cfg.Size), segment: cfg.Sender.SegmentSize}
	for off := int64(0); off < cfg.Size; off += int64(c.segment) {
		head := make([]byte, min(keep, cfg.Size-off))
		_, _ = c.ReadAt(head, off) // a Pattern can be read where it is
		c.heads = append(c.heads, head...)
		c.symbols++
	}
	return c
}

// A sink is what a receiver has of the object: only what differs from what was sent is kept, which is parity that a receiver
// short of memory spilled.
type sink struct {
	right int32 // symbols written as they should be
	odd   map[int64][]byte
}

var errOutside = errors.New("scale: a request that is not for whole symbols of the object")

// perform reads or writes the heads of symbols, as [norm.NewMemory] says.
func (s *sink) perform(c *content, req *norm.IO) error {
	first := req.Offset / int64(c.segment)
	if req.Offset%int64(c.segment) != 0 || first*keep+int64(len(req.B)) > int64(len(c.heads)) {
		return errOutside
	}
	want := c.heads[first*keep:][:len(req.B)]
	if req.Op == norm.Read {
		copy(req.B, want)
		for i := first; (i-first)*keep < int64(len(req.B)); i++ {
			copy(req.B[(i-first)*keep:], s.odd[i])
		}
		return nil
	}
	if s.odd == nil && bytes.Equal(req.B, want) {
		s.right += int32((len(req.B) + keep - 1) / keep)
		return nil
	}
	for i := first; len(want) > 0; i++ {
		n := min(keep, len(want))
		s.put(i, req.B[:n], want[:n])
		req.B, want = req.B[n:], want[n:]
	}
	return nil
}

// put writes one symbol.
func (s *sink) put(i int64, b, want []byte) {
	if bytes.Equal(b, want) {
		delete(s.odd, i)
		s.right++
		return
	}
	if s.odd == nil {
		s.odd = make(map[int64][]byte)
	}
	s.odd[i] = bytes.Clone(b)
}

// whole reports whether each symbol was written as it should be.
func (s *sink) whole(c *content) bool { return int(s.right) == c.symbols && len(s.odd) == 0 }

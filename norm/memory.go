package norm

import "fmt"

// A Memory is what [Receiver]s in one process may share instead of each having its own ([ReceiverConfig].Memory): buffers
// and state of blocks being received, requests for reads and writes, the room that decoding takes. What one receiver is
// done with another one uses. Receivers that share one must not be called concurrently.
type Memory struct{ stock }

// A stock is what a Memory holds.
type stock struct {
	pool    bufferPool
	freed   []*block // to be used again
	freedIO []*IO    // likewise
	decoder *decoder // made when first needed
	extra   int      // bytes of pool for symbols of suspect blocks beyond k
	keep    int      // bytes of each symbol; 0: all
}

// NewMemory returns a Memory of at most limit bytes of buffers for all that share it, which is in place of
// ReceiverConfig.Buffer; less than a receiver's Buffer would have it spill early.
//
// For simulations of large groups, keep is how many bytes of each symbol are kept, from its beginning; 0 is all of them. The
// codes act on each byte of the symbols by itself (over GF(2^16) on each two), so that what is kept is decoded, written and
// read back as ever: B of an [IO] is then the kept bytes of the symbols from Offset on, one behind the other. Streams are
// refused. The error says which number cannot work.
func NewMemory(limit, keep int) (*Memory, error) {
	if limit < 1 || keep < 0 || keep%2 != 0 {
		return nil, fmt.Errorf("norm: Memory of %d bytes that keeps %d of a symbol: want bytes, and an even number", limit, keep)
	}
	return &Memory{stock{pool: bufferPool{limit: limit}, keep: keep}}, nil
}

// width returns how many bytes of each symbol of an object are in memory.
func (m *stock) width(l *layout) int {
	if m.keep == 0 {
		return l.E
	}
	return min(m.keep, l.E)
}

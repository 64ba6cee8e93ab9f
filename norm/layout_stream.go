package norm

import (
	"fmt"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A circle is how the blocks of a stream are numbered. A stream has no end that is known beforehand, so its
// source_block_number wraps, in 16, 24 or 32 bits as the FEC Payload ID has them (RFC 5740, Section 4.2.1). Within this package
// blocks have small ascending numbers all the same, counted from a base that follows the stream: nothing but position and
// locate knows that there is a circle.
type circle struct {
	base   uint32 // source_block_number of our block 0
	blocks uint32 // blocks in the sender's buffer, the most that are repaired; 0: the object is no stream
}

// streamBlocks is how many blocks a layout has for a stream: more than are ever numbered from one base.
const streamBlocks = 1 << 31

// newStreamLayout lays out a stream whose sender holds buffer bytes of its content, rounded up to whole blocks and at least
// two. Symbols are 8 bytes longer than the segment size: in parity, the fields of the stream header "are values computed
// from FEC encoding the "payload_len", "payload_msg_start", and "payload_offset" fields for the source data segments". All
// blocks have the maximum source block length (RFC 5740, Sections 4.2.1 and 5.1.1).
func newStreamLayout(p fec.Params, buffer uint64) (layout, error) {
	l, err := newLayout(p, 0)
	if err != nil {
		return l, err
	}
	content := uint64(l.params.MaxBlockLen) * uint64(l.params.SegmentSize) // of a block
	blocks := max((min(buffer, fec.MaxTransferLength)+content-1)/content, 2)
	bits := l.blockBits()
	if blocks > 1<<(bits-1) {
		// More than half of the circle could not be told from the other half.
		return l, fmt.Errorf("norm: stream buffer of %d blocks: FEC Encoding ID %d numbers half of 2^%d", blocks, l.params.ID, bits)
	}
	k, e := l.params.MaxBlockLen, l.params.SegmentSize+wire.StreamHeaderSize
	l.Partition = fec.Partition{
		L: uint64(streamBlocks) * uint64(k) * uint64(e), E: e, T: uint64(streamBlocks) * uint64(k), N: streamBlocks, ALarge: k, ASmall: k,
	}
	l.circle = circle{blocks: uint32(blocks)}
	return l, nil
}

// streaming reports whether the object is a stream.
func (l *layout) streaming() bool { return l.blocks > 0 }

// blockBits returns the width of source_block_number.
func (l *layout) blockBits() int { return l.fecID().BlockBits(l.params.M) }

// blockMask returns the greatest source_block_number.
func (l *layout) blockMask() uint32 { return 1<<l.blockBits() - 1 }

// size returns what EXT_FTI calls object_size: the bytes of the object, or of the sender's stream buffer.
func (l *layout) size() uint64 {
	if !l.streaming() {
		return l.L
	}
	return uint64(l.blocks) * uint64(l.params.MaxBlockLen) * uint64(l.params.SegmentSize)
}

// number returns the source_block_number of block b.
func (l *layout) number(b uint32) uint32 {
	if !l.streaming() {
		return b
	}
	return (l.base + b) & l.blockMask()
}

// index returns the block with a source_block_number. Of a stream, half of the circle is ahead of the base; what is in the
// other half is old, and 0, which is always a block behind those of interest.
func (l *layout) index(number uint32) uint32 {
	if !l.streaming() {
		return number
	}
	b := (number - l.base) & l.blockMask()
	if b > l.blockMask()/2 {
		return 0
	}
	return b
}

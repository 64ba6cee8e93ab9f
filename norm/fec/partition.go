package fec

import "fmt"

const (
	// MaxTransferLength is the longest object in bytes: the EXT_FTI carries its length in 48 bits (RFC 5052,
	// Section 6.2.4).
	MaxTransferLength = 1<<48 - 1

	// MaxSegmentSize is the longest encoding symbol in bytes: the EXT_FTI carries E in 16 bits.
	MaxSegmentSize = 1<<16 - 1

	maxBlocks = 1 << 32 // of any FEC Payload ID: id 129 carries 32 bits of source block number
)

// A Partition divides an object into source blocks and those into source symbols, by the algorithm of RFC 5052,
// Section 9.1. Sender and receivers compute the same one from the FEC Object Transmission Information.
//
// The fields have the names of the RFC. The first I blocks hold ALarge symbols each, the other N-I hold ASmall;
// every symbol is E bytes but the last of the object, which may be shorter. An empty object, for which the
// algorithm is undefined (it divides by N = 0), has no blocks. Make one with [NewPartition] or
// [Params.Partition]; the zero value is an empty object.
type Partition struct {
	L      uint64 // transfer length, in bytes
	E      int    // encoding symbol length, in bytes
	T      uint64 // source symbols of the object
	N      uint64 // source blocks, at most 2^32
	ALarge int    // symbols of each of the blocks 0..I-1
	ASmall int    // symbols of each of the blocks I..N-1
	I      uint64 // how many blocks are larger; 0 if all are alike
}

// NewPartition partitions an object of length bytes into symbols of segmentSize bytes (E), with at most
// maxBlockLen of them (B) in a block. It allocates nothing, whatever the object claims to be, and returns an
// error for values that no FTI can carry or for more than 2^32 blocks. What a given scheme can number may be
// less: see [Params.Partition].
func NewPartition(length uint64, segmentSize, maxBlockLen int) (Partition, error) {
	switch {
	case length > MaxTransferLength:
		return Partition{}, fmt.Errorf("fec: object of %d bytes, more than 2^48-1", length)
	case segmentSize < 1 || segmentSize > MaxSegmentSize:
		return Partition{}, fmt.Errorf("fec: segment size %d not in 1..%d", segmentSize, MaxSegmentSize)
	case maxBlockLen < 1:
		return Partition{}, fmt.Errorf("fec: maximum block length %d, less than 1", maxBlockLen)
	case length == 0:
		return Partition{E: segmentSize}, nil
	}
	p := Partition{L: length, E: segmentSize}
	// "The number of source symbols in the transport object is computed as T = ceil[L/E]."
	p.T = ceilDiv(length, uint64(segmentSize))
	// "The transport object shall be partitioned into N = ceil[T/B] source blocks."
	p.N = ceilDiv(p.T, uint64(maxBlockLen))
	if p.N > maxBlocks {
		return Partition{}, fmt.Errorf("fec: object of %d bytes needs %d blocks, more than 2^32", length, p.N)
	}
	p.ALarge = int(ceilDiv(p.T, p.N))
	p.ASmall = int(p.T / p.N)
	p.I = p.T - uint64(p.ASmall)*p.N
	return p, nil
}

// Has reports whether the object has a source symbol i in block b.
func (p Partition) Has(b uint32, i int) bool { return i >= 0 && i < p.BlockLen(b) }

// BlockLen returns k, the number of source symbols of block b, or 0 if the object has no such block.
func (p Partition) BlockLen(b uint32) int {
	switch b := uint64(b); {
	case b < p.I:
		return p.ALarge
	case b < p.N:
		return p.ASmall
	}
	return 0
}

// FirstSymbol returns how many source symbols of the object precede block b.
func (p Partition) FirstSymbol(b uint32) uint64 {
	n := uint64(b)
	return n*uint64(p.ASmall) + min(n, p.I)*uint64(p.ALarge-p.ASmall)
}

// Offset returns where in the object source symbol i of block b begins, in bytes. The object must have that
// symbol (see [Partition.Has]).
func (p Partition) Offset(b uint32, i int) uint64 {
	return (p.FirstSymbol(b) + uint64(i)) * uint64(p.E)
}

// SymbolLen returns the length in bytes of source symbol i of block b: E, or what is left of the object for the
// last symbol of the last block, or 0 if the object has no such symbol.
func (p Partition) SymbolLen(b uint32, i int) int {
	if !p.Has(b, i) {
		return 0
	}
	return int(min(uint64(p.E), p.L-p.Offset(b, i)))
}

// Locate returns the block and the source symbol that hold the byte at offset, and its place in that symbol.
// It reports false if offset is not within the object.
func (p Partition) Locate(offset uint64) (b uint32, i, within int, ok bool) {
	if offset >= p.L {
		return 0, 0, 0, false
	}
	e := uint64(p.E)
	symbol, within := offset/e, int(offset%e)
	large, small := uint64(p.ALarge), uint64(p.ASmall)
	if first := p.I * large; symbol >= first {
		symbol -= first
		return uint32(p.I + symbol/small), int(symbol % small), within, true
	}
	return uint32(symbol / large), int(symbol % large), within, true
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }

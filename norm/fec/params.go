package fec

import (
	"cmp"
	"errors"
	"fmt"
)

// FEC Encoding IDs. Those from 128 up are under-specified and need an FEC Instance ID (RFC 5052, Section 6.1).
const (
	NoCode               uint8 = 0   // Compact No-Code (RFC 5445, Section 3)
	ReedSolomon          uint8 = 2   // Reed-Solomon over GF(2^m) (RFC 5510, Section 4); only m = 8 and 16 are supported
	ReedSolomonGF8       uint8 = 5   // Reed-Solomon over GF(2^8) (RFC 5510, Section 5)
	SmallBlockSystematic uint8 = 129 // Small Block Systematic (RFC 5445, Section 5); only instance 0, Reed-Solomon over GF(2^8)
)

// Params are the parameters of an FEC scheme, as an FEC Object Transmission Information carries them.
type Params struct {
	ID       uint8  // FEC Encoding ID
	Instance uint16 // FEC Instance ID: id 129 only, and 0 is the only one supported

	// M is the length of a field element in bits and G the number of symbols in a packet: id 2 only.
	// If zero, 8 and 1 are used: without them the decoder "MUST assume that m = 8" and "MUST assume that
	// G = 1" (RFC 5510, Section 4.2.3). Beside them only m = 16 is supported, where symbols must be of an even number
	// of bytes; NRL's senders may break that rule: see [Params.WholeElements].
	M, G uint8

	SegmentSize int // E: bytes of a symbol, 1..65535
	MaxBlockLen int // B: most source symbols of a block

	// MaxParity is the most parity symbols that a block of B source symbols has, and that a receiver may ask
	// for in any block: max_n - B for ids 2 and 5, fec_num_parity for id 129. It must be 0 for id 0.
	MaxParity int

	Dialect Dialect // of the Reed-Solomon ids
}

// check returns p with its defaults filled in, or an error naming the field that cannot work.
func (p Params) check() (Params, error) {
	bad := func(format string, args ...any) (Params, error) {
		return Params{}, fmt.Errorf("FEC Encoding ID %d: "+format, append([]any{p.ID}, args...)...)
	}
	switch {
	case p.SegmentSize < 1 || p.SegmentSize > MaxSegmentSize:
		return bad("segment size %d not in 1..%d", p.SegmentSize, MaxSegmentSize)
	case p.MaxBlockLen < 1:
		return bad("maximum block length %d, less than 1", p.MaxBlockLen)
	case p.MaxParity < 0:
		return bad("%d parity symbols", p.MaxParity)
	case p.Dialect > MDP:
		return bad("unknown %v", p.Dialect)
	case p.Dialect == MDP && p.ID != SmallBlockSystematic:
		return bad("dialect mdp is one of id %d only", SmallBlockSystematic)
	case p.Instance != 0:
		return bad("FEC Instance ID %d: %w", p.Instance, errors.ErrUnsupported)
	}
	switch p.ID {
	case NoCode:
		if p.MaxBlockLen > noCodeSymbols {
			return bad("maximum block length %d, more than the %d that 16 bits of ESI can name", p.MaxBlockLen, noCodeSymbols)
		}
		if p.MaxParity != 0 {
			return bad("%d parity symbols in a scheme without parity", p.MaxParity)
		}
	case ReedSolomon, ReedSolomonGF8, SmallBlockSystematic:
		p.M, p.G = cmp.Or(p.M, 8), cmp.Or(p.G, 1)
		if p.M != 8 && (p.M != 16 || p.ID != ReedSolomon) || p.G != 1 {
			return bad("m = %d, G = %d: %w", p.M, p.G, errors.ErrUnsupported)
		}
		// Compared by subtraction, which cannot overflow.
		if order := p.field().order; p.MaxBlockLen > order || p.MaxParity > order-p.MaxBlockLen {
			return bad("%d source and %d parity symbols, more than the %d of GF(2^%d)", p.MaxBlockLen, p.MaxParity, order, p.M)
		}
		if p.Dialect == RFC && !p.WholeElements(p.SegmentSize) {
			return bad("segment size %d: want an even number of bytes with m = 16", p.SegmentSize)
		}
	default:
		return bad("%w", errors.ErrUnsupported)
	}
	return p, nil
}

// field returns the field of a Reed-Solomon code with the defaults filled in.
func (p Params) field() *field {
	if p.M == 16 {
		return gf65536
	}
	return gf256
}

// WholeElements reports whether symbols of a block whose longest is of n bytes consist of whole field elements. If not,
// which m = 16 makes possible, parity does not cover the last byte: NRL's implementation, which has this fault, sends it
// anyhow. Symbols rebuilt from it would end in a wrong byte.
func (p Params) WholeElements(n int) bool { return p.M != 16 || n%2 == 0 && p.SegmentSize%2 == 0 }

// MaxBlocks returns how many source blocks of an object the FEC Payload ID of the scheme can number.
func (p Params) MaxBlocks() uint64 {
	switch p.ID {
	case NoCode:
		return 1 << 16
	case ReedSolomon:
		return 1 << (32 - min(cmp.Or(p.M, 8), 32))
	case ReedSolomonGF8:
		return 1 << 24
	}
	return maxBlocks
}

// Partition partitions an object of length bytes. It returns an error if p is invalid or if the object has more
// blocks than the FEC Payload ID can number; for ids 2 and 5 that is the limit of RFC 5510, Section 4.2.2:
// max_transfer_length = 2^(32-m) * B * E.
func (p Params) Partition(length uint64) (Partition, error) {
	if _, err := p.check(); err != nil {
		return Partition{}, fmt.Errorf("fec: %w", err)
	}
	d, err := NewPartition(length, p.SegmentSize, p.MaxBlockLen)
	if err == nil && d.N > p.MaxBlocks() {
		return Partition{}, fmt.Errorf("fec: object of %d bytes needs %d blocks, more than the %d of FEC Encoding ID %d", length, d.N, p.MaxBlocks(), p.ID)
	}
	return d, err
}

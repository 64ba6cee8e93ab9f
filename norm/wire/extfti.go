package wire

import (
	"encoding/binary"
	"math"
)

// MaxObjectSize is the largest object_size, which has 48 bits.
const MaxObjectSize = 1<<48 - 1

// An FTI is the FEC Object Transmission Information of an object as EXT_FTI carries it. Which fields
// exist depends on the fec_id; the others are not sent, and zero when parsed.
type FTI struct {
	ObjectSize  uint64 // object_size in bytes, 48 bits; of a stream, the sender's stream buffer size
	SegmentSize uint16 // segment_size E in bytes, without the 8 bytes of a stream payload header
	MaxBlockLen uint32 // fec_max_block_len B: most source symbols per block; 8 bits in fec_id 5, 16 in 2 and 129

	// MaxN is max_n of fec_ids 2 and 5: "the maximum number of encoding symbols generated for any
	// source block" (RFC 5510, Section 3.2), source and repair symbols together; 8 bits in fec_id 5.
	// A deployed implementation writes the repair symbols alone; which reading holds is for the
	// session to know.
	MaxN uint16
	// NumParity is fec_num_parity of fec_id 129. RFC 5445 has max_n here, but RFC 5740, Section
	// 4.2.1, says: "In the case of Reed-Solomon [...] codes, this value indicates the maximum number
	// of parity segments available from the sender for the coding blocks."
	NumParity uint16

	Instance uint16 // FEC Instance ID of fec_ids from 128 on; 129 with 0 is RS over GF(2^8)
	M        uint8  // m of fec_id 2: bits per symbol element; 0 is read and written as 8
	G        uint8  // G of fec_id 2: symbols per packet; 0 is read and written as 1
}

// ftiSize returns the size of EXT_FTI in bytes, 0 for an unknown fec_id.
func ftiSize(id FECID) int {
	switch id {
	case RS8:
		return 12
	case NoCode, RS, LargeBlock, SmallBlock, Compact:
		return 16
	}
	return 0
}

// FTI returns EXT_FTI, read as fec_id defines it; ok is false if there is none, or one too short, or
// the fec_id is unknown. A longer extension is accepted (the optional scheme-specific field of RFC
// 5445, Section 5.2.2). The values can be anything: see [FTI.Check].
func (e Extensions) FTI(id FECID) (f FTI, ok bool) {
	size := ftiSize(id)
	ext, ok := e.find(TypeExtFTI, size)
	if !ok || size == 0 {
		return FTI{}, false
	}
	be := binary.BigEndian
	f.ObjectSize = uint64(be.Uint16(ext[2:]))<<32 | uint64(be.Uint32(ext[4:]))
	switch id {
	case NoCode: // bytes 8 and 9 are reserved
		f.SegmentSize = be.Uint16(ext[10:])
		f.MaxBlockLen = be.Uint32(ext[12:])
	case LargeBlock, Compact:
		f.Instance = be.Uint16(ext[8:])
		f.SegmentSize = be.Uint16(ext[10:])
		f.MaxBlockLen = be.Uint32(ext[12:])
	case RS:
		// "When no G parameter is communicated to the decoder, then the latter MUST assume that G = 1",
		// and likewise m = 8 (RFC 5510, Section 4.2.3). A zero can mean nothing else.
		f.M, f.G = orDefault(ext[8], DefaultM), orDefault(ext[9], 1)
		f.SegmentSize = be.Uint16(ext[10:])
		f.MaxBlockLen = uint32(be.Uint16(ext[12:]))
		f.MaxN = be.Uint16(ext[14:])
	case RS8:
		f.SegmentSize = be.Uint16(ext[8:])
		f.MaxBlockLen = uint32(ext[10])
		f.MaxN = uint16(ext[11])
	case SmallBlock:
		f.Instance = be.Uint16(ext[8:])
		f.SegmentSize = be.Uint16(ext[10:])
		f.MaxBlockLen = uint32(be.Uint16(ext[12:]))
		f.NumParity = be.Uint16(ext[14:])
	}
	return f, true
}

func orDefault(v, def uint8) uint8 {
	if v == 0 {
		return def
	}
	return v
}

// AppendFTI appends EXT_FTI in the layout of fec_id. The error is ErrFECID, or ErrRange if a value
// does not fit its field.
func AppendFTI(b Extensions, id FECID, f FTI) (Extensions, error) {
	size := ftiSize(id)
	switch {
	case size == 0:
		return b, ErrFECID
	case f.ObjectSize > MaxObjectSize,
		id < LargeBlock && f.Instance != 0, // fully-specified: RFC 5052, Section 6.2.4
		id == RS8 && (f.MaxBlockLen > math.MaxUint8 || f.MaxN > math.MaxUint8),
		(id == RS || id == SmallBlock) && f.MaxBlockLen > math.MaxUint16:
		return b, ErrRange
	}
	be := binary.BigEndian
	b = append(b, byte(TypeExtFTI), byte(size/4))
	b = be.AppendUint16(b, uint16(f.ObjectSize>>32))
	b = be.AppendUint32(b, uint32(f.ObjectSize))
	switch id {
	case NoCode:
		b = append(b, 0, 0)
		b = be.AppendUint16(b, f.SegmentSize)
		b = be.AppendUint32(b, f.MaxBlockLen)
	case LargeBlock, Compact:
		b = be.AppendUint16(b, f.Instance)
		b = be.AppendUint16(b, f.SegmentSize)
		b = be.AppendUint32(b, f.MaxBlockLen)
	case RS:
		b = append(b, orDefault(f.M, DefaultM), orDefault(f.G, 1))
		b = be.AppendUint16(b, f.SegmentSize)
		b = be.AppendUint16(b, uint16(f.MaxBlockLen))
		b = be.AppendUint16(b, f.MaxN)
	case RS8:
		b = be.AppendUint16(b, f.SegmentSize)
		b = append(b, uint8(f.MaxBlockLen), uint8(f.MaxN))
	case SmallBlock:
		b = be.AppendUint16(b, f.Instance)
		b = be.AppendUint16(b, f.SegmentSize)
		b = be.AppendUint16(b, uint16(f.MaxBlockLen))
		b = be.AppendUint16(b, f.NumParity)
	}
	return b, nil
}

// Check refuses, with ErrRange, values that no object can have: a segment or block of length zero, a
// field size m that fec_id 2 does not define, symbol groups (G > 1), or more encoding symbols per block
// than the code has. An object size of zero is allowed. Whether max_n counts parity alone is left
// open; fec_id 0 has no limit on the block length here but that of its 16-bit symbol id.
func (f FTI) Check(id FECID) error {
	if ftiSize(id) == 0 {
		return ErrFECID
	}
	if f.SegmentSize == 0 || f.MaxBlockLen == 0 || f.ObjectSize > MaxObjectSize {
		return ErrRange
	}
	ok := true
	switch id {
	case NoCode, Compact:
		ok = f.MaxBlockLen <= 1<<16
	case RS:
		limit := uint32(1)<<f.M - 1 // n <= 2^m-1
		ok = 2 <= f.M && f.M <= 16 && f.G == 1 && f.MaxBlockLen <= limit && uint32(f.MaxN) <= limit
	case RS8:
		ok = f.MaxBlockLen <= 255 && f.MaxN <= 255
	case SmallBlock:
		limit := uint32(math.MaxUint16)
		if f.Instance == 0 {
			limit = 255
		}
		ok = f.MaxBlockLen+uint32(f.NumParity) <= limit
	}
	if !ok {
		return ErrRange
	}
	return nil
}

package wire

import (
	"encoding/binary"
	"strconv"
)

// A FECID is a fec_id: the FEC Encoding ID that selects the layout of fec_payload_id and EXT_FTI.
type FECID uint8

// FEC Encoding IDs with a known payload id layout.
const (
	NoCode     FECID = 0   // Compact No-Code (RFC 5445, Section 3)
	RS         FECID = 2   // Reed-Solomon over GF(2^m) (RFC 5510, Section 4)
	RS8        FECID = 5   // Reed-Solomon over GF(2^8) (RFC 5510, Section 5)
	LargeBlock FECID = 128 // Small Block, Large Block, and Expandable (RFC 5445, Section 4)
	SmallBlock FECID = 129 // Small Block Systematic (RFC 5445, Section 5)
	Compact    FECID = 130 // Compact FEC (RFC 5445, Section 4, payload id of NoCode)
)

// DefaultM is m of fec_id 2 where nothing gives another value: "When no finite field size parameter
// is communicated to the decoder, then the latter MUST assume that m = 8." RFC 5510, Section 4.2.3.
const DefaultM = 8

// PayloadIDSize returns the size of a fec_payload_id in bytes, 4 or 8, or 0 if the id is unknown.
func (id FECID) PayloadIDSize() int {
	switch id {
	case NoCode, RS, RS8, Compact:
		return 4
	case LargeBlock, SmallBlock:
		return 8
	}
	return 0
}

// String returns the id in decimal, as RFC 5740 writes it.
func (id FECID) String() string { return strconv.Itoa(int(id)) }

// SymbolBits returns the width of the encoding symbol id, which takes the low bits of the payload id.
// m matters for fec_id 2 only; zero means 8. It is 0 if the fec_id is unknown or m not one of RFC 5510.
func (id FECID) SymbolBits(m uint8) int {
	switch id {
	case NoCode, Compact, SmallBlock:
		return 16
	case RS:
		if m == 0 {
			m = DefaultM
		}
		if m < 2 || m > 16 { // RFC 5510, Section 4.2.3
			return 0
		}
		return int(m)
	case RS8:
		return 8
	case LargeBlock:
		return 32
	}
	return 0
}

// BlockBits returns the width of the source block number, which bounds the blocks of an object. m
// matters for fec_id 2 only; zero means 8. It is 0 where SymbolBits is.
func (id FECID) BlockBits(m uint8) int {
	bits := id.SymbolBits(m)
	switch {
	case bits == 0:
		return 0
	case id.PayloadIDSize() == 8:
		return 32
	}
	return 32 - bits
}

// A PayloadID is a decoded fec_payload_id: which symbol of which block of an object.
type PayloadID struct {
	Block    uint32 // source_block_number
	BlockLen uint16 // source_block_len: source symbols of this block; fec_id 129 only, else 0
	Symbol   uint32 // encoding_symbol_id
}

// A RawPayloadID is a fec_payload_id as it stands on the wire, one word or two. It stays undecoded in
// a message because with fec_id 2 the boundary between block number and symbol id depends on m, which
// only the object's FTI tells. Values of one fec_id compare equal if and only if the ids are equal.
type RawPayloadID uint64

// Pack encodes p for the given fec_id. m matters for fec_id 2 only; zero means 8.
// The error is ErrFECID, or ErrRange if a value does not fit.
func (p PayloadID) Pack(id FECID, m uint8) (RawPayloadID, error) {
	bits := id.SymbolBits(m)
	if bits == 0 {
		return 0, ErrFECID
	}
	if uint64(p.Symbol)>>bits != 0 || p.BlockLen != 0 && id != SmallBlock {
		return 0, ErrRange
	}
	if id == SmallBlock {
		return RawPayloadID(p.Block)<<32 | RawPayloadID(p.BlockLen)<<16 | RawPayloadID(p.Symbol), nil
	}
	raw := uint64(p.Block)<<bits | uint64(p.Symbol)
	if id.PayloadIDSize() == 4 && raw>>32 != 0 {
		return 0, ErrRange
	}
	return RawPayloadID(raw), nil
}

// Unpack decodes r for the given fec_id. m matters for fec_id 2 only; zero, and any m that RFC 5510
// does not allow, means 8. An unknown fec_id gives the zero PayloadID.
func (r RawPayloadID) Unpack(id FECID, m uint8) PayloadID {
	bits := id.SymbolBits(m)
	if id == RS && bits == 0 {
		bits = DefaultM
	}
	switch {
	case bits == 0:
		return PayloadID{}
	case id == SmallBlock:
		return PayloadID{Block: uint32(r >> 32), BlockLen: uint16(r >> 16), Symbol: uint32(uint16(r))}
	}
	return PayloadID{Block: uint32(r >> bits), Symbol: uint32(r & (1<<bits - 1))}
}

// AppendPayloadID appends the fec_payload_id p. m matters for fec_id 2 only; zero means 8.
// The error is ErrFECID, or ErrRange if a value does not fit.
func AppendPayloadID(b []byte, id FECID, m uint8, p PayloadID) ([]byte, error) {
	raw, err := p.Pack(id, m)
	if err != nil {
		return b, err
	}
	return raw.append(b, id), nil
}

// ParsePayloadID decodes the fec_payload_id at the start of b. m matters for fec_id 2 only; zero
// means 8. The error is ErrFECID or ErrLength.
func ParsePayloadID(id FECID, m uint8, b []byte) (PayloadID, error) {
	if id.SymbolBits(m) == 0 {
		return PayloadID{}, ErrFECID
	}
	if len(b) < id.PayloadIDSize() {
		return PayloadID{}, ErrLength
	}
	return rawPayloadID(id, b).Unpack(id, m), nil
}

// fits reports whether r has no bits beyond the size of a payload id of this fec_id.
func (r RawPayloadID) fits(id FECID) bool {
	return id.PayloadIDSize() == 8 || id.PayloadIDSize() == 4 && r>>32 == 0
}

func (r RawPayloadID) append(b []byte, id FECID) []byte {
	if id.PayloadIDSize() == 8 {
		return binary.BigEndian.AppendUint64(b, uint64(r))
	}
	return binary.BigEndian.AppendUint32(b, uint32(r))
}

// rawPayloadID reads the payload id at the start of b, which must be long enough.
func rawPayloadID(id FECID, b []byte) RawPayloadID {
	if id.PayloadIDSize() == 8 {
		return RawPayloadID(binary.BigEndian.Uint64(b))
	}
	return RawPayloadID(binary.BigEndian.Uint32(b))
}

package wire

import "encoding/binary"

// A Position names a place in a sender's content by object_transport_id and fec_payload_id: the
// segment of a NORM_DATA, the transmit position of a FLUSH, the start of the repair window of a
// SQUELCH, an item of a repair request, the watermark of an acknowledgment.
type Position struct {
	FECID  FECID
	Object TransportID
	Raw    RawPayloadID // undecoded, because fec_id 2 splits it by m: see [Position.PayloadID]
}

// NewPosition returns the position of p in an object. m matters for fec_id 2 only; zero means 8.
// The error is ErrFECID, or ErrRange if a value of p does not fit its field.
func NewPosition(id FECID, m uint8, object TransportID, p PayloadID) (Position, error) {
	raw, err := p.Pack(id, m)
	return Position{FECID: id, Object: object, Raw: raw}, err
}

// PayloadID decodes the fec_payload_id. m is that of the object's FTI; it matters for fec_id 2 only,
// and zero means 8.
func (p Position) PayloadID(m uint8) PayloadID { return p.Raw.Unpack(p.FECID, m) }

func (p Position) check() error {
	switch {
	case p.FECID.PayloadIDSize() == 0:
		return ErrFECID
	case !p.Raw.fits(p.FECID):
		return ErrRange
	}
	return nil
}

// words returns the length of the payload id in words.
func (p Position) words() int { return p.FECID.PayloadIDSize() / 4 }

// append appends fec_id, object_transport_id and fec_payload_id, as NORM_DATA, FLUSH and SQUELCH
// have them from byte 13 on.
func (p Position) append(b []byte) []byte {
	b = append(b, byte(p.FECID))
	b = binary.BigEndian.AppendUint16(b, uint16(p.Object))
	return p.Raw.append(b, p.FECID)
}

// parse reads what append writes from byte 13 of a message header, and returns the rest of the
// header, which holds the extensions.
func (p *Position) parse(hdr []byte) (ext []byte, err error) {
	p.FECID = FECID(hdr[13])
	p.Object = TransportID(binary.BigEndian.Uint16(hdr[14:]))
	n := p.FECID.PayloadIDSize()
	switch {
	case n == 0:
		return nil, ErrFECID
	case len(hdr) < 16+n:
		return nil, ErrLength
	}
	p.Raw = rawPayloadID(p.FECID, hdr[16:])
	return hdr[16+n:], nil
}

// itemSize returns the size of a repair item in bytes, 8 or 12, or 0 for an unknown fec_id.
func itemSize(id FECID) int {
	if n := id.PayloadIDSize(); n != 0 {
		return 4 + n
	}
	return 0
}

// AppendItem appends p as a repair item of a NORM_NACK or as the content of a NORM_ACK(FLUSH):
// fec_id(8) reserved(8) object_transport_id(16) fec_payload_id (RFC 5740, Section 4.3.1).
func (p Position) AppendItem(b []byte) ([]byte, error) {
	if err := p.check(); err != nil {
		return b, err
	}
	b = append(b, byte(p.FECID), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(p.Object))
	return p.Raw.append(b, p.FECID), nil
}

// parseItem reads the repair item at the start of b and returns its size, 0 if there is none.
func parseItem(b []byte) (p Position, size int) {
	if len(b) < 4 {
		return p, 0
	}
	p.FECID = FECID(b[0])
	size = itemSize(p.FECID)
	if size == 0 || len(b) < size {
		return p, 0
	}
	p.Object = TransportID(binary.BigEndian.Uint16(b[2:]))
	p.Raw = rawPayloadID(p.FECID, b[4:])
	return p, size
}

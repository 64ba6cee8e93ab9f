package wire

// An Ack is a NORM_ACK message (RFC 5740, Section 4.3.2).
type Ack struct {
	Header
	FeedbackHeader
	AckType    AckType
	AckID      uint8 // of the NORM_CMD(ACK_REQ) answered; 0 for AckCC and AckFlush
	Extensions Extensions
	Payload    []byte // of AckFlush the watermark, of AckCC nothing; a view into the datagram
}

// Parse decodes the NORM_ACK message in b, a whole datagram. It does not allocate; m may be reused.
// An AckFlush whose payload is not a watermark is refused with ErrLength or ErrFECID.
func (m *Ack) Parse(b []byte) error {
	hdr, payload, err := m.Header.parse(b, TypeAck)
	if err != nil {
		return err
	}
	m.FeedbackHeader.parse(hdr)
	m.AckType, m.AckID = AckType(hdr[14]), hdr[15]
	m.Payload = payload
	if m.Extensions, err = parseExtensions(hdr[24:]); err != nil {
		return err
	}
	return m.checkWatermark()
}

func (m *Ack) checkWatermark() error {
	if m.AckType != AckFlush {
		return nil
	}
	if _, size := parseItem(m.Payload); size > 0 {
		return nil
	}
	if len(m.Payload) > 0 && itemSize(FECID(m.Payload[0])) == 0 {
		return ErrFECID
	}
	return ErrLength
}

// Watermark returns the position that an AckFlush acknowledges; ok is false for other types.
func (m *Ack) Watermark() (p Position, ok bool) {
	if m.AckType != AckFlush {
		return Position{}, false
	}
	p, size := parseItem(m.Payload)
	return p, size > 0
}

// AppendBinary appends the encoded message to b. The payload of an AckFlush is made with
// [Position.AppendItem].
func (m *Ack) AppendBinary(b []byte) ([]byte, error) {
	if err := m.checkWatermark(); err != nil {
		return b, err
	}
	b, err := m.Header.append(b, TypeAck, 6, m.Extensions)
	if err != nil {
		return b, err
	}
	b = m.FeedbackHeader.append(b, uint16(m.AckType)<<8|uint16(m.AckID))
	b = append(b, m.Extensions...)
	return append(b, m.Payload...), nil
}

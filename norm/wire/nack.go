package wire

import "iter"

// A Nack is a NORM_NACK message (RFC 5740, Section 4.3.1).
type Nack struct {
	Header
	FeedbackHeader
	Extensions Extensions // EXT_CC under congestion control
	Payload    []byte     // nack_payload: a view into the datagram; see [Nack.Requests]

	Malformed int // repair requests that Requests leaves out; set by Parse
}

// Parse decodes the NORM_NACK message in b, a whole datagram. It does not allocate; m may be reused.
// The reserved field is ignored.
func (m *Nack) Parse(b []byte) error {
	hdr, payload, err := m.Header.parse(b, TypeNack)
	if err != nil {
		return err
	}
	m.FeedbackHeader.parse(hdr)
	m.Payload = payload
	if m.Extensions, err = parseExtensions(hdr[24:]); err != nil {
		return err
	}
	m.Malformed, err = checkRequests(payload)
	return err
}

// Requests returns the repair requests in their order, without the malformed ones.
func (m *Nack) Requests() iter.Seq[RepairRequest] { return Requests(m.Payload) }

// AppendBinary appends the encoded message to b. With an empty Payload a [RepairWriter] can follow.
func (m *Nack) AppendBinary(b []byte) ([]byte, error) {
	b, err := m.Header.append(b, TypeNack, 6, m.Extensions)
	if err != nil {
		return b, err
	}
	b = m.FeedbackHeader.append(b, 0)
	b = append(b, m.Extensions...)
	return append(b, m.Payload...), nil
}

package wire

import "encoding/binary"

// CC is a NORM_CMD(CC) message (RFC 5740, Section 4.2.3.4): a probe for round-trip times and, with
// EXT_RATE, for congestion control feedback.
type CC struct {
	Header
	SenderHeader
	CCSequence CCSequence // cc_sequence
	SendTime   Timestamp  // send_time: when the message is sent, on the sender's clock
	Extensions Extensions // EXT_RATE if receivers are to answer
	Nodes      CCNodeList // cc_node_list: a view into the datagram
}

// Parse decodes the NORM_CMD(CC) message in b, a whole datagram. It does not allocate; m may be
// reused. The reserved field is ignored.
func (m *CC) Parse(b []byte) error {
	hdr, payload, err := cmdHeader{&m.Header, &m.SenderHeader}.parse(b, CmdCC, 6)
	if err != nil {
		return err
	}
	m.CCSequence = CCSequence(binary.BigEndian.Uint16(hdr[14:]))
	m.SendTime = parseTimestamp(hdr[16:])
	m.Nodes = payload
	m.Extensions, err = parseExtensions(hdr[24:])
	return err
}

// AppendBinary appends the encoded message to b.
func (m *CC) AppendBinary(b []byte) ([]byte, error) {
	b, err := cmdHeader{&m.Header, &m.SenderHeader}.append(b, CmdCC, 6, m.Extensions)
	if err != nil {
		return b, err
	}
	b = append(b, 0) // "The "reserved" field is for potential future use and MUST be set to ZERO"
	b = binary.BigEndian.AppendUint16(b, uint16(m.CCSequence))
	b = m.SendTime.append(b)
	b = append(b, m.Extensions...)
	return append(b, m.Nodes...), nil
}

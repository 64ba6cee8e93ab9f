package wire

import "fmt"

// An AckType is an ack_type: what is acknowledged (RFC 5740, Section 4.2.3.6).
type AckType uint8

// Acknowledgment types. 3 to 15 are reserved, those from AckApplication on are the application's.
const (
	AckCC          AckType = 1  // NORM_ACK_CC: answers a NORM_CMD(CC)
	AckFlush       AckType = 2  // NORM_ACK_FLUSH: answers a NORM_CMD(FLUSH)
	AckApplication AckType = 16 // the first application-defined type
)

// String returns CC, FLUSH or the number.
func (t AckType) String() string {
	switch t {
	case AckCC:
		return "CC"
	case AckFlush:
		return "FLUSH"
	}
	return fmt.Sprint(uint8(t))
}

// requestable reports whether ACK_REQ may ask for acknowledgments of type t: "the sender MUST NOT
// generate NORM_CMD(ACK_REQ) messages" for NORM_ACK_CC and NORM_ACK_FLUSH, and 0 is undefined.
func (t AckType) requestable() bool { return t > AckFlush }

// AckReq is a NORM_CMD(ACK_REQ) message (RFC 5740, Section 4.2.3.6).
type AckReq struct {
	Header
	SenderHeader
	AckType     AckType // never AckCC or AckFlush
	AckID       uint8   // ack_id: numbers the request, echoed in NORM_ACK
	Extensions  Extensions
	AckingNodes NodeList // acking_node_list: a view into the datagram
}

// Parse decodes the NORM_CMD(ACK_REQ) message in b, a whole datagram. It does not allocate; m may be
// reused. The reserved field is ignored.
func (m *AckReq) Parse(b []byte) error {
	hdr, payload, err := cmdHeader{&m.Header, &m.SenderHeader}.parse(b, CmdAckReq, 4)
	if err != nil {
		return err
	}
	m.AckType, m.AckID = AckType(hdr[14]), hdr[15]
	if !m.AckType.requestable() {
		return ErrAckType
	}
	m.AckingNodes = payload
	m.Extensions, err = parseExtensions(hdr[16:])
	return err
}

// AppendBinary appends the encoded message to b.
func (m *AckReq) AppendBinary(b []byte) ([]byte, error) {
	if !m.AckType.requestable() {
		return b, ErrAckType
	}
	b, err := cmdHeader{&m.Header, &m.SenderHeader}.append(b, CmdAckReq, 4, m.Extensions)
	if err != nil {
		return b, err
	}
	b = append(b, 0, byte(m.AckType), m.AckID)
	b = append(b, m.Extensions...)
	return append(b, m.AckingNodes...), nil
}

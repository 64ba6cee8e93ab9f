package wire

import "encoding/binary"

// Info is a NORM_INFO message (RFC 5740, Section 4.2.2): an object's out-of-band application content.
// Its header is that of NORM_DATA without the fec_payload_id.
type Info struct {
	Header
	SenderHeader
	Flags      Flags
	FECID      FECID // of the object; may be one this package does not know
	Object     TransportID
	Extensions Extensions
	Payload    []byte // a view into the datagram
}

// Parse decodes the NORM_INFO message in b, a whole datagram. It does not allocate; m may be reused.
func (m *Info) Parse(b []byte) error {
	hdr, payload, err := m.Header.parse(b, TypeInfo)
	if err != nil {
		return err
	}
	m.SenderHeader.parse(hdr)
	m.Flags = Flags(hdr[12]) & flagsDefined
	m.FECID = FECID(hdr[13])
	m.Object = TransportID(binary.BigEndian.Uint16(hdr[14:]))
	m.Payload = payload
	m.Extensions, err = parseExtensions(hdr[16:])
	return err
}

// AppendBinary appends the encoded message to b.
func (m *Info) AppendBinary(b []byte) ([]byte, error) {
	if err := m.SenderHeader.check(); err != nil {
		return b, err
	}
	b, err := m.Header.append(b, TypeInfo, 4, m.Extensions)
	if err != nil {
		return b, err
	}
	b = m.SenderHeader.append(b)
	b = append(b, byte(m.Flags&flagsDefined), byte(m.FECID))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Object))
	b = append(b, m.Extensions...)
	return append(b, m.Payload...), nil
}

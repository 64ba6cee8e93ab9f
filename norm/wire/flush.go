package wire

// Flush is a NORM_CMD(FLUSH) message (RFC 5740, Section 4.2.3.1): the sender's transmit position,
// through which receivers check that they have everything.
type Flush struct {
	Header
	SenderHeader
	Position    // fec_id, object_transport_id, fec_payload_id
	Extensions  Extensions
	AckingNodes NodeList // acking_node_list: who is to acknowledge the position; a view into the datagram
}

// Parse decodes the NORM_CMD(FLUSH) message in b, a whole datagram. It does not allocate; m may be
// reused.
func (m *Flush) Parse(b []byte) error {
	hdr, payload, err := cmdHeader{&m.Header, &m.SenderHeader}.parse(b, CmdFlush, 4)
	if err != nil {
		return err
	}
	ext, err := m.Position.parse(hdr)
	if err != nil {
		return err
	}
	m.AckingNodes = payload
	m.Extensions, err = parseExtensions(ext)
	return err
}

// AppendBinary appends the encoded message to b.
func (m *Flush) AppendBinary(b []byte) ([]byte, error) {
	if err := m.Position.check(); err != nil {
		return b, err
	}
	b, err := cmdHeader{&m.Header, &m.SenderHeader}.append(b, CmdFlush, 4+m.Position.words(), m.Extensions)
	if err != nil {
		return b, err
	}
	b = m.Position.append(b)
	b = append(b, m.Extensions...)
	return append(b, m.AckingNodes...), nil
}

// Squelch is a NORM_CMD(SQUELCH) message (RFC 5740, Section 4.2.3.3): what the sender no longer repairs.
type Squelch struct {
	Header
	SenderHeader
	Position   // the start of the sender's repair window
	Extensions Extensions
	Invalid    ObjectList // invalid_object_list: objects within the window; a view into the datagram
}

// Parse decodes the NORM_CMD(SQUELCH) message in b, a whole datagram. It does not allocate; m may be
// reused.
func (m *Squelch) Parse(b []byte) error {
	hdr, payload, err := cmdHeader{&m.Header, &m.SenderHeader}.parse(b, CmdSquelch, 4)
	if err != nil {
		return err
	}
	ext, err := m.Position.parse(hdr)
	if err != nil {
		return err
	}
	m.Invalid = payload
	m.Extensions, err = parseExtensions(ext)
	return err
}

// AppendBinary appends the encoded message to b.
func (m *Squelch) AppendBinary(b []byte) ([]byte, error) {
	if err := m.Position.check(); err != nil {
		return b, err
	}
	b, err := cmdHeader{&m.Header, &m.SenderHeader}.append(b, CmdSquelch, 4+m.Position.words(), m.Extensions)
	if err != nil {
		return b, err
	}
	b = m.Position.append(b)
	b = append(b, m.Extensions...)
	return append(b, m.Invalid...), nil
}

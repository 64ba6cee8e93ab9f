package wire

// A Report is a NORM_REPORT message. RFC 5740, Section 4.4.1, leaves its format undefined and has it
// disabled where implementations meet, so there is nothing but the common header to read.
type Report struct {
	Header
	Content []byte // everything after the common header: a view into the datagram
}

// Parse decodes the NORM_REPORT message in b, a whole datagram. It does not allocate; m may be reused.
func (m *Report) Parse(b []byte) error {
	if _, _, err := m.Header.parse(b, TypeReport); err != nil {
		return err
	}
	m.Content = b[headerSize:]
	return nil
}

// AppendBinary appends the encoded message to b, hdr_len counting the common header.
func (m *Report) AppendBinary(b []byte) ([]byte, error) {
	b, err := m.Header.append(b, TypeReport, headerSize/4, nil)
	if err != nil {
		return b, err
	}
	return append(b, m.Content...), nil
}

package wire

// cmdHeader is what all NORM_CMD messages have in common (RFC 5740, Section 4.2.3).
type cmdHeader struct {
	*Header
	*SenderHeader
}

// PeekCmd returns the sub-type of a NORM_CMD datagram, known or not. The error is that of [Peek], or
// ErrType if the message is not a NORM_CMD.
func PeekCmd(b []byte) (CmdType, error) {
	h, err := Peek(b)
	if err != nil {
		return 0, err
	}
	if h.Type != TypeCmd {
		return 0, ErrType
	}
	return CmdType(b[12]), nil
}

// parse reads the headers of a command of type t, whose base header has at least the given words.
func (c cmdHeader) parse(b []byte, t CmdType, words int) (hdr, payload []byte, err error) {
	hdr, payload, err = c.Header.parse(b, TypeCmd)
	switch {
	case err != nil:
		return nil, nil, err
	case CmdType(hdr[12]) != t:
		return nil, nil, ErrCmdType
	case len(hdr) < 4*words:
		return nil, nil, ErrLength
	}
	c.SenderHeader.parse(hdr)
	return hdr, payload, nil
}

// append appends the headers of a command of type t up to its sub-type field.
func (c cmdHeader) append(b []byte, t CmdType, words int, ext Extensions) ([]byte, error) {
	if err := c.SenderHeader.check(); err != nil {
		return b, err
	}
	b, err := c.Header.append(b, TypeCmd, words, ext)
	if err != nil {
		return b, err
	}
	return append(c.SenderHeader.append(b), byte(t)), nil
}

// EOT is a NORM_CMD(EOT) message (RFC 5740, Section 4.2.3.2): the sender leaves the session for good.
type EOT struct {
	Header
	SenderHeader
	Extensions Extensions
}

// Parse decodes the NORM_CMD(EOT) message in b, a whole datagram. It does not allocate; m may be
// reused. The reserved field and anything after the header are ignored.
func (m *EOT) Parse(b []byte) error {
	hdr, _, err := cmdHeader{&m.Header, &m.SenderHeader}.parse(b, CmdEOT, 4)
	if err != nil {
		return err
	}
	m.Extensions, err = parseExtensions(hdr[16:])
	return err
}

// AppendBinary appends the encoded message to b.
func (m *EOT) AppendBinary(b []byte) ([]byte, error) {
	b, err := cmdHeader{&m.Header, &m.SenderHeader}.append(b, CmdEOT, 4, m.Extensions)
	if err != nil {
		return b, err
	}
	b = append(b, 0, 0, 0)
	return append(b, m.Extensions...), nil
}

// Application is a NORM_CMD(APPLICATION) message (RFC 5740, Section 4.2.3.7).
type Application struct {
	Header
	SenderHeader
	Extensions Extensions
	Payload    []byte // the application's content: a view into the datagram
}

// Parse decodes the NORM_CMD(APPLICATION) message in b, a whole datagram. It does not allocate; m may
// be reused. The reserved field is ignored.
func (m *Application) Parse(b []byte) error {
	hdr, payload, err := cmdHeader{&m.Header, &m.SenderHeader}.parse(b, CmdApplication, 4)
	if err != nil {
		return err
	}
	m.Payload = payload
	m.Extensions, err = parseExtensions(hdr[16:])
	return err
}

// AppendBinary appends the encoded message to b.
func (m *Application) AppendBinary(b []byte) ([]byte, error) {
	b, err := cmdHeader{&m.Header, &m.SenderHeader}.append(b, CmdApplication, 4, m.Extensions)
	if err != nil {
		return b, err
	}
	b = append(b, 0, 0, 0)
	b = append(b, m.Extensions...)
	return append(b, m.Payload...), nil
}

package wire

// Flags are the flags of a NORM_DATA or NORM_INFO (RFC 5740, Section 4.2.1).
type Flags uint8

// Bits of Flags. Others are undefined: Parse clears them, and AppendBinary sends them as zero.
const (
	FlagRepair     Flags = 0x01 // NORM_FLAG_REPAIR: a repair transmission
	FlagExplicit   Flags = 0x02 // NORM_FLAG_EXPLICIT: a repair by explicit segments, fresh parity used up
	FlagInfo       Flags = 0x04 // NORM_FLAG_INFO: the object has a NORM_INFO
	FlagUnreliable Flags = 0x08 // NORM_FLAG_UNRELIABLE: no repair for the object
	FlagFile       Flags = 0x10 // NORM_FLAG_FILE: a hint to store the object as a file
	FlagStream     Flags = 0x20 // NORM_FLAG_STREAM: the object is a stream; overrides FlagFile

	flagsDefined Flags = 0x3f
)

// String returns the names of the bits in lower case, separated by "|".
func (f Flags) String() string {
	return flagString(uint8(f), "repair", "explicit", "info", "unreliable", "file", "stream")
}

// Data is a NORM_DATA message (RFC 5740, Section 4.2.1): one segment of an object.
type Data struct {
	Header
	SenderHeader
	Flags      Flags
	Position   // fec_id, object_transport_id, fec_payload_id
	Extensions Extensions
	Payload    []byte // a view into the datagram; with FlagStream see [ParseStreamPayload]
}

// Parse decodes the NORM_DATA message in b, a whole datagram. It does not allocate; m may be reused.
func (m *Data) Parse(b []byte) error {
	hdr, payload, err := m.Header.parse(b, TypeData)
	if err != nil {
		return err
	}
	m.SenderHeader.parse(hdr)
	m.Flags = Flags(hdr[12]) & flagsDefined
	ext, err := m.Position.parse(hdr)
	if err != nil {
		return err
	}
	m.Payload = payload
	m.Extensions, err = parseExtensions(ext)
	return err
}

// AppendBinary appends the encoded message to b. With an empty Payload that is the header alone, to
// which the caller may append the payload.
func (m *Data) AppendBinary(b []byte) ([]byte, error) {
	if err := m.SenderHeader.check(); err != nil {
		return b, err
	}
	if err := m.Position.check(); err != nil {
		return b, err
	}
	b, err := m.Header.append(b, TypeData, 4+m.Position.words(), m.Extensions)
	if err != nil {
		return b, err
	}
	b = m.SenderHeader.append(b)
	b = append(b, byte(m.Flags&flagsDefined))
	b = m.Position.append(b)
	b = append(b, m.Extensions...)
	return append(b, m.Payload...), nil
}

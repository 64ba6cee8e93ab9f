package wire

import "encoding/binary"

// StreamHeaderSize is the size of a [StreamHeader] in bytes. It counts to the FEC symbol, not to the
// segment size: a stream's symbols are segment_size + 8 bytes long.
const StreamHeaderSize = 8

// StreamEnd is NORM_STREAM_END, the only stream control code defined (RFC 5740, Section 8.1.2).
const StreamEnd = 0

// A StreamHeader stands at the start of the payload of each source segment of a stream, within what
// FEC protects (RFC 5740, Section 4.2.1).
type StreamHeader struct {
	Len      uint16 // payload_len: bytes of stream data; 0: MsgStart is a control code
	MsgStart uint16 // payload_msg_start: 1 + offset of the first message start in the data, 0 if none
	Offset   uint32 // payload_offset: position of the data in the stream, modulo 2^32
}

// Control returns the stream control code; ok is false for ordinary data.
func (h StreamHeader) Control() (code uint16, ok bool) { return h.MsgStart, h.Len == 0 }

// Append appends the header; the data follow it. The error is ErrStream if MsgStart lies beyond Len.
func (h StreamHeader) Append(b []byte) ([]byte, error) {
	if h.Len != 0 && h.MsgStart > h.Len {
		return b, ErrStream
	}
	b = binary.BigEndian.AppendUint16(b, h.Len)
	b = binary.BigEndian.AppendUint16(b, h.MsgStart)
	return binary.BigEndian.AppendUint32(b, h.Offset), nil
}

// ParseStreamPayload splits the payload of a stream's source segment, received or decoded, into its
// header and its data, a view into b; the zeros that pad a decoded segment are left off. The error
// is ErrStream if payload_len exceeds the payload or payload_msg_start lies beyond payload_len.
func ParseStreamPayload(b []byte) (h StreamHeader, data []byte, err error) {
	if len(b) < StreamHeaderSize {
		return h, nil, ErrStream
	}
	h = StreamHeader{
		Len:      binary.BigEndian.Uint16(b),
		MsgStart: binary.BigEndian.Uint16(b[2:]),
		Offset:   binary.BigEndian.Uint32(b[4:]),
	}
	end := StreamHeaderSize + int(h.Len)
	if end > len(b) || h.Len != 0 && h.MsgStart > h.Len {
		return h, nil, ErrStream
	}
	return h, b[StreamHeaderSize:end:end], nil
}

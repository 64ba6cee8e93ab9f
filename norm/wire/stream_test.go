package wire

import (
	"bytes"
	"testing"
)

func TestStreamPayload(t *testing.T) {
	for _, tt := range []struct {
		name string
		hex  string // payload_len, payload_msg_start, payload_offset, data
		want StreamHeader
		data string
	}{
		{"message at the first byte", "0005 0001 00001000 68656c6c6f", StreamHeader{5, 1, 4096}, "hello"}, // N-4.2.1-58 N-4.2.1-62
		{"no message start", "0005 0000 00001000 68656c6c6f", StreamHeader{5, 0, 4096}, "hello"},          // N-4.2.1-62
		{"message at the last byte", "0005 0005 ffffffff 68656c6c6f", StreamHeader{5, 5, 0xffffffff}, "hello"},
		{"padded by the decoder", "0005 0001 00001000 68656c6c6f000000", StreamHeader{5, 1, 4096}, "hello"},
		{"end of stream", "0000 0000 00001005", StreamHeader{0, StreamEnd, 4101}, ""},
		{"unknown control code", "0000 0007 00001005 616263", StreamHeader{0, 7, 4101}, ""}, // N-4.2.1-79
	} {
		in := unhex(tt.hex)
		h, data, err := ParseStreamPayload(in)
		if h != tt.want || string(data) != tt.data || err != nil {
			t.Errorf("%s: %+v %q, %v", tt.name, h, data, err)
		}
		code, control := h.Control() // N-4.2.1-59
		if control != (tt.want.Len == 0) || code != tt.want.MsgStart {
			t.Errorf("%s: control %d, %v", tt.name, code, control)
		}
		if out, err := h.Append(nil); err != nil || !bytes.Equal(out, in[:StreamHeaderSize]) {
			t.Errorf("%s: encoded %x, %v", tt.name, out, err)
		}
	}
}

func TestBadStreamPayload(t *testing.T) {
	for name, in := range map[string]string{
		"empty":                   "",
		"7 bytes":                 "0000 0000 000010",
		"longer than the payload": "0006 0001 00001000 68656c6c6f",
		"longest":                 "ffff 0000 00001000 68656c6c6f",
		"message start beyond":    "0005 0006 00001000 68656c6c6f", // N-4.2.1-62: at most payload_len
	} {
		if h, data, err := ParseStreamPayload(unhex(in)); err != ErrStream || data != nil {
			t.Errorf("%s: %+v %x, %v, want ErrStream", name, h, data, err)
		}
	}
	if b, err := (StreamHeader{Len: 5, MsgStart: 6}).Append([]byte{1}); err != ErrStream || len(b) != 1 {
		t.Errorf("message start beyond: %x, %v, want ErrStream", b, err)
	}
}

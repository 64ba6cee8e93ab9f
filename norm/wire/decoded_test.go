package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected text in testdata")

// TestDecoded holds what people read of every golden message, as text and as JSON, against testdata/decoded.txt.
func TestDecoded(t *testing.T) {
	var out bytes.Buffer
	fmt.Fprintln(&out, "# What a decoder says of each golden message: its bytes, String, Fields as text, Fields as JSON.")
	for _, g := range allGoldens() {
		pkt, _ := g.split()
		m := must(new(Decoder).Parse(pkt))
		fields := m.LogValue()
		j := AppendJSON(nil, fields)
		if !json.Valid(j) {
			t.Errorf("%s: not JSON: %s", g.name, j)
		}
		fmt.Fprintf(&out, "\n# %s\n%x\n%v\n%s\n%s\n", g.name, pkt, m, AppendText(nil, fields), j)
	}
	const file = "testdata/decoded.txt"
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := bytes.Split(out.Bytes(), []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(got), len(wanted)) {
		if !bytes.Equal(got[i], wanted[i]) {
			t.Fatalf("%s:%d (rewritten by -update)\n got %s\nwant %s", file, i+1, got[i], wanted[i])
		}
	}
	if len(got) != len(wanted) {
		t.Errorf("%d lines, want %d", len(got), len(wanted))
	}
}

// TestReading: what an earlier EXT_FTI says decides how a message without one is read.
func TestReading(t *testing.T) {
	stream := findGolden(t, "DATA of a stream").want // fec_id 5, symbol 2
	rs := &Data{Header: Header{Source: 1}, Position: must(NewPosition(RS, 16, 1, PayloadID{2, 0, 3}))}
	nack := &Nack{Header: Header{Source: 1}, Payload: payload(func(w *RepairWriter) { w.Item(RepairSegment, rs.Position) })}
	for _, tt := range []struct {
		name string
		r    Reading
		m    Message
		want string
	}{
		{"source symbol", Reading{MaxBlockLen: 4}, stream, "payload_len=5 payload_msg_start=1 payload_offset=4096 payload=13"},
		{"parity symbol", Reading{MaxBlockLen: 2}, stream, "fec_payload_id{source_block_number=7 encoding_symbol_id=2} payload=13"},
		{"not known which", Reading{}, stream, "fec_payload_id{source_block_number=7 encoding_symbol_id=2} payload=13"},
		{"end", Reading{MaxBlockLen: 4}, findGolden(t, "DATA at the end of a stream").want, "payload_len=0 stream_control_code=0 payload_offset=4101"},
		{"m of 16", Reading{M: 16}, rs, "source_block_number=2 encoding_symbol_id=3"},
		{"m of 8", Reading{}, rs, "source_block_number=512 encoding_symbol_id=3"},
		{"request, m of 16", Reading{M: 16}, nack, "nack_payload=segment 1/2/3"},
	} {
		if got := AppendText(nil, tt.r.Fields(tt.m)); !bytes.Contains(got, []byte(tt.want)) {
			t.Errorf("%s: no %q in %s", tt.name, tt.want, got)
		}
	}
	if got := (Reading{M: 16}).String(rs); got != "DATA 1/2/3" {
		t.Errorf("m of 16: %s", got)
	}
	info := findGolden(t, "INFO with EXT_FTI").want
	if got, want := (Reading{}).Learn(info), (Reading{MaxBlockLen: 64}); got != want {
		t.Errorf("learned %+v, want %+v", got, want)
	}
	if got := (Reading{M: 16}).Learn(stream); got != (Reading{M: 16}) {
		t.Errorf("without EXT_FTI %+v was learned", got)
	}
}

// TestParityReadings: a last field of EXT_FTI below B is no max_n, and one with which B exceeds the code no count.
func TestParityReadings(t *testing.T) {
	for _, tt := range []struct {
		b, n uint8
		want string
	}{
		{64, 16, "max_n=16 parity_if_count=16"},
		{64, 96, "max_n=96 parity_if_max_n=32 parity_if_count=96"},
		{200, 230, "max_n=230 parity_if_max_n=30"},
		{200, 100, "max_n=100"}, // neither: malformed
	} {
		got := ""
		for _, a := range (FTI{MaxBlockLen: uint32(tt.b), MaxN: uint16(tt.n)}).parityAttrs(RS8) {
			if got != "" {
				got += " "
			}
			got += string(AppendTextAttr(nil, a))
		}
		if got != tt.want {
			t.Errorf("B %d, last field %d: %s, want %s", tt.b, tt.n, got, tt.want)
		}
	}
}

// TestErrorOffset breaks one field after the other.
func TestErrorOffset(t *testing.T) {
	set := func(name string, at int, v ...byte) []byte {
		pkt, _ := findGolden(t, name).split()
		copy(pkt[at:], v)
		return pkt
	}
	cut := func(name string, n int) []byte {
		pkt, _ := findGolden(t, name).split()
		return pkt[:n]
	}
	for _, tt := range []struct {
		name string
		pkt  []byte
		err  error
		at   int
	}{
		{"no header", cut("EOT", 5), ErrLength, 5},
		{"version", set("EOT", 0, 0x23), ErrVersion, 0},
		{"type", set("EOT", 0, 0x1f), ErrType, 0},
		{"hdr_len beyond the end", set("EOT", 1, 200), ErrLength, 1},
		{"hdr_len too small", set("DATA 129", 1, 5), ErrLength, 1},
		{"source_id", set("EOT", 4, 0, 0, 0, 0), ErrNode, 4},
		{"sub-type", set("EOT", 12, 99), ErrCmdType, 12},
		{"fec_id", set("DATA 129", 13, 77), ErrFECID, 13},
		{"fec_id of a watermark", set("ACK(FLUSH)", 36, 77), ErrFECID, 36},
		{"watermark", cut("ACK(FLUSH)", 40), ErrLength, 36},
		{"ack_type", set("ACK_REQ", 14, 2), ErrAckType, 14},
		{"hel of zero", set("DATA 129 with EXT_FTI", 25, 0), ErrExtension, 24},
		{"hel beyond hdr_len", set("INFO with EXT_FTI", 17, 9), ErrExtension, 16},
		{"hel of EXT_CC", set("NACK with EXT_CC", 25, 9), ErrExtension, 24},
		{"EXT_RATE of a CC", set("CC with EXT_RATE", 24, 3, 0), ErrExtension, 24},
		{"repair request", cut("NACK with EXT_CC", 50), ErrLength, 36},
	} {
		_, err := new(Decoder).Parse(tt.pkt)
		if err != tt.err {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		} else if got := ErrorOffset(tt.pkt, err); got != tt.at {
			t.Errorf("%s: at %d, want %d", tt.name, got, tt.at)
		}
	}
}

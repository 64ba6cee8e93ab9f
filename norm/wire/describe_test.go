package wire

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestDescribe has what the golden messages do not: see also TestGolden and TestRepairPayloads.
func TestDescribe(t *testing.T) {
	h := Header{Source: 1}
	for _, tt := range []struct {
		m    Message
		want string
	}{
		{&Data{Header: h, Position: at(RS8, 1, PayloadID{0, 0, 8}), Flags: FlagRepair | FlagExplicit | FlagFile},
			"DATA 1/0/8 repair explicit"},
		{&Data{Header: h, Position: must(NewPosition(RS, 8, 1, PayloadID{2, 0, 3}))}, "DATA 1/2/3"},
		{&Info{Header: h, Object: 7, Flags: FlagRepair}, "INFO 7 repair"},
		{&Ack{Header: h, AckType: 16, AckID: 3}, "ACK(16) id 3"},
		{&Nack{Header: h}, "NACK"},
		{&Nack{Header: h, Payload: payload(func(w *RepairWriter) {
			w.Item(RepairSegment, at(RS8, 1, PayloadID{0, 0, 8}))
		})}, "NACK segment 1/0/8"},
		{&Nack{Header: h, Payload: payload(func(w *RepairWriter) {
			w.Range(RepairBlock|RepairInfo, at(RS8, 1, PayloadID{Block: 11}), at(RS8, 1, PayloadID{Block: 12}))
			w.Item(RepairObject, at(RS8, 2, PayloadID{}))
		})}, "NACK info block 1/11-12, object 2"},
	} {
		if got := Describe(must(tt.m.AppendBinary(nil))); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := Describe([]byte("GET / HTTP/1.1\r\n\r\n")); got != ErrVersion.Error() {
		t.Errorf("of something else: %q", got)
	}
	if got := fmt.Sprint(TypeData, Type(9), CmdRepairAdv, CmdType(99), SmallBlock); got != "DATA Type(9) REPAIR_ADV CmdType(99) 129" {
		t.Error(got)
	}
}

// TestLogValue logs every golden message and looks for the names that RFC 5740 gives its fields.
func TestLogValue(t *testing.T) {
	fields := map[Type][]string{
		TypeInfo: {"instance_id", "grtt", "backoff", "gsize", "flags", "fec_id", "object_transport_id"},
		TypeData: {"instance_id", "grtt", "backoff", "gsize", "flags", "fec_id", "object_transport_id",
			"fec_payload_id.source_block_number", "fec_payload_id.encoding_symbol_id"},
		TypeCmd:    {"instance_id", "grtt", "backoff", "gsize"},
		TypeNack:   {"server_id", "instance_id", "grtt_response_sec", "grtt_response_usec", "nack_payload"},
		TypeAck:    {"server_id", "instance_id", "grtt_response_sec", "grtt_response_usec", "ack_type", "ack_id"},
		TypeReport: {"content"},
	}
	for _, g := range allGoldens() {
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("recv", "msg", g.want)
		pkt, _ := g.split()
		for _, name := range append(fields[Type(pkt[0]&15)], "type", "sequence", "source_id") {
			if !strings.Contains(out.String(), " msg."+name+"=") {
				t.Errorf("%s: no %s in %s", g.name, name, out.String())
			}
		}
	}

	var out bytes.Buffer
	hide := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: hide})).Info("send", "m", findGolden(t, "CC with EXT_RATE").want)
	want := `level=INFO msg=send m.type=NORM_CMD(CC) m.sequence=8 m.source_id=167772161 m.instance_id=4660 m.grtt=105.812049ms ` +
		`m.backoff=4 m.gsize=10000 m.cc_sequence=5 m.send_time_sec=1700000000 m.send_time_usec=250000 m.header_extensions="EXT_RATE{send_rate=8000.49}" ` +
		`m.cc_node_list="{cc_node_id=167772261 cc_flags=clr|rtt cc_rtt=105.812ms cc_rate=8000.49}"` + "\n"
	if out.String() != want {
		t.Errorf("\n got %swant %s", out.String(), want)
	}
}

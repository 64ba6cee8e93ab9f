package trace_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/tshark"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/trace"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// readNORM returns what tshark reads of the NORM messages in a capture.
func readNORM(t *testing.T, capture []byte, fields ...string) []map[string][]string {
	t.Helper()
	return tshark.Read(t, capture, []string{"-d", fmt.Sprintf("udp.port==%d,norm", normtest.Group.Port()), "-Y", "norm"}, fields...)
}

// messages returns one message of every type that NORM has, with fec_id 129.
func messages() []wire.Message {
	h := wire.Header{Sequence: 77, Source: 0x0a000001}
	s := wire.SenderHeader{Instance: 0x1234, GRTT: 0x88, Backoff: 4, GroupSize: 3}
	r, f := wire.Header{Sequence: 3, Source: 0x0a000065}, wire.FeedbackHeader{Server: 0x0a000001, Instance: 0x1234,
		GRTTResponse: wire.Timestamp{Sec: 1700000000, Usec: 287500}}
	at := func(block, symbol uint32) wire.Position {
		return must(wire.NewPosition(wire.SmallBlock, 0, 12, wire.PayloadID{Block: block, BlockLen: 63, Symbol: symbol}))
	}
	fti := must(wire.AppendFTI(nil, wire.SmallBlock, wire.FTI{ObjectSize: 20971520, SegmentSize: 1400, MaxBlockLen: 64, NumParity: 32}))
	cc := wire.AppendCC(nil, wire.ExtCC{Sequence: 5, Flags: wire.CCFlagRTT, RTT: 0x88, Loss: wire.EncodeLoss(0.01), Rate: wire.EncodeRate(8000)})
	w := wire.NewRepairWriter(nil, 1000)
	w.Range(wire.RepairSegment, at(9, 64), at(9, 66))
	w.Item(wire.RepairBlock|wire.RepairInfo, at(11, 0))
	nodes := wire.AppendNode(wire.AppendNode(nil, 0x0a000065), 0x0a000066)
	return []wire.Message{
		&wire.Info{Header: h, SenderHeader: s, Flags: wire.FlagInfo | wire.FlagFile, FECID: wire.SmallBlock, Object: 12, Extensions: fti, Payload: []byte("a.txt")},
		&wire.Data{Header: h, SenderHeader: s, Flags: wire.FlagFile | wire.FlagRepair, Position: at(3, 2), Extensions: fti, Payload: []byte("ABCDEFGH")},
		&wire.Flush{Header: h, SenderHeader: s, Position: at(234, 62), AckingNodes: nodes},
		&wire.EOT{Header: h, SenderHeader: s},
		&wire.Squelch{Header: h, SenderHeader: s, Position: at(1, 0), Invalid: wire.AppendObject(wire.AppendObject(nil, 13), 17)},
		&wire.CC{Header: h, SenderHeader: s, CCSequence: 5, SendTime: wire.Timestamp{Sec: 1700000000, Usec: 250000},
			Extensions: wire.AppendRate(nil, wire.EncodeRate(8000)),
			Nodes:      wire.AppendCCNode(nil, wire.CCNode{Node: 0x0a000065, Flags: wire.CCFlagCLR | wire.CCFlagRTT, RTT: 0x88, Rate: wire.EncodeRate(8000)})},
		&wire.RepairAdv{Header: h, SenderHeader: s, Extensions: cc, Payload: w.Bytes()},
		&wire.AckReq{Header: h, SenderHeader: s, AckType: wire.AckApplication, AckID: 1, AckingNodes: nodes},
		&wire.Application{Header: h, SenderHeader: s, Payload: []byte("ping")},
		&wire.Nack{Header: r, FeedbackHeader: f, Extensions: cc, Payload: w.Bytes()},
		&wire.Ack{Header: r, FeedbackHeader: f, AckType: wire.AckCC, Extensions: cc},
		&wire.Ack{Header: r, FeedbackHeader: f, AckType: wire.AckFlush, Extensions: cc, Payload: must(at(234, 62).AppendItem(nil))},
		&wire.Report{Header: r, Content: []byte{1, 2, 3, 4}},
	}
}

// add adds messages, one a millisecond.
func (c *capture) addMessages(start time.Time, all ...wire.Message) {
	for i, m := range all {
		c.add(start.Add(time.Duration(i)*time.Millisecond), trace.Datagram{From: normtest.Address(0), To: normtest.Group, B: must(m.AppendBinary(nil))})
	}
}

// ip writes a node id as tshark shows it.
func ip(id any) string {
	v := uint32(id.(float64))
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

// flagBits are the names of flags in the order of their bits.
func flagBits(names any, order ...string) float64 {
	bits := 0
	for name := range strings.SplitSeq(names.(string), "|") {
		for i, o := range order {
			if name == o {
				bits |= 1 << i
			}
		}
	}
	return float64(bits)
}

// plain are the fields that tshark and we know under different names, and show as the same number.
var plain = map[string]string{
	"hdr_len": "norm.hlen", "sequence": "norm.sequence", "instance_id": "norm.instance_id", "grtt": "norm.grtt",
	"backoff": "norm.backoff", "gsize": "norm.gsize", "object_transport_id": "norm.object_transport_id",
	"fec_id": "norm.fec_encoding_id", "cc_sequence": "norm.ccsequence", "send_time_sec": "norm.cc_sts", "send_time_usec": "norm.cc_stus",
	"ack_id": "norm.ack.id",
}

// ofPosition are those of a fec_payload_id, and ofFTI those of EXT_FTI, of which the last is a number of parity symbols.
var (
	ofPosition = map[string]string{"source_block_number": "rmt-fec.sbn", "source_block_len": "rmt-fec.sbl", "encoding_symbol_id": "rmt-fec.esi"}
	ofFTI      = map[string]string{"object_size": "rmt-fec.fti.transfer_length", "fec_instance_id": "rmt-fec.instance_id",
		"segment_size": "rmt-fec.fti.encoding_symbol_length", "fec_max_block_len": "rmt-fec.fti.max_source_block_length",
		"fec_num_parity": "rmt-fec.fti.max_number_encoding_symbols"}
	others = []string{"frame.number", "norm.type", "norm.flavor", "norm.source_id", "norm.flags", "norm.payload", "norm.nack.server", "norm.ack.source",
		"norm.ack.type", "norm.nack.grtt_sec", "norm.nack.grtt_usec", "norm.ack.grtt_sec", "norm.ack.grtt_usec", "norm.nack.form", "norm.nack.flags",
		"norm.nack.length", "norm.cc_transport_id", "norm.cc_node_id", "norm.payload.len", "norm.payload.offset", "norm.reserved", "_ws.malformed",
		"rmt-lct.send_rate", "rmt-lct.cc_sequence", "rmt-lct.cc_flags", "rmt-lct.cc_rtt", "rmt-lct.cc_loss", "rmt-lct.cc_rate"}
)

func tsharkFields() (all []string) {
	for _, m := range []map[string]string{plain, ofPosition, ofFTI} {
		for _, f := range m {
			all = append(all, f)
		}
	}
	return append(all, others...)
}

// types and flavors are the numbers of our names.
var (
	types   = map[string]string{"NORM_INFO": "1", "NORM_DATA": "2", "NORM_NACK": "4", "NORM_ACK": "5", "NORM_REPORT": "6"}
	flavors = map[string]string{"FLUSH": "1", "EOT": "2", "SQUELCH": "3", "CC": "4", "REPAIR_ADV": "5", "ACK_REQ": "6", "APPLICATION": "7"}
)

// expected is what tshark should show of a message with fec_id 129, made from our JSON; what it is known to show
// otherwise is as docs/decoder.md says.
func expected(m map[string]any) map[string][]string {
	want := make(map[string][]string)
	add := func(field string, v any) { want[field] = append(want[field], fmt.Sprint(v)) }
	for name, field := range plain {
		if v, ok := m[name]; ok {
			add(field, v)
		}
	}
	position := func(m any) {
		for name, v := range m.(map[string]any) {
			add(ofPosition[name], v)
		}
	}
	kind := m["type"].(string)
	if cmd, ok := strings.CutPrefix(kind, "NORM_CMD("); ok {
		add("norm.type", "3")
		add("norm.flavor", flavors[strings.TrimSuffix(cmd, ")")])
	} else {
		add("norm.type", types[kind])
	}
	add("norm.source_id", ip(m["source_id"]))
	if flags, ok := m["flags"]; ok {
		add("norm.flags", flagBits(flags, "repair", "explicit", "info", "unreliable", "file", "stream"))
	}
	if p, ok := m["fec_payload_id"]; ok && kind != "NORM_ACK" { // of an ACK(FLUSH), tshark leaves it in the payload
		position(p)
	}
	if kind == "NORM_ACK" {
		delete(want, "norm.object_transport_id")
		delete(want, "norm.fec_encoding_id")
	}
	if server, ok := m["server_id"]; ok {
		side := map[string]string{"NORM_NACK": "nack", "NORM_ACK": "ack"}[kind]
		add(map[string]string{"nack": "norm.nack.server", "ack": "norm.ack.source"}[side], ip(server))
		add("norm."+side+".grtt_sec", m["grtt_response_sec"])
		add("norm."+side+".grtt_usec", m["grtt_response_usec"])
	}
	switch m["ack_type"] {
	case "CC":
		add("norm.ack.type", 1)
	case "FLUSH":
		add("norm.ack.type", 2)
	case nil:
	default:
		add("norm.ack.type", m["ack_type"])
	}
	exts, _ := m["header_extensions"].([]any)
	for _, e := range exts {
		e := e.(map[string]any)
		switch e["name"] {
		case "EXT_FTI":
			for name, field := range ofFTI {
				add(field, e[name])
			}
		case "EXT_RATE":
			add("rmt-lct.send_rate", e["send_rate"])
		case "EXT_CC": // of which tshark shows the RTT and the rate as codes
			add("rmt-lct.cc_sequence", e["cc_sequence"])
			add("rmt-lct.cc_flags", flagBits(e["cc_flags"], "clr", "plr", "rtt", "start", "leave"))
			add("rmt-lct.cc_rtt", wire.EncodeRTT(time.Duration(math.Round(e["cc_rtt"].(float64)*1e9))))
			add("rmt-lct.cc_loss", e["cc_loss"])
			add("rmt-lct.cc_rate", wire.EncodeRate(e["cc_rate"].(float64)))
		}
	}
	for _, list := range []string{"nack_payload", "repair_adv_payload"} {
		requests, _ := m[list].([]any)
		for _, r := range requests {
			r := r.(map[string]any)
			add("norm.nack.form", map[string]int{"items": 1, "ranges": 2, "erasures": 3}[r["form"].(string)])
			add("norm.nack.flags", flagBits(r["flags"], "segment", "block", "info", "object"))
			add("norm.nack.length", r["length"])
			item := r["items"].([]any)[0].(map[string]any) // tshark shows the first item of each request, and of a range its first end
			if first, ok := item["first"]; ok {
				item = first.(map[string]any)
			}
			add("norm.fec_encoding_id", item["fec_id"])
			add("norm.object_transport_id", item["object_transport_id"])
			position(item["fec_payload_id"])
		}
	}
	return want
}

// sameNumber compares decimal, hexadecimal and rounded numbers, and other text as it is.
func sameNumber(a, b string) bool {
	x, errX := number(a)
	y, errY := number(b)
	if errX != nil || errY != nil {
		return a == b
	}
	return math.Abs(x-y) <= 1e-6*math.Abs(x)
}

func number(s string) (float64, error) {
	if v, err := strconv.ParseUint(s, 0, 64); err == nil {
		return float64(v), nil
	}
	return strconv.ParseFloat(s, 64)
}

// ours returns the messages of a capture as our JSON has them, by frame.
func ours(t *testing.T, file []byte) map[string]map[string]any {
	all := make(map[string]map[string]any)
	for line := range bytes.Lines(decode(t, file, true)) {
		var rec struct {
			Frame   int            `json:"frame"`
			Message map[string]any `json:"message"`
		}
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Fatal(err)
		}
		if rec.Message != nil {
			all[strconv.Itoa(rec.Frame)] = rec.Message
		}
	}
	return all
}

// TestTshark compares field by field what tshark and we read of a session, and of a message of every type.
func TestTshark(t *testing.T) {
	c := newCapture(t)
	end := c.simulate(t)
	c.addMessages(end, messages()...)
	theirs, mine := readNORM(t, c.out.Bytes(), tsharkFields()...), ours(t, c.out.Bytes())
	if len(theirs) != len(mine) {
		t.Errorf("tshark reads %d messages, we read %d", len(theirs), len(mine))
	}
	compared, kinds := 0, make(map[any]bool)
	for _, p := range theirs {
		frame := p["frame.number"][0]
		m := mine[frame]
		if m == nil {
			t.Fatalf("frame %s: tshark reads a message, and we do not", frame)
		}
		kinds[m["type"]] = true
		for field, want := range expected(m) {
			got := p[field]
			if len(got) != len(want) {
				t.Errorf("frame %s, %v: %s is %q to tshark, %q to us", frame, m["type"], field, got, want)
				continue
			}
			for i := range want {
				if compared++; !sameNumber(got[i], want[i]) {
					t.Errorf("frame %s, %v: %s is %q to tshark, %q to us", frame, m["type"], field, got[i], want[i])
				}
			}
		}
	}
	if len(kinds) != 12 || compared < 700 {
		t.Errorf("%d types and %d fields were compared", len(kinds), compared)
	}
}

// TestTsharkDiffers holds what docs/decoder.md says tshark reads in another way than RFC 5740. Should a newer one have
// mended something, this fails, and the document is to be changed.
func TestTsharkDiffers(t *testing.T) {
	h, s := wire.Header{Sequence: 1, Source: 1}, wire.SenderHeader{GRTT: 0x88}
	at := func(id wire.FECID, m uint8) wire.Position {
		return must(wire.NewPosition(id, m, 12, wire.PayloadID{Block: 3, Symbol: 2}))
	}
	fti := func(id wire.FECID) wire.Extensions {
		return must(wire.AppendFTI(nil, id, wire.FTI{ObjectSize: 1e6, SegmentSize: 1400, MaxBlockLen: 64, MaxN: 96}))
	}
	stream := append(must(wire.StreamHeader{Len: 5, MsgStart: 1, Offset: 4096}.Append(nil)), "hello"...)
	small := must(wire.NewPosition(wire.SmallBlock, 0, 12, wire.PayloadID{Block: 3, BlockLen: 32, Symbol: 2}))
	w := wire.NewRepairWriter(nil, 1000)
	w.Item(wire.RepairSegment, small)
	w.Item(wire.RepairSegment, must(wire.NewPosition(wire.SmallBlock, 0, 12, wire.PayloadID{Block: 3, BlockLen: 32, Symbol: 9})))
	two := w.Bytes()
	differences := []struct {
		name string
		m    wire.Message
		want map[string]string // what tshark shows; empty: nothing
	}{
		{"fec_id 5: neither payload id nor EXT_FTI of a NORM_DATA",
			&wire.Data{Header: h, SenderHeader: s, Position: at(wire.RS8, 0), Extensions: fti(wire.RS8), Payload: []byte("ABCDEFGH")},
			map[string]string{"norm.object_transport_id": "12", "rmt-fec.sbn": "", "rmt-fec.esi": "", "rmt-fec.fti.transfer_length": ""}},
		{"fec_id 5: in the EXT_FTI of a NORM_INFO, segment_size taken for an instance id, and no more",
			&wire.Info{Header: h, SenderHeader: s, FECID: wire.RS8, Object: 12, Extensions: fti(wire.RS8)},
			map[string]string{"rmt-fec.fti.transfer_length": "1000000", "rmt-fec.instance_id": "1400", "rmt-fec.fti.encoding_symbol_length": ""}},
		{"fec_id 2: the payload id taken for eight bytes, of which the last four are EXT_FTI",
			&wire.Data{Header: h, SenderHeader: s, Position: at(wire.RS, 8), Extensions: fti(wire.RS), Payload: []byte("ABCDEFGH")},
			map[string]string{"rmt-fec.sbn": "770", "rmt-fec.esi": "0x40040000", "_ws.malformed": "malformed"}},
		{"the stream payload header in the order of RFC 3940: reserved, length, offset",
			&wire.Data{Header: h, SenderHeader: s, Flags: wire.FlagStream, Position: small, Payload: stream},
			map[string]string{"norm.reserved": "5", "norm.payload.len": "1", "norm.payload.offset": "4096", "norm.payload": "68656c6c6f"}},
		{"the cc_node_list not read",
			&wire.CC{Header: h, SenderHeader: s, Nodes: wire.AppendCCNode(nil, wire.CCNode{Node: 7, RTT: 0x88})},
			map[string]string{"norm.cc_node_id": "", "norm.payload": "0000000700880000"}},
		{"two items of the invalid_object_list, 13 and 17, taken for one of 32 bits, and the next one beyond the end",
			&wire.Squelch{Header: h, SenderHeader: s, Position: small, Invalid: wire.AppendObject(wire.AppendObject(nil, 13), 17)},
			map[string]string{"norm.cc_transport_id": "851985", "_ws.malformed": "malformed"}},
		{"the acking_node_list not read",
			&wire.Flush{Header: h, SenderHeader: s, Position: small, AckingNodes: wire.AppendNode(nil, 7)},
			map[string]string{"norm.payload": "00000007"}},
		{"the reserved bytes of a NORM_CMD(EOT) taken for its payload",
			&wire.EOT{Header: h, SenderHeader: s},
			map[string]string{"norm.payload": "000000"}},
		{"the position of a NORM_ACK(FLUSH) not read",
			&wire.Ack{Header: h, FeedbackHeader: wire.FeedbackHeader{Server: 1}, AckType: wire.AckFlush, Payload: must(small.AppendItem(nil))},
			map[string]string{"norm.object_transport_id": "", "rmt-fec.sbn": "", "norm.payload": "8100000c0000000300200002"}},
		{"of a repair request, the first item alone",
			&wire.Nack{Header: h, FeedbackHeader: wire.FeedbackHeader{Server: 1}, Payload: two},
			map[string]string{"norm.nack.length": "24", "rmt-fec.esi": "2"}},
	}
	c := newCapture(t)
	for i, d := range differences {
		c.addMessages(normtest.Epoch.Add(time.Duration(i)*time.Second), d.m)
	}
	theirs := readNORM(t, c.out.Bytes(), tsharkFields()...)
	if len(theirs) != len(differences) {
		t.Fatalf("tshark reads %d messages of %d", len(theirs), len(differences))
	}
	for i, d := range differences {
		for field, want := range d.want {
			got := strings.Join(theirs[i][field], ",")
			if field == "_ws.malformed" && got != "" {
				got = "malformed"
			}
			if !sameNumber(got, want) {
				t.Errorf("%s: %s is %q to tshark, and was %q", d.name, field, got, want)
			}
		}
	}
}

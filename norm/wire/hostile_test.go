package wire

import (
	"bytes"
	"reflect"
	"testing"
)

func findGolden(t testing.TB, name string) golden {
	for _, g := range allGoldens() {
		if g.name == name {
			return g
		}
	}
	t.Fatalf("no golden message %q", name)
	return golden{}
}

// fresh returns an empty message of m's type.
func fresh(m Message) Message { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message) }

// TestTruncated parses every truncation of every golden message. A cut in the header must fail. A cut
// in the payload makes a message with a shorter payload, except where the payload has structure.
func TestTruncated(t *testing.T) {
	for _, g := range allGoldens() {
		pkt, payload := g.split()
		for n := range pkt {
			m := fresh(g.want)
			err := m.Parse(pkt[:n:n])
			switch want := truncated(g.want, n, payload); {
			case err != want:
				t.Errorf("%s cut to %d bytes: %v, want %v", g.name, n, err, want)
			case err == nil:
				walk(m)
				if out, err := m.AppendBinary(nil); err != nil || !bytes.Equal(out, pkt[:n]) {
					t.Errorf("%s cut to %d bytes: re-encoded %x, %v", g.name, n, out, err)
				}
			}
		}
	}
}

// truncated tells what parsing the first n bytes of an encoded message has to return.
func truncated(m Message, n, payload int) error {
	if n < payload {
		return ErrLength
	}
	left := n - payload
	var requests []byte
	switch m := m.(type) {
	case *Ack:
		if m.AckType != AckFlush {
			return nil
		}
		if left == 0 || left < len(m.Payload) {
			return ErrLength
		}
	case *Nack:
		requests = m.Payload
	case *RepairAdv:
		requests = m.Payload
	}
	for r := range Requests(requests) {
		size := 4 + len(r.items)
		switch {
		case left < 4: // less than a request header is ignored
			return nil
		case left < size:
			return ErrLength
		}
		left -= size
	}
	return nil
}

// walk visits all that a parsed message gives access to.
func walk(m Message) {
	var e Extensions
	switch m := m.(type) {
	case *Info:
		e = m.Extensions
		e.FTI(m.FECID)
	case *Data:
		e = m.Extensions
		for m8 := range uint8(33) {
			_ = m.PayloadID(m8) // for any m: it must not panic
		}
		ParseStreamPayload(m.Payload)
	case *Flush:
		e = m.Extensions
		m.AckingNodes.Contains(sender)
	case *EOT:
		e = m.Extensions
	case *Squelch:
		e = m.Extensions
	case *CC:
		e = m.Extensions
		m.Nodes.Find(sender)
	case *RepairAdv:
		e = m.Extensions
	case *AckReq:
		e = m.Extensions
	case *Application:
		e = m.Extensions
	case *Nack:
		e = m.Extensions
	case *Ack:
		e = m.Extensions
	}
	for id := range FECID(131) {
		if f, ok := e.FTI(id); ok {
			f.Check(id)
		}
	}
	e.CC()
	e.Rate()
	for range e.Auth() {
	}
	_ = m.String()
	_ = m.LogValue()
}

// TestMutated sets every byte of every golden message to every value: nothing may panic, and what
// parses must encode again to what parses equal.
func TestMutated(t *testing.T) {
	for _, g := range allGoldens() {
		pkt, _ := g.split()
		for i, old := range pkt {
			for v := range 256 {
				pkt[i] = byte(v)
				if m := fresh(g.want); m.Parse(pkt) == nil {
					roundTrip(t, m)
				}
			}
			pkt[i] = old
		}
	}
}

// roundTrip encodes a parsed message and parses the result.
func roundTrip(t testing.TB, m Message) {
	t.Helper()
	out, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatalf("%T parsed but not encoded: %v\n%+v", m, err, normalize(m))
	}
	again := fresh(m)
	if err := again.Parse(out); err != nil || !same(m, again) {
		t.Fatalf("parsed %+v\nencoded %x\nparsed %+v, %v", normalize(m), out, normalize(again), err)
	}
}

func TestUnknownFECID(t *testing.T) { // N-4.2.1-35
	for _, name := range []string{"DATA repair parity", "FLUSH", "SQUELCH"} {
		g := findGolden(t, name)
		pkt, _ := g.split()
		pkt[13] = 42
		if err := fresh(g.want).Parse(pkt); err != ErrFECID {
			t.Errorf("%s: %v, want ErrFECID", name, err)
		}
	}
	pkt, _ := findGolden(t, "ACK(FLUSH)").split()
	pkt[36] = 42
	if err := new(Ack).Parse(pkt); err != ErrFECID {
		t.Errorf("ACK(FLUSH): %v, want ErrFECID", err)
	}
	// NORM_INFO has no payload id, so it can be read whatever the code is.
	pkt, _ = findGolden(t, "INFO with EXT_FTI").split()
	pkt[13] = 42
	var info Info
	if err := info.Parse(pkt); err != nil || info.FECID != 42 {
		t.Errorf("INFO: %v, %v", info.FECID, err)
	}
	if _, ok := info.Extensions.FTI(info.FECID); ok {
		t.Error("FTI of fec_id 42 was read")
	}
}

func TestAckReqTypes(t *testing.T) { // N-4.2.3.6-02
	pkt, _ := findGolden(t, "ACK_REQ").split()
	for typ := range 256 {
		pkt[14] = byte(typ)
		var m AckReq
		err := m.Parse(pkt)
		if typ <= 2 && err != ErrAckType || typ > 2 && (err != nil || m.AckType != AckType(typ)) {
			t.Errorf("ack_type %d: %v, %v", typ, m.AckType, err)
		}
	}
	if AckCC != 1 || AckFlush != 2 || AckApplication != 16 {
		t.Error("acknowledgment types are not those of RFC 5740, Section 4.2.3.6")
	}
}

func TestFlags(t *testing.T) {
	// N-4.2.1-23
	if FlagRepair != 0x01 || FlagExplicit != 0x02 || FlagInfo != 0x04 || FlagUnreliable != 0x08 || FlagFile != 0x10 ||
		FlagStream != 0x20 {
		t.Error("NORM_DATA flags are not those of RFC 5740, Section 4.2.1")
	}
	for _, m := range []Message{ // N-4.2.1-24: undefined bits are sent as zero
		&Data{Header: Header{Source: 1}, Flags: 0xff}, &Info{Header: Header{Source: 1}, Flags: 0xff},
	} {
		if b := must(m.AppendBinary(nil)); b[12] != 0x3f {
			t.Errorf("%T with all flags set: %#x on the wire", m, b[12])
		}
	}
	if got := Flags(0x3f).String(); got != "repair|explicit|info|unreliable|file|stream" {
		t.Error(got)
	}
	// N-4.2.3.4-12
	if CCFlagCLR != 0x01 || CCFlagPLR != 0x02 || CCFlagRTT != 0x04 || CCFlagStart != 0x08 || CCFlagLeave != 0x10 {
		t.Error("cc_flags are not those of RFC 5740, Section 4.2.3.4")
	}
	if got := CCFlags(0xff).String(); got != "clr|plr|rtt|start|leave" { // N-4.2.3.4-12: unknown bits ignored
		t.Error(got)
	}
	if RepairAdvLimit != 0x01 { // N-4.2.3.5-03
		t.Error("NORM_REPAIR_ADV_FLAG_LIMIT is not 0x01")
	}
	pkt, _ := findGolden(t, "REPAIR_ADV with EXT_CC").split()
	pkt[13] = 0x01
	var m RepairAdv
	if err := m.Parse(pkt); err != nil || m.Flags&RepairAdvLimit == 0 { // N-4.2.3.5-03
		t.Errorf("LIMIT not read: %v, %v", m.Flags, err)
	}
	if got := m.String(); got != "CMD(REPAIR_ADV) segment 12/9/64-66 limit" {
		t.Error(got)
	}
}

func TestLists(t *testing.T) {
	for trailing := range 4 { // N-4.2.3.1-16
		pkt, _ := findGolden(t, "FLUSH").split()
		pkt = append(AppendNode(pkt, 7), make([]byte, trailing)...)
		var m Flush
		if err := m.Parse(pkt); err != nil {
			t.Fatal(err)
		}
		if got := join(m.AckingNodes.All()); got != "167772261,167772262,7" || m.AckingNodes.Len() != 3 {
			t.Errorf("acking_node_list with %d bytes more: %d nodes %s", trailing, m.AckingNodes.Len(), got)
		}
		for id, want := range map[NodeID]bool{receiver: true, 7: true, 8: false, NodeNone: false} {
			if m.AckingNodes.Contains(id) != want {
				t.Errorf("Contains(%v) = %v", id, !want)
			}
		}
	}
	if AppendNode(nil, NodeAny).Contains(NodeAny) || AppendNode(nil, NodeAny).Contains(receiver) {
		t.Error("NORM_NODE_ANY in an acking_node_list stands for somebody")
	}

	for trailing := range 8 { // N-4.2.3.4-11: the count is that of whole items
		l := AppendCCNode(nil, CCNode{receiver, CCFlagCLR, 0x88, 1})
		l = AppendCCNode(l, CCNode{receiver + 1, CCFlagPLR | CCFlagRTT, 0x89, 2})
		l = append(l, make([]byte, trailing)...)
		if l.Len() != 2 {
			t.Errorf("cc_node_list with %d bytes more: %d items", trailing, l.Len())
		}
		if n, ok := l.Find(receiver + 1); !ok || n != (CCNode{receiver + 1, CCFlagPLR | CCFlagRTT, 0x89, 2}) {
			t.Errorf("cc_node_list with %d bytes more: %+v, %v", trailing, n, ok)
		}
		if _, ok := l.Find(sender); ok {
			t.Error("found a node that is not listed")
		}
	}

	odd := append(AppendObject(nil, 13), 0)
	if odd.Len() != 1 || join(odd.All()) != "13" {
		t.Errorf("invalid_object_list of 3 bytes: %d ids %s", odd.Len(), join(odd.All()))
	}
}

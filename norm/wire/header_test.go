package wire

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestPeek(t *testing.T) {
	eot := func(change func(b []byte)) []byte {
		b := unhex("13 04 fffe 0a000001 1234 88 43 02 000000")
		change(b)
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"whole", eot(func([]byte) {}), nil},
		{"empty", nil, ErrLength},
		{"shorter than the common header", eot(func([]byte) {})[:7], ErrLength},
		{"version 0", eot(func(b []byte) { b[0] = 0x03 }), ErrVersion},                                // N-4.1-03
		{"version 2", eot(func(b []byte) { b[0] = 0x23 }), ErrVersion},                                // N-4.1-03
		{"hdr_len below the base", eot(func(b []byte) { b[1] = 3 }), ErrLength},                       // N-4.1-07
		{"hdr_len 0", eot(func(b []byte) { b[1] = 0 }), ErrLength},                                    // N-4.1-07
		{"hdr_len beyond the end", eot(func(b []byte) { b[1] = 5 }), ErrLength},                       // N-4.1-07
		{"source_id NORM_NODE_NONE", eot(func(b []byte) { clear(b[4:8]) }), ErrNode},                  // N-6-07
		{"source_id NORM_NODE_ANY", eot(func(b []byte) { copy(b[4:], "\xff\xff\xff\xff") }), ErrNode}, // N-6-07
	} {
		h, err := Peek(tt.in)
		if err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if want := (Header{TypeCmd, 0xfffe, sender}); err == nil && h != want {
			t.Errorf("%s: %v, want %v", tt.name, h, want)
		}
		var d Decoder
		if m, err := d.Parse(tt.in); err != tt.want || (m == nil) != (err != nil) {
			t.Errorf("%s: Parse: %v, %v, want %v", tt.name, m, err, tt.want)
		}
	}
}

func TestMessageTypes(t *testing.T) { // N-4.1-04
	names := map[Type]string{1: "INFO", 2: "DATA", 3: "CMD", 4: "NACK", 5: "ACK", 6: "REPORT"}
	if TypeInfo != 1 || TypeData != 2 || TypeCmd != 3 || TypeNack != 4 || TypeAck != 5 || TypeReport != 6 {
		t.Error("types are not those of RFC 5740, Section 4.1")
	}
	pkt := make([]byte, 64)
	for typ := range Type(16) {
		pkt[0], pkt[1], pkt[7] = 0x10|byte(typ), 16, 1
		_, err := Peek(pkt)
		name, known := names[typ]
		switch {
		case known && (err != nil || typ.String() != name):
			t.Errorf("type %d: %v, %v, want %s", typ, typ, err, name)
		case !known && err != ErrType:
			t.Errorf("type %d: %v, want ErrType", typ, err)
		}
	}
}

func TestCmdTypes(t *testing.T) { // N-4.2.3-02
	names := map[CmdType]string{1: "FLUSH", 2: "EOT", 3: "SQUELCH", 4: "CC", 5: "REPAIR_ADV", 6: "ACK_REQ", 7: "APPLICATION"}
	pkt := unhex("13 06 0001 0a000001 1234 88 43 00 0000 10 80000000 80000000")
	var d Decoder
	for i := range 256 {
		sub := CmdType(i)
		pkt[12], pkt[14] = byte(sub), byte(AckApplication)
		got, err := PeekCmd(pkt)
		if got != sub || err != nil {
			t.Errorf("PeekCmd = %v, %v, want %v", got, err, sub)
		}
		_, err = d.Parse(pkt)
		name, known := names[sub]
		switch {
		case known && (err != nil || sub.String() != name):
			t.Errorf("sub-type %d: %v, %v, want %s", sub, sub, err, name)
		case !known && err != ErrCmdType:
			t.Errorf("sub-type %d: %v, want ErrCmdType", sub, err)
		}
	}
	if _, err := PeekCmd(unhex("12 05 0001 0a000001 1234 88 43 00 05 0000 00000000")); err != ErrType {
		t.Errorf("PeekCmd of NORM_DATA: %v, want ErrType", err)
	}
}

// TestPeekSender reads the state that a receiver follows out of a command and a fec_id it does not know.
func TestPeekSender(t *testing.T) {
	for _, pkt := range [][]byte{
		unhex("13 04 0007 0a000001 1234 88 43 63 000000"),           // sub-type 99
		unhex("12 05 0007 0a000001 1234 88 43 10 2a 0001 00000000"), // fec_id 42
		unhex("11 04 0007 0a000001 1234 88 43 10 05 0001"),
	} {
		h, s, err := PeekSender(pkt)
		if h.Sequence != 7 || h.Source != sender || s != fromSender || err != nil {
			t.Errorf("PeekSender(%x) = %v, %v, %v", pkt, h, s, err)
		}
	}
	for _, g := range goldens {
		pkt, _ := g.split()
		_, s, err := PeekSender(pkt)
		switch Type(pkt[0] & 15) {
		case TypeNack, TypeAck, TypeReport:
			if err != ErrType {
				t.Errorf("%s: %v, want ErrType", g.name, err)
			}
		default:
			if s != fromSender || err != nil {
				t.Errorf("%s: %v, %v", g.name, s, err)
			}
		}
	}
}

// TestWrongType gives every message the bytes of every other.
func TestWrongType(t *testing.T) {
	for _, g := range goldens {
		for _, h := range goldens {
			pkt, _ := h.split()
			var want error
			switch sameType := pkt[0] == must(g.want.AppendBinary(nil))[0]; {
			case !sameType:
				want = ErrType
			case pkt[0]&15 == byte(TypeCmd) && pkt[12] != must(g.want.AppendBinary(nil))[12]:
				want = ErrCmdType
			}
			if err := fresh(g.want).Parse(pkt); err != want {
				t.Errorf("%T.Parse of %s: %v, want %v", g.want, h.name, err, want)
			}
		}
	}
}

// TestReservedIgnored sets every reserved bit and every undefined flag of the golden messages.
func TestReservedIgnored(t *testing.T) {
	for _, tt := range []struct {
		golden string
		at     int
		bits   byte
	}{
		{"EOT", 13, 0xff}, {"EOT", 14, 0xff}, {"EOT", 15, 0xff}, // N-4.2.3.2-02
		{"CC with EXT_RATE", 13, 0xff}, // N-4.2.3.4-02: a deployed stack uses 0x01
		{"CC with EXT_RATE", 25, 0xff}, // EXT_RATE
		{"REPAIR_ADV with EXT_CC", 14, 0xff}, {"REPAIR_ADV with EXT_CC", 15, 0xff},
		{"REPAIR_ADV with EXT_CC", 26, 0xff}, {"REPAIR_ADV with EXT_CC", 27, 0xff}, // N-4.2.3.5-19: cc_reserved
		{"ACK_REQ", 13, 0xff}, // N-4.2.3.6-04
		{"APPLICATION", 13, 0xff}, {"APPLICATION", 14, 0xff}, {"APPLICATION", 15, 0xff},
		{"NACK with EXT_CC", 14, 0xff}, {"NACK with EXT_CC", 15, 0xff}, // N-4.3.1-07
		{"NACK with EXT_CC", 41, 0xff}, {"NACK with EXT_CC", 49, 0xff}, // N-4.3.1-14: of repair items
		{"ACK(FLUSH)", 37, 0xff},
		{"INFO with EXT_FTI", 12, 0xc0}, // N-4.2.1-24: undefined flags
		{"DATA 129", 12, 0xc0},          // N-4.2.1-24
		{"EOT with EXT_AUTH", 18, 0x0e}, // A-3.1-02: rsvd
	} {
		g := findGolden(t, tt.golden)
		pkt, _ := g.split()
		if pkt[tt.at]&tt.bits != 0 { // and they are sent as zero
			t.Errorf("%s: byte %d is %#x, reserved bits %#x", g.name, tt.at, pkt[tt.at], tt.bits)
		}
		pkt[tt.at] |= tt.bits
		var d Decoder
		m, err := d.Parse(pkt)
		if err != nil {
			t.Errorf("%s: byte %d |= %#x: %v", g.name, tt.at, tt.bits, err)
			continue
		}
		if got := m.LogValue().String(); got != g.want.LogValue().String() {
			t.Errorf("%s: byte %d |= %#x:\n got %s\nwant %s", g.name, tt.at, tt.bits, got, g.want.LogValue())
		}
	}
}

func TestSenderHeaderRange(t *testing.T) {
	for _, s := range []SenderHeader{{Backoff: 16}, {GroupSize: 16}} {
		for _, m := range []Message{&Data{SenderHeader: s}, &Info{SenderHeader: s}, &EOT{SenderHeader: s}} {
			if b, err := m.AppendBinary(unhex("aa")); err != ErrRange || len(b) != 1 {
				t.Errorf("%T with %+v: %x, %v, want ErrRange", m, s, b, err)
			}
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	h := Header{Source: 1}
	tooBig := at(RS8, 0, PayloadID{})
	tooBig.Raw = 1 << 32
	for _, tt := range []struct {
		name string
		m    Message
		want error
	}{
		{"unknown fec_id", &Data{Header: h, Position: Position{FECID: 42}}, ErrFECID},
		{"unknown fec_id", &Flush{Header: h, Position: Position{FECID: 42}}, ErrFECID},
		{"unknown fec_id", &Squelch{Header: h, Position: Position{FECID: 42}}, ErrFECID},
		{"payload id of two words", &Data{Header: h, Position: tooBig}, ErrRange},
		{"no source_id", &Data{}, ErrNode},
		{"wildcard source_id", &Nack{Header: Header{Source: NodeAny}}, ErrNode},
		{"no source_id", &Info{}, ErrNode},
		{"no source_id", &Flush{}, ErrNode},
		{"no source_id", &Squelch{}, ErrNode},
		{"no source_id", &CC{}, ErrNode},
		{"no source_id", &RepairAdv{}, ErrNode},
		{"no source_id", &AckReq{AckType: AckApplication}, ErrNode},
		{"no source_id", &Application{}, ErrNode},
		{"no source_id", &Ack{}, ErrNode},
		{"no source_id", &Report{}, ErrNode},
		{"ACK_REQ for CC", &AckReq{Header: h, AckType: AckCC}, ErrAckType},       // N-4.2.3.6-03
		{"ACK_REQ for FLUSH", &AckReq{Header: h, AckType: AckFlush}, ErrAckType}, // N-4.2.3.6-03
		{"ACK_REQ for 0", &AckReq{Header: h}, ErrAckType},
		{"ACK(FLUSH) without watermark", &Ack{Header: h, AckType: AckFlush}, ErrLength},
		{"ACK(FLUSH) of an unknown fec_id", &Ack{Header: h, AckType: AckFlush, Payload: make([]byte, 8)[:7]}, ErrLength},
		{"broken extension", &EOT{Header: h, Extensions: unhex("32000000")}, ErrExtension},
		{"extensions of 252 words", &EOT{Header: h, Extensions: make252Words()}, ErrHeaderSize},
	} {
		if b, err := tt.m.AppendBinary(unhex("aa")); err != tt.want || len(b) != 1 {
			t.Errorf("%s: %T: %x, %v, want %v", tt.name, tt.m, b, err, tt.want)
		}
	}
}

func make252Words() (e Extensions) {
	for range 252 {
		e = AppendRate(e, 0)
	}
	return e
}

func TestNodeIDs(t *testing.T) { // N-2-02
	if NodeNone != 0x00000000 || NodeAny != 0xffffffff || NodeNone.valid() || NodeAny.valid() || !sender.valid() {
		t.Error("reserved node ids are not those of RFC 5740, Section 2")
	}
}

func TestWidths(t *testing.T) { // N-4.2.1-70
	bits := func(v any) int { return reflect.TypeOf(v).Bits() }
	for _, tt := range []struct {
		name      string
		got, want int
	}{
		{"sequence", bits(Header{}.Sequence), 16},
		{"object_transport_id", bits(Position{}.Object), 16},
		{"cc_sequence", bits(CC{}.CCSequence), 16},
		{"instance_id", bits(SenderHeader{}.Instance), 16},
		{"ack_id", bits(Ack{}.AckID), 8},
		{"payload_offset", bits(StreamHeader{}.Offset), 32},
		{"source_block_number of 129", SmallBlock.BlockBits(0), 32},
		{"source_block_number of 5", RS8.BlockBits(0), 24},
		{"source_block_number of 2, m = 8", RS.BlockBits(8), 24},
		{"source_block_number of 2, m = 16", RS.BlockBits(16), 16},
		{"source_block_number of 0", NoCode.BlockBits(0), 16},
		{"encoding_symbol_id of 129", SmallBlock.SymbolBits(0), 16},
		{"encoding_symbol_id of 5", RS8.SymbolBits(0), 8},
		{"encoding_symbol_id of 0", NoCode.SymbolBits(0), 16},
	} {
		if tt.got != tt.want {
			t.Errorf("%s has %d bits, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestSetSequence(t *testing.T) {
	for _, g := range allGoldens() {
		pkt, _ := g.split()
		SetSequence(pkt, 0xfffe)
		if h, err := Peek(pkt); h.Sequence != 0xfffe || err != nil {
			t.Errorf("%s: %v, %v", g.name, h, err)
		}
	}
}

// TestHeaderThenPayload encodes a header, appends the payload to it, and stamps the number last.
func TestHeaderThenPayload(t *testing.T) {
	g := findGolden(t, "DATA 129 with EXT_FTI")
	m := *g.want.(*Data)
	payload := m.Payload
	m.Payload, m.Sequence = nil, 0
	b, err := m.AppendBinary(make([]byte, 0, 1500))
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, payload...)
	SetSequence(b, 7)
	if want, _ := g.split(); string(b) != string(want) {
		t.Errorf("got %x, want %x", b, want)
	}
}

// TestSerialBefore checks the order of numbers on a circle, in the widths of ack_id, of object ids
// and sequence numbers, and of the block numbers of fec_id 5 and 129.
func TestSerialBefore(t *testing.T) {
	for _, width := range []int{8, 16, 24, 32} { // N-4.2.1-71
		mask := uint32(1<<width - 1)
		half := uint32(1) << (width - 1)
		rapid.Check(t, func(t *rapid.T) {
			a := rapid.Uint32().Draw(t, "a") & mask
			d := rapid.OneOf(rapid.Just(half), rapid.Just(half-1), rapid.Just(half+1), rapid.Just(uint32(1)),
				rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "d") & mask
			b := (a + d) & mask
			if got, want := SerialBefore(a, b, width), 0 < d && d < half; got != want {
				t.Errorf("%#x before %#x in %d bits: %v, want %v", a, b, width, got, want)
			}
			if SerialBefore(a, b, width) && SerialBefore(b, a, width) {
				t.Errorf("%#x and %#x precede each other", a, b)
			}
		})
	}
	if !Sequence(0xffff).Before(0) || Sequence(0).Before(0xffff) || Sequence(0).Before(0x8000) || Sequence(0x8000).Before(0) ||
		!TransportID(0xffff).Before(0) || !CCSequence(0xffff).Before(0) || TransportID(5).Before(5) {
		t.Error("16-bit numbers are not in serial order")
	}
}

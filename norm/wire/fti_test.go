package wire

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestFTI(t *testing.T) {
	const mib20 = 20971520
	for _, tt := range []struct {
		name string
		id   FECID
		fti  FTI
		hex  string
	}{
		// het, hel, object_size, ...
		// N-4.2.1-02 E-3.2.2-01: reserved, symbol length, max source block length
		{"0", NoCode, FTI{ObjectSize: mib20, SegmentSize: 1400, MaxBlockLen: 64},
			"40 04 000001400000 0000 0578 00000040"},
		// N-4.2.1-02 R-4.2.4-01: m, G, E, B, max_n
		{"2", RS, FTI{ObjectSize: mib20, M: 8, G: 1, SegmentSize: 1400, MaxBlockLen: 64, MaxN: 96},
			"40 04 000001400000 08 01 0578 0040 0060"},
		{"2, m = 16", RS, FTI{ObjectSize: mib20, M: 16, G: 1, SegmentSize: 1400, MaxBlockLen: 64, MaxN: 96},
			"40 04 000001400000 10 01 0578 0040 0060"},
		// N-4.2.1-02 R-5.2.4-01: E, B, max_n
		{"5", RS8, FTI{ObjectSize: mib20, SegmentSize: 1400, MaxBlockLen: 64, MaxN: 96},
			"40 03 000001400000 0578 40 60"},
		{"5, 2^40+5 bytes", RS8, FTI{ObjectSize: 1<<40 + 5, SegmentSize: 1400, MaxBlockLen: 64, MaxN: 96},
			"40 03 010000000005 0578 40 60"},
		// E-4.2-01: fec_instance_id, E, B
		{"128", LargeBlock, FTI{ObjectSize: mib20, Instance: 7, SegmentSize: 1400, MaxBlockLen: 1 << 20},
			"40 04 000001400000 0007 0578 00100000"},
		// N-4.2.1-06 N-4.2.1-08 E-5.2.2-01: fec_instance_id, segment_size, fec_max_block_len,
		// fec_num_parity. N-4.2.1-09: the last is 32, not 64+32. R-7-01: instance 0.
		{"129", SmallBlock, FTI{ObjectSize: mib20, SegmentSize: 1400, MaxBlockLen: 64, NumParity: 32},
			"40 04 000001400000 0000 0578 0040 0020"},
		// N-4.2.1-03: of a stream, the size of the buffer
		{"129, stream of 1 MiB", SmallBlock, FTI{ObjectSize: 1 << 20, SegmentSize: 1400, MaxBlockLen: 16, NumParity: 8},
			"40 04 000000100000 0000 0578 0010 0008"},
		{"130", Compact, FTI{ObjectSize: mib20, Instance: 7, SegmentSize: 1400, MaxBlockLen: 64},
			"40 04 000001400000 0007 0578 00000040"},
		// N-4.2.1-03
		{"largest object", RS8, FTI{ObjectSize: 1<<48 - 1, SegmentSize: 0xffff, MaxBlockLen: 255, MaxN: 255},
			"40 03 ffffffffffff ffff ff ff"},
		{"empty object", RS8, FTI{SegmentSize: 1, MaxBlockLen: 1, MaxN: 1}, "40 03 000000000000 0001 01 01"},
	} {
		want := unhex(tt.hex)
		e, err := AppendFTI(nil, tt.id, tt.fti)
		if err != nil || !bytes.Equal(e, want) {
			t.Errorf("%s: encoded %x, %v, want %x", tt.name, []byte(e), err, want)
		}
		got, ok := Extensions(want).FTI(tt.id)
		if !ok || got != tt.fti {
			t.Errorf("%s: parsed %+v, %v, want %+v", tt.name, got, ok, tt.fti)
		}
		if err := got.Check(tt.id); err != nil {
			t.Errorf("%s: Check: %v", tt.name, err)
		}
		if want[1] != byte(len(want)/4) {
			t.Errorf("%s: hel %d for %d bytes", tt.name, want[1], len(want))
		}
		// R-4.2-01: nothing of it may be missing.
		short := bytes.Clone(want[:len(want)-4])
		short[1]--
		if f, ok := Extensions(short).FTI(tt.id); ok {
			t.Errorf("%s: read %+v from %d bytes", tt.name, f, len(short))
		}
		// E-5.2.2-03: a scheme-specific word more is tolerated.
		long := append(bytes.Clone(want), 1, 2, 3, 4)
		long[1]++
		if f, ok := Extensions(long).FTI(tt.id); !ok || f != tt.fti {
			t.Errorf("%s: read %+v, %v from %d bytes", tt.name, f, ok, len(long))
		}
	}
}

// TestFTIInstance: "fully-specified" schemes, 0 to 127, have no FEC Instance ID; the others have 16 bits.
func TestFTIInstance(t *testing.T) { // F-6.1-02 F-6.2.4-01
	for _, id := range fecIDs {
		f := FTI{ObjectSize: MaxObjectSize, Instance: 0xffff, SegmentSize: 1, MaxBlockLen: 1} // F-6.2.4-02
		e, err := AppendFTI(nil, id, f)
		if id < 128 {
			if err != ErrRange {
				t.Errorf("fec_id %v: %x, %v, want ErrRange", id, []byte(e), err)
			}
			ones := append([]byte{64, 4}, bytes.Repeat([]byte{0xff}, 14)...)
			if got, ok := Extensions(ones).FTI(id); !ok || got.Instance != 0 {
				t.Errorf("fec_id %v: %+v, %v", id, got, ok)
			}
			continue
		}
		if got, ok := e.FTI(id); !ok || got != f || err != nil {
			t.Errorf("fec_id %v: %+v, %v, %v", id, got, ok, err)
		}
	}
}

func TestFTIReserved(t *testing.T) { // E-3.2.2-02
	want := FTI{ObjectSize: 1, SegmentSize: 1400, MaxBlockLen: 64}
	if got, ok := Extensions(unhex("40 04 000000000001 ffff 0578 00000040")).FTI(NoCode); !ok || got != want {
		t.Errorf("%+v, %v, want %+v", got, ok, want)
	}
	if e := fti(NoCode, want); e[8] != 0 || e[9] != 0 {
		t.Errorf("reserved sent as %x", e[8:10])
	}
}

func TestFTIDefaults(t *testing.T) { // R-4.2.3-01
	got, ok := Extensions(unhex("40 04 000000000001 00 00 0578 0040 0060")).FTI(RS)
	if !ok || got.M != 8 || got.G != 1 {
		t.Errorf("m %d, G %d, %v, want 8 and 1", got.M, got.G, ok)
	}
	if e := fti(RS, FTI{}); e[8] != 8 || e[9] != 1 {
		t.Errorf("sent m %d, G %d, want 8 and 1", e[8], e[9])
	}
}

func TestFTIRange(t *testing.T) {
	for _, tt := range []struct {
		id   FECID
		fti  FTI
		want error
	}{
		{42, FTI{}, ErrFECID},
		{RS8, FTI{ObjectSize: 1 << 48}, ErrRange},
		{RS8, FTI{MaxBlockLen: 256}, ErrRange},
		{RS8, FTI{MaxN: 256}, ErrRange},
		{RS, FTI{MaxBlockLen: 1 << 16}, ErrRange},
		{SmallBlock, FTI{MaxBlockLen: 1 << 16}, ErrRange},
		{NoCode, FTI{Instance: 1}, ErrRange}, // F-6.2.4-01
		{RS, FTI{Instance: 1}, ErrRange},     // F-6.2.4-01
		{RS8, FTI{Instance: 1}, ErrRange},    // F-6.2.4-01
	} {
		if e, err := AppendFTI(nil, tt.id, tt.fti); err != tt.want || len(e) != 0 {
			t.Errorf("fec_id %v, %+v: %x, %v, want %v", tt.id, tt.fti, []byte(e), err, tt.want)
		}
	}
}

func TestFTICheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		id   FECID
		fti  FTI
		want error
	}{
		{"unknown fec_id", 42, FTI{SegmentSize: 1, MaxBlockLen: 1}, ErrFECID},
		{"segment size 0", RS8, FTI{MaxBlockLen: 1}, ErrRange},
		{"block length 0", RS8, FTI{SegmentSize: 1}, ErrRange},
		{"object of 2^48 bytes", RS8, FTI{ObjectSize: 1 << 48, SegmentSize: 1, MaxBlockLen: 1}, ErrRange},
		{"5: largest block", RS8, FTI{SegmentSize: 1, MaxBlockLen: 255, MaxN: 255}, nil},
		{"5: block too long", RS8, FTI{SegmentSize: 1, MaxBlockLen: 256}, ErrRange},
		{"0: largest block", NoCode, FTI{SegmentSize: 1, MaxBlockLen: 1 << 16}, nil},
		{"0: block too long", NoCode, FTI{SegmentSize: 1, MaxBlockLen: 1<<16 + 1}, ErrRange},
		{"2: 255 in GF(2^8)", RS, FTI{M: 8, G: 1, SegmentSize: 1, MaxBlockLen: 200, MaxN: 255}, nil},
		{"2: 256 in GF(2^8)", RS, FTI{M: 8, G: 1, SegmentSize: 1, MaxBlockLen: 200, MaxN: 256}, ErrRange},
		{"2: 65535 in GF(2^16)", RS, FTI{M: 16, G: 1, SegmentSize: 2, MaxBlockLen: 65535, MaxN: 65535}, nil},
		{"2: m 1", RS, FTI{M: 1, G: 1, SegmentSize: 1, MaxBlockLen: 1, MaxN: 1}, ErrRange},
		{"2: m 17", RS, FTI{M: 17, G: 1, SegmentSize: 1, MaxBlockLen: 1, MaxN: 1}, ErrRange},
		{"2: m 255", RS, FTI{M: 255, G: 1, SegmentSize: 1, MaxBlockLen: 1, MaxN: 1}, ErrRange},
		{"2: symbol group of 2", RS, FTI{M: 8, G: 2, SegmentSize: 1, MaxBlockLen: 1, MaxN: 1}, ErrRange}, // R-4.1-02
		{"129: 255 symbols", SmallBlock, FTI{SegmentSize: 1, MaxBlockLen: 200, NumParity: 55}, nil},
		{"129: 256 symbols", SmallBlock, FTI{SegmentSize: 1, MaxBlockLen: 200, NumParity: 56}, ErrRange},
		{"129: other instance", SmallBlock, FTI{Instance: 1, SegmentSize: 1, MaxBlockLen: 200, NumParity: 56}, nil},
		{"128: any block", LargeBlock, FTI{SegmentSize: 1, MaxBlockLen: 1<<32 - 1}, nil},
	} {
		if err := tt.fti.Check(tt.id); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

var fecIDs = []FECID{NoCode, RS, RS8, LargeBlock, SmallBlock, Compact}

func TestPayloadID(t *testing.T) { // B-3.5-01
	for _, tt := range []struct {
		id  FECID
		m   uint8
		p   PayloadID
		hex string
	}{
		{NoCode, 0, PayloadID{3, 0, 2}, "0003 0002"},                   // E-3.2.1-01
		{RS, 0, PayloadID{3, 0, 66}, "000003 42"},                      // R-4.1-01 R-4.2.3-01: m = 8 by default
		{RS, 8, PayloadID{3, 0, 66}, "000003 42"},                      // R-4.1-01
		{RS, 16, PayloadID{3, 0, 300}, "0003 012c"},                    // R-4.1-01
		{RS, 10, PayloadID{3, 0, 300}, "00000d2c"},                     // 22 and 10 bits
		{RS8, 0, PayloadID{65537, 0, 254}, "010001 fe"},                // R-5.1-01
		{LargeBlock, 0, PayloadID{3, 0, 1 << 20}, "00000003 00100000"}, // E-4.2-01
		{SmallBlock, 0, PayloadID{3, 32, 2}, "00000003 0020 0002"},     // E-5.2.1-01
		{SmallBlock, 0, PayloadID{3, 32, 33}, "00000003 0020 0021"},    // E-5.2.1-01
		{Compact, 0, PayloadID{3, 0, 2}, "0003 0002"},
	} {
		want := unhex(tt.hex)
		if b, err := AppendPayloadID(nil, tt.id, tt.m, tt.p); err != nil || !bytes.Equal(b, want) {
			t.Errorf("fec_id %v, m %d, %+v: %x, %v, want %x", tt.id, tt.m, tt.p, b, err, want)
		}
		if p, err := ParsePayloadID(tt.id, tt.m, append(want, 0xff)); err != nil || p != tt.p {
			t.Errorf("fec_id %v, m %d, %x: %+v, %v, want %+v", tt.id, tt.m, want, p, err, tt.p)
		}
		if tt.id.PayloadIDSize() != len(want) {
			t.Errorf("fec_id %v: size %d, want %d", tt.id, tt.id.PayloadIDSize(), len(want))
		}
		// The messages that have a payload id are as much longer, and so are items of repair requests.
		pos := must(NewPosition(tt.id, tt.m, 12, tt.p))
		for _, m := range []Message{&Data{Header: Header{Source: 1}, Position: pos}, // N-4.2.1-14
			&Flush{Header: Header{Source: 1}, Position: pos},     // N-4.2.3.1-03
			&Squelch{Header: Header{Source: 1}, Position: pos}} { // N-4.2.3.3-01
			if b := must(m.AppendBinary(nil)); int(b[1]) != 4+len(want)/4 || !bytes.Equal(b[16:], want) {
				t.Errorf("fec_id %v: %T with hdr_len %d: %x", tt.id, m, b[1], b)
			}
		}
		if b := item(pos); len(b) != 4+len(want) || !bytes.Equal(b[4:], want) { // N-4.3.1-13
			t.Errorf("fec_id %v: repair item %x", tt.id, b)
		}
		for n := range want {
			if _, err := ParsePayloadID(tt.id, tt.m, want[:n]); err != ErrLength {
				t.Errorf("fec_id %v, %d bytes: %v, want ErrLength", tt.id, n, err)
			}
		}
	}
}

func TestPayloadIDRange(t *testing.T) {
	for _, tt := range []struct {
		id   FECID
		m    uint8
		p    PayloadID
		want error
	}{
		{42, 0, PayloadID{}, ErrFECID},
		{RS, 1, PayloadID{}, ErrFECID},
		{RS, 17, PayloadID{}, ErrFECID},
		{NoCode, 0, PayloadID{Block: 1 << 16}, ErrRange},
		{NoCode, 0, PayloadID{Symbol: 1 << 16}, ErrRange},
		{RS8, 0, PayloadID{Block: 1 << 24}, ErrRange},
		{RS8, 0, PayloadID{Symbol: 1 << 8}, ErrRange},
		{RS8, 0, PayloadID{BlockLen: 1}, ErrRange}, // N-4.2.1-46: only 129 says how long a block is
		{RS, 8, PayloadID{BlockLen: 1}, ErrRange},
		{NoCode, 0, PayloadID{BlockLen: 1}, ErrRange},
		{RS, 16, PayloadID{Block: 1 << 16}, ErrRange},
		{RS, 8, PayloadID{Symbol: 1 << 8}, ErrRange},
		{SmallBlock, 0, PayloadID{Symbol: 1 << 16}, ErrRange},
	} {
		if b, err := AppendPayloadID(nil, tt.id, tt.m, tt.p); err != tt.want || len(b) != 0 {
			t.Errorf("fec_id %v, m %d, %+v: %x, %v, want %v", tt.id, tt.m, tt.p, b, err, tt.want)
		}
		if tt.want == ErrFECID {
			if _, err := ParsePayloadID(tt.id, tt.m, make([]byte, 8)); err != ErrFECID {
				t.Errorf("fec_id %v, m %d: %v, want ErrFECID", tt.id, tt.m, err)
			}
		}
	}
}

// TestPayloadIDWidths: the fields fill the payload id, and values of one fec_id compare like the ids.
func TestPayloadIDWidths(t *testing.T) {
	widths := map[FECID][2]int{NoCode: {16, 16}, RS8: {24, 8}, LargeBlock: {32, 32}, SmallBlock: {32, 16}, Compact: {16, 16}}
	for id, want := range widths {
		if got := [2]int{id.BlockBits(0), id.SymbolBits(0)}; got != want {
			t.Errorf("fec_id %v: %v, want %v", id, got, want)
		}
	}
	for m := range uint8(40) {
		got, want := [2]int{RS.BlockBits(m), RS.SymbolBits(m)}, [2]int{32 - int(m), int(m)}
		switch {
		case m == 0:
			want = [2]int{24, 8}
		case m < 2 || m > 16:
			want = [2]int{}
		}
		if got != want {
			t.Errorf("m %d: %v, want %v", m, got, want)
		}
	}
	if FECID(42).BlockBits(0) != 0 || FECID(42).PayloadIDSize() != 0 {
		t.Error("fec_id 42 has a payload id")
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.SampledFrom(fecIDs).Draw(t, "fec_id")
		m := rapid.Uint8Range(2, 16).Draw(t, "m")
		p := drawPayloadID(t, id, m, "p")
		q := drawPayloadID(t, id, m, "q")
		a, b := must(p.Pack(id, m)), must(q.Pack(id, m))
		if a.Unpack(id, m) != p || (a == b) != (p == q) {
			t.Errorf("fec_id %v, m %d: %+v packs as %#x, which unpacks as %+v", id, m, p, uint64(a), a.Unpack(id, m))
		}
	})
}

func drawPayloadID(t *rapid.T, id FECID, m uint8, label string) (p PayloadID) {
	p.Block = rapid.Uint32Range(0, uint32(1<<id.BlockBits(m)-1)).Draw(t, label+" block")
	p.Symbol = rapid.Uint32Range(0, uint32(1<<id.SymbolBits(m)-1)).Draw(t, label+" symbol")
	if id == SmallBlock {
		p.BlockLen = rapid.Uint16().Draw(t, label+" block length")
	}
	return p
}

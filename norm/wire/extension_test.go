package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestExtensionTypes(t *testing.T) { // N-8.1.1-02
	if TypeExtAuth != 1 || TypeExtCC != 3 || TypeExtFTI != 64 || TypeExtRate != 128 {
		t.Error("extension types are not those of RFC 5740, Section 8.1.1")
	}
	for typ, want := range map[ExtType]string{1: "EXT_AUTH", 3: "EXT_CC", 64: "EXT_FTI", 128: "EXT_RATE", 50: "EXT(50)"} {
		if got := typ.String(); got != want {
			t.Errorf("type %d: %s, want %s", uint8(typ), got, want)
		}
	}
}

// TestExtensionLengths walks over one extension of every type: up to 127 by its hel, from 128 on by
// one word whatever stands where hel would.
func TestExtensionLengths(t *testing.T) {
	for het := range 256 {
		for hel := range 256 {
			b := make([]byte, 1020)
			b[0], b[1] = byte(het), byte(hel)
			var size int
			for typ, ext := range Extensions(b).All() {
				if typ != ExtType(het) {
					t.Fatalf("first extension has type %v, want %d", typ, het)
				}
				size = len(ext)
				break
			}
			want := 4 * hel // N-4.1-18
			if het >= 128 { // N-4.1-19 N-4.1-20
				want = 4
			}
			if size != want {
				t.Fatalf("het %d hel %d: %d bytes, want %d", het, hel, size, want)
			}
		}
	}
	if cc := AppendCC(nil, ExtCC{}); len(cc) != 12 || cc[1] != 3 { // N-4.1-18
		t.Errorf("EXT_CC: %x", cc)
	}
}

func TestBadExtensions(t *testing.T) { // N-4.1-21
	for _, tt := range []struct{ name, ext string }{
		{"hel 0", "32000000"},
		{"hel 0 after a good one", "80000000 32000000"},
		{"hel 2 in one word", "32020000"},
		{"hel 255", "01ff0000"},
		{"hel 0 and type 0", "00000000"},
		{"EXT_FTI cut short", "40040000 00000000 00000000"},
	} {
		for _, g := range goldens {
			pkt, _ := g.split()
			var want error = ErrExtension
			if _, ok := g.want.(*Report); ok {
				want = nil // has no extensions
			}
			ext := unhex(tt.ext)
			bad := slices.Insert(pkt, 4*int(pkt[1]), ext...)
			bad[1] += byte(len(ext) / 4)
			if err := fresh(g.want).Parse(bad); err != want {
				t.Errorf("%s with %s: %v, want %v", g.name, tt.name, err, want)
			}
		}
	}
}

// TestUnknownExtensionsSkipped puts extensions of types 50 and 200 before, between and after those of
// the golden messages.
func TestUnknownExtensionsSkipped(t *testing.T) { // N-8.1.1-01 N-4.2.3.5-21
	unknown := must(AppendExtension(nil, 50, []byte("123456")))
	unknown = must(AppendExtension(unknown, 200, []byte{0xab, 0xcd}))
	if want := unhex("32 02 313233343536  c8 00 abcd"); !bytes.Equal(unknown, want) {
		t.Fatalf("unknown extensions %x, want %x", unknown, want)
	}
	for _, g := range allGoldens() {
		pkt, payload := g.split()
		base := payload - len(extensionsOf(g.want))
		if _, ok := g.want.(*Report); ok {
			continue
		}
		for _, i := range []int{base, payload} {
			b := slices.Insert(slices.Clone(pkt), i, unknown...)
			b[1] += byte(len(unknown) / 4)
			var d Decoder
			m, err := d.Parse(b)
			if err != nil {
				t.Errorf("%s: %v", g.name, err)
				continue
			}
			// They are shown, and nothing else is read in another way.
			if got, want := withoutUnknown(m.LogValue().String()), g.want.LogValue().String(); got != want {
				t.Errorf("%s:\n got %s\nwant %s", g.name, got, want)
			}
			if info, ok := m.(*Info); ok { // EXT_FTI after the unknown ones
				want, _ := extensionsOf(g.want).FTI(RS8)
				if got, ok := info.Extensions.FTI(RS8); !ok || got != want {
					t.Errorf("%s: FTI %+v, %v, want %+v", g.name, got, ok, want)
				}
			}
			if out, err := m.AppendBinary(nil); err != nil || !bytes.Equal(out, b) {
				t.Errorf("%s: unknown extensions not kept: %x, %v", g.name, out, err)
			}
		}
	}
}

func extensionsOf(m Message) Extensions {
	switch m := m.(type) {
	case *Info:
		return m.Extensions
	case *Data:
		return m.Extensions
	case *CC:
		return m.Extensions
	case *RepairAdv:
		return m.Extensions
	case *EOT:
		return m.Extensions
	case *Nack:
		return m.Extensions
	case *Ack:
		return m.Extensions
	}
	return nil
}

// TestNoExtensions: a header of the base length has none, and one word more is an extension.
func TestNoExtensions(t *testing.T) { // N-4.1-06
	for name, base := range map[string]int{
		"DATA 129": 6, "DATA of a stream": 5, "FLUSH": 6, "EOT": 4, "SQUELCH": 5, "ACK_REQ": 4, "APPLICATION": 4,
		"NRL NACK for INFO": 6,
	} {
		pkt, _ := findGolden(t, name).split()
		if int(pkt[1]) != base {
			t.Errorf("%s: hdr_len %d, want %d", name, pkt[1], base)
		}
		var d Decoder
		m := must(d.Parse(pkt))
		if e := extensionsOf(m); len(e) != 0 {
			t.Errorf("%s: extensions %x", name, e)
		}
	}
	// N-4.1-17: with fec_id 129 the first extension begins at byte 24.
	pkt, _ := findGolden(t, "DATA 129 with EXT_FTI").split()
	var m Data
	if err := m.Parse(pkt); err != nil || &m.Extensions[0] != &pkt[24] || len(m.Extensions) != 16 || &m.Payload[0] != &pkt[40] {
		t.Errorf("extensions %x payload %x, %v", m.Extensions, m.Payload, err)
	}
}

// TestExtensionOrder permutes extensions of all kinds, and adds a second of each behind.
func TestExtensionOrder(t *testing.T) { // N-4.1-22
	f := FTI{ObjectSize: 1, SegmentSize: 2, MaxBlockLen: 3, MaxN: 4}
	parts := []Extensions{
		fti(RS8, f), AppendCC(nil, feedback), AppendRate(nil, 0x51f4), unhex("32020000 00000000"), auth(ExtAuth{ASID: 3}),
	}
	second := AppendRate(AppendCC(fti(RS8, FTI{ObjectSize: 9}), ExtCC{Sequence: 9}), 9)
	rapid.Check(t, func(t *rapid.T) {
		var e Extensions
		for _, part := range rapid.Permutation(parts).Draw(t, "order") {
			e = append(e, part...)
		}
		e = append(e, second...)
		if got, ok := e.FTI(RS8); !ok || got != f {
			t.Errorf("FTI = %+v, %v", got, ok)
		}
		if got, ok := e.CC(); !ok || got != feedback {
			t.Errorf("CC = %+v, %v", got, ok)
		}
		if got, ok := e.Rate(); !ok || got != 0x51f4 {
			t.Errorf("Rate = %#x, %v", got, ok)
		}
		if got := slices.Collect(e.Auth()); len(got) != 1 || got[0].ASID != 3 {
			t.Errorf("Auth = %+v", got)
		}
	})
}

func TestExtensionAbsentOrShort(t *testing.T) {
	for _, e := range []Extensions{nil, unhex("32020000 00000000"), unhex("03020000 00000000 40020000 00000000")} {
		if x, ok := e.CC(); ok {
			t.Errorf("%x: CC = %+v", []byte(e), x)
		}
		for id := range FECID(131) {
			if x, ok := e.FTI(id); ok {
				t.Errorf("%x: FTI(%v) = %+v", []byte(e), id, x)
			}
		}
		if x, ok := e.Rate(); ok {
			t.Errorf("%x: Rate = %v", []byte(e), x)
		}
	}
}

func TestAppendExtension(t *testing.T) {
	for n := range 12 {
		e, err := AppendExtension(unhex("80000000"), 65, bytes.Repeat([]byte{0xff}, n))
		words := (2 + n + 3) / 4
		if err != nil || len(e) != 4+4*words || int(e[5]) != words || e.check() != nil {
			t.Errorf("content of %d bytes: %x, %v", n, []byte(e), err)
		}
	}
	if _, err := AppendExtension(nil, 65, make([]byte, 255*4-2)); err != nil {
		t.Errorf("255 words: %v", err)
	}
	for typ, content := range map[ExtType][]byte{65: make([]byte, 255*4-1), 128: {1}, 255: {1, 2, 3}} {
		if e, err := AppendExtension(nil, typ, content); err != ErrExtension || len(e) != 0 {
			t.Errorf("type %d, %d bytes: %x, %v", typ, len(content), []byte(e), err)
		}
	}
}

// TestAuth has the layouts of RFC 6584 for all its schemes, with and without sequence number.
func TestAuth(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ar    bool
		bytes int // of signature and MAC
		hel   int
	}{ // A-3.1-01: hel as computed from the figures of RFC 6584
		{"group MAC of 96 bits", false, 12, 4},
		{"group MAC of 128 bits", false, 16, 5},
		{"group MAC of 128 bits", true, 16, 6},
		{"group MAC of 256 bits", true, 32, 10},
		{"RSA-1024", false, 128, 33},
		{"RSA-2048", true, 256, 66},
		{"P-256", false, 64, 17},
		{"P-256", true, 64, 18},
		{"RSA-1024 and 32-bit MAC", true, 132, 35},
		{"P-256 and 32-bit MAC", true, 68, 19},
	} {
		x := ExtAuth{ASID: 0xf, AntiReplay: tt.ar, Tag: bytes.Repeat([]byte{0xaa}, tt.bytes)}
		if tt.ar {
			x.Sequence = 1<<40 - 2 // all 40 bits are used
		}
		e, err := AppendAuth(nil, x)
		if err != nil || int(e[1]) != tt.hel || len(e) != 4*tt.hel {
			t.Errorf("%s: hel %d in %d bytes, %v, want hel %d", tt.name, e[1], len(e), err, tt.hel)
		}
		if got := slices.Collect(e.Auth()); !reflect.DeepEqual(got, []ExtAuth{x}) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, x)
		}
		// A-3.4-03: who does not support the scheme finds everything behind it all the same.
		if rate, ok := AppendRate(e, 7).Rate(); !ok || rate != 7 {
			t.Errorf("%s: EXT_RATE behind it: %v, %v", tt.name, rate, ok)
		}
	}

	// A-3.1-02: AR = 0 has 8 bits of sequence number, zero; AR = 1 has 40. rsvd is sent as zero.
	e := auth(ExtAuth{ASID: 2, Tag: []byte{1}})
	if want := unhex("01 02 2 0 00 01000000"); !bytes.Equal(e, want) {
		t.Errorf("AR = 0: %x, want %x", []byte(e), want)
	}
	e = auth(ExtAuth{ASID: 2, AntiReplay: true, Sequence: 0x0102030405, Tag: []byte{1}})
	if want := unhex("01 03 2 1 0102030405 01000000"); !bytes.Equal(e, want) {
		t.Errorf("AR = 1: %x, want %x", []byte(e), want)
	}
	for _, x := range []ExtAuth{{ASID: 16}, {Sequence: 1}, {AntiReplay: true, Sequence: 1 << 40}} {
		if _, err := AppendAuth(nil, x); err != ErrRange {
			t.Errorf("%+v: %v, want ErrRange", x, err)
		}
	}
	if _, err := AppendAuth(nil, ExtAuth{Tag: make([]byte, 255*4-3)}); err != ErrExtension {
		t.Errorf("256 words: %v, want ErrExtension", err)
	}

	// A-2-02: two schemes in one packet, told apart by ASID.
	two := must(AppendAuth(auth(ExtAuth{ASID: 1, Tag: make([]byte, 16)}), ExtAuth{ASID: 2, Tag: make([]byte, 64)}))
	var ids []uint8
	for x := range two.Auth() {
		ids = append(ids, x.ASID)
	}
	if !slices.Equal(ids, []uint8{1, 2}) {
		t.Errorf("ASIDs %v, want 1 and 2", ids)
	}
	// AR = 1 in a single word has no room for its number.
	for x := range Extensions(unhex("01 01 2 1 00")).Auth() {
		t.Errorf("read %+v from one word", x)
	}
}

// TestAuthInPlace verifies the MAC of a golden message: HMAC-SHA-256 cut to 128 bits over the message
// with zeros in place of the MAC, which the parsed extension points at.
func TestAuthInPlace(t *testing.T) {
	pkt, _ := findGolden(t, "EOT with EXT_AUTH").split()
	var m EOT
	if err := m.Parse(pkt); err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	for x := range m.Extensions.Auth() {
		tag := bytes.Clone(x.Tag)
		clear(x.Tag)
		mac := hmac.New(sha256.New, key)
		mac.Write(pkt)
		if got := mac.Sum(nil)[:16]; !bytes.Equal(got, tag) {
			t.Errorf("MAC %x, want %x", got, tag)
		}
		return
	}
	t.Error("no EXT_AUTH")
}

// TestAuthLargest: "hdr_len" has 8 bits, which is enough for a 2048-bit RSA signature.
func TestAuthLargest(t *testing.T) { // N-4.1-23
	e := AppendCC(auth(ExtAuth{Tag: make([]byte, 256)}), feedback)
	m := Nack{Header: Header{Source: 1}, Extensions: e}
	b, err := m.AppendBinary(nil)
	if err != nil || int(b[1]) != 6+65+3 {
		t.Fatalf("hdr_len %d, %v", b[1], err)
	}
	m.Extensions = make252Words()[:4*249]
	if b, err := m.AppendBinary(nil); err != nil || b[1] != 255 || len(b) != 1020 {
		t.Errorf("249 words of extensions: %d bytes, %v", len(b), err)
	}
	m.Extensions = make252Words()[:4*250]
	if _, err := m.AppendBinary(nil); err != ErrHeaderSize {
		t.Errorf("250 words of extensions: %v, want ErrHeaderSize", err)
	}
}

// withoutUnknown takes the extensions that TestUnknownExtensionsSkipped puts in out of a message's fields.
func withoutUnknown(fields string) string {
	const unknown = "EXT(50){content=313233343536},EXT(200){content=abcd}"
	for _, cut := range []string{unknown + ",", "," + unknown, " header_extensions=" + unknown} {
		if before, after, ok := strings.Cut(fields, cut); ok {
			return before + after
		}
	}
	return fields
}

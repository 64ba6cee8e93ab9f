package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// payload writes repair requests and returns them encoded.
func payload(write func(w *RepairWriter)) []byte {
	w := NewRepairWriter(nil, 1400)
	write(&w)
	return w.Bytes()
}

func TestRepairConstants(t *testing.T) {
	if RepairItems != 1 || RepairRanges != 2 || RepairErasures != 3 { // N-4.3.1-11
		t.Error("forms are not those of RFC 5740, Section 4.3.1")
	}
	if RepairSegment != 0x01 || RepairBlock != 0x02 || RepairInfo != 0x04 || RepairObject != 0x08 { // N-4.3.1-12
		t.Error("flags are not those of RFC 5740, Section 4.3.1")
	}
	if got := fmt.Sprint(RepairItems, RepairRanges, RepairErasures, RepairForm(4)); got != "items ranges erasures RepairForm(4)" {
		t.Error(got)
	}
	if got := RepairFlags(0xff).String(); got != "segment|block|info|object" {
		t.Error(got)
	}
}

// TestRepairPayloads are the NACK content examples of RFC 5740, Section 4.3.1, and others computed by an
// independent script.
func TestRepairPayloads(t *testing.T) {
	rs8 := func(object TransportID, block, symbol uint32) Position {
		return at(RS8, object, PayloadID{block, 0, symbol})
	}
	sb := func(object TransportID, block uint32, n uint16, symbol uint32) Position {
		return at(SmallBlock, object, PayloadID{block, n, symbol})
	}
	for _, tt := range []struct {
		name  string
		write func(w *RepairWriter)
		hex   string // form, flags, length, fec_id, reserved, object, fec_payload_id
		text  string
	}{
		{"RFC example 1", func(w *RepairWriter) { // N-4.3.1-10 N-4.3.1-13
			w.Item(RepairSegment, sb(12, 3, 32, 2))
			w.Item(RepairSegment, sb(12, 3, 32, 5))
			w.Item(RepairSegment, sb(12, 3, 32, 8))
		}, `01 01 0024  81 00 000c 00000003 0020 0002  81 00 000c 00000003 0020 0005  81 00 000c 00000003 0020 0008`,
			"NACK segment 12/3/2, segment 12/3/5, segment 12/3/8"},
		{"RFC example 2", func(w *RepairWriter) { // N-4.3.1-10 N-4.3.1-20
			w.Range(RepairSegment, sb(18, 6, 32, 5), sb(18, 6, 32, 10))
			w.Item(RepairSegment|RepairInfo, sb(19, 1, 32, 3))
		}, `02 01 0018  81 00 0012 00000006 0020 0005  81 00 0012 00000006 0020 000a
		    01 05 000c  81 00 0013 00000001 0020 0003`,
			"NACK segment 18/6/5-10, info segment 19/1/3"},
		{"three parity symbols of 129", func(w *RepairWriter) {
			w.Range(RepairSegment, sb(12, 9, 64, 64), sb(12, 9, 64, 66))
		}, `02 01 0018  81 00 000c 00000009 0040 0040  81 00 000c 00000009 0040 0042`, "NACK segment 12/9/64-66"},
		{"three parity symbols of 5", func(w *RepairWriter) { // N-4.3.1-13
			w.Range(RepairSegment, rs8(12, 9, 64), rs8(12, 9, 66))
		}, `02 01 0010  05 00 000c 000009 40  05 00 000c 000009 42`, "NACK segment 12/9/64-66"},
		{"three erasures", func(w *RepairWriter) {
			w.Erasures(rs8(12, 9, 3))
		}, `03 01 0008  05 00 000c 000009 03`, "NACK erasures 12/9:3"},
		{"more erasures than parity", func(w *RepairWriter) {
			w.Item(RepairSegment, rs8(12, 0, 4))
			w.Item(RepairSegment, rs8(12, 0, 6))
			w.Range(RepairSegment, rs8(12, 0, 8), rs8(12, 0, 9))
		}, `01 01 0010  05 00 000c 000000 04  05 00 000c 000000 06
		    02 01 0010  05 00 000c 000000 08  05 00 000c 000000 09`,
			"NACK segment 12/0/4, segment 12/0/6, segment 12/0/8-9"},
		{"blocks 10 to 14", func(w *RepairWriter) {
			w.Range(RepairBlock, rs8(12, 10, 0), rs8(12, 14, 0))
		}, `02 02 0010  05 00 000c 00000a 00  05 00 000c 00000e 00`, "NACK block 12/10-14"},
		{"INFO of 19, then objects 20 to 22", func(w *RepairWriter) {
			w.Item(RepairInfo, rs8(19, 0, 0))
			w.Range(RepairObject, rs8(20, 0, 0), rs8(22, 0, 0))
		}, `01 04 0008  05 00 0013 000000 00  02 08 0010  05 00 0014 000000 00  05 00 0016 000000 00`,
			"NACK info 19, object 20-22"},
		{"explicit segments of a flushed stream block", func(w *RepairWriter) {
			w.Item(RepairSegment, sb(3, 7, 16, 2))
			w.Item(RepairSegment, sb(3, 7, 16, 4))
		}, `01 01 0018  81 00 0003 00000007 0010 0002  81 00 0003 00000007 0010 0004`,
			"NACK segment 3/7/2, segment 3/7/4"},
		{"a range of one", func(w *RepairWriter) { w.Range(RepairBlock, rs8(1, 2, 0), rs8(1, 2, 0)) },
			`01 02 0008  05 00 0001 000002 00`, "NACK block 1/2"},
		{"segments of two blocks", func(w *RepairWriter) { w.Range(RepairSegment, rs8(1, 2, 3), rs8(1, 4, 5)) },
			`02 01 0010  05 00 0001 000002 03  05 00 0001 000004 05`, "NACK segment 1/2/3-1/4/5"},
	} {
		want := unhex(tt.hex)
		got := payload(tt.write)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tt.name, got, want)
		}
		m := Nack{Header: Header{Source: 1}, Payload: want}
		b := must(m.AppendBinary(nil))
		var parsed Nack
		if err := parsed.Parse(b); err != nil || parsed.Malformed != 0 {
			t.Errorf("%s: %v, %d malformed", tt.name, err, parsed.Malformed)
		}
		if got := parsed.String(); got != tt.text {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.text)
		}
	}
}

// TestErasureCount: "the "encoding_symbol_id" portion of the "fec_payload_id" field of the repair request
// item [...] is to be interpreted as an erasure count".
func TestErasureCount(t *testing.T) {
	for r := range Requests(unhex("03 01 0010  05 00 000c 000009 03  05 00 000c 00000a 1f")) {
		var got []PayloadID
		for first, last := range r.All() {
			if first != last {
				t.Errorf("a pair of %v and %v", first, last)
			}
			got = append(got, first.PayloadID(0))
		}
		if want := []PayloadID{{9, 0, 3}, {10, 0, 31}}; !slices.Equal(got, want) || r.Form != RepairErasures || r.Len() != 2 {
			t.Errorf("%v %v, want %v", r.Form, got, want)
		}
		return
	}
	t.Error("no request")
}

// TestMalformedRequests puts a malformed request between two good ones, which must survive it.
func TestMalformedRequests(t *testing.T) { // N-4.3.1-23
	good := unhex("01 01 0008  05 00 0001 000002 03")
	for _, tt := range []struct {
		name, hex string
		malformed int
	}{
		{"none", "", 0},
		{"form 0", "00 01 0008  05 00 0001 000002 03", 1},          // N-4.3.1-11
		{"form 4", "04 01 0008  05 00 0001 000002 03", 1},          // N-4.3.1-11
		{"form 255 with what is no item", "ff 01 0003  010203", 1}, // N-4.3.1-11
		{"no items", "01 01 0000", 1},
		{"items that do not fill the length", "01 01 000a  05 00 0001 000002 03 0500", 1},
		{"length that cuts an item", "01 01 0007  05 00 0001 000002", 1},
		{"fec_id 129 in 8 bytes", "01 01 0008  81 00 0001 00000002", 1},
		{"unknown fec_id", "01 01 0008  2a 00 0001 00000002", 1},
		{"good item, then unknown fec_id", "01 01 0010  05 00 0001 000002 03  2a 00 0001 00000002", 1},
		{"range without end", "02 01 0008  05 00 0001 000002 03", 1},
		{"three ends", "02 01 0018  05 00 0001 000002 03  05 00 0001 000002 05  05 00 0001 000002 07", 1},
		{"segments backwards", "02 01 0010  05 00 0001 000002 05  05 00 0001 000002 03", 1},
		{"blocks backwards", "02 02 0010  05 00 0001 000003 00  05 00 0001 000002 00", 1},
		{"objects backwards", "02 08 0010  05 00 0002 00000000  05 00 0001 00000000", 1},
		{"objects half the circle apart", "02 08 0010  05 00 0000 00000000  05 00 8000 00000000", 1},
		{"segments across objects", "02 01 0010  05 00 0001 000002 03  05 00 0002 000002 05", 1},
		{"blocks across objects", "02 02 0010  05 00 0001 000002 00  05 00 0002 000002 00", 1},
		{"range across fec_ids", "02 01 0010  05 00 0001 000002 03  02 00 0001 000002 05", 1},
		{"129: blocks backwards", "02 02 0018  81 00 0001 00000003 0020 0000  81 00 0001 00000002 0020 0000", 1},
		{"2: segments backwards", "02 01 0010  02 00 0001 000002 05  02 00 0001 000002 03", 1},
		{"2: blocks backwards for any m", "02 02 0010  02 00 0001 00030000  02 00 0001 00020000", 1},
		{"two of them", "00 00 0000  04 00 0000", 2},

		{"block numbers that wrap", "02 02 0010  05 00 0001 ffffff 00  05 00 0001 000001 00", 0},
		{"16-bit block numbers that wrap", "02 02 0010  00 00 0001 ffff 0000  00 00 0001 0001 0000", 0},
		{"more than half the blocks of a file", "02 02 0010  00 00 0001 0000 0000  00 00 0001 ffff 0000", 0},
		{"object ids that wrap", "02 08 0010  05 00 ffff 00000000  05 00 0001 00000000", 0},
		{"infos of a range of objects", "02 04 0010  05 00 0001 00000000  05 00 0003 00000000", 0},
		{"blocks with garbage symbols", "02 02 0010  05 00 0001 000002 ff  05 00 0001 000002 00", 0},
		{"2: blocks with garbage symbols", "02 02 0010  02 00 0001 0002ffff  02 00 0001 00020000", 0},
		{"objects with garbage payload ids", "02 08 0010  05 00 0001 ffffffff  05 00 0002 00000000", 0},
		{"items of two sizes", "01 01 0014  05 00 0001 000002 03  81 00 0002 00000002 0020 0002", 0},
		{"segments of all blocks up to another", "02 01 0010  05 00 0001 000002 ff  05 00 0001 000003 00", 0},
	} {
		middle := unhex(tt.hex)
		m := Nack{Header: Header{Source: 1}, Payload: slices.Concat(good, middle, good)}
		b := must(m.AppendBinary(nil))
		var parsed Nack
		if err := parsed.Parse(b); err != nil || parsed.Malformed != tt.malformed {
			t.Errorf("%s: %v, %d malformed, want %d", tt.name, err, parsed.Malformed, tt.malformed)
			continue
		}
		want := 2
		if len(middle) > 0 && tt.malformed == 0 {
			want = 3
		}
		if n := len(slices.Collect(parsed.Requests())); n != want {
			t.Errorf("%s: %d requests, want %d", tt.name, n, want)
		}
	}
}

// TestRequestPastTheEnd: a "length" beyond the payload makes the whole message malformed.
func TestRequestPastTheEnd(t *testing.T) {
	for _, g := range []string{"NACK with EXT_CC", "REPAIR_ADV with EXT_CC"} {
		pkt, n := findGolden(t, g).split()
		pkt[n+3]++
		if err := fresh(findGolden(t, g).want).Parse(pkt); err != ErrLength {
			t.Errorf("%s: %v, want ErrLength", g, err)
		}
	}
}

// need is a repair need to write and to read again.
type need struct {
	form        RepairForm
	flags       RepairFlags
	first, last Position
}

func drawNeed(t *rapid.T, label string) need {
	id := rapid.SampledFrom(fecIDs).Draw(t, label+" fec_id")
	form := RepairForm(rapid.IntRange(1, 3).Draw(t, label+" form"))
	flags := rapid.SampledFrom([]RepairFlags{RepairSegment, RepairBlock, RepairInfo, RepairObject,
		RepairSegment | RepairInfo, RepairBlock | RepairInfo}).Draw(t, label+" flags")
	p := drawPayloadID(t, id, DefaultM, label)
	object := TransportID(rapid.Uint16().Draw(t, label+" object"))
	n := need{form, flags, at(id, object, p), at(id, object, p)}
	switch form {
	case RepairErasures:
		n.flags = RepairSegment
	case RepairRanges:
		p.Symbol |= 1 << (id.SymbolBits(0) - 1) // after, or the same
		n.last = at(id, object, p)
		if n.last == n.first {
			n.form = RepairItems
		}
	}
	return n
}

func (n need) write(w *RepairWriter) bool {
	switch n.form {
	case RepairErasures:
		return w.Erasures(n.first)
	case RepairRanges:
		return w.Range(n.flags, n.first, n.last)
	}
	return w.Item(n.flags, n.first)
}

// TestRepairWriter writes needs until one does not fit: the payload stays within the segment size, and
// reading gives what was written in its order.
func TestRepairWriter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 300).Draw(t, "limit")
		header := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "header")
		w := NewRepairWriter(header, limit)
		var want []need
		for i := range 40 {
			n := drawNeed(t, fmt.Sprint("need ", i))
			before := bytes.Clone(w.Bytes())
			if !n.write(&w) {
				if !bytes.Equal(w.Bytes(), before) {
					t.Fatalf("a need that does not fit changed the payload")
				}
				if room := limit - w.Len(); room >= 4+2*12 {
					t.Fatalf("%+v does not fit in %d bytes", n, room)
				}
				break
			}
			want = append(want, n)
		}
		out := w.Bytes()
		if !bytes.HasPrefix(out, header) || w.Len() != len(out)-len(header) || w.Len() > limit {
			t.Fatalf("%d bytes after %x, limit %d: %x", w.Len(), header, limit, out)
		}
		payload := out[len(header):]
		if n, err := checkRequests(payload); n != 0 || err != nil {
			t.Fatalf("%d malformed, %v in %x", n, err, payload)
		}
		var got []need
		for r := range Requests(payload) {
			for first, last := range r.All() {
				got = append(got, need{r.Form, r.Flags, first, last})
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("wrote %+v\nread %+v\nfrom %x", want, got, payload)
		}
	})
}

func TestRepairWriterRefuses(t *testing.T) {
	w := NewRepairWriter(nil, 1400)
	if w.Item(RepairSegment, Position{FECID: 42}) || w.Range(RepairSegment, at(RS8, 0, PayloadID{}), Position{FECID: 42}) ||
		w.Erasures(Position{FECID: RS8, Raw: 1 << 32}) || w.Len() != 0 {
		t.Errorf("wrote %x", w.Bytes())
	}
}

// TestRepairWriterLength: "length" has 16 bits, so a longer list becomes two requests.
func TestRepairWriterLength(t *testing.T) {
	w := NewRepairWriter(nil, 1<<20)
	const items = 10000
	for i := range items {
		if !w.Item(RepairSegment, at(RS8, 1, PayloadID{Block: uint32(i)})) {
			t.Fatal("does not fit")
		}
	}
	if first := binary.BigEndian.Uint16(w.Bytes()[2:]); first != 65528 {
		t.Errorf("first request of %d bytes, want 65528", first)
	}
	n := 0
	for r := range Requests(w.Bytes()) {
		n += r.Len()
	}
	if n != items {
		t.Errorf("read %d items, wrote %d", n, items)
	}
}

func TestRequestsStop(t *testing.T) {
	p := payload(func(w *RepairWriter) {
		w.Item(RepairSegment, at(RS8, 1, PayloadID{Symbol: 1}))
		w.Item(RepairSegment, at(RS8, 1, PayloadID{Symbol: 2}))
		w.Item(RepairBlock, at(RS8, 1, PayloadID{Block: 1}))
	})
	var seen []string
	for r := range Requests(p) {
		for first := range r.All() {
			seen = append(seen, first.String())
			break
		}
		break
	}
	if got := strings.Join(seen, " "); got != "1/0/1" {
		t.Errorf("saw %s after stopping at the first", got)
	}
}

package wire

import "testing"

// TestNoAllocations: parsing a message, walking over all of it and encoding it takes no memory.
func TestNoAllocations(t *testing.T) {
	var d Decoder
	out := make([]byte, 0, 1500)
	for _, g := range allGoldens() {
		pkt, _ := g.split()
		sum := 0
		if n := testing.AllocsPerRun(100, func() {
			m, err := d.Parse(pkt)
			if err != nil {
				t.Fatal(err)
			}
			sum += visit(m)
			if out, err = m.AppendBinary(out[:0]); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", g.name, n)
		}
		if len(out) != len(pkt) {
			t.Errorf("%s: encoded %d bytes of %d", g.name, len(out), len(pkt))
		}
	}
	for _, bad := range [][]byte{nil, unhex("2304"), unhex("13 04 0008 0a000001 1234 88 43 63 000000")} {
		if n := testing.AllocsPerRun(100, func() { d.Parse(bad) }); n != 0 {
			t.Errorf("refusing %x: %v allocations", bad, n)
		}
	}
}

// visit reads what the engine reads of a message.
func visit(m Message) (sum int) {
	switch m := m.(type) {
	case *Data:
		f, _ := m.Extensions.FTI(m.FECID)
		id := m.PayloadID(8)
		_, data, _ := ParseStreamPayload(m.Payload)
		sum += int(f.SegmentSize) + int(id.Symbol) + len(data)
	case *Info:
		f, _ := m.Extensions.FTI(m.FECID)
		sum += int(f.SegmentSize)
	case *CC:
		rate, _ := m.Extensions.Rate()
		sum += int(rate)
		for n := range m.Nodes.All() {
			sum += int(n.Rate)
		}
	case *Flush:
		for n := range m.AckingNodes.All() {
			sum += int(n)
		}
	case *Squelch:
		for id := range m.Invalid.All() {
			sum += int(id)
		}
	case *Nack:
		cc, _ := m.Extensions.CC()
		sum += int(cc.Rate)
		for r := range m.Requests() {
			for first, last := range r.All() {
				sum += int(first.Object) + int(last.Object)
			}
		}
	case *RepairAdv:
		for r := range m.Requests() {
			for first := range r.All() {
				sum += int(first.Object)
			}
		}
	case *EOT:
		for x := range m.Extensions.Auth() {
			sum += len(x.Tag)
		}
	case *Ack:
		p, _ := m.Watermark()
		sum += int(p.Object)
	}
	return sum
}

// TestNoAllocationsBuilding: neither do a DATA with extension written around its payload, and a NACK.
func TestNoAllocationsBuilding(t *testing.T) {
	buf, ext := make([]byte, 0, 1500), make(Extensions, 0, 64)
	segment := make([]byte, 1400)
	data := Data{Header: Header{Source: 1}}
	nack := Nack{Header: Header{Source: 2}}
	if n := testing.AllocsPerRun(100, func() {
		ext, _ = AppendFTI(ext[:0], RS8, FTI{ObjectSize: 1 << 20, SegmentSize: 1400, MaxBlockLen: 64, MaxN: 96})
		data.Position, _ = NewPosition(RS8, 0, 1, PayloadID{Block: 3, Symbol: 7})
		data.Extensions = ext
		buf, _ = data.AppendBinary(buf[:0])
		buf = append(buf, segment...)
		SetSequence(buf, 9)
	}); n != 0 || len(buf) != 20+12+1400 {
		t.Errorf("DATA: %v allocations, %d bytes", n, len(buf))
	}
	if n := testing.AllocsPerRun(100, func() {
		nack.Extensions = AppendCC(ext[:0], feedback)
		buf, _ = nack.AppendBinary(buf[:0])
		w := NewRepairWriter(buf, 1400)
		p, _ := NewPosition(RS8, 0, 1, PayloadID{Block: 3, Symbol: 7})
		q, _ := NewPosition(RS8, 0, 1, PayloadID{Block: 3, Symbol: 9})
		w.Item(RepairSegment, p)
		w.Range(RepairSegment, p, q)
		w.Erasures(p)
		buf = w.Bytes()
	}); n != 0 || len(buf) != 36+12+20+12 {
		t.Errorf("NACK: %v allocations, %d bytes", n, len(buf))
	}
}

func BenchmarkParse(b *testing.B) {
	for _, g := range goldens {
		pkt, _ := g.split()
		b.Run(g.name, func(b *testing.B) {
			b.ReportAllocs()
			var d Decoder
			for b.Loop() {
				if _, err := d.Parse(pkt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendBinary(b *testing.B) {
	for _, g := range goldens {
		b.Run(g.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 1500)
			var err error
			for b.Loop() {
				if buf, err = g.want.AppendBinary(buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDataSegment(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(1400)
	buf, segment := make([]byte, 0, 1500), make([]byte, 1400)
	m := Data{Header: Header{Source: 1}, Position: at(RS8, 1, PayloadID{}), Payload: segment}
	var parsed Data
	for b.Loop() {
		buf, _ = m.AppendBinary(buf[:0])
		if err := parsed.Parse(buf); err != nil {
			b.Fatal(err)
		}
	}
}

package fec

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPartitionVectors(t *testing.T) {
	for _, v := range vectors(t, "partition.txt") {
		in, want := numbers(t, v.input), numbers(t, v.want)
		p, err := NewPartition(uint64(in[0]), int(in[1]), int(in[2]))
		if err != nil {
			t.Fatal(v.place, err)
		}
		last := uint32(p.N - 1)
		got := []int64{
			int64(p.T), int64(p.N), int64(p.ALarge), int64(p.ASmall), int64(p.I),
			int64(p.SymbolLen(last, p.BlockLen(last)-1)),
		}
		if !slices.Equal(got, want) { // F-9.1-01 F-9.1-02 F-9.1-04 F-9.1-05
			t.Errorf("%s: T N A_large A_small I last = %v, want %v", v.place, got, want)
		}
		// Every scheme partitions alike.
		for _, id := range append(reedSolomonIDs, NoCode) {
			q, err := Params{ID: id, SegmentSize: int(in[1]), MaxBlockLen: int(in[2])}.Partition(uint64(in[0]))
			if err != nil || q != p { // E-3.3-01 E-5.3-01 R-6-01
				t.Errorf("%s: id %d: %+v, %v; want %+v", v.place, id, q, err, p)
			}
		}
	}
}

// TestPartitionOffsets is the first vector in detail: 20 MiB in segments of 1400 bytes.
func TestPartitionOffsets(t *testing.T) {
	p, err := NewPartition(20971520, 1400, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b         uint32
		i         int
		k         int
		offset    uint64
		symbolLen int
	}{
		{0, 0, 64, 0, 1400},
		{0, 63, 64, 88200, 1400},
		{1, 0, 64, 89600, 1400},
		{174, 63, 64, 15678600, 1400}, // the last of the larger blocks
		{175, 0, 63, 15680000, 1400},
		{175, 62, 63, 15766800, 1400},
		{176, 0, 63, 15768200, 1400},
		{234, 61, 63, 20969200, 1400},
		{234, 62, 63, 20970600, 920}, // the last of the object: ends at 20971520
	} {
		if k := p.BlockLen(c.b); k != c.k { // F-9.1-03
			t.Errorf("block %d has %d symbols, want %d", c.b, k, c.k)
		}
		if !p.Has(c.b, c.i) {
			t.Errorf("no symbol (%d, %d)", c.b, c.i)
		}
		if got := p.Offset(c.b, c.i); got != c.offset { // N-4.2.1-47
			t.Errorf("offset of (%d, %d) is %d, want %d", c.b, c.i, got, c.offset)
		}
		if got := p.SymbolLen(c.b, c.i); got != c.symbolLen { // F-9.1-04 N-4.2.1-47
			t.Errorf("(%d, %d) has %d bytes, want %d", c.b, c.i, got, c.symbolLen)
		}
		if b, i, within, ok := p.Locate(c.offset + 919); b != c.b || i != c.i || within != 919 || !ok {
			t.Errorf("byte %d is (%d, %d) byte %d %v, want (%d, %d) byte 919", c.offset+919, b, i, within, ok, c.b, c.i)
		}
	}
	for _, c := range []struct {
		b uint32
		i int
	}{{0, 64}, {0, -1}, {175, 63}, {235, 0}, {math.MaxUint32, 0}, {0, math.MaxInt}} {
		if p.Has(c.b, c.i) || p.SymbolLen(c.b, c.i) != 0 {
			t.Errorf("the object has a symbol (%d, %d)", c.b, c.i)
		}
	}
	if _, _, _, ok := p.Locate(20971520); ok {
		t.Error("the object has a byte beyond its end")
	}
}

// TestEmptyObject: L = 0 gives N = 0, by which the algorithm would divide.
func TestEmptyObject(t *testing.T) {
	p, err := NewPartition(0, 1400, 64)
	if err != nil || p.N != 0 || p.T != 0 { // F-9.1-06
		t.Fatalf("%+v, %v; want no blocks", p, err)
	}
	for _, p := range []Partition{p, {}} {
		_, _, _, located := p.Locate(0)
		if p.Has(0, 0) || p.BlockLen(0) != 0 || p.FirstSymbol(9) != 0 || p.SymbolLen(0, 0) != 0 || located { // F-9.1-06
			t.Errorf("%+v has symbols", p)
		}
	}
}

func TestPartitionRefusesAbsurdity(t *testing.T) {
	for _, c := range []struct {
		name   string
		length uint64
		e, b   int
	}{
		{"2^48 bytes", 1 << 48, 1400, 64},
		{"2^64-1 bytes", math.MaxUint64, 1400, 64},
		{"E = 0", 1000, 0, 64},
		{"E < 0", 1000, -1, 64},
		{"E = 2^16", 1000, 1 << 16, 64},
		{"B = 0", 1000, 1400, 0},
		{"B < 0", 1000, 1400, math.MinInt},
		{"E = 0 in an empty object", 0, 0, 64},
		{"2^48-1 blocks", 1<<48 - 1, 1, 1},
		{"2^32+1 blocks", 1<<32 + 1, 1, 1},
	} {
		if p, err := NewPartition(c.length, c.e, c.b); err == nil || p != (Partition{}) {
			t.Errorf("%s: %+v, %v; want an error", c.name, p, err)
		}
	}
	// The limits themselves.
	p, err := NewPartition(1<<48-1, MaxSegmentSize, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	checkPartition(t, p, math.MaxInt32)
	if p, err = NewPartition(1<<32, 1, 1); err != nil || p.N != 1<<32 || p.Offset(math.MaxUint32, 0) != math.MaxUint32 {
		t.Errorf("2^32 blocks: %+v, %v", p, err)
	}
}

// TestPartitionCoversObject walks small objects symbol by symbol: they lie end to end from 0 to L, and each byte is
// found where it is.
func TestPartitionCoversObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Uint64Range(0, 5000).Draw(t, "L")
		b := rapid.IntRange(1, 70).Draw(t, "B")
		p, err := NewPartition(length, rapid.IntRange(1, 70).Draw(t, "E"), b)
		if err != nil {
			t.Fatal(err)
		}
		if p.I*uint64(p.ALarge)+(p.N-p.I)*uint64(p.ASmall) != p.T { // F-9.1-02
			t.Fatalf("%+v: blocks do not add up to T", p)
		}
		var end uint64
		for n := range p.N {
			n := uint32(n)
			k := p.BlockLen(n)
			if want := p.ASmall + map[bool]int{true: p.ALarge - p.ASmall}[uint64(n) < p.I]; k != want || k < 1 || k > b { // F-9.1-02 F-9.1-03
				t.Fatalf("%+v: block %d has %d symbols", p, n, k)
			}
			for i := range k {
				size := p.SymbolLen(n, i)
				if p.Offset(n, i) != end || size < 1 || size > p.E || size < p.E && end+uint64(size) != length { // F-9.1-04 E-3.2.2-03
					t.Fatalf("%+v: (%d, %d) is %d bytes at %d, want them at %d", p, n, i, size, p.Offset(n, i), end)
				}
				for within := range size {
					gotN, gotI, gotWithin, ok := p.Locate(end + uint64(within))
					if gotN != n || gotI != i || gotWithin != within || !ok {
						t.Fatalf("%+v: byte %d is (%d, %d) byte %d %v", p, end+uint64(within), gotN, gotI, gotWithin, ok)
					}
				}
				end += uint64(size)
			}
		}
		if end != length {
			t.Fatalf("%+v: symbols end at %d", p, end)
		}
	})
}

// checkPartition holds a partition of any size to its invariants, at the places where it could break.
func checkPartition(t *testing.T, p Partition, maxBlockLen int) {
	t.Helper()
	if p.N == 0 {
		if p.L != 0 {
			t.Fatalf("%+v: no blocks", p)
		}
		return
	}
	if p.I*uint64(p.ALarge)+(p.N-p.I)*uint64(p.ASmall) != p.T || p.ALarge > maxBlockLen || p.ASmall < 1 || p.I >= p.N { // F-9.1-02
		t.Fatalf("%+v: blocks do not add up, B = %d", p, maxBlockLen)
	}
	for _, n := range []uint64{0, p.I - 1, p.I, p.N / 2, p.N - 1} {
		if n >= p.N {
			continue // I = 0
		}
		b := uint32(n)
		k := p.BlockLen(b)
		for _, i := range []int{0, k / 2, k - 1} {
			offset, size := p.Offset(b, i), p.SymbolLen(b, i)
			if !p.Has(b, i) || size < 1 || size > p.E || offset+uint64(size) > p.L {
				t.Fatalf("%+v: (%d, %d) is %d bytes at %d", p, b, i, size, offset)
			}
			gotB, gotI, within, ok := p.Locate(offset + uint64(size) - 1)
			if gotB != b || gotI != i || within != size-1 || !ok {
				t.Fatalf("%+v: end of (%d, %d) is (%d, %d) byte %d %v", p, b, i, gotB, gotI, within, ok)
			}
		}
		next := offsetAfter(p, b, k)
		if n+1 < p.N && p.Offset(b+1, 0) != next || n+1 == p.N && p.L != next {
			t.Fatalf("%+v: a gap after block %d", p, b)
		}
	}
}

func offsetAfter(p Partition, b uint32, k int) uint64 {
	return p.Offset(b, k-1) + uint64(p.SymbolLen(b, k-1))
}

package fec

import (
	"bytes"
	"testing"
)

// The seeds of the fuzz tests are in testdata/fuzz.

func FuzzPartition(f *testing.F) {
	f.Fuzz(func(t *testing.T, length uint64, e, b int32) {
		p, err := NewPartition(length, int(e), int(b))
		if err != nil {
			if p != (Partition{}) {
				t.Fatalf("%+v beside %v", p, err)
			}
			return
		}
		if p.L != length || p.N > 1<<32 {
			t.Fatalf("%+v", p)
		}
		checkPartition(t, p, int(b))
	})
}

func FuzzParams(f *testing.F) {
	f.Fuzz(func(t *testing.T, id uint8, instance uint16, m, g uint8, e, b, parity int32, d uint8, length uint64) {
		p := Params{
			ID: id, Instance: instance, M: m, G: g, Dialect: Dialect(d),
			SegmentSize: int(e), MaxBlockLen: int(b), MaxParity: int(parity),
		}
		if d, err := p.Partition(length); err == nil {
			if d.L != length || d.N > p.MaxBlocks() {
				t.Fatalf("%+v: %+v", p, d)
			}
			checkPartition(t, d, p.MaxBlockLen)
		}
		s, err := p.Scheme()
		if err != nil {
			return
		}
		k := p.MaxBlockLen
		n := s.Symbols(k)
		if n != k+p.MaxParity || id != NoCode && n > 255 || n > 1<<16 {
			t.Fatalf("%+v: %d symbols", p, n)
		}
		if got := p.WithLastFTIField(p.LastFTIField()); got != p {
			t.Fatalf("%+v comes back from an FTI as %+v", p, got)
		}
		// What is accepted works: the last parity symbol replaces the first source symbol, as far as there is one.
		source := newMatrix(k, 1, func(i, _ int) byte { return byte(i + 1) })
		symbols := append(source, make([][]byte, n-k)...)
		dst := make([][]byte, k)
		if n > k {
			symbols[n-1] = make([]byte, 1)
			if err := s.Parity(symbols[n-1], source[:k], n-1); err != nil {
				t.Fatalf("%+v: %v", p, err)
			}
			symbols[0], dst[0] = nil, make([]byte, 1)
		}
		if err := s.Decode(dst, symbols); err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		if n > k && !bytes.Equal(dst[0], []byte{1}) {
			t.Fatalf("%+v: rebuilt %x", p, dst[0])
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	f.Fuzz(func(t *testing.T, spec string) {
		p, err := ParseSpec(spec)
		if err != nil {
			return
		}
		if again, err := ParseSpec(p.String()); err != nil || again != p {
			t.Fatalf("%q is %+v, %q is %+v, %v", spec, p, p, again, err)
		}
	})
}

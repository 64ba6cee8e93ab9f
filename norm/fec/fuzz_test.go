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
		if n != k+p.MaxParity || id != NoCode && s.Params().M == 8 && n > 255 || id != NoCode && n > 1<<16-1 || n > 1<<16 {
			t.Fatalf("%+v: %d symbols", p, n)
		}
		if got := p.WithLastFTIField(p.LastFTIField()); got != p {
			t.Fatalf("%+v comes back from an FTI as %+v", p, got)
		}
		// What is accepted works: the last parity symbol replaces the first source symbol, as far as there is one.
		source := newMatrix(k, 2, func(i, j int) byte { return byte(i + 1 + j) })
		symbols := append(source, make([][]byte, n-k)...)
		dst := make([][]byte, k)
		if n > k {
			symbols[n-1] = make([]byte, 2)
			if err := s.Parity(symbols[n-1], source[:k], n-1); err != nil {
				t.Fatalf("%+v: %v", p, err)
			}
			symbols[0], dst[0] = nil, make([]byte, 2)
		}
		if err := s.Decode(dst, symbols); err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		if n > k && !bytes.Equal(dst[0], []byte{1, 2}) {
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

// FuzzDecode encodes a block, loses any symbols of it and wants the same block back: code is the dialect, and whether m is
// 16. The symbols of a block of k get their content from data; those kept are named by the bits of kept, over and over.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, code uint8, b, p, k uint16, data, kept []byte) {
		params := Params{ID: SmallBlockSystematic, SegmentSize: 16, MaxBlockLen: int(b), MaxParity: int(p), Dialect: Dialect(code % 3)}
		if code/3%2 == 1 {
			params.ID, params.M = ReedSolomon, 16
		}
		s, err := params.Scheme()
		n := 0
		if err == nil {
			n = s.Symbols(int(k))
		}
		if n == 0 || n > 2000 {
			return
		}
		block := newMatrix(int(k), 6, func(i, j int) byte {
			if len(data) == 0 {
				return byte(i)
			}
			return data[(6*i+j)%len(data)] + byte(i)
		})
		symbols, dst, held := make([][]byte, n), make([][]byte, k), 0
		for esi := 0; esi < n && held < 256; esi++ {
			switch keep := len(kept) > 0 && kept[esi/8%len(kept)]>>(esi%8)&1 == 1; {
			case keep && esi < int(k):
				symbols[esi] = block[esi]
			case keep:
				symbols[esi] = parity(t, s, block, esi, 6)
			default:
				continue
			}
			held++
		}
		for i := range dst {
			dst[i] = untouched(6)
		}
		switch err := s.Decode(dst, symbols); {
		case held < int(k) && err != ErrTooFewSymbols:
			t.Fatalf("%v %v: %d of %d symbols: %v", params, params.Dialect, held, k, err)
		case held >= int(k) && err != nil:
			t.Fatalf("%v %v: %v", params, params.Dialect, err)
		case held >= int(k):
			checkRebuilt(t, dst, symbols, block)
		}
	})
}

package fec

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// shapes are blocks of k source symbols of n in all, of 1400 bytes.
var shapes = []struct{ k, n, losses int }{{16, 20, 2}, {64, 96, 8}, {200, 255, 10}}

func TestNothingIsAllocated(t *testing.T) {
	for _, d := range []Dialect{RFC, NRL, MDP} {
		s := mustScheme(t, SmallBlockSystematic, d, 255, 0)
		if n := testing.AllocsPerRun(100, func() {
			if p, err := s.Params().Partition(20971520); err != nil || p.SymbolLen(9, 9) != 1400 {
				t.Error("wrong partition")
			}
		}); n != 0 {
			t.Errorf("%v: partitioning takes %v allocations", d, n)
		}
		for _, c := range shapes {
			s := mustScheme(t, SmallBlockSystematic, d, c.k, c.n-c.k)
			block, dst, symbols := losses(t, s, c.k, c.n, c.losses)
			if n := testing.AllocsPerRun(20, func() {
				if s.Parity(block[c.k], block[:c.k], c.k) != nil {
					t.Error("no parity")
				}
			}); n != 0 {
				t.Errorf("%v %v: a parity symbol takes %v allocations", d, c, n)
			}
			if n := testing.AllocsPerRun(20, func() {
				if s.Decode(dst, symbols) != nil {
					t.Error("not decoded")
				}
			}); n != 0 {
				t.Errorf("%v %v: decoding takes %v allocations", d, c, n)
			}
		}
	}
}

func TestNothingIsAllocatedOverWords(t *testing.T) {
	s := wordsScheme(t, RFC, 400, 300)
	block, dst, symbols := losses(t, s, 400, 700, fewLosses)
	if n := testing.AllocsPerRun(2, func() {
		if s.Parity(block[400], block[:400], 400) != nil || s.Decode(dst, symbols) != nil {
			t.Error("not coded")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// losses returns a block and what is left of it after random losses of source symbols.
func losses(t testing.TB, s Scheme, k, n, lost int) (block, dst, symbols [][]byte) {
	rng := rand.New(rand.NewPCG(13, 14))
	block = encode(t, s, randomSymbols(rng, k, 1400), n, 1400)
	gone := make([]bool, n)
	for _, i := range rng.Perm(k)[:lost] {
		gone[i] = true
	}
	dst, symbols = lose(block, k, func(esi int) bool { return gone[esi] })
	return block, dst, symbols
}

func BenchmarkParity(b *testing.B) {
	for _, c := range shapes {
		b.Run(fmt.Sprintf("1of%dx1400", c.k), func(b *testing.B) {
			s := mustScheme(b, ReedSolomonGF8, RFC, c.k, c.n-c.k)
			source, dst := randomSymbols(rand.New(rand.NewPCG(15, 16)), c.k, 1400), make([]byte, 1400)
			b.SetBytes(int64(c.k) * 1400)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Parity(dst, source, c.k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range shapes {
		b.Run(fmt.Sprintf("%d+%dx1400", c.k, c.n-c.k), func(b *testing.B) {
			s := mustScheme(b, ReedSolomonGF8, RFC, c.k, c.n-c.k)
			source, dst := randomSymbols(rand.New(rand.NewPCG(15, 16)), c.k, 1400), make([]byte, 1400)
			b.SetBytes(int64(c.k) * 1400)
			b.ReportAllocs()
			for b.Loop() {
				for esi := c.k; esi < c.n; esi++ {
					if err := s.Parity(dst, source, esi); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range shapes {
		b.Run(fmt.Sprintf("%dof%d-%dx1400", c.losses, c.k, c.n), func(b *testing.B) {
			s := mustScheme(b, ReedSolomonGF8, RFC, c.k, c.n-c.k)
			_, dst, symbols := losses(b, s, c.k, c.n, c.losses)
			b.SetBytes(int64(c.k) * 1400)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Decode(dst, symbols); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWords is the code over GF(2^16).
func BenchmarkWords(b *testing.B) {
	for _, c := range []struct{ k, n, losses int }{{64, 96, 8}, {1000, 1200, 50}} {
		s := wordsScheme(b, RFC, c.k, c.n-c.k)
		block, dst, symbols := losses(b, s, c.k, c.n, c.losses)
		b.Run(fmt.Sprintf("Parity/1of%dx1400", c.k), func(b *testing.B) {
			b.SetBytes(int64(c.k) * 1400)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Parity(block[c.k], block[:c.k], c.k); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Decode/%dof%d-%dx1400", c.losses, c.k, c.n), func(b *testing.B) {
			b.SetBytes(int64(c.k) * 1400)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Decode(dst, symbols); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

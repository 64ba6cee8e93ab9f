package fec

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
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
	block, dst, symbols := losses(t, s, 400, 700, fewSymbols)
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

// BenchmarkKernel adds the product of a symbol to another one, in turn by a table of all products, 64 KiB, as is usual where
// there is no assembly, and reports the plain table's time for each of ours. Under qemu it compares, and no more.
func BenchmarkKernel(b *testing.B) {
	var table [256][256]byte
	for f := range table {
		for x := range table[f] {
			table[f][x] = byte(gf256.mul(uint16(f), uint16(x)))
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	src, dst := randomSymbols(rng, 64, 1400), make([]byte, 1400)
	compare(b, 64*1400, func(i int) error {
		for j, s := range src {
			addMul(dst, byte(i*64+j), s)
		}
		return nil
	}, func(i int) error {
		for j, s := range src {
			row := &table[byte(i*64+j)]
			for n, x := range s {
				dst[n] ^= row[x]
			}
		}
		return nil
	})
}

// compare runs ours and theirs in turn, and reports the best of each: what else the machine does cannot make one faster.
func compare(b *testing.B, bytes int, ours, theirs func(i int) error) {
	best := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	for i := 0; b.Loop(); i++ {
		for j, f := range []func(int) error{ours, theirs} {
			start := time.Now()
			if err := f(i); err != nil {
				b.Fatal(err)
			}
			best[j] = min(best[j], time.Since(start))
		}
	}
	rate := func(d time.Duration) float64 { return float64(bytes) / 1e6 / d.Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate(best[0]), "MB/s-ours")
	b.ReportMetric(rate(best[1]), "MB/s-theirs")
	b.ReportMetric(float64(best[1])/float64(best[0]), "ours/theirs")
}

// TestParitiesAreParity holds that symbols made side by side are those made one by one.
func TestParitiesAreParity(t *testing.T) {
	for _, d := range []Dialect{RFC, NRL, MDP} {
		for _, c := range []struct{ k, n int }{{1, 2}, {10, 42}, {64, 96}, {200, 255}} {
			checkParities(t, mustScheme(t, SmallBlockSystematic, d, c.k, c.n-c.k), c.k, c.n)
		}
	}
	checkParities(t, wordsScheme(t, RFC, 300, 40), 300, 340)
}

func checkParities(t *testing.T, s Scheme, k, n int) {
	t.Helper()
	source := randomSymbols(rand.New(rand.NewPCG(5, uint64(k))), k, 100)
	got := randomSymbols(rand.New(rand.NewPCG(6, uint64(n))), n-k, 100) // what was there does not matter
	if n := testing.AllocsPerRun(1, func() {
		if err := s.Parities(got, source, k); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	want := make([]byte, 100)
	for i := range got {
		if err := s.Parity(want, source, k+i); err != nil || !bytes.Equal(got[i], want) {
			t.Errorf("%+v: symbol %d differs, %v", s.Params(), k+i, err)
		}
	}
	if s.Parities(got, source, k+1) == nil {
		t.Error("more symbols than the code has")
	}
}

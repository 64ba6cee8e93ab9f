//go:build (amd64 || arm64 || ppc64le) && !noasm && !nopshufb && !appengine && !gccgo

package fec

import (
	"math/rand/v2"
	"testing"

	"github.com/klauspost/reedsolomon"
)

// BenchmarkBesideKlauspost codes blocks of 64 source and 32 parity symbols of 1400 bytes, in turn with the whole library whose
// kernel is ours, and reports its time for each of ours: above 1 we are the faster.
func BenchmarkBesideKlauspost(b *testing.B) {
	const k, n, size, lost = 64, 96, 1400, 8
	s := mustScheme(b, ReedSolomonGF8, RFC, k, n-k)
	block, dst, symbols := losses(b, s, k, n, lost)
	matrix := make([][]byte, n-k)
	for i := range matrix { // of the same code
		matrix[i] = make([]byte, k)
		for j := range matrix[i] {
			unit := make([][]byte, k)
			for m := range unit {
				unit[m] = []byte{0}
			}
			unit[j][0] = 1
			if err := s.Parity(matrix[i][j:j+1], unit, k+i); err != nil {
				b.Fatal(err)
			}
		}
	}
	other, err := reedsolomon.New(k, n-k, reedsolomon.WithCustomMatrix(matrix), reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	theirs := randomSymbols(rng, n, size)
	copy(theirs, block[:k])
	patterns := make([][]int, 64) // its cache of inversions does not know
	for i := range patterns {
		patterns[i] = rng.Perm(k)[:lost]
	}
	b.Run("encode=64+32", func(b *testing.B) {
		compare(b, k*size, func(int) error { return s.Parities(block[k:], block[:k], k) }, func(int) error { return other.Encode(theirs) })
	})
	for i := k; i < n; i++ {
		if string(theirs[i]) != string(block[i]) {
			b.Fatalf("symbol %d differs", i)
		}
	}
	fresh, err := reedsolomon.New(k, n-k, reedsolomon.WithCustomMatrix(matrix), reedsolomon.WithMaxGoroutines(1), reedsolomon.WithInversionCache(false))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("decode=8of64", func(b *testing.B) {
		compare(b, k*size, func(int) error { return s.Decode(dst, symbols) }, func(i int) error {
			shards := append([][]byte(nil), block...)
			for _, gone := range patterns[i%len(patterns)] {
				shards[gone] = shards[gone][:0]
			}
			return fresh.ReconstructData(shards)
		})
	})
}

package fec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// lose returns block without the symbols that lost names, and buffers for the lost source symbols, as long as
// those were.
func lose(block [][]byte, k int, lost func(esi int) bool) (dst, symbols [][]byte) {
	dst, symbols = make([][]byte, k), make([][]byte, len(block))
	for esi, symbol := range block {
		switch {
		case !lost(esi):
			symbols[esi] = symbol
		case esi < k:
			dst[esi] = untouched(len(symbol))
		}
	}
	return dst, symbols
}

// untouched returns a buffer that shows whether it was written to.
func untouched(n int) []byte { return bytes.Repeat([]byte{0xa5}, n) }

// checkRebuilt fails the test unless dst holds the source symbols of block that are missing in symbols.
func checkRebuilt(t testing.TB, dst, symbols, block [][]byte) {
	t.Helper()
	for i := range dst {
		if symbols[i] == nil && !bytes.Equal(dst[i], block[i]) {
			t.Fatalf("source symbol %d is %x, want %x", i, dst[i], block[i])
		}
	}
}

// TestDecodeEverySubset tries every subset of the symbols of small blocks: whichever k or more there are rebuild
// the block, and fewer never do.
func TestDecodeEverySubset(t *testing.T) {
	type shape struct{ b, k, n int }
	shapes := []shape{{5, 5, 10}, {6, 6, 12}, {8, 8, 12}, {9, 5, 10}}
	for k := 1; k <= 4; k++ {
		for n := k; n <= 8; n++ {
			shapes = append(shapes, shape{k, k, n}, shape{k + 3, k, n})
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, c := range shapes {
		for _, d := range []Dialect{RFC, NRL, MDP} {
			s := mustScheme(t, SmallBlockSystematic, d, c.b, c.n-c.k)
			source := randomSymbols(rng, c.k, 3)
			source[c.k-1] = source[c.k-1][:1] // the last of an object may be short
			block := encode(t, s, source, c.n, 3)
			for lost := range 1 << c.n {
				dst, symbols := lose(block, c.k, func(esi int) bool { return lost>>esi&1 == 1 })
				received := 0
				for _, symbol := range symbols {
					if symbol != nil {
						received++
					}
				}
				err := s.Decode(dst, symbols)
				if received < c.k {
					if err != ErrTooFewSymbols {
						t.Fatalf("%v %v: %d symbols: %v, want ErrTooFewSymbols", d, c, received, err)
					}
					for i, b := range dst {
						if !bytes.Equal(b, untouched(len(b))) {
							t.Fatalf("%v %v: symbol %d changed, though too few are there", d, c, i)
						}
					}
					continue
				}
				if err != nil {
					t.Fatalf("%v %v, lost %b: %v", d, c, lost, err)
				}
				checkRebuilt(t, dst, symbols, block) // R-8.3-01 R-8.4-01
			}
		}
	}
}

// TestDecodeLargeBlocks loses as many random symbols as the code bears, and then any number less.
func TestDecodeLargeBlocks(t *testing.T) {
	for _, c := range []struct{ b, k, n int }{{64, 64, 96}, {64, 10, 42}, {16, 16, 255}, {200, 200, 255}, {200, 199, 254}, {128, 128, 255}, {254, 254, 255}, {255, 255, 255}} {
		for _, d := range []Dialect{RFC, NRL, MDP} {
			t.Run(fmt.Sprintf("%v/%d-%d-%d", d, c.b, c.k, c.n), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(c.k), uint64(c.n)))
				s := mustScheme(t, SmallBlockSystematic, d, c.b, c.n-c.k)
				source := randomSymbols(rng, c.k, 33)
				source[c.k-1] = source[c.k-1][:7]
				block := encode(t, s, source, c.n, 33)
				for range 12 {
					order := rng.Perm(c.n)
					losses := order[:c.n-c.k]
					if c.n > c.k && rng.IntN(2) == 0 {
						losses = order[:rng.IntN(c.n-c.k)]
					}
					dst, symbols := lose(block, c.k, func(esi int) bool { return slices.Contains(losses, esi) })
					if err := s.Decode(dst, symbols); err != nil {
						t.Fatal(err)
					}
					checkRebuilt(t, dst, symbols, block) // R-8.3-01
				}
			})
		}
	}
}

// TestDecodeProperties draws whole schemes, blocks with symbols of mixed lengths (as streams have them), and losses.
func TestDecodeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Params{
			ID:          rapid.SampledFrom(reedSolomonIDs).Draw(t, "id"),
			SegmentSize: rapid.IntRange(1, 70).Draw(t, "E"),
			MaxBlockLen: rapid.IntRange(1, 40).Draw(t, "B"),
			MaxParity:   rapid.IntRange(0, 40).Draw(t, "parity"),
			Dialect:     rapid.SampledFrom([]Dialect{RFC, NRL, MDP}).Draw(t, "dialect"),
		}
		if p.Dialect == MDP {
			p.ID = SmallBlockSystematic
		}
		s, err := p.Scheme()
		if err != nil {
			t.Fatal(err)
		}
		k := rapid.IntRange(1, p.MaxBlockLen).Draw(t, "k")
		n := s.Symbols(k)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		source := randomSymbols(rng, k, p.SegmentSize)
		for i := range source {
			if rng.IntN(4) == 0 {
				source[i] = source[i][:rng.IntN(p.SegmentSize+1)]
			}
		}
		block := append([][]byte(nil), source...)
		for esi := k; esi < n; esi++ {
			dst := make([]byte, p.SegmentSize)
			if err := s.Parity(dst, source, esi); err != nil {
				t.Fatal(err)
			}
			block = append(block, dst)
		}
		losses := rng.Perm(n)[:rapid.IntRange(0, n-k).Draw(t, "losses")]
		dst, symbols := lose(block, k, func(esi int) bool { return slices.Contains(losses, esi) })
		before := make([][]byte, n)
		for i, symbol := range symbols {
			before[i] = bytes.Clone(symbol)
		}
		unwanted := rapid.IntRange(0, k-1).Draw(t, "unwanted")
		dst[unwanted] = nil
		if err := s.Decode(dst, symbols); err != nil {
			t.Fatal(err)
		}
		for i := range k {
			if i != unwanted && symbols[i] == nil && !bytes.Equal(dst[i], block[i]) { // N-4.2.1-50
				t.Fatalf("source symbol %d is %x, want %x", i, dst[i], block[i])
			}
		}
		if dst[unwanted] != nil || !slices.EqualFunc(symbols, before, bytes.Equal) {
			t.Fatal("Decode changed what it was only to read")
		}
	})
}

// TestParityOnDemand: "to produce the repair symbol e_j, where k <= j < n, it is sufficient to multiply the S source
// vectors with column j of GM", RFC 5510, Section 8.4.
func TestParityOnDemand(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	source := randomSymbols(rng, 20, 50)
	for _, d := range []Dialect{RFC, NRL} {
		inOrder := encode(t, mustScheme(t, ReedSolomonGF8, d, 20, 10), source, 30, 50)
		got := parity(t, mustScheme(t, ReedSolomonGF8, d, 20, 10), source, 25, 50)
		if !bytes.Equal(got, inOrder[25]) { // R-8.4-03
			t.Errorf("%v: symbol 25 made alone differs from that made after 20..24", d)
		}
	}
}

// TestEveryByteColumnIsACodeword: "This u-th encoding vector then provides the u-th elements for the set encoding
// symbols calculated for the block", RFC 5510, Section 8.4.
func TestEveryByteColumnIsACodeword(t *testing.T) {
	const k, p, size = 9, 4, 77
	source := randomSymbols(rand.New(rand.NewPCG(7, 8)), k, size)
	s := mustScheme(t, ReedSolomonGF8, RFC, k, p)
	for esi := k; esi < k+p; esi++ {
		whole := parity(t, s, source, esi, size)
		for u := range size {
			column := newMatrix(k, 1, func(i, _ int) byte { return source[i][u] })
			if got := parity(t, s, column, esi, 1); got[0] != whole[u] { // R-8.4-02
				t.Fatalf("symbol %d, byte %d: %#02x, alone %#02x", esi, u, whole[u], got[0])
			}
		}
	}
}

// TestPaddingIsVirtual: a short symbol and the same one with its zeros give the same parity, and parity cut to the
// longest symbol (as NRL sends it) rebuilds as well as whole parity does.
func TestPaddingIsVirtual(t *testing.T) {
	const k, p, size = 5, 3, 40
	rng := rand.New(rand.NewPCG(9, 10))
	short := randomSymbols(rng, k, 12)
	short[1] = []byte{}
	short[4] = short[4][:3]
	padded := newMatrix(k, size, func(i, j int) byte {
		if j < len(short[i]) {
			return short[i][j]
		}
		return 0
	})
	for _, id := range reedSolomonIDs {
		for _, d := range []Dialect{RFC, NRL} {
			s := mustScheme(t, id, d, 8, p)
			for esi := k; esi < k+p; esi++ {
				got, want := parity(t, s, short, esi, size), parity(t, s, padded, esi, size)
				if !bytes.Equal(got, want) { // R-8.4-01 E-3.2.2-03 E-5.2.2-02
					t.Errorf("%v, symbol %d: %x from short symbols, %x from padded ones", d, esi, got, want)
				}
			}
			block := encode(t, s, short, k+p, 12)
			dst, symbols := lose(block, k, func(esi int) bool { return esi == 0 || esi == 1 || esi == 4 })
			dst[4] = make([]byte, size)
			if err := s.Decode(dst, symbols); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst[0], short[0]) || !bytes.Equal(dst[4], padded[4]) { // N-4.2.1-50
				t.Errorf("%v: rebuilt %x and %x from short parity", d, dst[0], dst[4])
			}
		}
	}
}

// TestShortBlockUsesEveryESIBelowMaxN: a receiver that took floor(k*max_n/B) = 94 for the number of symbols of a block
// of 63 "MUST be prepared to handle symbols with an Encoding Symbol ID superior or equal to the computed n value",
// RFC 5510, Section 6.2. Here they are as good as any.
func TestShortBlockUsesEveryESIBelowMaxN(t *testing.T) {
	const k, maxN = 63, 96
	s := mustScheme(t, ReedSolomonGF8, RFC, 64, maxN-64)
	block := encode(t, s, randomSymbols(rand.New(rand.NewPCG(11, 12)), k, 8), maxN, 8)
	dst, symbols := lose(block, k, func(esi int) bool { return esi < 2 || k <= esi && esi < 94 })
	if err := s.Decode(dst, symbols); err != nil { // R-6.2-02
		t.Fatal(err)
	}
	checkRebuilt(t, dst, symbols, block)
	if err := s.Decode(dst, append(symbols, block[0])); err == nil { // symbol max_n
		t.Error("Decode took more symbols than the code has")
	}
}

func TestNoCode(t *testing.T) {
	s, err := Params{ID: NoCode, SegmentSize: 4, MaxBlockLen: 3}.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range []int{0, 1, 2, 3, 0} {
		if got := s.Symbols(k); got != want {
			t.Errorf("Symbols(%d) = %d, want %d", k, got, want)
		}
	}
	source := [][]byte{{1}, {2}, {3}}
	if err := s.Parity(make([]byte, 1), source, 3); err == nil {
		t.Error("parity in a scheme without it")
	}
	if err := s.Decode(make([][]byte, 3), source); err != nil {
		t.Error(err)
	}
	source[1] = nil
	if err := s.Decode(make([][]byte, 3), source); !errors.Is(err, ErrTooFewSymbols) {
		t.Errorf("Decode with a symbol missing: %v", err)
	}
}

func TestNoSuchSymbol(t *testing.T) {
	for _, c := range []struct {
		d      Dialect
		id     uint8
		k, esi int
		want   bool
	}{
		{RFC, ReedSolomonGF8, 4, 3, false}, // a source symbol
		{RFC, ReedSolomonGF8, 4, 4, true},  // R-4.1-03: "the remaining n-k values identify repair symbols"
		{RFC, ReedSolomonGF8, 4, 5, true},
		{RFC, ReedSolomonGF8, 4, 6, false},
		{RFC, ReedSolomonGF8, 3, 5, true}, // max_n = 6 holds for every block
		{RFC, ReedSolomonGF8, 3, 6, false},
		{NRL, ReedSolomonGF8, 3, 4, true},
		{NRL, ReedSolomonGF8, 3, 5, false}, // two parity symbols in every block
		{RFC, SmallBlockSystematic, 3, 4, true},
		{RFC, SmallBlockSystematic, 3, 5, false}, // fec_num_parity
		{RFC, ReedSolomonGF8, 5, 5, false},       // longer than B
		{RFC, ReedSolomonGF8, 0, 0, false},
		{RFC, ReedSolomonGF8, 4, -1, false},
	} {
		s := mustScheme(t, c.id, c.d, 4, 2)
		err := s.Parity(make([]byte, 1), make([][]byte, c.k), c.esi)
		if (err == nil) != c.want {
			t.Errorf("id %d %v: symbol %d of a block of %d: %v", c.id, c.d, c.esi, c.k, err)
		}
	}
	s := mustScheme(t, ReedSolomonGF8, RFC, 4, 2)
	if err := s.Decode(make([][]byte, 5), make([][]byte, 5)); err == nil {
		t.Error("Decode took a block longer than B")
	}
	if err := s.Decode(nil, nil); err == nil {
		t.Error("Decode took an empty block")
	}
}

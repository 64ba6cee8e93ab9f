package fec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// codes are all Reed-Solomon codes there are.
var codes = []Params{
	{ID: ReedSolomonGF8}, {ID: ReedSolomonGF8, Dialect: NRL}, {ID: ReedSolomon}, {ID: ReedSolomon, Dialect: NRL},
	{ID: SmallBlockSystematic}, {ID: SmallBlockSystematic, Dialect: NRL}, {ID: SmallBlockSystematic, Dialect: MDP},
	{ID: ReedSolomon, M: 16}, {ID: ReedSolomon, M: 16, Dialect: NRL},
}

// sized returns a scheme for up to b source and p parity symbols in a block.
func sized(t testing.TB, p Params, b, parity int) Scheme {
	t.Helper()
	p.SegmentSize, p.MaxBlockLen, p.MaxParity = 1400, b, parity
	s, err := p.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// forge changes symbols: e of those that are there, each in at least one byte.
func forge(random *rand.Rand, symbols [][]byte, e int) (forged []int) {
	var there []int
	for esi, symbol := range symbols {
		if len(symbol) > 0 {
			there = append(there, esi)
		}
	}
	for _, i := range random.Perm(len(there))[:e] {
		esi := there[i]
		symbols[esi] = bytes.Clone(symbols[esi])
		symbols[esi][random.IntN(len(symbols[esi]))] ^= byte(1 + random.IntN(255))
		if random.IntN(2) == 0 {
			for j := range symbols[esi] {
				symbols[esi][j] ^= byte(random.Uint32())
			}
			symbols[esi][0] ^= 1
		}
		forged = append(forged, esi)
	}
	slices.Sort(forged)
	return forged
}

// TestLocateFindsWhatIsForged forges as many of random symbols of random blocks as can be found, in all codes: source and
// parity, whole symbols and single bits, in blocks shorter than the longest, of which any symbols were lost.
func TestLocateFindsWhatIsForged(t *testing.T) {
	for _, p := range codes {
		t.Run(fmt.Sprintf("%v %v", p, p.Dialect), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				b := rapid.IntRange(1, 60).Draw(r, "B")
				k := rapid.IntRange(1, b).Draw(r, "k")
				parity := rapid.IntRange(2, 60).Draw(r, "parity")
				size := 2 * rapid.IntRange(1, 40).Draw(r, "elements")
				random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
				s := sized(t, p, b, parity)
				source := randomSymbols(random, k, size)
				source[k-1] = source[k-1][:1+random.IntN(size)] // the last of an object may be short
				block := encode(t, s, source, k+parity, size)
				kept := rapid.IntRange(k+1, len(block)).Draw(r, "received")
				for _, i := range random.Perm(len(block))[kept:] {
					block[i] = nil
				}
				want := forge(random, block, rapid.IntRange(0, (kept-k)/2).Draw(r, "forged"))
				if got, err := s.Locate(block, k, random); err != nil || !slices.Equal(got, want) {
					r.Fatalf("found %v, %v; forged %v", got, err, want)
				}
			})
		})
	}
}

// TestLocateOfMoreThanCanBeFound forges one symbol more than the spare ones tell: the answer is that they are too many, but for
// a symbol that looks like it by chance.
func TestLocateOfMoreThanCanBeFound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range codes {
		s, answers := sized(t, p, 20, 9), 0
		for range 50 {
			block := encode(t, s, randomSymbols(random, 20, 32), 29, 32)
			forge(random, block, 5)
			if _, err := s.Locate(block, 20, random); err == nil {
				answers++
			} else if err != ErrNotLocated {
				t.Fatal(err)
			}
		}
		if answers > 0 {
			t.Errorf("%v %v: %d of 50 blocks that nobody can tell were told", p, p.Dialect, answers)
		}
	}
}

func TestLocateWithoutSpareSymbols(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := sized(t, Params{ID: ReedSolomonGF8}, 4, 4)
	block := encode(t, s, randomSymbols(random, 4, 8), 8, 8)
	if _, err := s.Locate(block[:4], 4, random); err != ErrTooFewSymbols {
		t.Errorf("4 symbols of a block of 4: %v", err)
	}
	// One more tells whether something is wrong, not what.
	if wrong, err := s.Locate(block[:5], 4, random); err != nil || wrong != nil {
		t.Errorf("5 right symbols: %v, %v", wrong, err)
	}
	forge(random, block[:5], 1)
	if _, err := s.Locate(block[:5], 4, random); err != ErrNotLocated {
		t.Errorf("5 symbols, one of them wrong: %v", err)
	}
	none := sized(t, Params{ID: NoCode}, 4, 0)
	if _, err := none.Locate(block[:4], 4, random); err != ErrTooFewSymbols {
		t.Errorf("without a code: %v", err)
	}
	if _, err := s.Locate(block, 5, random); err == nil {
		t.Error("a block of more source symbols than the code has was accepted")
	}
}

// TestLocateIsBounded finds as many in the largest blocks as the bound of work leaves.
func TestLocateIsBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		p            Params
		k, n, forged int
	}{
		{Params{ID: ReedSolomonGF8}, 128, 255, 63}, // half of 127 spare symbols
		{Params{ID: ReedSolomon, M: 16}, 2000, 2100, 15},
		{Params{ID: ReedSolomon, M: 16}, 30_000, 30_010, 1},
	} {
		s := sized(t, c.p, c.k, c.n-c.k)
		block := randomSymbols(random, c.k, 2)
		parities := make([][]byte, c.n-c.k)
		for i := range parities {
			parities[i] = make([]byte, 2)
		}
		if err := s.Parities(parities, block, c.k); err != nil {
			t.Fatal(err)
		}
		block = append(block, parities...)
		want := forge(random, block, c.forged)
		if got, err := s.Locate(block, c.k, random); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d of %d: found %v, %v; forged %v", c.k, c.n, got, err, want)
		}
		forge(random, block, c.forged+1)
		if _, err := s.Locate(block, c.k, random); err != ErrNotLocated {
			t.Errorf("%d of %d, more forged than the bound: %v", c.k, c.n, err)
		}
	}
}

// FuzzLocate takes symbols as they may come from anybody: whatever is found wrong is there, and what is called right is a
// block, as the fuzzer of decoding says it.
func FuzzLocate(f *testing.F) {
	f.Fuzz(func(t *testing.T, code uint8, b, p, k uint16, data, kept []byte, seed uint64) {
		params := codes[int(code)%len(codes)]
		params.SegmentSize, params.MaxBlockLen, params.MaxParity = 16, int(b), int(p)
		s, err := params.Scheme()
		n := 0
		if err == nil {
			n = s.Symbols(int(k))
		}
		if n == 0 || n > 600 {
			return
		}
		symbols, held := make([][]byte, n), 0
		for esi := range symbols {
			if len(kept) > 0 && kept[esi/8%len(kept)]>>(esi%8)&1 == 1 {
				held++
				symbols[esi] = make([]byte, 4)
				copy(symbols[esi], data[min(len(data), 4*esi):])
			}
		}
		random := rand.New(rand.NewPCG(seed, 0))
		wrong, err := s.Locate(symbols, int(k), random)
		if (err == ErrTooFewSymbols) != (held <= int(k)) {
			t.Fatalf("%d of %d: %v", held, k, err)
		}
		if err != nil {
			return
		}
		if 2*len(wrong) > held-int(k) {
			t.Fatalf("%d wrong ones found by %d spare symbols", len(wrong), held-int(k))
		}
		for _, esi := range wrong {
			if symbols[esi] == nil {
				t.Fatalf("symbol %d is wrong, and not there", esi)
			}
			symbols[esi] = nil
		}
		if again, err := s.Locate(symbols, int(k), random); len(again) > 0 || err != nil && err != ErrTooFewSymbols {
			t.Fatalf("without %v: %v, %v", wrong, again, err)
		}
	})
}

func BenchmarkLocate(b *testing.B) {
	for _, c := range []struct{ k, spare, forged int }{{128, 2, 0}, {128, 2, 1}, {128, 16, 8}, {128, 127, 63}} {
		b.Run(fmt.Sprintf("%dof%d+%dx1400", c.forged, c.k, c.spare), func(b *testing.B) {
			random := rand.New(rand.NewPCG(3, 4))
			s := sized(b, Params{ID: ReedSolomonGF8}, c.k, c.spare)
			block := encode(b, s, randomSymbols(random, c.k, 1400), c.k+c.spare, 1400)
			forge(random, block, c.forged)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Locate(block, c.k, random); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

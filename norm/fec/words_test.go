package fec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// wordsScheme returns the scheme of FEC Encoding ID 2 with m = 16, up to b source and p parity symbols in a block.
func wordsScheme(t testing.TB, d Dialect, b, p int) Scheme {
	t.Helper()
	s, err := Params{ID: ReedSolomon, M: 16, SegmentSize: 1400, MaxBlockLen: b, MaxParity: p, Dialect: d}.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// slowMul16 multiplies two elements of GF(2^16) as polynomials, modulo 1 + x + x^3 + x^12 + x^16.
func slowMul16(a, b uint16) uint16 {
	var product uint32
	for bit := range 16 {
		if b>>bit&1 == 1 {
			product ^= uint32(a) << bit
		}
	}
	for bit := 30; bit >= 16; bit-- {
		if product>>bit&1 == 1 {
			product ^= 0x1100b << (bit - 16)
		}
	}
	return uint16(product)
}

// wordCoefficients returns those of the parity symbol esi of a block of k, in the byte order of the dialect.
func wordCoefficients(t testing.TB, s Scheme, k, esi int) []uint16 {
	t.Helper()
	one := []byte{0, 1}
	if s.Params().Dialect == NRL {
		one = []byte{1, 0}
	}
	source := make([][]byte, k) // unit vectors
	for i := range source {
		source[i] = make([]byte, 2*k)
		copy(source[i][2*i:], one)
	}
	column := parity(t, s, source, esi, 2*k)
	words := make([]uint16, k)
	for i := range words {
		words[i] = uint16(column[2*i])<<8 | uint16(column[2*i+1])
		if one[0] == 1 {
			words[i] = words[i]<<8 | words[i]>>8
		}
	}
	return words
}

func TestWordMatrixVectors(t *testing.T) {
	for _, v := range vectors(t, "words.txt") {
		d, sizes := dialect(t, v.input)
		b, k := int(numbers(t, sizes)[0]), int(numbers(t, sizes)[1])
		rows := strings.Split(v.want, "/")
		s := wordsScheme(t, d, b, len(rows))
		for p, row := range rows {
			got := wordCoefficients(t, s, k, k+p)
			for i, n := range numbers(t, row) {
				if got[i] != uint16(n) { // R-8.2-01
					t.Errorf("%s: parity %d: %v, want %v", v.place, p, got, row)
				}
			}
		}
	}
}

func TestWordParityVectors(t *testing.T) {
	for _, v := range vectors(t, "words_parity.txt") {
		input, exchange := strings.CutPrefix(v.input, "swapped ")
		d, rest := dialect(t, input)
		b, text, _ := strings.Cut(rest, " : ")
		var source [][]byte
		for _, symbol := range strings.Fields(text) {
			source = append(source, swapped(unhex(t, symbol), exchange))
		}
		want := strings.Fields(v.want)
		s := wordsScheme(t, d, int(numbers(t, b)[0]), len(want))
		for p, want := range want {
			got := parity(t, s, source, len(source)+p, len(source[0]))
			if got = swapped(got, exchange); !bytes.Equal(got, unhex(t, want)) { // R-8.4-04
				t.Errorf("%s: parity %d: %x, want %s", v.place, p, got, want)
			}
		}
	}
}

// swapped returns b with the bytes of each element exchanged, if so.
func swapped(b []byte, so bool) []byte {
	if so {
		for i := 0; i < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	return b
}

// TestWordsSolveVandermonde holds parity to V_kk * GM = V_kn, which is "GM = (V_{k,k}^^-1) * V_{k,n}" of RFC 5510, Section
// 8.2.1, without the inversion: Σ_i GM[i][j] x_i^t = x_j^t for all t < k, x being the points.
func TestWordsSolveVandermonde(t *testing.T) {
	for _, c := range []struct {
		k, n int
		esi  []int
	}{
		{1, 3, []int{1, 2}}, {2, 4, []int{2, 3}}, {10, 300, []int{10, 11, 200, 299}}, {300, 400, []int{300, 399}},
		{20, 65535, []int{20, 1000, 65534}},
	} {
		for _, d := range []Dialect{RFC, NRL} {
			s := wordsScheme(t, d, c.k, c.n-c.k)
			for _, esi := range c.esi {
				gm := wordCoefficients(t, s, c.k, esi)
				powers := make([]uint16, c.k) // x_i^t
				for i := range powers {
					powers[i] = 1
				}
				want := uint16(1)
				for range c.k {
					var sum uint16
					for i := range gm {
						sum ^= slowMul16(gm[i], powers[i])
						powers[i] = slowMul16(powers[i], wordPoint(d, i))
					}
					if sum != want { // R-8.2-01 R-8.1-01
						t.Fatalf("%v (%d,%d): symbol %d is no column of GM", d, c.k, c.n, esi)
					}
					want = slowMul16(want, wordPoint(d, esi))
				}
				if d == RFC {
					continue
				}
				// A short block has the code of B with zeros: the first coefficients of the same columns.
				if k := c.k/2 + 1; !slices.Equal(wordCoefficients(t, s, k, esi-c.k+k), gm[:k]) {
					t.Fatalf("(%d,%d) shortened to %d: symbol %d has other coefficients", c.k, c.n, k, esi)
				}
			}
		}
	}
}

// wordPoint returns the point x_i of a dialect, by multiplying.
func wordPoint(d Dialect, i int) uint16 {
	if d == NRL {
		if i--; i < 0 {
			return 0
		}
	}
	x := uint16(1)
	for a := uint16(2); i > 0; i >>= 1 {
		if i&1 == 1 {
			x = slowMul16(x, a)
		}
		a = slowMul16(a, a)
	}
	return x
}

// TestMDPHasZeros: a codeword of MDP has the zeros α^1..α^p.
func TestMDPHasZeros(t *testing.T) {
	for _, c := range [][3]int{{1, 1, 1}, {4, 3, 2}, {16, 16, 4}, {64, 50, 32}, {200, 200, 55}, {254, 254, 1}} {
		b, k, p := c[0], c[1], c[2]
		s := mustScheme(t, SmallBlockSystematic, MDP, b, p)
		source := randomSymbols(rand.New(rand.NewPCG(1, 2)), k, 3)
		block := encode(t, s, source, k+p, 3)
		for zero := 1; zero <= p; zero++ {
			for u := range 3 {
				var value byte // by Horner's rule, the first source symbol being the highest coefficient
				for _, symbol := range block {
					value = slowProducts[value][slowPower(2, zero)] ^ symbol[u]
				}
				if value != 0 {
					t.Fatalf("k = %d, %d parity symbols: α^%d is no zero", k, p, zero)
				}
			}
		}
	}
}

// TestTowerIsTheSameField: changing the basis and multiplying there is multiplying.
func TestTowerIsTheSameField(t *testing.T) {
	tower := func(x uint16) uint16 { return toTower[0][x&0xff] ^ toTower[1][x>>8] }
	for x := range 1 << 16 {
		y := tower(uint16(x))
		if back := fromTower[0][y&0xff] ^ fromTower[1][y>>8]; int(back) != x {
			t.Fatalf("%#x becomes %#x there and %#x back here", x, y, back)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		a, b := uint16(rng.Uint32()), uint16(rng.Uint32())
		want := slowMul16(a, b)
		if gf65536.mul(a, b) != want || towerMul(tower(a), tower(b)) != tower(want) {
			t.Fatalf("%#x * %#x", a, b)
		}
	}
}

// TestWordKernel compares the planes with products element by element, at all tails and across stretches.
func TestWordKernel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, d := range []Dialect{RFC, NRL} {
		for _, size := range []int{2, 4, 30, 62, 66, 1400, 1402, 2046, 2048, 2050, 4096, 65534} {
			source := randomSymbols(rng, 3, size)
			source[1] = source[1][:size/2-size/2%2+1] // of odd length
			s := wordsScheme(t, d, 3, 2)
			for esi := 3; esi < 5; esi++ {
				got, f := parity(t, s, source, esi, size), wordCoefficients(t, s, 3, esi)
				for u := 0; u < size; u += 2 {
					var want uint16
					for i, symbol := range source {
						want ^= slowMul16(f[i], word(d, symbol, u))
					}
					if word(d, got, u) != want { // R-8.4-04
						t.Fatalf("%v: symbol %d of %d bytes, element %d: %#x, want %#x", d, esi, size, u/2, word(d, got, u), want)
					}
				}
			}
		}
	}
}

// word returns the element of a symbol at byte u, padded with zeros.
func word(d Dialect, symbol []byte, u int) uint16 {
	at := func(i int) uint16 {
		if i < len(symbol) {
			return uint16(symbol[i])
		}
		return 0
	}
	if d == NRL {
		return at(u+1)<<8 | at(u)
	}
	return at(u)<<8 | at(u+1)
}

// TestDecodeWords loses as many random symbols as the code bears, more than Decode has room for on its stack among them.
func TestDecodeWords(t *testing.T) {
	for _, c := range []struct{ b, k, n, size int }{
		{1, 1, 2, 2}, {4, 3, 8, 6}, {64, 50, 200, 34}, {200, 200, 300, 2050}, {300, 299, 700, 8}, {10, 10, 65535, 4}, {900, 900, 1500, 2},
	} {
		for _, d := range []Dialect{RFC, NRL} {
			t.Run(fmt.Sprintf("%v/%d-%d-%d", d, c.b, c.k, c.n), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(c.k), uint64(c.n)))
				s := wordsScheme(t, d, c.b, c.n-c.k-(c.b-c.k))
				n := min(c.n, s.Symbols(c.k))
				source := randomSymbols(rng, c.k, c.size)
				source[c.k-1] = source[c.k-1][:c.size-1] // the last of an object may be short, and odd
				full := slices.Clone(source)
				full[c.k-1] = append(bytes.Clone(source[c.k-1]), 0)
				// Parity is only made as far as it is kept.
				order := rng.Perm(n)[:c.k]
				dst, symbols := make([][]byte, c.k), make([][]byte, n)
				for _, esi := range order {
					if esi < c.k {
						symbols[esi] = source[esi]
					} else {
						symbols[esi] = parity(t, s, source, esi, c.size)
					}
				}
				for i := range dst {
					if symbols[i] == nil {
						dst[i] = untouched(c.size)
					}
				}
				if err := s.Decode(dst, symbols); err != nil {
					t.Fatal(err)
				}
				checkRebuilt(t, dst, symbols, full) // R-8.3-01 R-8.4-01 R-8.4-04
			})
		}
	}
}

// TestWordsNeedWholeElements: what has an odd number of bytes cannot be made over GF(2^16), and is refused untouched.
func TestWordsNeedWholeElements(t *testing.T) {
	p := Params{ID: ReedSolomon, M: 16, SegmentSize: 17, MaxBlockLen: 4, MaxParity: 2}
	if _, err := p.Scheme(); err == nil || !strings.Contains(err.Error(), "even") { // R-8.4-04
		t.Errorf("segment size 17: %v", err)
	}
	p.Dialect = NRL // which sends it
	if s, err := p.Scheme(); err != nil || s.Params().WholeElements(17) || s.Params().WholeElements(16) {
		t.Errorf("segment size 17 of NRL: %v", err)
	}
	s := wordsScheme(t, RFC, 2, 2)
	source := [][]byte{{1, 2, 3}, {4, 5, 6}}
	if dst := untouched(3); s.Parity(dst, source, 2) == nil || !bytes.Equal(dst, untouched(3)) {
		t.Error("parity of 3 bytes")
	}
	dst := [][]byte{untouched(3), nil}
	if err := s.Decode(dst, [][]byte{nil, source[1], {7, 8, 9, 0}}); err == nil || !bytes.Equal(dst[0], untouched(3)) {
		t.Errorf("rebuilt a symbol of 3 bytes: %v", err)
	}
}

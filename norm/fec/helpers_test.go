package fec

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// mustScheme returns a Reed-Solomon scheme with up to b source and p parity symbols in a block.
func mustScheme(t testing.TB, id uint8, d Dialect, b, p int) Scheme {
	t.Helper()
	s, err := Params{ID: id, SegmentSize: 1400, MaxBlockLen: b, MaxParity: p, Dialect: d}.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parity returns the parity symbol esi, of size bytes.
func parity(t testing.TB, s Scheme, source [][]byte, esi, size int) []byte {
	t.Helper()
	dst := untouched(size) // Parity sets, it does not add
	if err := s.Parity(dst, source, esi); err != nil {
		t.Fatal(err)
	}
	return dst
}

// coefficients returns those of the parity symbol esi of a block of k: it encodes the unit vectors.
func coefficients(t testing.TB, s Scheme, k, esi int) []byte {
	t.Helper()
	return parity(t, s, newMatrix(k, k, func(i, j int) byte {
		if i == j {
			return 1
		}
		return 0
	}), esi, k)
}

// encode returns a block: the source symbols and all their parity symbols, of size bytes, up to n in all.
func encode(t testing.TB, s Scheme, source [][]byte, n, size int) [][]byte {
	t.Helper()
	block := append([][]byte(nil), source...)
	for esi := len(source); esi < n; esi++ {
		block = append(block, parity(t, s, source, esi, size))
	}
	return block
}

// randomSymbols returns k symbols of size bytes.
func randomSymbols(rng *rand.Rand, k, size int) [][]byte {
	return newMatrix(k, size, func(int, int) byte { return byte(rng.Uint32()) })
}

type vector struct{ place, input, want string }

// vectors returns the lines of a file of testdata, split at their " = ".
func vectors(t *testing.T, name string) (vs []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		input, want, ok := strings.Cut(line, " = ")
		if !ok {
			t.Fatalf("%s:%d: no \" = \"", name, n)
		}
		vs = append(vs, vector{fmt.Sprintf("%s:%d", name, n), input, want})
	}
	if len(vs) == 0 {
		t.Fatalf("%s: no vectors", name)
	}
	return vs
}

// numbers reads the whitespace-separated numbers of text.
func numbers(t *testing.T, text string) (ns []int64) {
	t.Helper()
	for _, field := range strings.Fields(text) {
		n, err := strconv.ParseInt(field, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		ns = append(ns, n)
	}
	return ns
}

// dialect cuts the name of a dialect off the front of text.
func dialect(t *testing.T, text string) (Dialect, string) {
	t.Helper()
	name, rest, _ := strings.Cut(text, " ")
	d, err := ParseDialect(name)
	if err != nil {
		t.Fatal(err)
	}
	return d, rest
}

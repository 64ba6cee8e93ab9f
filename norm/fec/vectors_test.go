package fec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// reedSolomonIDs all name the same codes over GF(2^8).
var reedSolomonIDs = []uint8{ReedSolomon, ReedSolomonGF8, SmallBlockSystematic}

// idsOf returns the ids that name the codes of a dialect.
func idsOf(d Dialect) []uint8 {
	if d == MDP {
		return []uint8{SmallBlockSystematic}
	}
	return reedSolomonIDs
}

func TestMatrixVectors(t *testing.T) {
	for _, v := range vectors(t, "matrix.txt") {
		d, sizes := dialect(t, v.input)
		b, k := int(numbers(t, sizes)[0]), int(numbers(t, sizes)[1])
		rows := strings.Split(v.want, "/")
		for _, id := range idsOf(d) {
			s := mustScheme(t, id, d, b, len(rows))
			for p, row := range rows {
				got := coefficients(t, s, k, k+p)
				want := make([]byte, k)
				for i, n := range numbers(t, row) {
					want[i] = byte(n)
				}
				if !bytes.Equal(got, want) { // R-8.2-01 R-7-01
					t.Errorf("%s: id %d, parity %d: %v, want %v", v.place, id, p, got, want)
				}
			}
		}
	}
}

func TestMatrixDigests(t *testing.T) {
	for _, v := range vectors(t, "matrix_sha256.txt") {
		d, sizes := dialect(t, v.input)
		k, p := int(numbers(t, sizes)[0]), int(numbers(t, sizes)[1])
		s, h := mustScheme(t, SmallBlockSystematic, d, k, p), sha256.New()
		for esi := k; esi < k+p; esi++ {
			h.Write(coefficients(t, s, k, esi))
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != v.want {
			t.Errorf("%s: %s, want %s", v.place, got, v.want)
		}
	}
}

func TestParityVectors(t *testing.T) {
	for _, v := range vectors(t, "parity.txt") {
		d, rest := dialect(t, v.input)
		b, text, _ := strings.Cut(rest, " : ")
		var source [][]byte
		size := 0
		for _, symbol := range strings.Fields(text) {
			source = append(source, unhex(t, strings.Trim(symbol, "-")))
			size = max(size, len(source[len(source)-1]))
		}
		want := strings.Fields(v.want)
		for _, id := range idsOf(d) {
			s := mustScheme(t, id, d, int(numbers(t, b)[0]), len(want))
			for p, want := range want {
				got := parity(t, s, source, len(source)+p, size)
				if !bytes.Equal(got, unhex(t, want)) { // R-8.4-01 N-4.2.1-50
					t.Errorf("%s: id %d, parity %d: %x, want %s", v.place, id, p, got, want)
				}
			}
		}
	}
}

// TestLargeBlockVectors is the code of k = 64 and n = 96, with source symbol i = (i, 7i+3 mod 256).
func TestLargeBlockVectors(t *testing.T) {
	const k, n = 64, 96
	s := mustScheme(t, ReedSolomonGF8, RFC, k, n-k)
	source := newMatrix(k, 2, func(i, j int) byte { return [...]byte{byte(i), byte(7*i + 3)}[j] })
	for esi, want := range map[int]string{64: "6712", 65: "94d2", 95: "8095"} {
		if got := parity(t, s, source, esi, 2); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("symbol %d: %x, want %s", esi, got, want)
		}
	}
	for i, want := range map[int]string{0: "f5756d", 63: "c1d556"} {
		for p, want := range unhex(t, want) {
			if got := coefficients(t, s, k, k+p)[i]; got != want {
				t.Errorf("GM[%d][%d] = %#02x, want %#02x", i, k+p, got, want)
			}
		}
	}
}

// TestOracleVectors holds the oracle itself to matrices worked by hand: k = 3, n = 5.
func TestOracleVectors(t *testing.T) {
	v := vandermonde(RFC, 3, 5)
	for _, c := range []struct {
		name string
		got  matrix
		want string
	}{
		{"V", v, "0101010101 0102040810 010410401d"},
		{"V_33^-1", v.columns(3).inverse(t), "c45396 538edd 96dd4b"},
		{"GM", oracleMatrix(t, RFC, 3, 5), "0100000838 0001000e22 000001071b"}, // R-8.2-01
	} {
		for i, row := range strings.Fields(c.want) {
			if !bytes.Equal(c.got[i], unhex(t, row)) {
				t.Errorf("%s: row %d is %x, want %s", c.name, i, c.got[i], row)
			}
		}
	}
}

// TestMatrixIsInverseTimesVandermonde compares the closed form with the definition: "GM = (V_{k,k}^^-1) * V_{k,n}",
// RFC 5510, Section 8.2.1.
func TestMatrixIsInverseTimesVandermonde(t *testing.T) {
	for _, size := range [][2]int{{1, 4}, {2, 4}, {2, 6}, {3, 8}, {4, 8}, {10, 42}, {16, 255}, {64, 96}, {128, 160}, {200, 255}, {254, 255}} {
		b, n := size[0], size[1]
		for _, d := range []Dialect{RFC, NRL} {
			gm := oracleMatrix(t, d, b, n)
			s := mustScheme(t, ReedSolomonGF8, d, b, n-b)
			for esi := b; esi < n; esi++ {
				want := newMatrix(1, b, func(_, i int) byte { return gm[i][esi] })[0]
				if got := coefficients(t, s, b, esi); !bytes.Equal(got, want) { // R-8.2-01
					t.Fatalf("%v (%d,%d): column %d is %v, want %v", d, b, n, esi, got, want)
				}
				if d == RFC {
					continue
				}
				// A short block has the code of B with zeros: the first coefficients of the same columns.
				for _, k := range []int{1, b / 2, b - 1} {
					if k < 1 {
						continue
					}
					if got := coefficients(t, s, k, esi-b+k); !bytes.Equal(got, want[:k]) {
						t.Fatalf("%v (%d,%d) shortened to %d: column %d is %v, want %v", d, b, n, k, esi, got, want[:k])
					}
				}
			}
		}
	}
}

// TestMatrixDependsOnBlockLengthOnly: "the [n,k]-RS code can be shortened to a [n',k]-RS code [...] by considering the
// sub-matrix formed by the n' first columns of GM", RFC 5510, Section 8.2.1. The k is that of the block, not B.
func TestMatrixDependsOnBlockLengthOnly(t *testing.T) {
	columns := func(b, p, k int) (m [][]byte) {
		for esi := k; esi < k+2; esi++ {
			m = append(m, coefficients(t, mustScheme(t, ReedSolomonGF8, RFC, b, p), k, esi))
		}
		return m
	}
	want := columns(3, 2, 3) // (3,5)
	for _, size := range [][2]int{{3, 9}, {4, 2}, {64, 32}} {
		if got := columns(size[0], size[1], 3); !slices.EqualFunc(got, want, bytes.Equal) { // R-8.2-02
			t.Errorf("k = 3 with B = %d and %d parity symbols: %v, want %v", size[0], size[1], got, want)
		}
	}
	for p, row := range columns(4, 2, 4) {
		if bytes.Equal(row[:3], want[p]) { // R-8.2-02
			t.Errorf("k = 4 has the coefficients of k = 3 in parity %d", p)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

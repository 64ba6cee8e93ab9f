package fec

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestField(t *testing.T) {
	if exp[8] != 0x1d { // R-8.1-01 for m = 8: α^8 = 1 + x^2 + x^3 + x^4
		t.Errorf("α^8 = %#02x, want 0x1d", exp[8])
	}
	seen := make(map[byte]bool)
	for i := range order {
		if want := slowPower(2, i); exp[i] != want || exp[i+order] != want || exp[i+2*order] != want {
			t.Fatalf("α^%d: %#02x, want %#02x", i, exp[i], want)
		}
		if int(log[exp[i]]) != i {
			t.Errorf("log α^%d = %d", i, log[exp[i]])
		}
		seen[exp[i]] = true
	}
	if len(seen) != 255 || seen[0] { // "these polynomials are also primitive": R-8.1-01
		t.Errorf("%d powers of α, want all 255 non-zero elements", len(seen))
	}
}

// TestAddMul tries every product, and every alignment and tail that a vector kernel may treat apart.
func TestAddMul(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	src, dst := make([]byte, 2048), make([]byte, 2048)
	check := func(f byte, from, n int) {
		t.Helper()
		for i := range dst {
			dst[i] = byte(rng.Uint32())
		}
		want := bytes.Clone(dst)
		for i := from; i < from+n; i++ {
			want[i] ^= slowProducts[f][src[i]]
		}
		addMul(dst[from:from+n], f, src[from:from+n])
		if !bytes.Equal(dst, want) {
			t.Fatalf("f = %#02x, %d bytes at %d: wrong", f, n, from)
		}
	}
	for i := range src {
		src[i] = byte(i)
	}
	for f := range 256 {
		check(byte(f), 0, 256) // every product
	}
	for i := range src {
		src[i] = byte(rng.Uint32())
	}
	for n := range 140 {
		check(byte(2+n), n%17, n)
	}
	for _, n := range []int{1400, 1408, 1472, 2000} {
		check(0x8e, 3, n)
	}
}

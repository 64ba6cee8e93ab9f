package fec

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestField(t *testing.T) {
	for _, c := range []struct {
		f     *field
		place int
		power uint16
	}{
		{gf256, 8, 0x1d},      // R-8.1-01 for m = 8: α^8 = 1 + x^2 + x^3 + x^4
		{gf65536, 16, 0x100b}, // R-8.1-01 for m = 16: α^16 = 1 + x + x^3 + x^12
	} {
		if got := c.f.exp[c.place]; got != c.power {
			t.Errorf("α^%d = %#x, want %#x", c.place, got, c.power)
		}
		seen := make(map[uint16]bool)
		for i, x := range c.f.exp {
			if int(c.f.log[x]) != i {
				t.Fatalf("log α^%d = %d", i, c.f.log[x])
			}
			seen[x] = true
		}
		if len(seen) != c.f.order || seen[0] { // "these polynomials are also primitive": R-8.1-01
			t.Errorf("%d powers of α, want all %d non-zero elements", len(seen), c.f.order)
		}
	}
	for i := range 255 {
		if want := uint16(slowPower(2, i)); gf256.exp[i] != want {
			t.Fatalf("α^%d: %#02x, want %#02x", i, gf256.exp[i], want)
		}
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

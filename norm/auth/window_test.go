package auth

import (
	"math/rand/v2"
	"testing"
)

// TestWindow compares the window with a set that forgets nothing.
func TestWindow(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var w window
		seen, last := map[uint64]bool{}, uint64(0)
		for range 5000 {
			n := last + 20 - min(last+20, uint64(rng.ExpFloat64()*200))
			if rng.IntN(500) == 0 {
				n = last + uint64(rng.IntN(3*windowSize)) // a gap
			}
			want := n > 0 && !seen[n] && n+windowSize > last
			if got := w.fresh(n); got != want {
				t.Fatalf("seed %d: fresh(%d) = %v with %d the greatest, want %v", seed, n, got, last, want)
			}
			if want {
				w.accept(n)
				seen[n], last = true, max(last, n)
			}
		}
	}
}

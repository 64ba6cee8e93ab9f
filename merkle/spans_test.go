package merkle

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSpansAgainstBitmap compares the set of ranges with the plainest set there is.
func TestSpansAgainstBitmap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 24
		var s spans
		var model [size]bool
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			from := rapid.IntRange(0, size-1).Draw(t, "from")
			to := rapid.IntRange(from+1, size).Draw(t, "to")
			add := rapid.Bool().Draw(t, "add")
			if add {
				s = s.add(int64(from), int64(to))
			} else {
				s = s.remove(int64(from), int64(to))
			}
			for i := from; i < to; i++ {
				model[i] = add
			}
			for i, r := range s {
				if r.from >= r.to || i > 0 && s[i-1].to >= r.from {
					t.Fatalf("ranges %v: want them sorted, not empty, apart", s)
				}
			}
			for a := range size {
				all := true
				for b := a; b < size; b++ {
					all = all && model[b]
					if got := s.contains(int64(a), int64(b+1)); got != all {
						t.Fatalf("%v contains %d:%d = %v, want %v", s, a, b+1, got, all)
					}
				}
			}
		}
	})
}

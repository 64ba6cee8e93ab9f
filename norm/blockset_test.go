package norm

import (
	"testing"

	"pgregory.net/rapid"
)

// A blockSet behaves like a set of single blocks, with ascending ranges that do not touch.
func TestBlockSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 60
		var got blockSet
		var want [n]bool
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			lo := rapid.Uint64Range(0, n-1).Draw(t, "lo")
			hi := rapid.Uint64Range(lo, n).Draw(t, "hi")
			add := rapid.Bool().Draw(t, "add")
			if add {
				got.add(lo, hi)
			} else {
				got.remove(lo, hi)
			}
			for i := lo; i < hi; i++ {
				want[i] = add
			}
		}
		for i := range got {
			if got[i].lo >= got[i].hi || i > 0 && got[i-1].hi >= got[i].lo {
				t.Fatalf("ranges %v", got)
			}
		}
		for i := range uint64(n) {
			if got.has(i) != want[i] {
				t.Fatalf("%v has %d: %v", got, i, got.has(i))
			}
			covered := true
			for j := i; j < n; j++ {
				covered = covered && want[j]
				if got.covers(i, j+1) != covered {
					t.Fatalf("%v covers [%d,%d): want %v", got, i, j+1, covered)
				}
			}
		}
	})
}

func TestBlockSetIsBounded(t *testing.T) {
	var s blockSet
	for i := range uint64(maxBlockRanges) {
		if !s.add(2*i, 2*i+1) {
			t.Fatalf("range %d refused", i)
		}
	}
	if s.add(3*maxBlockRanges, 3*maxBlockRanges+1) || s.has(3*maxBlockRanges) {
		t.Error("more ranges than there may be")
	}
	if !s.add(1, 2) || len(s) != maxBlockRanges-1 {
		t.Error("what makes fewer ranges is refused")
	}
}

func TestBitset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		s, other := make(bitset, bitsetWords(n)), make(bitset, bitsetWords(n))
		want := make([]bool, n)
		lo := rapid.IntRange(0, n-1).Draw(t, "lo")
		hi := rapid.IntRange(lo, n-1).Draw(t, "hi")
		s.addRange(lo, hi)
		for i := lo; i <= hi; i++ {
			want[i] = true
		}
		for _, i := range rapid.SliceOf(rapid.IntRange(0, n-1)).Draw(t, "remove") {
			s.remove(i)
			want[i] = false
		}
		for _, i := range rapid.SliceOf(rapid.IntRange(0, n-1)).Draw(t, "union") {
			other.add(i)
			want[i] = true
		}
		s.union(other)
		count := 0
		next, last := -1, -1 // from the end on: the next member, and the last of its run
		for i := n - 1; i >= 0; i-- {
			if want[i] {
				count++
				if next != i+1 {
					last = i
				}
				next = i
			}
			first, end, ok := s.run(i)
			if s.has(i) != want[i] || s.next(i) != next || ok != (next >= 0) || ok && (first != next || end != last) {
				t.Fatalf("%x at %d: next %d, run %d-%d; want %d-%d", s, i, s.next(i), first, end, next, last)
			}
		}
		if s.count() != count {
			t.Fatalf("count %d, want %d", s.count(), count)
		}
	})
}

package norm

import "slices"

// maxBlockRanges bounds the memory of a blockSet, and the time to add to it, whatever is added: 64 KiB.
const maxBlockRanges = 1 << 12

// A blockRange is the blocks [lo, hi).
type blockRange struct{ lo, hi uint64 }

// A blockSet is a set of blocks as ascending ranges with gaps between them, so that all blocks of a large object cost as
// much as one.
type blockSet []blockRange

// search returns the index of the first range that ends behind n: the one that holds n, if any does.
func (s blockSet) search(n uint64) int {
	i, _ := slices.BinarySearchFunc(s, n, func(e blockRange, n uint64) int {
		if e.hi <= n {
			return -1
		}
		return 1
	})
	return i
}

func (s blockSet) has(n uint64) bool {
	i := s.search(n)
	return i < len(s) && s[i].lo <= n
}

// covers reports whether all of [lo, hi) is in s.
func (s blockSet) covers(lo, hi uint64) bool {
	i := s.search(lo)
	return lo >= hi || i < len(s) && s[i].lo <= lo && hi <= s[i].hi
}

// add adds [lo, hi). It reports false, and adds nothing, if s would need more than maxBlockRanges ranges.
func (s *blockSet) add(lo, hi uint64) bool {
	if s.covers(lo, hi) {
		return true
	}
	// Ranges i to j-1 overlap or touch the new one, and become one with it.
	i := s.search(lo)
	if i > 0 && (*s)[i-1].hi == lo {
		i--
	}
	j := i
	for ; j < len(*s) && (*s)[j].lo <= hi; j++ {
		lo, hi = min(lo, (*s)[j].lo), max(hi, (*s)[j].hi)
	}
	if i == j && len(*s) >= maxBlockRanges {
		return false
	}
	*s = slices.Replace(*s, i, j, blockRange{lo, hi})
	return true
}

// remove removes [lo, hi).
func (s *blockSet) remove(lo, hi uint64) {
	i := s.search(lo)
	for lo < hi && i < len(*s) && (*s)[i].lo < hi {
		e := (*s)[i]
		var rest [2]blockRange
		n := 0
		if e.lo < lo {
			rest[n], n = blockRange{e.lo, lo}, n+1
		}
		if hi < e.hi {
			rest[n], n = blockRange{hi, e.hi}, n+1
		}
		*s = slices.Replace(*s, i, i+1, rest[:n]...)
		i += n
	}
}

package norm

import "math/bits"

// A bitset is a set of symbols of a block. Its length is fixed when it is made, in words of 64.
type bitset []uint64

// bitsetWords returns the length of a bitset for n symbols.
func bitsetWords(n int) int { return (n + 63) / 64 }

func (s bitset) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s bitset) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s bitset) remove(i int)   { s[i/64] &^= 1 << (i % 64) }

// addRange adds first to last, both included.
func (s bitset) addRange(first, last int) {
	for i := first; i <= last; i++ {
		s.add(i)
	}
}

// union adds the members of t, which is no longer than s.
func (s bitset) union(t bitset) {
	for i, w := range t {
		s[i] |= w
	}
}

// next returns the lowest member from i on, or -1.
func (s bitset) next(i int) int {
	for w := i / 64; w < len(s); w++ {
		word := s[w]
		if w == i/64 {
			word &^= 1<<(i%64) - 1
		}
		if word != 0 {
			return 64*w + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// run returns the first run of members from i on, both ends included; ok is false if there is none.
func (s bitset) run(i int) (first, last int, ok bool) {
	if first = s.next(i); first < 0 {
		return 0, 0, false
	}
	for last = first; last+1 < 64*len(s) && s.has(last+1); last++ {
	}
	return first, last, true
}

func (s bitset) count() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

package norm

import "math/bits"

// A numberSet is a set of small non-negative numbers. Its zero value is empty; it grows as it must.
type numberSet []uint64

func (s numberSet) has(i int) bool { return i>>6 < len(s) && s[i>>6]&(1<<(i&63)) != 0 }

// grown returns s with room for the numbers below n.
func (s numberSet) grown(n int) numberSet {
	for len(s)<<6 < n {
		s = append(s, 0)
	}
	return s
}

// add and remove need room for i.
func (s numberSet) add(i int) { s[i>>6] |= 1 << (i & 63) }

func (s numberSet) remove(i int) {
	if i>>6 < len(s) {
		s[i>>6] &^= 1 << (i & 63)
	}
}

// count returns how many numbers below n are in s.
func (s numberSet) count(n int) int {
	sum := 0
	for i, word := range s {
		if rest := n - i<<6; rest < 64 {
			word &= 1<<max(rest, 0) - 1
		}
		sum += bits.OnesCount64(word)
	}
	return sum
}

// absent returns the lowest number from i on that is not in s.
func (s numberSet) absent(i int) int {
	for i>>6 < len(s) {
		if free := ^s[i>>6] >> (i & 63); free != 0 {
			return i + bits.TrailingZeros64(free)
		}
		i = i>>6<<6 + 64
	}
	return i
}

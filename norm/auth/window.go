package auth

// windowSize is how many sequence numbers a window covers: how far packets may overtake one another.
const windowSize = 1024

// A window is the sliding receive window of RFC 4303, Section 3.4.3, over the sequence numbers of one run of a node.
type window struct {
	last uint64                  // the greatest that was verified: the right edge
	seen [windowSize / 64]uint64 // bit n % windowSize of those in the window
}

// fresh reports whether a number is neither left of the window nor a duplicate. The first of all is 1.
func (w *window) fresh(n uint64) bool {
	if n > w.last {
		return true
	}
	return n > 0 && w.last-n < windowSize && w.seen[n%windowSize/64]&(1<<(n%64)) == 0
}

// accept notes a number that is fresh, and whose packet has been verified.
func (w *window) accept(n uint64) {
	if n > w.last {
		if n-w.last >= windowSize {
			w.seen = [windowSize / 64]uint64{}
		} else {
			for i := w.last + 1; i < n; i++ {
				w.seen[i%windowSize/64] &^= 1 << (i % 64)
			}
		}
		w.last = n
	}
	w.seen[n%windowSize/64] |= 1 << (n % 64)
}

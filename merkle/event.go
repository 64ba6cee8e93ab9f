package merkle

import "iter"

// An Event tells what became of the leaves First <= i < End.
type Event struct {
	First, End int
	Verified   bool // otherwise rejected: request their bytes again
}

// Stats counts what a Verifier did.
type Stats struct {
	Leaves    int   // in the image
	Verified  int   // leaves verified now
	Wrong     int   // times a leaf had the wrong hash
	Forgotten int   // times a leaf was given up for want of memory or a failing store
	Ignored   int64 // bytes that came for leaves already complete
	ReadBack  int64 // bytes read from the store to be hashed
}

// tell queues an event, joined to the last one where the leaves follow each other.
func (v *Verifier) tell(leaf int, ok bool) {
	if n := len(v.events); n > 0 && v.events[n-1].Verified == ok && v.events[n-1].End == leaf {
		v.events[n-1].End++
		return
	}
	v.events = append(v.events, Event{First: leaf, End: leaf + 1, Verified: ok})
}

// Events yields what happened since it was last drained, in order. The
// Verifier's other methods must not be called meanwhile.
func (v *Verifier) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for i, e := range v.events {
			if !yield(e) {
				v.events = append(v.events[:0], v.events[i+1:]...)
				return
			}
		}
		v.events = v.events[:0]
	}
}

// Bytes returns the offset and length of the leaves first <= i < end within the image, in bytes.
func (v *Verifier) Bytes(first, end int) (off, length int64) {
	if first >= end {
		return int64(first) * v.leafSize, 0
	}
	from, _ := v.span(first)
	_, to := v.span(end - 1)
	return from, to - from
}

// VerifiedBytes returns how many bytes of the image are verified.
func (v *Verifier) VerifiedBytes() int64 {
	n := int64(v.stats.Verified) * v.leafSize
	if last := len(v.state) - 1; last >= 0 && v.state[last] == verified {
		_, length := v.Bytes(last, last+1)
		n -= v.leafSize - length
	}
	return n
}

// Done reports whether every leaf is verified.
func (v *Verifier) Done() bool { return v.stats.Verified == v.stats.Leaves }

// Verified reports whether one leaf is verified.
func (v *Verifier) Verified(leaf int) bool { return v.state[leaf] == verified }

// Expected returns the hash that a leaf should have, if that is known (Expect).
func (v *Verifier) Expected(leaf int) (h Hash, ok bool) {
	return v.hashes[leaf], v.state[leaf] == expected || v.state[leaf] == verified
}

// Ranges yields the leaves that are verified, or those that are not, as first <= i < end.
func (v *Verifier) Ranges(want bool) iter.Seq2[int, int] {
	return func(yield func(first, end int) bool) {
		for first := 0; first < len(v.state); {
			end := first + 1
			is := v.state[first] == verified
			for end < len(v.state) && (v.state[end] == verified) == is {
				end++
			}
			if is == want && !yield(first, end) {
				return
			}
			first = end
		}
	}
}

// Stats returns the counts so far.
func (v *Verifier) Stats() Stats { return v.stats }

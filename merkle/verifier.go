package merkle

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// A Store keeps the bytes of an image while it arrives: a file, or a flash slot.
type Store interface {
	io.ReaderAt
	io.WriterAt
}

// ErrBounds is returned for bytes that are not within the image.
var ErrBounds = errors.New("merkle: outside the image")

const (
	maxRuns  = 8        // leaves that are hashed while they arrive
	maxSpans = 1 << 15  // ranges of bytes remembered, 16 bytes each
	readSize = 64 << 10 // buffer for bytes hashed later, made when first needed
)

// A leafState says what is known of a leaf.
type leafState uint8

const (
	unknown  leafState = iota // its hash is not known yet
	expected                  // its hash is known, some bytes are missing
	hashed                    // its bytes are all in, but the hash they should have is not known yet
	verified                  // its bytes are on the store and have the hash they should have
)

// A Verifier stands before the Store of one image: bytes go through it in any
// order, and each leaf is hashed when its last byte is in. Leaves that arrive
// from beginning to end are hashed on the way; the rest of others is read back.
//
// What is verified is not written to again. A leaf with the wrong hash is
// rejected: its bytes count as missing. Memory is bounded by the number of
// leaves (33 bytes each), whatever order bytes arrive in: a leaf that would
// need too many gaps to be remembered is rejected as well.
//
// A Verifier has no goroutines and no clock; its methods must not be called
// concurrently. After each call that takes bytes or hashes, drain Events.
type Verifier struct {
	store    Store
	size     int64
	leafSize int64

	state  []leafState
	hashes []Hash // the expected hash, or in state hashed the one the bytes have
	have   spans  // bytes on the store of leaves neither hashed nor verified
	runs   [maxRuns]run
	tick   uint64 // orders the runs by last use
	buf    []byte
	events []Event
	stats  Stats
}

// A run hashes the beginning of a leaf while it arrives: the bytes from the
// leaf's first up to next, which are on the store as they were hashed.
type run struct {
	leaf int
	next int64
	used uint64 // tick of the last use; 0: free
	hash *leafHasher
}

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

// NewVerifier returns a Verifier for an image of size bytes in leaves of
// leafSize bytes, both from the signed manifest. It knows no leaf hash yet.
func NewVerifier(store Store, size, leafSize int64) (*Verifier, error) {
	if size < 0 || leafSize < 1 || LeafCount(size, leafSize) > MaxLeaves {
		return nil, fmt.Errorf("merkle: an image of %d bytes in leaves of %d", size, leafSize)
	}
	n := LeafCount(size, leafSize)
	return &Verifier{
		store: store, size: size, leafSize: leafSize,
		state: make([]leafState, n), hashes: make([]Hash, n), stats: Stats{Leaves: n},
	}, nil
}

// Expect sets the hashes of leaves from first on, which the caller has checked
// against the manifest. Leaves whose bytes came earlier are decided now.
// Hashes that are known already stay.
func (v *Verifier) Expect(first int, hashes []Hash) error {
	if first < 0 || first > len(v.hashes)-len(hashes) {
		return ErrBounds
	}
	for i, want := range hashes {
		leaf := first + i
		switch v.state[leaf] {
		case unknown:
			v.hashes[leaf], v.state[leaf] = want, expected
		case hashed:
			got := v.hashes[leaf]
			v.hashes[leaf], v.state[leaf] = want, expected
			v.decide(leaf, got)
		}
	}
	return nil
}

// WriteAt takes bytes of the image (io.WriterAt). It writes them to the store,
// except those of leaves already complete, and hashes each leaf that becomes
// complete. An error is the store's own, or ErrBounds.
func (v *Verifier) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > v.size-int64(len(p)) {
		return 0, ErrBounds
	}
	for n < len(p) {
		at := off + int64(n)
		leaf := int(at / v.leafSize)
		_, end := v.span(leaf)
		part := p[n:min(int64(len(p)), int64(n)+end-at)]
		wrote, err := v.writeLeaf(leaf, part, at)
		n += wrote
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// writeLeaf takes bytes of one leaf.
func (v *Verifier) writeLeaf(leaf int, p []byte, off int64) (n int, err error) {
	if v.state[leaf] >= hashed {
		v.stats.Ignored += int64(len(p))
		return len(p), nil
	}
	n, err = v.store.WriteAt(p, off)
	v.hashOnTheWay(leaf, p[:n], off)
	if n > 0 {
		v.have = v.have.add(off, off+int64(n))
	}
	if err != nil {
		return n, err
	}
	if v.have.contains(v.span(leaf)) {
		return n, v.complete(leaf)
	}
	if len(v.have) > maxSpans {
		v.stats.Forgotten++
		v.reject(leaf)
	}
	return n, nil
}

// hashOnTheWay continues the leaf's run if p follows it, and begins one if p is the leaf's beginning.
func (v *Verifier) hashOnTheWay(leaf int, p []byte, off int64) {
	start, _ := v.span(leaf)
	r := v.findRun(leaf)
	switch {
	case r == nil && off != start, r != nil && off > r.next:
		return // read back when the leaf is complete
	case r != nil && off < r.next:
		r.used = 0 // bytes already hashed may have changed on the store
		return
	case r == nil:
		r = v.beginRun(leaf)
	}
	v.extendRun(r, p)
}

func (v *Verifier) findRun(leaf int) *run {
	for i := range v.runs {
		if r := &v.runs[i]; r.used != 0 && r.leaf == leaf {
			return r
		}
	}
	return nil
}

// beginRun takes a free run, or the one that was not used for longest: its leaf is read back later.
func (v *Verifier) beginRun(leaf int) *run {
	r := &v.runs[0]
	for i := range v.runs {
		if v.runs[i].used < r.used {
			r = &v.runs[i]
		}
	}
	if r.hash == nil {
		r.hash = newLeaf()
	}
	r.hash.reset()
	r.leaf = leaf
	r.next, _ = v.span(leaf)
	v.extendRun(r, nil)
	return r
}

func (v *Verifier) extendRun(r *run, p []byte) {
	r.hash.write(p)
	r.next += int64(len(p))
	v.tick++
	r.used = v.tick
}

// complete hashes what was not hashed on the way, and decides the leaf.
func (v *Verifier) complete(leaf int) error {
	r := v.findRun(leaf)
	if r == nil {
		r = v.beginRun(leaf)
	}
	got, err := v.finishRun(r)
	if err != nil {
		v.stats.Forgotten++
		v.reject(leaf)
		return fmt.Errorf("merkle: reading leaf %d back: %w", leaf, err)
	}
	v.decide(leaf, got)
	return nil
}

// finishRun hashes the rest of the run's leaf from the store and frees the run.
func (v *Verifier) finishRun(r *run) (Hash, error) {
	_, end := v.span(r.leaf)
	defer func() { r.used = 0 }()
	if r.next < end && v.buf == nil {
		v.buf = make([]byte, readSize)
	}
	for r.next < end {
		p := v.buf[:min(int64(len(v.buf)), end-r.next)]
		n, err := v.store.ReadAt(p, r.next)
		if n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return Hash{}, err
		}
		v.stats.ReadBack += int64(n)
		v.extendRun(r, p)
	}
	return r.hash.sum(), nil
}

// decide compares the hash of a complete leaf with the expected one, or keeps it until that is known.
func (v *Verifier) decide(leaf int, got Hash) {
	switch {
	case v.state[leaf] == unknown:
		v.hashes[leaf], v.state[leaf] = got, hashed
		v.forget(leaf)
	case got == v.hashes[leaf]:
		v.state[leaf] = verified
		v.stats.Verified++
		v.forget(leaf)
		v.tell(leaf, true)
	default:
		v.stats.Wrong++
		v.reject(leaf)
	}
}

// reject makes all bytes of a leaf missing again.
func (v *Verifier) reject(leaf int) {
	if v.state[leaf] == verified {
		v.state[leaf] = expected
		v.stats.Verified--
	}
	v.forget(leaf)
	v.tell(leaf, false)
}

// forget drops what was kept about the bytes of a leaf.
func (v *Verifier) forget(leaf int) {
	v.have = v.have.remove(v.span(leaf))
	if r := v.findRun(leaf); r != nil {
		r.used = 0
	}
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

// ReadAt reads from the store (io.ReaderAt), verified or not: a Verifier can
// stand wherever a Store is wanted.
func (v *Verifier) ReadAt(p []byte, off int64) (int, error) { return v.store.ReadAt(p, off) }

// span returns the bytes of a leaf: from <= byte < to.
func (v *Verifier) span(leaf int) (from, to int64) {
	from = int64(leaf) * v.leafSize
	return from, from + min(v.leafSize, v.size-from) // in this order, as from+leafSize may overflow
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

// Done reports whether every leaf is verified.
func (v *Verifier) Done() bool { return v.stats.Verified == v.stats.Leaves }

// Verified reports whether one leaf is verified.
func (v *Verifier) Verified(leaf int) bool { return v.state[leaf] == verified }

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

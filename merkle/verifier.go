package merkle

import (
	"errors"
	"fmt"
	"io"
)

// A Store keeps the bytes of an image while it arrives: a file, or a flash slot.
type Store interface {
	io.ReaderAt
	io.WriterAt
}

// ErrBounds is returned for bytes that are not within the image.
var ErrBounds = errors.New("merkle: outside the image")

// maxSpans is how many ranges of bytes are remembered, 16 bytes each.
const maxSpans = 1 << 15

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

// ReadAt reads from the store (io.ReaderAt), verified or not: a Verifier can
// stand wherever a Store is wanted.
func (v *Verifier) ReadAt(p []byte, off int64) (int, error) { return v.store.ReadAt(p, off) }

// span returns the bytes of a leaf: from <= byte < to.
func (v *Verifier) span(leaf int) (from, to int64) {
	from = int64(leaf) * v.leafSize
	return from, from + min(v.leafSize, v.size-from) // in this order, as from+leafSize may overflow
}

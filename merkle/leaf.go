package merkle

import (
	"crypto/sha256"
	"hash"
	"io"
	"math"
)

// MinLeafSize is the size of a leaf in bytes for images up to 4 GiB, and
// MaxLeaves how many leaves an image has at most.
const (
	MinLeafSize = 64 << 10
	MaxLeaves   = 1 << 16
)

// LeafSize returns the size in bytes of the leaves of an image of size bytes:
// the smallest power of two from MinLeafSize up that gives at most MaxLeaves leaves.
func LeafSize(size int64) int64 {
	leafSize := int64(MinLeafSize)
	for LeafCount(size, leafSize) > MaxLeaves {
		leafSize <<= 1
	}
	return leafSize
}

// LeafCount returns how many leaves of leafSize bytes an image of size bytes
// has, neither being negative, or math.MaxInt32 if there are more.
func LeafCount(size, leafSize int64) int {
	n := size / leafSize
	if size%leafSize > 0 {
		n++
	}
	return int(min(n, math.MaxInt32)) // int has 32 bits on small devices
}

// leafHasher hashes the bytes of one leaf after the other.
type leafHasher struct {
	h   hash.Hash
	buf [HashSize]byte // Sum's result, here so that it is not allocated each time
}

func newLeaf() *leafHasher {
	l := &leafHasher{h: sha256.New()}
	l.reset()
	return l
}

func (l *leafHasher) reset() {
	l.h.Reset()
	l.buf[0] = leafPrefix
	l.h.Write(l.buf[:1])
}

func (l *leafHasher) write(p []byte) { l.h.Write(p) }

// sum returns the hash of the leaf; reset begins the next.
func (l *leafHasher) sum() Hash {
	l.h.Sum(l.buf[:0])
	return l.buf
}

// A Writer hashes an image that is written to it from beginning to end.
type Writer struct {
	leafSize int64
	room     int64 // bytes until the current leaf is full
	leaf     *leafHasher
	leaves   []Hash
}

// NewWriter returns a Writer that cuts leaves of leafSize bytes.
func NewWriter(leafSize int64) *Writer {
	return &Writer{leafSize: leafSize, room: leafSize, leaf: newLeaf()}
}

// Write takes the next bytes of the image. It never fails.
func (w *Writer) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(w.room, int64(len(p)))
		w.leaf.write(p[:n])
		p = p[n:]
		if w.room -= n; w.room == 0 {
			w.endLeaf()
		}
	}
	return written, nil
}

func (w *Writer) endLeaf() {
	w.leaves = append(w.leaves, w.leaf.sum())
	w.leaf.reset()
	w.room = w.leafSize
}

// Leaves ends the image and returns the hashes of its leaves. Nothing may be written afterwards.
func (w *Writer) Leaves() []Hash {
	if w.room < w.leafSize {
		w.endLeaf()
	}
	return w.leaves
}

// HashImage reads r to its end and returns the hashes of its leaves and its length in bytes.
func HashImage(r io.Reader, leafSize int64) (leaves []Hash, size int64, err error) {
	w := NewWriter(leafSize)
	size, err = io.Copy(w, r)
	if err != nil {
		return nil, size, err
	}
	return w.Leaves(), size, nil
}

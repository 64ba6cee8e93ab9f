package normtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/multicast-upgrade/tool/norm"
)

// A File holds the bytes of an object, at a sender or a receiver.
type File interface {
	io.ReaderAt
	io.WriterAt
}

var errNoFile = errors.New("normtest: no file for this object")

// access performs io on the file of its object.
func (h *Host) access(io *norm.IO) error {
	var f File
	if h.Open != nil {
		f = h.Open(io.Object)
	}
	if f == nil {
		return errNoFile
	}
	var n int
	var err error
	if io.Op == norm.Read {
		n, err = f.ReadAt(io.B, io.Offset)
	} else {
		n, err = f.WriteAt(io.B, io.Offset)
	}
	if n == len(io.B) {
		return nil
	}
	return err
}

// Memory is a file of fixed size in memory.
type Memory []byte

// ReadAt implements [io.ReaderAt].
func (m Memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements [io.WriterAt].
func (m Memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, fmt.Errorf("normtest: write of %d bytes at %d into %d", len(p), off, len(m))
	}
	return copy(m[off:], p), nil
}

// A Pattern is a file whose content is computed, not held: as a source it reads as pseudo-random bytes that depend on
// Seed and position, as a sink it checks what is written and keeps only which bytes were, so that a thousand receivers
// of one file need no memory for it.
type Pattern struct {
	Seed uint64
	Size int64

	written []norm.Range // sorted, apart from each other; all of a source
}

// Source returns a pattern that reads as if it was written in full.
func Source(seed uint64, size int64) *Pattern { return (&Pattern{Seed: seed, Size: size}).filled() }

func (f *Pattern) filled() *Pattern {
	f.mark(norm.Range{Length: f.Size})
	return f
}

// ReadAt implements [io.ReaderAt]. Bytes that were never written read as zero.
func (f *Pattern) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > f.Size {
		return 0, io.EOF
	}
	clear(p)
	want := norm.Range{Offset: off, Length: int64(len(p))}
	for _, r := range f.written {
		if from, to := max(r.Offset, want.Offset), min(r.End(), want.End()); from < to {
			f.fill(p[from-off:to-off], from)
		}
	}
	return len(p), nil
}

// WriteAt implements [io.WriterAt]; bytes that differ from the pattern are an error.
func (f *Pattern) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > f.Size {
		return 0, fmt.Errorf("normtest: write of %d bytes at %d into %d", len(p), off, f.Size)
	}
	var want [512]byte
	for done := 0; done < len(p); done += len(want) {
		piece := p[done:min(done+len(want), len(p))]
		f.fill(want[:len(piece)], off+int64(done))
		if i := mismatch(piece, want[:]); i < len(piece) {
			return done + i, fmt.Errorf("normtest: byte %d is %#x, want %#x", off+int64(done+i), piece[i], want[i])
		}
	}
	f.mark(norm.Range{Offset: off, Length: int64(len(p))})
	return len(p), nil
}

// Whole reports whether every byte was written.
func (f *Pattern) Whole() bool {
	return f.Size == 0 || len(f.written) == 1 && f.written[0].Length == f.Size
}

// mismatch returns the index of the first byte of a that differs from b, or the length of a.
func mismatch(a, b []byte) int {
	if bytes.Equal(a, b[:len(a)]) {
		return len(a)
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i
}

// fill writes the pattern from off on. Eight bytes come from one round of SplitMix64.
func (f *Pattern) fill(p []byte, off int64) {
	for i := 0; i < len(p); {
		x := f.Seed + uint64(off>>3)*0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		for x >>= 8 * (off & 7); ; x >>= 8 {
			p[i] = byte(x)
			i++
			if off++; off&7 == 0 || i == len(p) {
				break
			}
		}
	}
}

// mark joins r with the ranges it touches.
func (f *Pattern) mark(r norm.Range) {
	if r.Length == 0 {
		return
	}
	from, _ := slices.BinarySearchFunc(f.written, r.Offset, func(w norm.Range, off int64) int {
		if w.End() < off {
			return -1
		}
		return 1
	})
	to := from
	for to < len(f.written) && f.written[to].Offset <= r.End() {
		end := max(r.End(), f.written[to].End())
		r.Offset = min(r.Offset, f.written[to].Offset)
		r.Length = end - r.Offset
		to++
	}
	f.written = slices.Replace(f.written, from, to, r)
}

// Written returns the ranges that were written, in order, none touching the next.
func (f *Pattern) Written() []norm.Range { return slices.Clone(f.written) }

// Forget makes a range count as never written.
func (f *Pattern) Forget(r norm.Range) {
	if r.Length == 0 {
		return
	}
	var kept []norm.Range
	for _, w := range f.written {
		if before := min(w.End(), r.Offset) - w.Offset; before > 0 {
			kept = append(kept, norm.Range{Offset: w.Offset, Length: before})
		}
		if from := max(w.Offset, r.End()); from < w.End() {
			kept = append(kept, norm.Range{Offset: from, Length: w.End() - from})
		}
	}
	f.written = kept
}

package normtest

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/multicast-upgrade/tool/norm"
)

// A Pattern is a file whose content is computed, not held: as a source it reads as pseudo-random bytes that depend on
// Seed and position, as a sink it keeps which bytes were written as they should be, and those that were not, which a
// receiver short of memory may write and read back before it has the right ones. So a thousand receivers of one file
// need no memory for it.
type Pattern struct {
	Seed uint64
	Size int64

	right []norm.Range // sorted, apart from each other; all of a source
	wrong []piece      // sorted, none overlapping another or right
}

// A piece is bytes that are not those of the pattern.
type piece struct {
	offset int64
	b      []byte
}

// Source returns a pattern that reads as if it was written in full.
func Source(seed uint64, size int64) *Pattern { return (&Pattern{Seed: seed, Size: size}).filled() }

func (f *Pattern) filled() *Pattern {
	f.mark(norm.Range{Length: f.Size})
	return f
}

// Whole reports whether every byte is as it should be.
func (f *Pattern) Whole() bool {
	return f.Size == 0 || len(f.right) == 1 && f.right[0].Length == f.Size
}

// Written returns the ranges that were written as they should be, in order, none touching the next.
func (f *Pattern) Written() []norm.Range { return slices.Clone(f.right) }

// ReadAt implements [io.ReaderAt]. Bytes that were never written read as zero.
func (f *Pattern) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > f.Size {
		return 0, io.EOF
	}
	clear(p)
	end := off + int64(len(p))
	for _, r := range f.right {
		if from, to := max(r.Offset, off), min(r.End(), end); from < to {
			f.fill(p[from-off:to-off], from)
		}
	}
	for _, w := range f.wrong {
		if from, to := max(w.offset, off), min(w.end(), end); from < to {
			copy(p[from-off:to-off], w.b[from-w.offset:])
		}
	}
	return len(p), nil
}

// WriteAt implements [io.WriterAt].
func (f *Pattern) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > f.Size {
		return 0, fmt.Errorf("normtest: write of %d bytes at %d into %d", len(p), off, f.Size)
	}
	var want [512]byte
	for done := 0; done < len(p); done += len(want) {
		part := p[done:min(done+len(want), len(p))]
		f.fill(want[:len(part)], off+int64(done))
		f.put(part, want[:len(part)], off+int64(done))
	}
	return len(p), nil
}

// put writes b where want should stand.
func (f *Pattern) put(b, want []byte, off int64) {
	all := norm.Range{Offset: off, Length: int64(len(b))}
	f.removeWrong(all)
	if bytes.Equal(b, want) {
		f.mark(all)
		return
	}
	f.Forget(all)
	for i, n := 0, 0; i < len(b); i += n {
		same := b[i] == want[i]
		for n = 1; i+n < len(b) && (b[i+n] == want[i+n]) == same; n++ {
		}
		if at := off + int64(i); same {
			f.mark(norm.Range{Offset: at, Length: int64(n)})
		} else {
			f.wrong = append(f.wrong, piece{at, bytes.Clone(b[i : i+n])})
		}
	}
	slices.SortFunc(f.wrong, func(a, b piece) int { return int(a.offset - b.offset) })
}

// removeWrong takes the wrong bytes of a range away.
func (f *Pattern) removeWrong(r norm.Range) {
	if len(f.wrong) == 0 {
		return
	}
	var kept []piece
	for _, w := range f.wrong {
		if from := r.Offset; w.offset < from {
			kept = append(kept, piece{w.offset, w.b[:min(from, w.end())-w.offset]})
		}
		if from := max(w.offset, r.End()); from < w.end() {
			kept = append(kept, piece{from, w.b[from-w.offset:]})
		}
	}
	f.wrong = kept
}

func (w piece) end() int64 { return w.offset + int64(len(w.b)) }

// Forget makes a range count as never written.
func (f *Pattern) Forget(r norm.Range) {
	if r.Length == 0 {
		return
	}
	f.removeWrong(r)
	var kept []norm.Range
	for _, w := range f.right {
		if before := min(w.End(), r.Offset) - w.Offset; before > 0 {
			kept = append(kept, norm.Range{Offset: w.Offset, Length: before})
		}
		if from := max(w.Offset, r.End()); from < w.End() {
			kept = append(kept, norm.Range{Offset: from, Length: w.End() - from})
		}
	}
	f.right = kept
}

// mark joins r with the ranges it touches.
func (f *Pattern) mark(r norm.Range) {
	if r.Length == 0 {
		return
	}
	from, _ := slices.BinarySearchFunc(f.right, r.Offset, func(w norm.Range, off int64) int {
		if w.End() < off {
			return -1
		}
		return 1
	})
	to := from
	for to < len(f.right) && f.right[to].Offset <= r.End() {
		end := max(r.End(), f.right[to].End())
		r.Offset = min(r.Offset, f.right[to].Offset)
		r.Length = end - r.Offset
		to++
	}
	f.right = slices.Replace(f.right, from, to, r)
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

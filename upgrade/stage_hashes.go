package upgrade

import (
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
)

// A hashList is the file of a release's leaf hashes, the first object of a campaign. It is the sink of that object. A
// piece that a node of the manifest has confirmed is not written to again.
type hashList struct {
	m      *manifest.Manifest
	pieces []manifest.Piece
	file   disk.File

	mu   sync.Mutex
	good []bool // by piece
}

// openHashList opens the list and finds out which pieces it holds.
func openHashList(fsys disk.FS, name string, m *manifest.Manifest) (*hashList, error) {
	file, err := fsys.OpenFile(name, openReadWrite, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(m.HashListSize()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l := &hashList{m: m, pieces: slices.Collect(m.Pieces()), file: file}
	l.good = make([]bool, len(l.pieces))
	return l, nil
}

func (l *hashList) ReadAt(p []byte, off int64) (int, error) { return l.file.ReadAt(p, off) }

// WriteAt writes bytes, except to pieces that are confirmed.
func (l *hashList) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > l.m.HashListSize()-int64(len(p)) {
		return 0, merkle.ErrBounds
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, piece := range l.pieces {
		from, to := max(off, piece.Offset), min(off+int64(len(p)), piece.Offset+piece.Length)
		if from >= to || l.good[i] {
			continue
		}
		if _, err := l.file.WriteAt(p[from-off:to-off], from); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// known yields the pieces that are in the file and not confirmed yet, and confirms them.
func (l *hashList) known() iter.Seq2[manifest.Piece, []hash] {
	return func(yield func(manifest.Piece, []hash) bool) {
		for i, piece := range l.pieces {
			hashes, ok := l.confirm(i)
			if ok && !yield(piece, hashes) {
				return
			}
		}
	}
}

// confirm checks a piece that is in the file; ok is true once, when it is found right.
func (l *hashList) confirm(i int) (hashes []hash, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.good[i] {
		return nil, false
	}
	b := make([]byte, l.pieces[i].Length)
	if n, _ := l.file.ReadAt(b, l.pieces[i].Offset); n < len(b) {
		return nil, false
	}
	hashes, err := l.m.OpenPiece(l.pieces[i], b)
	l.good[i] = err == nil
	return hashes, err == nil
}

// missing yields the pieces that are not confirmed, by their number.
func (l *hashList) missing() iter.Seq2[int, manifest.Piece] {
	return func(yield func(int, manifest.Piece) bool) {
		for i, piece := range l.pieces {
			if !l.confirmed(i) && !yield(i, piece) {
				return
			}
		}
	}
}

// complete reports whether all pieces are confirmed.
func (l *hashList) complete() bool {
	for range l.missing() {
		return false
	}
	return true
}

func (l *hashList) confirmed(i int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good[i]
}

// present returns the bytes that are confirmed.
func (l *hashList) present() (all []span) {
	for i, piece := range l.pieces {
		if l.confirmed(i) {
			all = append(all, span{piece.Offset, piece.Length})
		}
	}
	return all
}

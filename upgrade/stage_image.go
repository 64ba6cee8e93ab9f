package upgrade

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"sync"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
)

type (
	hash      = merkle.Hash
	leafEvent = merkle.Event
)

// A stagedImage is the file of an image on its way. It is the sink of the image's NORM object.
//
// Bytes that are written to it prove nothing: a receiver short of memory also parks parity where source symbols will be.
// Only what is reported as delivered is hashed, from the file. What is hashed is not written to again.
type stagedImage struct {
	entry *manifest.Image
	file  disk.File
	old   bool // the file was there before, and may hold leaves that nobody has looked at

	mu sync.Mutex // guards v, and leaves from being written to while they are hashed
	v  *merkle.Verifier
}

func openImage(fsys disk.FS, dir string, entry *manifest.Image) (*stagedImage, error) {
	name := receivedName(fsys, dir, entry)
	old := exists(fsys, name)
	file, err := fsys.OpenFile(name, openReadWrite, 0o600)
	if err != nil {
		return nil, err
	}
	if _, ok := file.(*slotFile); ok {
		old = true // whatever the slot has
	}
	v, err := merkle.NewVerifier(file, entry.Size, entry.LeafSize)
	if err == nil && !old {
		err = fsys.SyncDir(path.Dir(name))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &stagedImage{entry: entry, file: file, old: old, v: v}, nil
}

// ReadAt reads what was written last, verified or not.
func (im *stagedImage) ReadAt(p []byte, off int64) (int, error) { return im.file.ReadAt(p, off) }

// WriteAt writes bytes, except to leaves that are complete.
func (im *stagedImage) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > im.entry.Size-int64(len(p)) {
		return 0, merkle.ErrBounds
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	for n < len(p) {
		at := off + int64(n)
		leaf := at / im.entry.LeafSize
		part := p[n:min(int64(len(p)), (leaf+1)*im.entry.LeafSize-off)]
		if !im.v.Complete(int(leaf)) {
			if _, err := im.file.WriteAt(part, at); err != nil {
				return n, err
			}
		}
		n += len(part)
	}
	return n, nil
}

// stored takes bytes that are in the file, and returns what became of their leaves.
func (im *stagedImage) stored(off, length int64) ([]leafEvent, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	err := im.v.Stored(off, length)
	return slices.Collect(im.v.Events()), err
}

// put takes the bytes of whole leaves that came by another way than NORM.
func (im *stagedImage) put(p []byte, off int64) ([]leafEvent, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	_, err := im.v.WriteAt(p, off)
	return slices.Collect(im.v.Events()), err
}

// expect takes leaf hashes that the manifest confirms.
func (im *stagedImage) expect(first int, hashes []hash) ([]leafEvent, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	err := im.v.Expect(first, hashes)
	return slices.Collect(im.v.Events()), err
}

func (im *stagedImage) done() bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.v.Done()
}

func (im *stagedImage) verifiedBytes() int64 {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.v.VerifiedBytes()
}

// verified reports whether a leaf is verified.
func (im *stagedImage) verified(leaf int) bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.v.Verified(leaf)
}

// withNeighbours returns the leaves first <= i < end, and the ones beside them if those are verified: a symbol may lie in two
// leaves, and is not there before both are.
func (im *stagedImage) withNeighbours(first, end int) (int, int) {
	if first > 0 && im.verified(first-1) {
		first--
	}
	if end < im.entry.Leaves() && im.verified(end) {
		end++
	}
	return first, end
}

// nextMissing returns the first leaf from first on that is not verified.
func (im *stagedImage) nextMissing(first int) (leaf int, ok bool) {
	im.mu.Lock()
	defer im.mu.Unlock()
	for leaf := max(first, 0); leaf < im.entry.Leaves(); leaf++ {
		if !im.v.Verified(leaf) {
			return leaf, true
		}
	}
	return 0, false
}

// A span is some bytes of an object.
type span struct{ off, length int64 }

func (s span) overlaps(t span) bool { return s.off < t.off+t.length && t.off < s.off+s.length }

// present returns the bytes that are verified.
func (im *stagedImage) present() (all []span) {
	im.mu.Lock()
	defer im.mu.Unlock()
	for first, end := range im.v.Ranges(true) {
		off, length := im.v.Bytes(first, end)
		all = append(all, span{off, length})
	}
	return all
}

// bytes returns where the leaves first <= i < end are.
func (im *stagedImage) bytes(first, end int) span {
	im.mu.Lock()
	defer im.mu.Unlock()
	off, length := im.v.Bytes(first, end)
	return span{off, length}
}

// digestOf returns the SHA-256 of the first bytes of a file.
func digestOf(f io.ReaderAt, size int64) (d manifest.Digest, err error) {
	sum := sha256.New()
	n, err := io.CopyBuffer(sum, io.NewSectionReader(f, 0, size), make([]byte, 64<<10))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return manifest.Digest(sum.Sum(nil)), err
}

// openFresh opens a file so that what is read of it is what the storage holds.
func openFresh(fsys disk.FS, name string) (disk.File, error) {
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Sync(), f.DropCache()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// copyFile reads a file from beginning to end, from storage, into w, 64 KiB at a time.
func copyFile(fsys disk.FS, name string, w io.Writer) (size int64, err error) {
	f, err := openFresh(fsys, name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(w, io.NewSectionReader(f, 0, size), make([]byte, 64<<10))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return size, err
}

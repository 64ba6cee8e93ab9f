package normtest

import (
	"errors"
	"fmt"
	"io"

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

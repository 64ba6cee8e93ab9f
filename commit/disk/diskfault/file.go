package diskfault

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// A file is an open file of a Disk.
type file struct {
	d      *Disk
	n      *node
	boot   int
	name   string
	access int
}

// write makes a change that the running system sees at once.
func (n *node) write(c change) {
	n.data = c.apply(n.data)
	n.queue = append(n.queue, c)
}

// use takes the disk's lock and checks that the file still lives and allows what is asked.
func (f *file) use(denied int) (unlock func(), err error) {
	f.d.mu.Lock()
	switch {
	case f.d.down || f.boot != f.d.boot:
		err = ErrCrashed
	case f.access == denied:
		err = fs.ErrPermission
	}
	return f.d.mu.Unlock, err
}

const none = -1 // denied to nobody

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	unlock, err := f.use(os.O_WRONLY)
	defer unlock()
	if err != nil {
		return 0, pathError("read", f.name, err)
	}
	if off < 0 {
		return 0, pathError("read", f.name, errors.New("negative offset"))
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	unlock, err := f.use(os.O_RDONLY)
	defer unlock()
	grow := max(0, off+int64(len(b))-int64(len(f.n.data)))
	switch {
	case err != nil:
	case off < 0:
		err = errors.New("negative offset")
	case grow > f.d.free:
		err = syscall.ENOSPC
	default:
		err = f.d.step(func() {
			f.d.free -= grow
			f.n.write(change{off: off, data: slices.Clone(b)})
		})
	}
	if err != nil {
		return 0, pathError("write", f.name, err)
	}
	return len(b), nil
}

func (f *file) Truncate(size int64) error {
	unlock, err := f.use(os.O_RDONLY)
	defer unlock()
	if err == nil && size < 0 {
		err = fs.ErrInvalid
	}
	if err == nil {
		err = f.d.step(func() { f.n.write(change{off: size, truncate: true}) })
	}
	return pathError("truncate", f.name, err)
}

func (f *file) Sync() error {
	unlock, err := f.use(none)
	defer unlock()
	if err != nil {
		return pathError("sync", f.name, err)
	}
	if err := f.d.step(nil); err != nil {
		if !f.d.down { // the pages count as clean now, whatever reached the platter
			f.n.lose(f.d.rng, f.d.survival())
		}
		return pathError("sync", f.name, err)
	}
	for _, c := range f.n.queue {
		f.n.stored = c.apply(f.n.stored)
	}
	f.n.queue = nil
	return nil
}

func (f *file) Size() (int64, error) {
	unlock, err := f.use(none)
	defer unlock()
	return int64(len(f.n.data)), pathError("stat", f.name, err)
}

func (f *file) DropCache() error {
	unlock, err := f.use(none)
	defer unlock()
	return pathError("drop", f.name, err)
}

func (f *file) Close() error { return nil }

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
	n.cold = false
}

// use takes the disk's lock and checks that the file still lives and allows what is asked.
func (f *file) use(denied int) (unlock func(), err error) {
	f.d.mu.Lock()
	switch {
	case f.d.down != nil:
		err = f.d.down
	case f.boot != f.d.boot:
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
	if err := f.readMedium(b, off); err != nil {
		return 0, pathError("read", f.name, err)
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

// readMedium has what is not in memory come from the medium.
func (f *file) readMedium(b []byte, off int64) error {
	if !f.n.cold {
		return nil
	}
	switch f.d.meet(Read, f.name) {
	case Cut:
		f.d.crash()
	case KillBefore:
		f.d.kill()
	case Failed:
		return syscall.EIO
	case Misread:
		if part := f.n.data[min(off, int64(len(f.n.data))):min(off+int64(len(b)), int64(len(f.n.data)))]; len(part) > 0 {
			flip(part, f.d.rng.IntN(8*len(part)))
		}
	}
	return f.d.down
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
		err = f.d.step(Write, f.name, func(rot bool) {
			f.d.free -= grow
			c := change{off: off, data: slices.Clone(b)}
			if rot && len(b) > 0 {
				c.rotten = 1 + f.d.rng.IntN(8*len(b))
			}
			f.n.write(c)
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
		err = f.d.step(Truncate, f.name, func(bool) { f.n.write(change{off: size, truncate: true}) })
	}
	return pathError("truncate", f.name, err)
}

func (f *file) Sync() error {
	unlock, err := f.use(none)
	defer unlock()
	if err != nil {
		return pathError("sync", f.name, err)
	}
	err = f.d.step(Sync, f.name, func(bool) {
		for _, c := range f.n.queue {
			f.n.stored = c.rot().apply(f.n.stored)
		}
		f.n.queue = nil
	})
	if err != nil && f.d.down == nil { // the pages count as clean now, whatever reached the platter
		f.n.lose(f.d.rng, f.d.survival())
	}
	return pathError("sync", f.name, err)
}

func (f *file) Size() (int64, error) {
	unlock, err := f.use(none)
	defer unlock()
	return int64(len(f.n.data)), pathError("stat", f.name, err)
}

func (f *file) DropCache() error {
	unlock, err := f.use(none)
	defer unlock()
	if err == nil && len(f.n.queue) == 0 { // what is not synced is not dropped
		f.n.data, f.n.cold = slices.Clone(f.n.stored), true
	}
	return pathError("drop", f.name, err)
}

func (f *file) Close() error { return nil }

package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"
)

// A Dir is the operating system's file system beneath one directory, opened as an [os.Root]: names that would lead
// outside, also by symbolic links, are refused.
type Dir struct {
	root *os.Root
}

var _ FS = (*Dir)(nil)

// Open opens the directory dir, making it and its parents (mode 0700) if it is not there.
func Open(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Close closes the directory; files opened in it stay open.
func (d *Dir) Close() error { return d.root.Close() }

func (d *Dir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if flag&os.O_APPEND != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("O_APPEND and WriteAt exclude each other")}
	}
	f, err := d.root.OpenFile(filepath.FromSlash(name), flag, perm)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d *Dir) Rename(oldname, newname string) error {
	return d.root.Rename(filepath.FromSlash(oldname), filepath.FromSlash(newname))
}

func (d *Dir) Remove(name string) error { return d.root.Remove(filepath.FromSlash(name)) }

func (d *Dir) Mkdir(name string, perm fs.FileMode) error {
	return d.root.Mkdir(filepath.FromSlash(name), perm)
}

func (d *Dir) Stat(name string) (fs.FileInfo, error) { return d.root.Stat(filepath.FromSlash(name)) }

func (d *Dir) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

func (d *Dir) SyncDir(name string) error {
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	return errors.Join(syncDir(f), f.Close())
}

func (d *Dir) Free() (int64, error) {
	n, err := freeSpace(d.root)
	if err != nil {
		return 0, fmt.Errorf("disk: free space of %s: %w", d.root.Name(), err)
	}
	return n, nil
}

func (d *Dir) Lock(name string) (io.Closer, error) {
	// The file is made through the root; the lock itself goes by path, which flock needs.
	f, err := d.root.OpenFile(filepath.FromSlash(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	lock := flock.New(d.Path(name), flock.SetFlag(os.O_RDWR))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrLocked, d.Path(name))
	}
	return lock, nil
}

func (d *Dir) Path(name string) string {
	return filepath.Join(d.root.Name(), filepath.FromSlash(name))
}

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) DropCache() error { return dropCache(f.File) }

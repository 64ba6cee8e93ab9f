// Package disk is the file system that packages commit and upgrade see: a handful of operations beneath one directory.
// All their disk input and output goes through it, so that a test can put package diskfault in its place and cut the
// power at any operation.
//
// What is durable is what POSIX promises, no more: the bytes of a file after [File.Sync], the names of a directory
// (files made, renamed or removed in it) after [FS.SyncDir]. Until then a crash may keep any part of it.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// ErrLocked is returned by [FS.Lock] when another process, or another Lock in this one, holds the lock.
var ErrLocked = errors.New("disk: locked by another process")

// An FS is a file system beneath one directory. Names are slash-separated, relative, and never lead outside it;
// "." is the directory itself. Errors are those of package os, so errors.Is works with fs.ErrNotExist and the like.
// The methods may be called from several goroutines.
type FS interface {
	// OpenFile is os.OpenFile. Flag combines os.O_RDONLY, O_WRONLY, O_RDWR, O_CREATE, O_EXCL and O_TRUNC;
	// O_APPEND is refused, since files are written with WriteAt.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)

	// Rename replaces newname, if it exists, in one step: after a crash newname is the old file or the new one.
	Rename(oldname, newname string) error

	Remove(name string) error                  // a file or an empty directory
	Mkdir(name string, perm fs.FileMode) error // one level; fs.ErrExist if it is there
	Stat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error) // sorted by name

	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error

	// Free returns the bytes that an unprivileged process may still write.
	Free() (int64, error)

	// Lock takes an exclusive lock on the file name, making it if needed, and returns ErrLocked at once when it is
	// taken. The lock ends with Close or with the process; the file stays.
	Lock(name string) (io.Closer, error)

	// Path returns what programs outside, such as hooks, call the file.
	Path(name string) string
}

// A File is an open file. Its methods may be called from several goroutines.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	Size() (int64, error)
	Truncate(size int64) error

	// Sync makes the file's bytes and size durable. When it fails nothing may be assumed of any write since the last
	// Sync that succeeded, and a second Sync proves nothing: the system may have dropped the pages.
	Sync() error

	// DropCache asks the system to forget its copy of the synced bytes in memory, so that the next ReadAt comes from
	// the storage. It is advice: where the system has no such call it does nothing.
	DropCache() error
}

// WriteFile puts data under name, durably and in one step: after a crash name has the old content or the new. It
// writes a temporary file beside it (name with ".tmp" added), syncs, renames, and syncs the directory.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	tmp := name + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// ReadFile returns the content of name, or an error if it has more than limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("larger than expected")}
	}
	b := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, size), b)
	return b, err
}

package diskfault

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/multicast-upgrade/tool/commit/disk"
)

func (d *Disk) rename(kind Kind, name string, c nameChange) error {
	return d.step(kind, name, func(bool) {
		c.apply(d.names)
		d.queue = append(d.queue, c)
	})
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// lookup returns the node called name, after the checks that every operation makes.
func (d *Disk) lookup(name string) (*node, error) {
	if d.down != nil {
		return nil, d.down
	}
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	n := d.names[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return n, nil
}

func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(name)
	switch {
	case err == nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		err = fs.ErrExist
	case err == nil && n.dir, flag&os.O_APPEND != 0:
		err = fs.ErrInvalid
	case errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE != 0:
		if parent := d.names[path.Dir(name)]; parent == nil || !parent.dir {
			break
		}
		n = &node{mode: perm}
		err = d.rename(Create, name, nameChange{to: name, node: n})
	case err == nil && flag&os.O_TRUNC != 0:
		err = d.step(Truncate, name, func(bool) { n.write(change{truncate: true}) })
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &file{d, n, d.boot, name, flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)}, nil
}

func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(oldname)
	if err == nil && n.dir {
		err = fs.ErrInvalid // directories are not moved here
	}
	if parent := d.names[path.Dir(newname)]; err == nil && (!fs.ValidPath(newname) || parent == nil) {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = d.rename(Rename, newname, nameChange{from: oldname, to: newname, node: n})
	}
	return pathError("rename", oldname, err)
}

func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(name)
	if err == nil && n.dir && (name == "." || len(d.children(name)) > 0) {
		err = syscall.ENOTEMPTY
	}
	if err == nil {
		err = d.rename(Remove, name, nameChange{from: name})
	}
	return pathError("remove", name, err)
}

func (d *Disk) Mkdir(name string, perm fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.lookup(name)
	switch {
	case err == nil:
		err = fs.ErrExist
	case errors.Is(err, fs.ErrNotExist) && d.names[path.Dir(name)] != nil:
		err = d.rename(Mkdir, name, nameChange{to: name, node: &node{dir: true, mode: perm}})
	}
	return pathError("mkdir", name, err)
}

func (d *Disk) Stat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return info{path.Base(name), n.mode, int64(len(n.data)), n.dir}, nil
}

func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, err := d.lookup(name); err != nil {
		return nil, pathError("readdir", name, err)
	} else if !n.dir {
		return nil, pathError("readdir", name, syscall.ENOTDIR)
	}
	var entries []fs.DirEntry
	for _, child := range d.children(name) {
		n := d.names[child]
		entries = append(entries, fs.FileInfoToDirEntry(info{path.Base(child), n.mode, int64(len(n.data)), n.dir}))
	}
	return entries, nil
}

func (d *Disk) children(dir string) []string {
	var names []string
	for name := range d.names {
		if name != "." && path.Dir(name) == dir {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.lookup(name); err != nil {
		return pathError("sync", name, err)
	}
	return pathError("sync", name, d.step(SyncDir, name, func(bool) { d.keepNames(name) }))
}

// keepNames makes the names of a directory durable. A rename is one step also from one directory to another: with the new
// name the old one is gone. When only the old directory is synced that says nothing.
func (d *Disk) keepNames(dir string) {
	queue := d.queue
	d.queue = nil
	for _, c := range queue {
		if path.Dir(cmp.Or(c.to, c.from)) != dir {
			d.queue = append(d.queue, c)
			continue
		}
		c.apply(d.kept)
		d.queue = slices.DeleteFunc(d.queue, func(before nameChange) bool { return c.from != "" && before.to == c.from })
	}
}

func (d *Disk) Free() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return 0, d.down
	}
	return d.free, nil
}

func (d *Disk) Lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.down != nil:
		return nil, pathError("lock", name, d.down)
	case d.locks[name]:
		return nil, pathError("lock", name, disk.ErrLocked)
	}
	d.locks[name] = true
	return &lock{d, name, d.boot}, nil
}

func (d *Disk) Path(name string) string { return path.Join("/diskfault", name) }

type lock struct {
	d    *Disk
	name string
	boot int
}

func (l *lock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.boot == l.d.boot {
		delete(l.d.locks, l.name)
	}
	return nil
}

type info struct {
	name string
	mode fs.FileMode
	size int64
	dir  bool
}

func (i info) Name() string { return i.name }
func (i info) Size() int64  { return i.size }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return i.mode | fs.ModeDir
	}
	return i.mode
}
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

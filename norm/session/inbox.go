package session

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"

	"github.com/multicast-upgrade/tool/norm"
)

// partPrefix begins the names of files that are not complete.
const partPrefix = ".norm-"

// ErrNoSpace: an object is larger than the space that is free.
var ErrNoSpace = errors.New("not enough space")

// An Inbox keeps the objects of a session as files beneath one directory. A file that is being received has a name of
// the Inbox's own choice; the name the sender gave it in NORM_INFO it gets when it is complete and on disk, replacing
// what was there. An object without NORM_INFO is named after its sender and id.
//
// Offer and the other methods may be called from different goroutines.
type Inbox struct {
	// Free returns the bytes that may still be written. If set, an object that does not fit is refused when it is offered.
	Free func() (int64, error)
	// Refused is told of an object that was refused, and why. It must not block.
	Refused func(norm.ReceivedObject, error)

	root  *os.Root
	files sync.Map // norm.Handle -> *os.File
}

// NewInbox returns an Inbox that writes beneath root, which it closes.
func NewInbox(root *os.Root) *Inbox { return &Inbox{root: root} }

// Offer makes a file for an object; it is a [Config].Offer. An object whose file cannot be made, or for which there is
// no space, is refused.
func (b *Inbox) Offer(h norm.Handle, info norm.ReceivedObject) Sink {
	f, err := b.create(h, info)
	if err != nil {
		if b.Refused != nil {
			b.Refused(info, err)
		}
		return nil
	}
	b.files.Store(h, f)
	return f
}

func (b *Inbox) create(h norm.Handle, info norm.ReceivedObject) (*os.File, error) {
	if b.Free != nil {
		if free, err := b.Free(); err == nil && free < info.Size {
			return nil, fmt.Errorf("%w: it has %d bytes, %d are free", ErrNoSpace, info.Size, free)
		}
	}
	return b.root.OpenFile(partName(h, info), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
}

// A File is an object that was received whole.
type File struct {
	Name   string // beneath the Inbox's directory, slash-separated
	Size   int64
	SHA256 [sha256.Size]byte
}

// Complete gives the file of a complete object its name, once it is on disk. An error about the name leaves nothing
// behind.
func (b *Inbox) Complete(h norm.Handle, info norm.ReceivedObject) (file File, err error) {
	f, ok := b.take(h)
	if !ok {
		return file, norm.ErrUnknownObject
	}
	defer func() {
		f.Close()
		if err != nil {
			b.root.Remove(partName(h, info))
		}
	}()
	file = File{Name: fmt.Sprintf("object-%d-%d", info.Sender, info.ID), Size: info.Size}
	if info.HasInfo {
		if file.Name, err = FileName(info.Info); err != nil {
			return file, err
		}
	}
	hash := sha256.New()
	if _, err = io.Copy(hash, io.NewSectionReader(f, 0, info.Size)); err != nil {
		return file, err
	}
	hash.Sum(file.SHA256[:0])
	if dir := path.Dir(file.Name); dir != "." {
		if err = b.root.MkdirAll(dir, 0o755); err != nil {
			return file, err
		}
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return file, err
	}
	return file, b.root.Rename(partName(h, info), file.Name)
}

// Abort removes what there is of an object that will not be completed.
func (b *Inbox) Abort(h norm.Handle) {
	if f, ok := b.take(h); ok {
		f.Close()
		b.root.Remove(path.Base(f.Name()))
	}
}

// Writable returns why files cannot be made, nil if they can.
func (b *Inbox) Writable() error {
	name := fmt.Sprintf("%swritable-%d", partPrefix, os.Getpid())
	f, err := b.root.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), b.root.Remove(name))
}

// Close removes what is not complete.
func (b *Inbox) Close() {
	b.files.Range(func(h, _ any) bool { b.Abort(h.(norm.Handle)); return true })
	b.root.Close()
}

func (b *Inbox) take(h norm.Handle) (*os.File, bool) {
	f, ok := b.files.LoadAndDelete(h)
	if !ok {
		return nil, false
	}
	return f.(*os.File), true
}

// partName is the name of an incomplete file. The handle tells objects of one process apart, the process those of
// several that share a directory.
func partName(h norm.Handle, info norm.ReceivedObject) string {
	return fmt.Sprintf("%s%d-%d-%d-%d.part", partPrefix, info.Sender, info.ID, os.Getpid(), h)
}

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

// An Inbox keeps the objects of a session as files beneath one directory. A file that is being received has a name of
// the Inbox's own choice; the name the sender gave it in NORM_INFO it gets when it is complete and on disk, replacing
// what was there. An object without NORM_INFO is named after its sender and id.
//
// Offer and the other methods may be called from different goroutines.
type Inbox struct {
	root  *os.Root
	files sync.Map // norm.Handle -> *os.File
}

// NewInbox returns an Inbox that writes beneath root.
func NewInbox(root *os.Root) *Inbox { return &Inbox{root: root} }

// Offer makes a file for an object; it is a [Config].Offer. An object whose file cannot be made is refused.
func (b *Inbox) Offer(h norm.Handle, info norm.ReceivedObject) Sink {
	f, err := b.root.OpenFile(partName(h, info), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil
	}
	b.files.Store(h, f)
	return f
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

// Close removes what is not complete.
func (b *Inbox) Close() {
	b.files.Range(func(h, _ any) bool { b.Abort(h.(norm.Handle)); return true })
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

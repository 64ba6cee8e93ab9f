package session

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multicast-upgrade/tool/norm"
)

// partPrefix begins the names of files that are not complete.
const partPrefix = ".norm-"

// ErrNoSpace: an object is larger than the space that is free.
var ErrNoSpace = errors.New("not enough space")

// An Inbox keeps the objects of a session as files beneath one directory. A file that is being received has a name of
// the Inbox's own choice, which tells objects and processes apart; the name the sender gave it in NORM_INFO it gets when
// it is complete and on disk, replacing what was there. An object without NORM_INFO is named after its sender and id.
//
// Offer and the other methods may be called from different goroutines.
type Inbox struct {
	// Free returns the bytes that may still be written. If set, an object that does not fit is refused when it is offered.
	Free func() (int64, error)

	root *os.Root

	mu      sync.Mutex
	files   map[norm.Handle]*part   // guarded by mu
	refused map[norm.Handle]Refusal // guarded by mu
}

// A part is the file of an object that is not complete. It is a [Sink].
type part struct {
	*os.File
	name    string
	size    int64
	written atomic.Int64 // bytes; some may have been written twice
	digest
}

func (p *part) WriteAt(b []byte, off int64) (n int, err error) {
	n, err = p.File.WriteAt(b, off)
	p.written.Add(int64(n))
	return n, err
}

// missing is how many bytes the file will still grow, at most.
func (p *part) missing() int64 { return max(0, p.size-p.written.Load()) }

// A Refusal is an object that Offer refused.
type Refusal struct {
	Object norm.ReceivedObject
	Err    error // wraps ErrNoSpace, or says why there is no file
}

// NewInbox returns an Inbox that writes beneath root, which it closes.
func NewInbox(root *os.Root) *Inbox {
	return &Inbox{root: root, files: make(map[norm.Handle]*part), refused: make(map[norm.Handle]Refusal)}
}

// Offer makes a file for an object; it is a [Config].Offer. An object whose file cannot be made, or for which there is
// no space, is refused: ask Refused at each event norm.ObjectOffered.
func (b *Inbox) Offer(h norm.Handle, info norm.ReceivedObject) Sink {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.create(h, info)
	if err != nil {
		b.refused[h] = Refusal{info, err}
		return nil
	}
	b.files[h] = p
	return p
}

// Refused returns whether and why Offer refused an object. It tells so once.
func (b *Inbox) Refused(h norm.Handle) (r Refusal, refused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, refused = b.refused[h]
	delete(b.refused, h)
	return r, refused
}

// create makes the file for an object if there is space for it beside all others that are not complete. mu is held.
func (b *Inbox) create(h norm.Handle, info norm.ReceivedObject) (*part, error) {
	if b.Free != nil {
		free, err := b.Free()
		for _, p := range b.files {
			free -= p.missing()
		}
		if err == nil && free < info.Size {
			return nil, fmt.Errorf("%w: it has %d bytes, %d are free", ErrNoSpace, info.Size, max(0, free))
		}
	}
	p := &part{name: fmt.Sprintf("%s%d-%d-%d-%d.part", partPrefix, info.Sender, info.ID, os.Getpid(), h), size: info.Size, digest: newDigest()}
	var err error
	p.File, err = b.root.OpenFile(p.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	return p, err
}

// A File is an object that was received whole.
type File struct {
	Name   string // beneath the Inbox's directory, slash-separated
	Size   int64
	SHA256 [sha256.Size]byte
}

// Data is told of the event norm.ObjectData: it takes the digest of what follows without a gap, so that little is left to do
// when the object is complete. Without it Complete does all of that. A range must not be rejected once it was told. Data
// and Complete of an object are for one goroutine.
func (b *Inbox) Data(h norm.Handle, r norm.Range) error {
	b.mu.Lock()
	p := b.files[h]
	b.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.digest.add(p.File, r)
}

// Complete gives the file of a complete object its name, once it is on disk. After an error nothing of the object is
// left, and what stood under its name still stands there; ErrName says that the name is at fault.
func (b *Inbox) Complete(h norm.Handle, info norm.ReceivedObject) (file File, err error) {
	p, ok := b.take(h)
	if !ok {
		return file, norm.ErrUnknownObject
	}
	defer func() {
		if err != nil {
			b.remove(p)
		}
	}()
	file = File{Name: fmt.Sprintf("object-%d-%d", info.Sender, info.ID), Size: info.Size}
	if info.HasInfo {
		if file.Name, err = FileName(info.Info); err != nil {
			return file, err
		}
	}
	if file.SHA256, err = p.digest.sum(p.File, info.Size); err != nil {
		return file, err
	}
	if err = errors.Join(p.Sync(), p.Close()); err != nil {
		return file, err
	}
	return file, b.place(p.name, file.Name)
}

// place renames a file to the name the sender gave it, making the directories in between.
func (b *Inbox) place(part, name string) error {
	if dir := path.Dir(name); dir != "." {
		if err := b.root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("%w: %w", ErrName, err)
		}
	}
	if at, err := b.root.Lstat(name); err == nil && at.IsDir() {
		return fmt.Errorf("%w: it is that of a directory", ErrName)
	}
	return b.root.Rename(part, name)
}

// Abort removes what there is of an object that will not be completed.
func (b *Inbox) Abort(h norm.Handle) {
	if p, ok := b.take(h); ok {
		b.remove(p)
	}
}

func (b *Inbox) remove(p *part) {
	p.Close()
	b.root.Remove(p.name)
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
	b.mu.Lock()
	left := slices.Collect(maps.Keys(b.files))
	b.mu.Unlock()
	for _, h := range left {
		b.Abort(h)
	}
	b.root.Close()
}

func (b *Inbox) take(h norm.Handle) (*part, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.files[h]
	delete(b.files, h)
	return p, ok
}

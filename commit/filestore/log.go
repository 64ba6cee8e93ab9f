// Package filestore keeps the records of package commit in an append-only file: a record is on stable storage when
// [Log.Append] returns, and a crash at any instant loses at most what was being appended.
//
// The file starts with 32 bytes: the magic "mcupgrade log 1\n", 12 random bytes that are the log's id, and the CRC-32C
// of both. Each frame after it is
//
//	length   uint32, big-endian: bytes of payload
//	sequence uint64, 1 for the first frame
//	check    uint32: CRC-32C of id, length, sequence and payload
//	payload  the records of one Append, each as uint32 length and bytes
//
// A frame is whole or it is not there, so the records of one Append are kept or lost together. The id in the check
// keeps stale blocks of another log, and records whose content was chosen by a stranger, from ever passing as frames.
package filestore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/multicast-upgrade/tool/commit/disk"
)

const (
	magic      = "mcupgrade log 1\n"
	idSize     = 12
	headerSize = int64(len(magic) + idSize + 4)
	frameSize  = 4 + 8 + 4

	// MaxAppend bounds the payload of one Append, in bytes, 4 per record included.
	MaxAppend = 64 << 20
)

var (
	// ErrCorrupt is wrapped when a log is damaged where no crash could have damaged it: in its header, or before a
	// frame that is whole. Such a log must not be used: what it promised is not known.
	ErrCorrupt = errors.New("filestore: log is corrupt")

	// ErrBroken is wrapped by Append after an earlier Append failed: whether that one is on the disk is not known
	// until the log is opened again.
	ErrBroken = errors.New("filestore: log failed before")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// A Log is an open log file. Its methods must not be called concurrently.
type Log struct {
	fsys disk.FS
	name string
	f    disk.File
	id   [idSize]byte
	size int64  // where the next frame goes
	next uint64 // its sequence
	torn int64
	err  error // what broke it

	readOnly bool
}

// Open opens the log called name, or makes it (mode 0600), and calls replay for each record in the order of appending;
// rec is valid only during the call. An error of replay ends Open and is returned.
//
// What it replays is on stable storage: also the last frame of a process that was killed before its Sync had ended, and not
// a frame whose Sync has failed, which memory may still show.
//
// A last frame that is incomplete, as a crash in Append leaves it, is cut off, and [Log.Torn] tells how many bytes that
// was. Anything else that is wrong is [ErrCorrupt].
//
// The caller makes sure that only one process has the log open, with [disk.FS.Lock].
func Open(fsys disk.FS, name string, replay func(rec []byte) error) (*Log, error) {
	l := &Log{fsys: fsys, name: name}
	err := l.open()
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.write(nil); err == nil {
			err = l.open()
		}
	}
	if err != nil {
		return nil, err
	}
	if err := l.recover(replay); err != nil {
		return nil, errors.Join(err, l.f.Close())
	}
	return l, nil
}

// open opens the file and reads its header.
func (l *Log) open() (err error) {
	access := os.O_RDWR
	if l.readOnly {
		access = os.O_RDONLY
	}
	l.f, err = l.fsys.OpenFile(l.name, access, 0)
	if err != nil {
		return err
	}
	if err := l.settle(); err != nil {
		return errors.Join(err, l.f.Close())
	}
	var head [headerSize]byte
	switch _, err := l.f.ReadAt(head[:], 0); {
	case err != nil && err != io.EOF:
		return errors.Join(err, l.f.Close())
	case err == io.EOF, head != header([idSize]byte(head[len(magic):])):
		// The header was durable before the file got its name.
		return errors.Join(fmt.Errorf("%w: %s has no header", ErrCorrupt, l.name), l.f.Close())
	}
	l.id = [idSize]byte(head[len(magic):])
	l.size, l.next = headerSize, 1
	return nil
}

// settle makes durable what a process before this one may have left in memory, the log's name included, and has the rest come
// from storage.
func (l *Log) settle() error {
	if l.readOnly {
		return nil
	}
	if err := errors.Join(l.f.Sync(), l.fsys.SyncDir(path.Dir(l.name))); err != nil {
		return err
	}
	return l.f.DropCache()
}

func header(id [idSize]byte) (h [headerSize]byte) {
	n := copy(h[:], magic)
	n += copy(h[n:], id[:])
	binary.BigEndian.PutUint32(h[n:], crc32.Checksum(h[:n], castagnoli))
	return h
}

// Append makes recs durable, all or none of them, and returns when they are. After an error the log takes no more.
func (l *Log) Append(recs ...[]byte) error {
	if l.err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, l.err)
	}
	if len(recs) == 0 {
		return nil
	}
	b, err := l.frame(recs)
	if err != nil {
		return err // nothing was written
	}
	if _, err = l.f.WriteAt(b, l.size); err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		l.err = err
		return err
	}
	l.size += int64(len(b))
	l.next++
	return nil
}

func (l *Log) frame(recs [][]byte) ([]byte, error) {
	n := 0
	for _, rec := range recs {
		n += 4 + len(rec)
		if n > MaxAppend {
			return nil, fmt.Errorf("filestore: %d records of more than %d bytes in one append", len(recs), MaxAppend)
		}
	}
	b := make([]byte, frameSize, frameSize+n)
	for _, rec := range recs {
		b = binary.BigEndian.AppendUint32(b, uint32(len(rec)))
		b = append(b, rec...)
	}
	binary.BigEndian.PutUint32(b, uint32(n))
	binary.BigEndian.PutUint64(b[4:], l.next)
	binary.BigEndian.PutUint32(b[12:], l.check(b[:12], b[frameSize:]))
	return b, nil
}

func (l *Log) check(header, payload []byte) uint32 {
	crc := crc32.Update(0, castagnoli, l.id[:])
	crc = crc32.Update(crc, castagnoli, header)
	return crc32.Update(crc, castagnoli, payload)
}

// Rewrite replaces the whole log by one that has just recs, in one step: after a crash it is the old log or the new.
// It is how a log that only grows is kept short; it also repairs a log that is broken, since nothing of it is kept.
func (l *Log) Rewrite(recs ...[]byte) error {
	if err := l.write(recs); err != nil {
		l.err = err // the new file may or may not have the name
		return err
	}
	old := l.f
	if err := l.open(); err != nil {
		l.f, l.err = old, err // which nobody else closes
		return err
	}
	l.err = nil
	return errors.Join(old.Close(), l.recover(func([]byte) error { return nil }))
}

// write makes a new log file with recs under the log's name.
func (l *Log) write(recs [][]byte) error {
	fresh := &Log{next: 1}
	rand.Read(fresh.id[:])
	head := header(fresh.id)
	b := head[:]
	if len(recs) > 0 {
		frame, err := fresh.frame(recs)
		if err != nil {
			return err
		}
		b = append(b, frame...)
	}
	return disk.WriteFile(l.fsys, l.name, b, 0o600)
}

// Size returns the length of the file in bytes.
func (l *Log) Size() int64 { return l.size }

// Torn returns how many bytes of an incomplete last frame Open has cut off; 0 after a clean stop.
func (l *Log) Torn() int64 { return l.torn }

// Close closes the file. Everything appended is durable already.
func (l *Log) Close() error { return l.f.Close() }

// Read calls replay for each record of the log called name without changing it or making it, for a look from outside
// while another process may be appending: a torn last frame is passed over.
func Read(fsys disk.FS, name string, replay func(rec []byte) error) error {
	l := &Log{fsys: fsys, name: name, readOnly: true}
	if err := l.open(); err != nil {
		return err
	}
	return errors.Join(l.recover(replay), l.f.Close())
}

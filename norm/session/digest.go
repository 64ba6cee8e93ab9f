package session

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/multicast-upgrade/tool/norm"
)

// A digest is the SHA-256 of a file whose parts come in any order. It is taken of the bytes from the start up to the first gap,
// read back from the file: soon after they were written, the system has them in memory.
type digest struct {
	hash  hash.Hash
	done  int64           // bytes hashed
	ahead map[int64]int64 // ranges that came behind a gap: their ends, by their offsets
	buf   []byte          // made when first needed
}

// maxGaps bounds the memory for ranges that came behind a gap. Beyond it they are not remembered, and hashed at the end.
const maxGaps = 1 << 14

func newDigest() digest { return digest{hash: sha256.New(), ahead: make(map[int64]int64)} }

// add takes a range of the file that is there.
func (d *digest) add(f io.ReaderAt, r norm.Range) error {
	if r.Offset != d.done {
		if r.Offset > d.done && len(d.ahead) < maxGaps {
			d.ahead[r.Offset] = r.End()
		}
		return nil
	}
	for end, ok := r.End(), true; ok; {
		if err := d.read(f, end); err != nil {
			return err
		}
		end, ok = d.ahead[d.done]
		delete(d.ahead, d.done)
	}
	return nil
}

// read hashes the file up to end.
func (d *digest) read(f io.ReaderAt, end int64) error {
	if d.buf == nil {
		d.buf = make([]byte, 64<<10)
	}
	n, err := io.CopyBuffer(onlyWriter{d.hash}, io.NewSectionReader(f, d.done, end-d.done), d.buf)
	if d.done += n; err == nil && d.done < end {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// onlyWriter hides what else a hash can do, so that io.CopyBuffer uses the buffer.
type onlyWriter struct{ io.Writer }

// sum hashes what is left of a file of size bytes, and returns the digest of all of it.
func (d *digest) sum(f io.ReaderAt, size int64) (sum [sha256.Size]byte, err error) {
	if err = d.read(f, size); err == nil {
		d.hash.Sum(sum[:0])
	}
	return sum, err
}

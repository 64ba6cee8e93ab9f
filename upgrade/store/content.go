package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// chunkSize is how many bytes of an image a row has: one read of it serves some hundred segments, and an upload holds
// the writer of SQLite only so long.
const chunkSize = 1 << 20

// ErrContent is wrapped when what is uploaded is not the image of the manifest.
var ErrContent = errors.New("store: not the image of the manifest")

// AddImage reads an image of a release to its end and keeps it, a chunk of 1 MiB at a time, if it has the size and SHA-256
// of the manifest. An image that is there already is read and compared, so an upload can be repeated. What a crash leaves
// of an upload is removed by [Store.Prune].
func (s *Store) AddImage(ctx context.Context, release manifest.Digest, name string, r io.Reader, by By) error {
	var size int64
	var sum string
	err := s.readers.QueryRowContext(ctx, `SELECT size, sha256 FROM images WHERE release_id = $1 AND name = $2`, release.String(), name).Scan(&size, &sum)
	if err != nil {
		return found(err, "image", name)
	}
	content := newID()
	if err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO contents (id, started) VALUES ($1, $2)`, content, nano(by.At))
		return err
	}); err != nil {
		return err
	}
	h := sha256.New()
	if err = s.addChunks(ctx, content, size, r, h); err == nil && fmt.Sprintf("%x", h.Sum(nil)) != sum {
		err = fmt.Errorf("%w: %.70q has another SHA-256", ErrContent, name)
	}
	kept := false
	if err == nil {
		err = s.act(ctx, func(tx *sql.Tx) error {
			r, err := tx.ExecContext(ctx, `UPDATE images SET content = $1 WHERE release_id = $2 AND name = $3 AND content IS NULL`, content, release.String(), name)
			if err := one(r, err, ErrExists); err != nil {
				return err
			}
			return by.record(ctx, tx, "image.add", name, "", map[string]string{"release": release.String()})
		})
		kept = err == nil
		if errors.Is(err, ErrExists) {
			err = nil // these very bytes, as they have the hash; or the release was removed meanwhile
			_, err = s.imageContent(ctx, release, name)
		}
	}
	if !kept {
		err = errors.Join(err, s.removeContent(context.WithoutCancel(ctx), content))
	}
	return err
}

func (s *Store) addChunks(ctx context.Context, content string, size int64, r io.Reader, h hash.Hash) error {
	chunk := make([]byte, min(size, chunkSize))
	for n := int64(0); n*chunkSize < size; n++ {
		part := chunk[:min(chunkSize, size-n*chunkSize)]
		if _, err := io.ReadFull(r, part); err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Errorf("%w: it ends before its %d bytes", ErrContent, size)
		} else if err != nil {
			return err
		}
		h.Write(part)
		err := s.write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO chunks (content, n, bytes) VALUES ($1, $2, $3)`, content, n, part)
			return err
		})
		if err != nil {
			return err
		}
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("%w: it has more than %d bytes", ErrContent, size)
	case err != io.EOF:
		return err
	}
	return nil
}

func (s *Store) removeContent(ctx context.Context, content string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM contents WHERE id = $1`, content)
		return err
	})
}

func (s *Store) imageContent(ctx context.Context, release manifest.Digest, name string) (*Image, error) {
	im := &Image{store: s}
	err := s.readers.QueryRowContext(ctx, `SELECT content, size FROM images WHERE release_id = $1 AND name = $2 AND content IS NOT NULL`, release.String(), name).Scan(&im.content, &im.size)
	return im, found(err, "uploaded image", name)
}

// OpenImage opens an uploaded image for reading.
func (s *Store) OpenImage(ctx context.Context, release manifest.Digest, name string) (*Image, error) {
	return s.imageContent(ctx, release, name)
}

// cachedChunks is what an open image holds in memory at most, in MiB: the sender reads on at a few places, of which
// repairs are one.
const cachedChunks = 8

// readPatience bounds one read of a chunk, as an io.ReaderAt has no context.
const readPatience = 30 * time.Second

// An Image is the bytes of an image: an io.ReaderAt for the sender, with a cache of some chunks. It needs no closing. Its
// methods may be called concurrently.
type Image struct {
	store   *Store
	content string
	size    int64

	mu     sync.Mutex
	chunks []cachedChunk // the last used first
}

type cachedChunk struct {
	n     int64
	bytes []byte
}

// Size returns the length of the image in bytes.
func (im *Image) Size() int64 { return im.size }

// ReadAt implements [io.ReaderAt].
func (im *Image) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: read at %d", ErrInvalid, off)
	}
	for n < len(p) && off < im.size {
		chunk, err := im.chunk(off / chunkSize)
		if err != nil {
			return n, err
		}
		got := copy(p[n:], chunk[off%chunkSize:])
		n, off = n+got, off+int64(got)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (im *Image) chunk(n int64) ([]byte, error) {
	im.mu.Lock()
	defer im.mu.Unlock() // held while reading: workers that want the same chunk read it once
	for i, c := range im.chunks {
		if c.n == n {
			copy(im.chunks[1:i+1], im.chunks[:i])
			im.chunks[0] = c
			return c.bytes, nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), readPatience)
	defer cancel()
	c := cachedChunk{n: n}
	if err := im.store.readers.QueryRowContext(ctx, `SELECT bytes FROM chunks WHERE content = $1 AND n = $2`, im.content, n).Scan(&c.bytes); err != nil {
		return nil, found(err, "chunk", im.content)
	}
	if want := min(chunkSize, im.size-n*chunkSize); int64(len(c.bytes)) != want {
		return nil, fmt.Errorf("store: chunk %d of %s has %d bytes, not %d", n, im.content, len(c.bytes), want)
	}
	if len(im.chunks) < cachedChunks {
		im.chunks = append(im.chunks, cachedChunk{})
	}
	copy(im.chunks[1:], im.chunks)
	im.chunks[0] = c
	return c.bytes, nil
}

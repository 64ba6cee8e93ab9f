package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
)

// Content is the bytes of an image.
type Content interface {
	io.ReaderAt
	Size() int64
}

// A release is what is sent: the hash list and the images, which stay where they are.
type release struct {
	manifest *manifest.Manifest
	signed   []byte
	objects  manifest.Objects
	hashes   []byte          // the hash list
	segments []byte          // the list of segment hashes; nil: there is none
	digest   manifest.Digest // of what of it is signed
	images   []Content
	files    []io.Closer
}

// openRelease opens the images and checks that they are those of the manifest. If open is nil they are files.
func openRelease(f frozen, open func(name string) (Content, error)) (_ *release, err error) {
	r := &release{signed: f.Manifest}
	// The server passes on what devices check; it only has to see that the images belong to it.
	if r.manifest, _, err = manifest.OpenUnverified(f.Manifest); err != nil {
		return nil, fmt.Errorf("--manifest: %w", err)
	}
	m := r.manifest
	if open == nil && len(f.Settings.Images) != len(m.Images) {
		return nil, fmt.Errorf("the manifest is of %d images, not of %d", len(m.Images), len(f.Settings.Images))
	}
	r.objects = manifest.ObjectsFor(len(m.Images))
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	leaves := make([][]merkle.Hash, len(m.Images))
	for i := range m.Images {
		im := &m.Images[i]
		if _, err := f.Settings.code().Partition(uint64(im.Size)); err != nil {
			return nil, fmt.Errorf("--fec: image %s of %d bytes: %w", im.Name, im.Size, err)
		}
		name, content := im.Name, Content(nil)
		if open != nil {
			content, err = open(name)
		} else {
			name = imagePath(f.Settings.Images, name, i)
			content, err = r.openFile(name)
		}
		if err != nil {
			return nil, err
		}
		r.images = append(r.images, content)
		if leaves[i], err = matchImage(im, content); err != nil {
			if im.Sealed != nil {
				err = fmt.Errorf("%w; the image is sealed: what is sent is %s%s, which normsend sign has written", err, im.Name, manifest.SealedSuffix)
			}
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if r.hashes, err = m.HashList(leaves); err == nil && f.Settings.SegmentHashes {
		list := manifest.NewSegmentList(f.Campaign, m, f.Settings.SegmentSize)
		r.segments, r.digest, err = list.Make(m, r.contents())
	}
	return r, err
}

// contents yields the images.
func (r *release) contents() iter.Seq2[int, io.ReaderAt] {
	return func(yield func(int, io.ReaderAt) bool) {
		for i, content := range r.images {
			if !yield(i, content) {
				return
			}
		}
	}
}

// firstObject returns the NormTransportId of what is sent first.
func (r *release) firstObject() uint16 {
	if r.segments != nil {
		return r.objects.Hashes - 1
	}
	return r.objects.Hashes
}

// checkNew returns why no campaign can be started with the release.
func (r *release) checkNew(now time.Time) error {
	if err := r.manifest.CheckExpiry(now); err != nil {
		return fmt.Errorf("--manifest: the release has %w; sign it anew", err)
	}
	return nil
}

// imagePath returns the path that has the image's name, or that of the file it is sealed in, or else the one in its place.
func imagePath(paths []string, name string, i int) string {
	for _, path := range paths {
		if base := filepath.Base(path); base == name || base == name+manifest.SealedSuffix {
			return path
		}
	}
	return paths[i]
}

// openFile opens an image that is a file.
func (r *release) openFile(path string) (Content, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r.files = append(r.files, file)
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(file, 0, info.Size()), nil
}

func matchImage(im *manifest.Image, content Content) ([]merkle.Hash, error) {
	switch size := content.Size(); {
	case size == 0:
		return nil, errors.New("the image is empty")
	case size != im.Size: // before gigabytes are hashed
		return nil, fmt.Errorf("%w: %s has %d bytes, the file %d", manifest.ErrImage, im.Name, im.Size, size)
	}
	return im.Match(io.NewSectionReader(content, 0, im.Size))
}

// object returns an object's bytes by its NormTransportId.
func (r *release) object(toi uint16) (content io.ReaderAt, size int64, ok bool) {
	if toi == r.objects.Hashes {
		return bytes.NewReader(r.hashes), int64(len(r.hashes)), true
	}
	for i, id := range r.objects.Images {
		if id == toi {
			return r.images[i], r.manifest.Images[i].Size, true
		}
	}
	return nil, 0, false
}

func (r *release) close() {
	for _, file := range r.files {
		file.Close()
	}
}

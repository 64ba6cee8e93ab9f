package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/multicast-upgrade/tool/merkle"
)

// ErrImage is returned for a file that is not the one the manifest describes.
var ErrImage = errors.New("not the image that was signed")

// NewImage reads an image of size bytes once, and returns its entry for a
// manifest and the hashes of its leaves. Reading more or fewer bytes is an error.
func NewImage(name string, r io.Reader, size int64) (Image, []merkle.Hash, error) {
	return readImage(name, r, size, merkle.LeafSize(size))
}

func readImage(name string, r io.Reader, size, leafSize int64) (Image, []merkle.Hash, error) {
	if size < 1 || size > MaxImageSize {
		return Image{}, nil, fmt.Errorf("manifest: image %s has %d bytes, want 1 to %d", name, size, int64(MaxImageSize))
	}
	whole := sha256.New()
	tree := merkle.NewWriter(leafSize)
	n, err := io.Copy(io.MultiWriter(whole, tree), io.LimitReader(r, size+1))
	if err != nil {
		return Image{}, nil, fmt.Errorf("manifest: reading image %s: %w", name, err)
	}
	if n != size {
		return Image{}, nil, fmt.Errorf("%w: %s does not have %d bytes", ErrImage, name, size)
	}
	leaves := tree.Leaves()
	im := Image{
		Name: name, Size: size, SHA256: Digest(whole.Sum(nil)), LeafSize: leafSize, Root: merkle.Root(leaves),
	}
	im.Nodes = im.Pieces().Nodes(leaves)
	return im, leaves, im.validate()
}

// Match reads r to its end, checks that it is the image, and returns the
// hashes of its leaves. The error is ErrImage if it is another one.
func (im *Image) Match(r io.Reader) ([]merkle.Hash, error) {
	got, leaves, err := readImage(im.Name, r, im.Size, im.LeafSize)
	if err != nil {
		return nil, err
	}
	if got.SHA256 != im.SHA256 || got.Root != im.Root {
		return nil, fmt.Errorf("%w: %s has SHA-256 %s, want %s", ErrImage, im.Name, got.SHA256, im.SHA256)
	}
	return leaves, nil
}

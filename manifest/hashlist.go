package manifest

import (
	"errors"
	"fmt"
	"iter"

	"github.com/multicast-upgrade/tool/merkle"
)

// ErrHashes is returned for a piece of the hash list that the manifest's nodes do not confirm.
var ErrHashes = errors.New("leaf hashes do not match the manifest")

// The hash list is the first object of a campaign: the leaf hashes of all
// images, in the order of the manifest, 32 bytes each, with nothing between
// them. Its size follows from the manifest, and every piece of it can be
// checked by itself.

// A Piece is a part of the hash list that one node of the manifest confirms.
type Piece struct {
	Image      int   // index in Manifest.Images
	First, End int   // leaves of that image: First <= i < End
	Offset     int64 // where the piece begins in the hash list, in bytes
	Length     int64 // bytes
	index      int   // among the image's pieces, and of the node
}

// HashListSize returns the length of the hash list in bytes.
func (m *Manifest) HashListSize() (n int64) {
	for i := range m.Images {
		n += int64(m.Images[i].Leaves()) * merkle.HashSize
	}
	return n
}

// HashListRange returns where the leaf hashes of an image stand in the hash list, in bytes.
func (m *Manifest) HashListRange(image int) (off, length int64) {
	for i := range image {
		off += int64(m.Images[i].Leaves()) * merkle.HashSize
	}
	return off, int64(m.Images[image].Leaves()) * merkle.HashSize
}

// HashList returns the hash list, given the leaf hashes of each image as
// NewImage and Match return them. The error is ErrHashes if they are not those of the manifest.
func (m *Manifest) HashList(leaves [][]merkle.Hash) ([]byte, error) {
	if len(leaves) != len(m.Images) {
		return nil, fmt.Errorf("%w: %d lists for %d images", ErrHashes, len(leaves), len(m.Images))
	}
	b := make([]byte, 0, m.HashListSize())
	for i, im := range m.Images {
		if len(leaves[i]) != im.Leaves() || merkle.Root(leaves[i]) != im.Root {
			return nil, fmt.Errorf("%w: image %s", ErrHashes, im.Name)
		}
		b = appendHashes(b, leaves[i])
	}
	return b, nil
}

// Pieces yields the pieces of the hash list from beginning to end.
func (m *Manifest) Pieces() iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		var off int64
		for i := range m.Images {
			cut := m.Images[i].Pieces()
			for index := range cut.Len() {
				first, end := cut.Range(index)
				length := int64(end-first) * merkle.HashSize
				if !yield(Piece{Image: i, First: first, End: end, Offset: off, Length: length, index: index}) {
					return
				}
				off += length
			}
		}
	}
}

// OpenPiece returns the leaf hashes First <= i < End of the piece's image in
// b, the piece's bytes of the hash list. The error is ErrHashes if the
// manifest's node does not confirm them.
func (m *Manifest) OpenPiece(p Piece, b []byte) ([]merkle.Hash, error) {
	hashes, ok := splitHashes(b)
	im := &m.Images[p.Image]
	if !ok || !im.Pieces().Verify(p.index, im.Nodes[p.index], hashes) {
		return nil, fmt.Errorf("%w: image %s, leaves %d to %d", ErrHashes, im.Name, p.First, p.End-1)
	}
	return hashes, nil
}

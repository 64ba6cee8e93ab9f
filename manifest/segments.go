package manifest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"iter"
)

// The segment hashes of a campaign are a hint, by which a device drops a forged segment of an image at once. What is right is
// for the leaves to decide, which only can when 64 KiB or more have come.
//
// A segment hash is the first 4 bytes of
//
//	SHA-256(campaign id ‖ image, 2 bytes ‖ segment, 8 bytes ‖ the segment's bytes)
//
// where images and segments are counted from 0, in network byte order. Who wants to have a forged segment taken for the
// segment has to hash 2^32 candidates for that one place, as place and campaign are in the hash, and not before the campaign
// is announced; and then has only passed the hint. Eight bytes would double the 0.3 % that the list adds to the transfer.
//
// The list is the object that is sent first: the SHA-256 of each piece of 1024 hashes, whose own SHA-256 is signed with the
// session description, and then the pieces, in the order of images.
const (
	SegmentHashSize = 4
	segmentsInPiece = 1024
)

// A SegmentHash is a truncated hash of a segment.
type SegmentHash [SegmentHashSize]byte

// A SegmentList says how the segment hashes of a release are laid out in a campaign. Its methods may be called concurrently.
type SegmentList struct {
	campaign CampaignID
	size     int64   // of a segment
	first    []int64 // of each image: the number of its first segment in the list
	count    int64   // segments of all images
}

// NewSegmentList returns the list for segments of size bytes.
func NewSegmentList(campaign CampaignID, m *Manifest, size int) *SegmentList {
	l := &SegmentList{campaign: campaign, size: int64(size)}
	for i := range m.Images {
		l.first = append(l.first, l.count)
		l.count += (m.Images[i].Size + l.size - 1) / l.size
	}
	return l
}

// Pieces returns how many pieces the list has.
func (l *SegmentList) Pieces() int { return int((l.count + segmentsInPiece - 1) / segmentsInPiece) }

// Head returns how many bytes the digests of pieces take, at the beginning of the list.
func (l *SegmentList) Head() int64 { return int64(l.Pieces()) * sha256.Size }

// Size returns the length of the list in bytes.
func (l *SegmentList) Size() int64 { return l.Head() + l.count*SegmentHashSize }

// Piece returns where a piece is in the list.
func (l *SegmentList) Piece(i int) (off, length int64) {
	const whole = segmentsInPiece * SegmentHashSize
	from := int64(i) * whole
	return l.Head() + from, min(whole, l.count*SegmentHashSize-from)
}

// Find returns in which piece the hash of the segment at an offset of an image is, and where in it.
func (l *SegmentList) Find(image int, off int64) (piece, at int) {
	n := l.first[image] + off/l.size
	return int(n / segmentsInPiece), int(n%segmentsInPiece) * SegmentHashSize
}

// A SegmentHasher makes segment hashes, one after the other, and takes no memory for that.
type SegmentHasher struct {
	list *SegmentList
	h    hash.Hash
	b    [sha256.Size]byte
}

// Hasher returns a SegmentHasher.
func (l *SegmentList) Hasher() *SegmentHasher { return &SegmentHasher{list: l, h: sha256.New()} }

// Hash returns the hash of the segment at an offset of an image.
func (s *SegmentHasher) Hash(image int, off int64, segment []byte) SegmentHash {
	s.h.Reset()
	s.h.Write(s.list.campaign[:])
	binary.BigEndian.PutUint16(s.b[:], uint16(image))
	binary.BigEndian.PutUint64(s.b[2:], uint64(off/s.list.size))
	s.h.Write(s.b[:10])
	s.h.Write(segment)
	return SegmentHash(s.h.Sum(s.b[:0])[:SegmentHashSize])
}

// Make returns the list of the content of the images, and what of it is signed.
func (l *SegmentList) Make(m *Manifest, images iter.Seq2[int, io.ReaderAt]) ([]byte, Digest, error) {
	head, list := make([]byte, 0, l.Size()), make([]byte, 0, l.count*SegmentHashSize)
	h, segment := l.Hasher(), make([]byte, l.size)
	for i, content := range images {
		for off := int64(0); off < m.Images[i].Size; off += l.size {
			b := segment[:min(l.size, m.Images[i].Size-off)]
			if n, err := content.ReadAt(b, off); n < len(b) {
				return nil, Digest{}, fmt.Errorf("image %s: %w", m.Images[i].Name, err)
			}
			short := h.Hash(i, off, b)
			list = append(list, short[:]...)
		}
	}
	for i := range l.Pieces() {
		off, length := l.Piece(i)
		digest := sha256.Sum256(list[off-l.Head():][:length])
		head = append(head, digest[:]...)
	}
	return append(head, list...), sha256.Sum256(head), nil
}

package upgrade

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
)

// segmentObject is the number of the list of segment hashes, beside hashObject.
const segmentObject = -2

// segmentHashes are those of a campaign, in a file beside the stage; they are the sink of that object. What came of the list
// and is confirmed is used once something forged was seen: hashing each segment of an image that nobody attacks would take
// more time than receiving it does.
//
// Whatever goes wrong with them, the leaves decide, and reception goes on without.
type segmentHashes struct {
	list    *manifest.SegmentList
	digest  manifest.Digest
	file    disk.File
	discard func() error

	mu     sync.Mutex // guards all below
	images map[norm.Handle]int
	armed  bool   // something forged was seen
	head   []byte // digests of the pieces; nil: not confirmed yet
	good   []bool // pieces that are confirmed
	cached int    // the piece that is in memory, -1: none
	piece  []byte // which is this
	hasher *manifest.SegmentHasher
	tried  map[int]bool // pieces that were asked for again, -1: the head
}

// openSegments makes the file for the segment hashes of a session; nil if it has none.
func openSegments(s *stage, session *manifest.Session) (*segmentHashes, error) {
	if session.Segments.Digest == (manifest.Digest{}) {
		return nil, nil
	}
	name := s.dir + "/segments"
	h := &segmentHashes{
		list: manifest.NewSegmentList(session.Campaign, s.m, int(session.FEC.SegmentSize)), digest: session.Segments.Digest,
		discard: func() error { return s.fs.Remove(name) },
	}
	h.begin()
	have, total := s.progress()
	switch free, err := s.fs.Free(); {
	case err != nil:
		return nil, err
	case free < total-have+h.list.Size()+spaceMargin: // the images come first
		return nil, errNoSpace
	}
	var err error
	if h.file, err = s.fs.OpenFile(name, openReadWrite, 0o600); err != nil {
		return nil, err
	}
	if err := h.file.Truncate(h.list.Size()); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// begin knows nothing yet.
func (h *segmentHashes) begin() {
	h.images, h.tried, h.good = map[norm.Handle]int{}, map[int]bool{}, make([]bool, h.list.Pieces())
	h.cached, h.hasher = -1, h.list.Hasher()
}

// close removes the file, which is of no use to another campaign.
func (h *segmentHashes) close() error {
	if h == nil {
		return nil
	}
	return errors.Join(h.file.Close(), h.discard())
}

func (h *segmentHashes) ReadAt(p []byte, off int64) (int, error) { return h.file.ReadAt(p, off) }

// WriteAt writes bytes, except to what is confirmed.
func (h *segmentHashes) WriteAt(p []byte, off int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := span{off, int64(len(p))}
	if !h.anyConfirmed(at) {
		return h.file.WriteAt(p, off)
	}
	for i := -1; i < len(h.good); i++ {
		part := h.span(i)
		from, to := max(part.off, at.off), min(part.off+part.length, at.off+at.length)
		if from >= to || h.confirmed(i) {
			continue
		}
		if _, err := h.file.WriteAt(p[from-off:to-off], from); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// span returns where a piece is, or the head, which is -1.
func (h *segmentHashes) span(i int) span {
	if i < 0 {
		return span{0, h.list.Head()}
	}
	off, length := h.list.Piece(i)
	return span{off, length}
}

func (h *segmentHashes) confirmed(i int) bool {
	if i < 0 {
		return h.head != nil
	}
	return h.good[i]
}

// anyConfirmed reports whether a range has bytes of a part that is confirmed.
func (h *segmentHashes) anyConfirmed(at span) bool {
	for i := -1; i < len(h.good); i++ {
		if h.confirmed(i) && h.span(i).overlaps(at) {
			return true
		}
	}
	return false
}

// confirm looks at what bytes came for, and with the head at everything. When all bytes are in, it returns what is wrong
// and was not asked for again yet.
func (h *segmentHashes) confirm(came span, all bool) (wrong []span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	had := h.head != nil
	for i := -1; i < len(h.good); i++ {
		part := h.span(i)
		if h.confirmed(i) || i >= 0 && h.head == nil || !part.overlaps(came) && !all && had {
			continue
		}
		if b := make([]byte, part.length); h.read(b, part.off) && h.right(i, b) {
			if i < 0 {
				h.head = b
			} else {
				h.good[i] = true
			}
		} else if all && !h.tried[i] {
			h.tried[i] = true
			wrong = append(wrong, part)
		}
	}
	return wrong
}

func (h *segmentHashes) read(b []byte, off int64) bool {
	n, _ := h.file.ReadAt(b, off)
	return n == len(b)
}

// right reports whether b is what a part should be.
func (h *segmentHashes) right(i int, b []byte) bool {
	digest := sha256.Sum256(b)
	if i < 0 {
		return digest == h.digest
	}
	return bytes.Equal(digest[:], h.head[i*sha256.Size:][:sha256.Size])
}

// know says which image an object is.
func (h *segmentHashes) know(o norm.Handle, image int) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.images[o] = image
}

// arm makes segments be checked from now on.
func (h *segmentHashes) arm() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = true
}

// check is asked by the protocol what a segment is (norm.ReceiverConfig.Check). It reads 4 KiB for 1024 segments that follow
// one another.
func (h *segmentHashes) check(o norm.Handle, off int64, segment []byte) norm.Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	image, ok := h.images[o]
	if !h.armed || !ok || image < 0 {
		return norm.Unknown
	}
	piece, at := h.list.Find(image, off)
	if !h.good[piece] {
		return norm.Unknown
	}
	if h.cached != piece {
		from, length := h.list.Piece(piece)
		h.piece, h.cached = slices.Grow(h.piece[:0], int(length))[:length], -1
		if !h.read(h.piece, from) {
			return norm.Unknown
		}
		h.cached = piece
	}
	if h.hasher.Hash(image, off, segment) == manifest.SegmentHash(h.piece[at:at+manifest.SegmentHashSize]) {
		return norm.Good
	}
	return norm.Forged
}

// checkSegments takes what came of the segment hashes. What is wrong is asked for again once.
func (r *reception) checkSegments(ctx context.Context, came span) {
	all := r.net.received(ctx, segmentObject) == r.segments.list.Size()
	for _, wrong := range r.segments.confirm(came, all) {
		r.net.reject(ctx, segmentObject, wrong)
	}
}

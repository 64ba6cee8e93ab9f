package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"
)

// TestSegmentList lays out the list of two images by hand: two pieces, the last one short.
func TestSegmentList(t *testing.T) {
	campaign := CampaignID{1, 2, 3}
	images := [][]byte{bytes.Repeat([]byte("firmware"), 100*1024/8+1), []byte("boot")} // 1025 segments of 100 bytes, and one
	m := &Manifest{Images: []Image{{Size: 100*1024 + 8}, {Size: 4}}}
	l := NewSegmentList(campaign, m, 100)
	b, digest, err := l.Make(m, func(yield func(int, io.ReaderAt) bool) {
		for i, image := range images {
			if !yield(i, bytes.NewReader(image)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if l.Pieces() != 2 || l.Head() != 64 || l.Size() != 64+4*1026 || int64(len(b)) != l.Size() {
		t.Fatalf("%d pieces, %d bytes with a head of %d", l.Pieces(), len(b), l.Head())
	}
	if want := sha256.Sum256(b[:64]); digest != want {
		t.Errorf("signed: %v, want %x", digest, want)
	}
	for i, want := range []struct{ off, length int64 }{{64, 4096}, {64 + 4096, 8}} {
		off, length := l.Piece(i)
		if piece := sha256.Sum256(b[off : off+length]); off != want.off || length != want.length || !bytes.Equal(b[32*i:][:32], piece[:]) {
			t.Errorf("piece %d is at %d, %d bytes, with digest %x", i, off, length, b[32*i:][:32])
		}
	}
	// SHA-256(campaign ‖ image 1 ‖ segment 0 ‖ "boot"), the last of the list.
	whole, _ := hex.DecodeString("01020300000000000000000000000000" + "0001" + "0000000000000000" + hex.EncodeToString([]byte("boot")))
	want := sha256.Sum256(whole)
	if piece, at := l.Find(1, 0); piece != 1 || at != 4 || !bytes.Equal(b[len(b)-4:], want[:4]) {
		t.Errorf("the last is %x, at %d of piece %d; want %x", b[len(b)-4:], at, piece, want[:4])
	}
	if piece, at := l.Find(0, 100*1023); piece != 0 || at != 4092 {
		t.Errorf("segment 1023 is at %d of piece %d", at, piece)
	}
	// The same bytes elsewhere, or in another campaign, have another hash.
	if h := l.Hasher(); h.Hash(0, 0, images[0][:100]) == h.Hash(0, 200, images[0][200:300]) ||
		h.Hash(0, 0, images[0][:100]) == NewSegmentList(CampaignID{9}, m, 100).Hasher().Hash(0, 0, images[0][:100]) {
		t.Error("a hash is of use in another place")
	}
	if _, _, err := l.Make(m, func(yield func(int, io.ReaderAt) bool) { yield(0, bytes.NewReader(images[1])) }); err == nil {
		t.Error("a list was made of an image that ends early")
	}
}

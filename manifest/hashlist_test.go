package manifest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/merkle"
)

// twoImages returns a release of 2 and 131 leaves: 2 pieces of one leaf and 33 of up to four.
func twoImages(t *testing.T) (*Manifest, [][]merkle.Hash) {
	m := smallManifest(t)
	big, bigLeaves := testImage(t, "rootfs.img", 130*merkle.MinLeafSize+1, 2)
	small, smallLeaves := testImage(t, "fw.bin", 100_000, 1)
	m.Images = []Image{small, big}
	return m, [][]merkle.Hash{smallLeaves, bigLeaves}
}

func TestHashListPieceByPiece(t *testing.T) {
	m, leaves := twoImages(t)
	list, err := m.HashList(leaves)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(2+131) * merkle.HashSize; m.HashListSize() != want || int64(len(list)) != want {
		t.Fatalf("%d bytes, announced as %d, want %d", len(list), m.HashListSize(), want)
	}
	got := make([][]merkle.Hash, 2)
	var next int64
	for p := range m.Pieces() {
		if p.Offset != next || p.First != len(got[p.Image]) {
			t.Fatalf("piece %+v, want it to begin at byte %d, leaf %d", p, next, len(got[p.Image]))
		}
		next += p.Length
		hashes, err := m.OpenPiece(p, list[p.Offset:next])
		if err != nil {
			t.Fatal(err)
		}
		if len(hashes) != p.End-p.First {
			t.Fatalf("piece %+v gives %d hashes", p, len(hashes))
		}
		got[p.Image] = append(got[p.Image], hashes...)
	}
	for i := range leaves {
		off, length := m.HashListRange(i)
		if own, ok := splitHashes(list[off : off+length]); !ok || !slices.Equal(own, leaves[i]) {
			t.Errorf("bytes %d to %d of the list are not the leaf hashes of image %d", off, off+length, i)
		}
		if !slices.Equal(got[i], leaves[i]) {
			t.Errorf("the pieces of image %d do not give its leaf hashes", i)
		}
	}
}

func TestAttackForgedHashList(t *testing.T) {
	m, leaves := twoImages(t)
	list, err := m.HashList(leaves)
	if err != nil {
		t.Fatal(err)
	}
	pieces := slices.Collect(m.Pieces())
	if len(pieces) != 2+33 {
		t.Fatalf("%d pieces, want 35", len(pieces))
	}
	for i, p := range pieces {
		b := bytes.Clone(list[p.Offset : p.Offset+p.Length])
		b[len(b)-1] ^= 1
		if _, err := m.OpenPiece(p, b); !errors.Is(err, ErrHashes) {
			t.Errorf("piece %d with a forged byte: %v, want ErrHashes", i, err)
		}
		b[len(b)-1] ^= 1
		for _, other := range [][]byte{nil, b[1:], b[merkle.HashSize:], append(b, 0), append(b, make([]byte, 32)...)} {
			if _, err := m.OpenPiece(p, other); !errors.Is(err, ErrHashes) {
				t.Errorf("piece %d with %d bytes of %d: %v, want ErrHashes", i, len(other), p.Length, err)
			}
		}
		if _, err := m.OpenPiece(pieces[(i+1)%len(pieces)], b); !errors.Is(err, ErrHashes) {
			t.Errorf("piece %d in the place of the next: %v, want ErrHashes", i, err)
		}
	}
}

func TestHashListOfOtherImagesRefused(t *testing.T) {
	m, leaves := twoImages(t)
	for name, wrong := range map[string][][]merkle.Hash{
		"one list":      leaves[:1],
		"exchanged":     {leaves[1], leaves[0]},
		"one leaf less": {leaves[0], leaves[1][1:]},
		"forged":        {leaves[0], append([]merkle.Hash{{}}, leaves[1][1:]...)},
	} {
		if _, err := m.HashList(wrong); !errors.Is(err, ErrHashes) {
			t.Errorf("%s: %v, want ErrHashes", name, err)
		}
	}
}

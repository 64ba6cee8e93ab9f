package upgrade

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
)

// stageOf opens an empty stage for an image whose hashes are known.
func stageOf(t *testing.T, image []byte) *stagedImage {
	t.Helper()
	fsys, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	if err := fsys.Mkdir("part", 0o700); err != nil {
		t.Fatal(err)
	}
	entry, leaves, err := manifest.NewImage("fw", bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	im, err := openImage(fsys, ".", &entry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.file.Close() })
	if _, err := im.expect(0, leaves); err != nil {
		t.Fatal(err)
	}
	return im
}

// seedOf opens a file with some bytes as a seed.
func seedOf(t *testing.T, content []byte) disk.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(path, content, 0o400); err != nil {
		t.Fatal(err)
	}
	f, err := openSeed(path, "fw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestGlean looks for the leaves of an image of three and a half in seeds.
func TestGlean(t *testing.T) {
	const leaf = merkle.MinLeafSize
	image := testImage(3*leaf+leaf/2, 1)
	copy(image[2*leaf:3*leaf], image[:leaf]) // leaf 2 is leaf 0
	other := testImage(4*leaf, 2)
	for _, test := range []struct {
		name string
		seed []byte
		want []int
	}{
		{"the same", image, []int{0, 1, 2, 3}},
		{"longer", slices.Concat(image, other), []int{0, 1, 2, 3}},
		{"a slot that goes on behind the image", slices.Concat(image, make([]byte, leaf)), []int{0, 1, 2, 3}},
		{"shorter", image[:2*leaf-1], []int{0, 2}},
		{"one leaf differs", slices.Concat(image[:leaf], other[:leaf], image[2*leaf:]), []int{0, 2, 3}},
		{"at other places", slices.Concat(other[:leaf], image[leaf:2*leaf], other[:leaf], other[:leaf], image[:leaf]), []int{0, 1, 2}},
		{"its end at another place", slices.Concat(other[:leaf], image[3*leaf:]), []int{3}},
		{"shifted by a byte", slices.Concat(other[:1], image), nil},
		{"nothing", other, nil},
		{"empty", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			im := stageOf(t, image)
			f := seedOf(t, test.seed)
			var found []int
			err := im.glean(t.Context(), f, func(events []leafEvent) {
				for _, e := range events {
					for l := e.First; l < e.End; l++ {
						if !e.Verified {
							t.Errorf("leaf %d was rejected", l)
						}
						found = append(found, l)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if slices.Sort(found); !slices.Equal(found, test.want) {
				t.Errorf("found %v, want %v", found, test.want)
			}
			for _, l := range test.want {
				s := im.bytes(l, l+1)
				b := make([]byte, s.length)
				if _, err := im.ReadAt(b, s.off); err != nil || !bytes.Equal(b, image[s.off:s.off+s.length]) || !im.verified(l) {
					t.Errorf("leaf %d is wrong: %v", l, err)
				}
			}
		})
	}
}

// A turncoat is a seed that is another one when it is read again.
type turncoat struct {
	disk.File
	reads int
}

func (f *turncoat) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if f.reads++; f.reads%2 == 0 {
		p[0] ^= 1
	}
	return n, err
}

// What is copied from a seed is hashed as it is copied: that it was right before counts for nothing.
func TestAttackSeedChangesBehindTheHash(t *testing.T) {
	image := testImage(4*merkle.MinLeafSize, 1)
	im := stageOf(t, image)
	f := seedOf(t, image)
	rejected := 0
	err := im.glean(t.Context(), &turncoat{File: f}, func(events []leafEvent) {
		for _, e := range events {
			if e.Verified {
				t.Errorf("leaves %d to %d were taken", e.First, e.End-1)
			}
			rejected += e.End - e.First
		}
	})
	if err != nil || rejected != 4 || im.verifiedBytes() != 0 {
		t.Errorf("%d leaves were rejected (%v), want all 4", rejected, err)
	}
}

// A search ends with the reception.
func TestGleaningEnds(t *testing.T) {
	image := testImage(4*merkle.MinLeafSize, 1)
	im := stageOf(t, image)
	f := seedOf(t, image)
	ctx, cancel := context.WithCancel(t.Context())
	if err := im.glean(ctx, f, func([]leafEvent) { cancel() }); err != nil || im.verifiedBytes() != merkle.MinLeafSize {
		t.Errorf("%d bytes (%v), want those of one leaf", im.verifiedBytes(), err)
	}
}

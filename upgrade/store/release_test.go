package store_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestReleases(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		added := addRelease(t, s, "fw.bin", image(1000))
		got := must(s.Release(ctx, added.ID))(t)
		if got.Uploaded != alice || !bytes.Equal(got.Signed, added.Signed) || got.Manifest.Digest() != added.ID || !slices.Equal(got.Missing, []string{"fw.bin"}) {
			t.Errorf("got %+v", got)
		}
		_, err := s.AddRelease(ctx, added.Signed, bob)
		wantErr(t, err, store.ErrExists)
		_, err = s.AddRelease(ctx, []byte("no manifest"), bob)
		wantErr(t, err, store.ErrInvalid)
		_, err = s.Release(ctx, manifest.Digest{1})
		wantErr(t, err, store.ErrNotFound)
		if l := must(s.Releases(ctx, "lamp", store.Page{}))(t); len(l.Items) != 1 || l.Items[0].ID != added.ID || len(l.Items[0].Missing) != 1 {
			t.Errorf("releases %+v", l)
		}
		if l := must(s.Releases(ctx, "phone", store.Page{}))(t); len(l.Items) != 0 {
			t.Errorf("releases of another product %+v", l)
		}
		c := must(s.AddCampaign(ctx, draft(1, added), alice))(t)
		wantErr(t, s.RemoveRelease(ctx, added.ID, alice), store.ErrState)
		other := addRelease(t, s, "other.bin", image(2000))
		wantNil(t, s.AddImage(ctx, other.ID, "other.bin", bytes.NewReader(image(2000)), alice))
		wantNil(t, s.RemoveRelease(ctx, other.ID, alice))
		wantErr(t, s.RemoveRelease(ctx, other.ID, alice), store.ErrNotFound)
		wantChunks(t, s, 0)
		c.Release = other.ID
		_, err = s.ChangeCampaign(ctx, c, alice)
		wantErr(t, err, store.ErrNotFound)
	})
}

// wantChunks checks how many rows the bytes of all images are in.
func wantChunks(t *testing.T, s *store.Store, want int) {
	t.Helper()
	var n int
	wantNil(t, s.DB().QueryRowContext(t.Context(), `SELECT COUNT(*) FROM chunks`).Scan(&n))
	if n != want {
		t.Errorf("%d chunks, want %d", n, want)
	}
}

func TestImageIsReadBackFromAnywhere(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		content := image(10<<20 + 12345) // more chunks than are cached
		r := addRelease(t, s, "fw.bin", content)
		_, err := s.OpenImage(ctx, r.ID, "fw.bin")
		wantErr(t, err, store.ErrNotFound)
		wantNil(t, s.AddImage(ctx, r.ID, "fw.bin", iotest.HalfReader(bytes.NewReader(content)), alice))
		if r = must(s.Release(ctx, r.ID))(t); len(r.Missing) != 0 {
			t.Errorf("missing %q", r.Missing)
		}
		im := must(s.OpenImage(ctx, r.ID, "fw.bin"))(t)
		if im.Size() != int64(len(content)) {
			t.Errorf("size %d", im.Size())
		}
		var all sync.WaitGroup
		for reader := range 4 {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(reader)))
				for range 30 {
					off := rng.Int64N(im.Size() + 10)
					want, buf := bytes.NewReader(content), make([]byte, rng.IntN(3<<20))
					got := slices.Clone(buf)
					wantN, wantErr := want.ReadAt(buf, off)
					n, err := im.ReadAt(got, off)
					if n != wantN || err != wantErr || !bytes.Equal(got, buf) {
						t.Errorf("%d bytes at %d: %d, %v, want %d, %v", len(buf), off, n, err, wantN, wantErr)
					}
				}
			})
		}
		all.Wait()
		if _, err := im.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("it can be read before its start")
		}
	})
}

func TestOnlyTheImageOfTheManifestIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		content := image(1<<20 + 10)
		r := addRelease(t, s, "fw.bin", content)
		forged := slices.Clone(content)
		forged[1<<20] ^= 1
		broken := errors.New("the line broke")
		for name, tt := range map[string]struct {
			r    io.Reader
			want error
		}{
			"forged": {bytes.NewReader(forged), store.ErrContent},
			"short":  {bytes.NewReader(content[:len(content)-1]), store.ErrContent},
			"empty":  {bytes.NewReader(nil), store.ErrContent},
			"long":   {bytes.NewReader(append(content[:len(content):len(content)], 0)), store.ErrContent},
			"broken": {io.MultiReader(bytes.NewReader(content[:1<<20]), iotest.ErrReader(broken)), broken},
			"late":   {io.MultiReader(bytes.NewReader(content), iotest.ErrReader(broken)), broken},
		} {
			t.Run(name, func(t *testing.T) {
				wantErr(t, s.AddImage(ctx, r.ID, "fw.bin", tt.r, alice), tt.want)
				_, err := s.OpenImage(ctx, r.ID, "fw.bin")
				wantErr(t, err, store.ErrNotFound)
				wantChunks(t, s, 0)
			})
		}
		wantErr(t, s.AddImage(ctx, r.ID, "../fw.bin", bytes.NewReader(content), alice), store.ErrNotFound)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := s.AddImage(ctx, r.ID, "fw.bin", bytes.NewReader(content), alice); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantChunks(t, s, 2)
		if l := must(s.Events(ctx, store.EventFilter{Action: "image.add"}, store.Page{}))(t); len(l.Items) != 1 {
			t.Errorf("audit trail %+v", l.Items)
		}
	})
}

func TestWhatACrashLeavesOfAnUploadIsPruned(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		content := image(3000)
		r := addRelease(t, s, "fw.bin", content)
		wantNil(t, s.AddImage(ctx, r.ID, "fw.bin", bytes.NewReader(content), alice))
		must(s.DB().ExecContext(ctx, `INSERT INTO contents (id, started) VALUES ('left', $1)`, start.UnixNano()))(t)
		must(s.DB().ExecContext(ctx, `INSERT INTO chunks (content, n, bytes) VALUES ('left', 0, $1)`, []byte("half an image")))(t)
		wantNil(t, s.Prune(ctx, start.Add(23*time.Hour), store.Retention{}))
		wantChunks(t, s, 2)
		wantNil(t, s.Prune(ctx, start.Add(24*time.Hour), store.Retention{}))
		wantChunks(t, s, 1)
		must(s.OpenImage(ctx, r.ID, "fw.bin"))(t)
	})
}

func TestFileKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		rel, other := addRelease(t, s, "fw.bin", image(1000)), addRelease(t, s, "other.bin", image(1000))
		if rel.FileKeys || must(s.FileKeys(ctx, rel.ID))(t) != nil {
			t.Error("a release has file keys that nobody has given")
		}
		keys := []manifest.FileKey{{1, 2}, {3, 4}}
		for range 2 { // again
			wantNil(t, s.AddFileKeys(ctx, rel.ID, keys, alice))
		}
		if got := must(s.FileKeys(ctx, rel.ID))(t); !slices.Equal(got, keys) || !must(s.Release(ctx, rel.ID))(t).FileKeys || must(s.Release(ctx, other.ID))(t).FileKeys {
			t.Errorf("%d keys are here, want 2, of one release", len(got))
		}
		wantErr(t, s.AddFileKeys(ctx, manifest.Digest{1}, keys, alice), store.ErrNotFound)
		_, err := s.FileKeys(ctx, manifest.Digest{1})
		wantErr(t, err, store.ErrNotFound)
		l := must(s.Events(ctx, store.EventFilter{Action: "release.keys"}, store.Page{}))(t)
		if len(l.Items) != 2 || l.Items[0].Actor != alice.Actor {
			t.Errorf("audit trail: %+v", l.Items)
		}
	})
}

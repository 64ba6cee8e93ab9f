package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var (
	start = time.Date(2031, 5, 6, 7, 8, 9, 10, time.UTC)
	alice = store.By{Actor: "alice", At: start}
	bob   = store.By{Actor: "bob", At: start.Add(time.Minute)}
)

// onBoth runs f on an empty database of each kind.
func onBoth(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Run("sqlite", func(t *testing.T) { f(t, open(t, newSQLite(t))) })
	t.Run("postgres", func(t *testing.T) { f(t, open(t, newPostgres(t))) })
}

func newSQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "fleet.db") }

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantNil(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func deviceKey(t testing.TB) manifest.PublicKey {
	t.Helper()
	return must(manifest.GenerateKey(manifest.RoleDevice, nil))(t).Public()
}

// image returns n bytes, no two stretches of which are alike.
func image(n int) []byte {
	b := make([]byte, 0, n+8)
	for i := uint64(0); len(b) < n; i++ {
		b = binary.BigEndian.AppendUint64(b, i*0x9e3779b97f4a7c15)
	}
	return b[:n]
}

// addRelease adds a signed release of one image, not uploaded.
func addRelease(t testing.TB, s *store.Store, name string, content []byte) store.Release {
	t.Helper()
	im, _, err := manifest.NewImage(name, bytes.NewReader(content), int64(len(content)))
	wantNil(t, err)
	m := &manifest.Manifest{Product: "lamp", Hardware: []string{manifest.AnyHardware}, Version: "2.1", Sequence: 7, Created: start.Truncate(time.Second),
		Expires: start.Truncate(time.Second).AddDate(0, 6, 0), Images: []manifest.Image{im}}
	signed := must(m.Sign(must(manifest.GenerateKey(manifest.RoleRelease, nil))(t)))(t)
	return must(s.AddRelease(t.Context(), signed, alice))(t)
}

func campaignID(n byte) commit.CampaignID { return commit.CampaignID{n, 0xca} }

func draft(n byte, r store.Release) store.Campaign {
	return store.Campaign{ID: campaignID(n), Name: fmt.Sprintf("campaign %d", n), Release: r.ID, Settings: store.CampaignSettings{
		Targets: store.Selector{Products: []string{"lamp"}},
		Policy:  store.Policy{Waves: []store.Wave{{Quorum: 90}}},
	}}
}

// running returns a campaign that waits for a leader.
func running(t testing.TB, s *store.Store, n byte) store.Campaign {
	t.Helper()
	c := must(s.AddCampaign(t.Context(), draft(n, addRelease(t, s, fmt.Sprintf("fw-%d.bin", n), image(1000+int(n)))), alice))(t)
	for _, phase := range []store.CampaignPhase{store.PhaseScheduled, store.PhaseRunning} {
		c = must(s.MoveCampaign(t.Context(), c.ID, c.Revision, phase, alice))(t)
	}
	return c
}

func TestDevices(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		wantNil(t, s.SeeDevices(ctx, store.Sighting{"lamp-2", "lamp", "rev-b", "1.0", start}, store.Sighting{"lamp-1", "lamp", "rev-a", "1.0", start},
			store.Sighting{"lamp-2", "lamp", "rev-b", "1.1", start.Add(1)}))
		d := must(s.Device(ctx, "lamp-2"))(t)
		if d.Version != "1.1" || !d.LastSeen.Equal(start.Add(1)) || d.Node < 1<<31 {
			t.Errorf("got %+v", d)
		}
		wantNil(t, s.PlaceDevice(ctx, "lamp-2", d.Revision, "hall", []string{"beta", "alpha"}, alice))
		wantErr(t, s.PlaceDevice(ctx, "lamp-2", d.Revision, "yard", nil, bob), store.ErrConflict)
		_, err := s.Device(ctx, "lamp-3")
		wantErr(t, err, store.ErrNotFound)
		l := must(s.Devices(ctx, store.DeviceFilter{Tags: []string{"alpha", "gamma"}}, store.Page{}))(t)
		if len(l.Items) != 1 || l.Items[0].Site != "hall" || len(l.Items[0].Tags) != 2 {
			t.Errorf("got %+v", l)
		}
	})
}

func TestImageGoesInAndOut(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		content := image(3<<20 + 12345)
		r := addRelease(t, s, "fw.bin", content)
		if len(r.Missing) != 1 {
			t.Errorf("missing %q", r.Missing)
		}
		wantNil(t, s.AddImage(ctx, r.ID, "fw.bin", bytes.NewReader(content), alice))
		im := must(s.OpenImage(ctx, r.ID, "fw.bin"))(t)
		got := make([]byte, im.Size())
		must(im.ReadAt(got, 0))(t)
		if sha256.Sum256(got) != sha256.Sum256(content) {
			t.Error("other bytes came out")
		}
		wantNil(t, s.AddImage(context.WithoutCancel(ctx), r.ID, "fw.bin", bytes.NewReader(content), alice))
	})
}

func TestLeaseAndLog(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		c := running(t, s, 1)
		l := must(s.TakeLease(t.Context(), c.ID, "a", start, time.Minute))(t)
		log := must(s.CampaignState(t.Context(), l).OpenLog(func([]byte) error { return nil }))(t)
		wantNil(t, log.Append(record("one"), record("two")))
	})
}

// record returns a record of a coordinator's log that says text, which has up to 23 bytes: CBOR of format 1 and a list
// of one duplicate.
func record(text string) []byte {
	return append([]byte{0xa2, 1, 1, 8, 0xa1, 1, 0x81, 0x60 + byte(len(text))}, text...)
}

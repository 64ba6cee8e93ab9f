package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var (
	start = time.Date(2031, 5, 6, 7, 8, 9, 10, time.UTC)
	alice = store.By{Actor: "alice", At: start}
	bob   = store.By{Actor: "bob", At: start.Add(time.Minute)}
)

// databases make an empty database of each kind, and return its URL.
var databases = map[string]func(testing.TB) string{"sqlite": newSQLite, "postgres": pgtest.New}

// onBoth runs f on an empty database of each kind.
func onBoth(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Helper()
	for name, url := range databases {
		t.Run(name, func(t *testing.T) { f(t, open(t, url(t))) })
	}
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

package fleet_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/seal"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// uploadSealed adds a release with a sealed image, without its file key.
func (r *rig) uploadSealed(s *server) manifest.FileKey {
	r.Helper()
	signed, sent, key := fleettest.Sealed(r.T, fleettest.ReleaseKey, "fw", r.image)
	rel, err := s.AddRelease(r.Context(), signed, "alice")
	if err == nil {
		r.release = rel.ID
		err = s.AddImage(r.Context(), rel.ID, "fw", bytes.NewReader(sent), "alice")
	}
	if err != nil {
		r.Fatal(err)
	}
	return key
}

// Each target opens a sealed release for itself, unless it is said who does, whichever server it asks.
func TestSealedCampaign(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		lead, other := r.serve("one"), r.serve("two")
		defer lead.stop()
		defer other.stop()
		key := r.uploadSealed(lead)
		r.enrol(names(2)...)
		c := r.create(lead, "spring", nil)
		if _, err := lead.Start(r.Context(), c.ID, c.Revision, "alice"); !errors.Is(err, fleet.ErrFileKeys) {
			t.Fatalf("without file keys: %v", err)
		}
		if err := lead.AddFileKeys(r.Context(), r.release, []manifest.FileKey{{1}}, "alice"); !errors.Is(err, fleet.ErrForeignKeys) {
			t.Fatalf("with those of another release: %v", err)
		}
		if err := lead.AddFileKeys(r.Context(), r.release, []manifest.FileKey{key}, "alice"); err != nil {
			t.Fatal(err)
		}
		r.start(lead, c)
		var dirs []string
		for i, name := range names(2) {
			r.agent(name, func(cfg *upgrade.AgentConfig) {
				cfg.Unsealer, cfg.Transport = seal.Unsealer{}, at([]*server{lead, other}[i])
				dirs = append(dirs, cfg.Dir)
			})
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
		if snap := r.snapshot(lead, c.ID); snap.Committed != 2 {
			t.Errorf("%+v", snap)
		}
		r.agents.Wait()
		for _, dir := range dirs {
			if image, err := os.ReadFile(filepath.Join(dir, "current", "fw")); err != nil || !bytes.Equal(image, r.image) {
				t.Errorf("%s: %d bytes are activated, %v", dir, len(image), err)
			}
		}
	})
}

// What settings name, opens: a group, and nobody else.
func TestSealedToAGroup(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		key := r.uploadSealed(s)
		if err := s.AddFileKeys(r.Context(), r.release, []manifest.FileKey{key}, "alice"); err != nil {
			t.Fatal(err)
		}
		group, err := manifest.GenerateIdentity()
		if err != nil {
			t.Fatal(err)
		}
		r.enrol(names(2)...)
		c := r.create(s, "spring", func(set *store.CampaignSettings) {
			set.Seal.To = []manifest.Recipient{group.Recipient()}
			set.Policy.Waves[0].Quorum = 50
		})
		if c, err := r.store.Campaign(r.Context(), c.ID); err != nil || len(c.Settings.Seal.To) != 1 || c.Settings.Seal.To[0] != group.Recipient() {
			t.Errorf("the store has %d groups, %v", len(c.Settings.Seal.To), err)
		}
		r.start(s, c)
		member := r.agent("phone-00", func(cfg *upgrade.AgentConfig) {
			cfg.Unsealer, cfg.SealKeys = seal.Unsealer{}, []*manifest.Identity{group}
		})
		r.agent("phone-01", func(cfg *upgrade.AgentConfig) { cfg.Unsealer = seal.Unsealer{} })
		r.until(5*time.Minute, "activation", func() bool { return member.did(upgrade.EventActivated) })
		for _, d := range r.devices(s, c.ID) {
			if d.Device == "phone-01" && (d.State != commit.StateRefused || d.Reason != commit.ReasonNoKey) {
				t.Errorf("the device without the key is %s (%s)", d.State, d.Reason)
			}
		}
		r.until(30*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
	})
}

// TestSealSettingsAreChecked: before a draft is kept, and when it is started.
func TestSealSettingsAreChecked(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol(names(1)...)
		k, err := manifest.GenerateIdentity()
		if err != nil {
			t.Fatal(err)
		}
		for name, to := range map[string][]manifest.Recipient{"twice": {k.Recipient(), k.Recipient()}, "none": {{}}, "65": make([]manifest.Recipient, 65)} {
			if _, err := s.Create(r.Context(), "x", r.release, settings(func(set *store.CampaignSettings) { set.Seal.To = to }), "alice"); !errors.Is(err, fleet.ErrSettings) {
				t.Errorf("%s: %v, want ErrSettings", name, err)
			}
		}
		c := r.create(s, "spring", func(set *store.CampaignSettings) { set.Seal.To = []manifest.Recipient{k.Recipient()} })
		if _, err := s.Start(r.Context(), c.ID, c.Revision, "alice"); !errors.Is(err, fleet.ErrSettings) {
			t.Errorf("a release that is not sealed: %v, want ErrSettings", err)
		}
	})
}

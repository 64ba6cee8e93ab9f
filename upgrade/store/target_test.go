package store_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A device and a group belong to one campaign at a time, and are free again when it is closed.
func TestCampaignsDoNotOverlap(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, release := t.Context(), addRelease(t, s, "fw.bin", image(1000))
		groups := []netip.AddrPort{netip.MustParseAddrPort("239.1.1.1:6003"), netip.MustParseAddrPort("239.1.1.2:6003")}
		target := func(devices ...string) (targets []commit.Target) {
			for _, d := range devices {
				targets = append(targets, commit.Target{Device: d, Site: "berlin", Key: deviceKey(t)})
			}
			return targets
		}
		var drafts [3]store.Campaign
		for i := range drafts {
			drafts[i] = must(s.AddCampaign(ctx, draft(byte(i), release), alice))(t)
		}
		one, two, three := drafts[0], drafts[1], drafts[2]
		targets := target("d1", "d2")
		if c, err := s.StartCampaign(ctx, one.ID, one.Revision, targets, groups, alice); err != nil || c.Phase != store.PhaseScheduled {
			t.Fatalf("start: %+v, %v", c, err)
		}
		got, err := s.CampaignStart(ctx, one.ID)
		wantNil(t, err)
		if got.Group != groups[0] || !got.At.Equal(alice.At) || len(got.Targets) != 2 || got.Targets[1].Target != targets[1] {
			t.Errorf("started with %+v", got)
		}

		_, err = s.StartCampaign(ctx, two.ID, two.Revision, target("d0", "d2", "d3"), groups, alice)
		overlap, ok := errors.AsType[*store.OverlapError](err)
		if !ok || len(overlap.Devices) != 1 || overlap.Devices[0] != (store.Overlap{Device: "d2", Campaign: one.ID, Name: one.Name}) {
			t.Fatalf("overlapping: %v", err)
		}
		if c, err := s.Campaign(ctx, two.ID); err != nil || c.Phase != store.PhaseDraft || c.Revision != two.Revision {
			t.Errorf("what was refused has changed: %+v, %v", c, err)
		}
		if got, err := s.Overlaps(ctx, []string{"d0", "d1", "d3"}); err != nil || len(got) != 1 || got[0].Device != "d1" {
			t.Errorf("overlaps %v, %v", got, err)
		}
		_, err = s.StartCampaign(ctx, two.ID, two.Revision, target("d0"), groups[:1], alice)
		wantErr(t, err, store.ErrNoGroup)
		if _, err := s.StartCampaign(ctx, two.ID, two.Revision, target("d0"), groups, alice); err != nil {
			t.Error(err)
		}
		_, err = s.EndCampaign(ctx, one.ID, one.Revision, bob) // of before it was started
		wantErr(t, err, store.ErrConflict)
		if c, err := s.EndCampaign(ctx, one.ID, one.Revision+1, bob); err != nil || c.Phase != store.PhaseClosed {
			t.Fatalf("end: %+v, %v", c, err)
		}
		if _, err := s.StartCampaign(ctx, three.ID, three.Revision, target("d1", "d2"), groups, alice); err != nil {
			t.Errorf("after the other was closed: %v", err)
		}
		_, err = s.CampaignStart(ctx, one.ID)
		wantErr(t, err, store.ErrNotFound)
	})
}

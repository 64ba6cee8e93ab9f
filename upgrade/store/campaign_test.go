package store_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestCampaignComesBackAsItWas(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := draft(1, addRelease(t, s, "fw.bin", image(100)))
		c.Settings = store.CampaignSettings{
			Targets: store.Selector{Products: []string{"lamp"}, Sites: []string{"hall"}, Tags: []string{"beta"}, Devices: []string{"a", "b"}},
			Transport: store.Transport{Group: netip.MustParseAddrPort("239.1.2.3:6003"), Interface: "eth0", Source: netip.MustParseAddr("192.0.2.1"), TTL: 4, Rate: 1.5e9, StartRate: 1e6, MinRate: 64e3, MaxRate: 1e10,
				Burst: 9000, SegmentSize: 1300, FEC: "rs8:64,32", AutoParity: 2, GRTT: 20 * time.Millisecond, BackoffFactor: -1, GroupSize: 500, Auth: "on"},
			Policy: store.Policy{Waves: []store.Wave{{Targets: store.Selector{Sites: []string{"hall"}}, Quorum: 95, SiteQuorum: 80, Must: []string{"a"}, ReadyTimeout: time.Hour, Ask: true}, {}},
				MaxFailures: 3, AllowUnsigned: true, TwoPeople: true},
			Activation: store.Activation{NotBefore: start, Window: time.Hour, Spread: time.Minute, Hold: 24 * time.Hour},
			Schedule:   store.Schedule{At: start.Add(time.Hour), Joined: 90, Wait: time.Minute},
		}
		added := must(s.AddCampaign(ctx, c, alice))(t)
		got := must(s.Campaign(ctx, c.ID))(t)
		c.Phase, c.Created, c.Changed, c.Revision, c.Lease.Campaign = store.PhaseDraft, alice, "alice", 1, c.ID
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got  %+v\nwant %+v", got, c)
		}
		_, err := s.AddCampaign(ctx, added, alice)
		wantErr(t, err, store.ErrExists)
		for name, change := range map[string]func(*store.Campaign){
			"no id":      func(c *store.Campaign) { c.ID = [16]byte{} },
			"no name":    func(c *store.Campaign) { c.Name = "" },
			"no targets": func(c *store.Campaign) { c.Settings.Targets = store.Selector{} },
			"no waves":   func(c *store.Campaign) { c.Settings.Policy.Waves = nil },
			"must":       func(c *store.Campaign) { c.Settings.Policy.Waves[0].Must = []string{"no name"} },
		} {
			bad := draft(2, store.Release{ID: c.Release})
			change(&bad)
			_, err := s.AddCampaign(ctx, bad, alice)
			if wantErr(t, err, store.ErrInvalid); t.Failed() {
				t.Fatal(name)
			}
		}
		_, err = s.AddCampaign(ctx, draft(3, store.Release{}), alice)
		wantErr(t, err, store.ErrNotFound)
		for i := range 5 {
			must(s.AddCampaign(ctx, draft(byte(10+i), store.Release{ID: c.Release}), alice))(t)
		}
		first := must(s.Campaigns(ctx, store.CampaignFilter{Phases: []store.CampaignPhase{store.PhaseDraft}, Release: c.Release}, store.Page{Limit: 4}))(t)
		rest := must(s.Campaigns(ctx, store.CampaignFilter{}, store.Page{After: first.Next}))(t)
		if len(first.Items) != 4 || len(rest.Items) != 2 || rest.Next != "" {
			t.Errorf("%d and %d campaigns", len(first.Items), len(rest.Items))
		}
	})
}

func TestCampaignPhases(t *testing.T) {
	phases := []store.CampaignPhase{store.PhaseDraft, store.PhaseScheduled, store.PhaseRunning, store.PhasePaused, store.PhaseClosed, "else"}
	may := map[store.CampaignPhase]string{ // by what people expect, not by the table
		store.PhaseDraft: "scheduled closed", store.PhaseScheduled: "draft running closed", store.PhaseRunning: "closed",
	}
	path := map[store.CampaignPhase][]store.CampaignPhase{
		store.PhaseDraft: nil, store.PhaseScheduled: {store.PhaseScheduled}, store.PhaseRunning: {store.PhaseScheduled, store.PhaseRunning},
		store.PhaseClosed: {store.PhaseClosed},
	}
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		r := addRelease(t, s, "fw.bin", image(100))
		n := byte(0)
		for from, way := range path {
			for _, to := range phases {
				n++
				c := must(s.AddCampaign(ctx, draft(n, r), alice))(t)
				for _, phase := range way {
					c = must(s.MoveCampaign(ctx, c.ID, c.Revision, phase, alice))(t)
				}
				moved, err := s.MoveCampaign(ctx, c.ID, c.Revision, to, bob)
				if slices.Contains(strings.Fields(may[from]), string(to)) {
					wantNil(t, err)
					if moved.Phase != to || moved.Revision != c.Revision+1 || moved.Closed.Equal(bob.At) != (to == store.PhaseClosed) {
						t.Errorf("%s to %s: %+v", from, to, moved)
					}
				} else if wantErr(t, err, store.ErrState); err == nil {
					t.Errorf("%s to %s", from, to)
				}
				now := must(s.Campaign(ctx, c.ID))(t)
				if _, err := s.ChangeCampaign(ctx, now, alice); (err == nil) != (now.Phase == store.PhaseDraft) {
					t.Errorf("changing a campaign that is %s: %v", now.Phase, err)
				}
			}
		}
	})
}

func TestSecondPersonApproves(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := draft(1, addRelease(t, s, "fw.bin", image(100)))
		c.Settings.Policy.TwoPeople = true
		c = must(s.AddCampaign(ctx, c, alice))(t)
		_, err := s.MoveCampaign(ctx, c.ID, c.Revision, store.PhaseScheduled, bob)
		wantErr(t, err, store.ErrNotApproved)
		_, err = s.ApproveCampaign(ctx, c.ID, c.Revision, alice)
		wantErr(t, err, store.ErrSamePerson)
		approved := must(s.ApproveCampaign(ctx, c.ID, c.Revision, bob))(t)
		if approved.Approved != bob {
			t.Errorf("approved by %+v", approved.Approved)
		}
		// What is changed after it was approved is not approved, and who changed it does not approve it.
		changed := must(s.ChangeCampaign(ctx, approved, bob))(t)
		if changed.Approved.Actor != "" {
			t.Errorf("a changed campaign is approved by %+v", changed.Approved)
		}
		_, err = s.MoveCampaign(ctx, c.ID, changed.Revision, store.PhaseScheduled, bob)
		wantErr(t, err, store.ErrNotApproved)
		_, err = s.ApproveCampaign(ctx, c.ID, changed.Revision, bob)
		wantErr(t, err, store.ErrSamePerson)
		// Nor is what somebody else saw approved.
		_, err = s.ApproveCampaign(ctx, c.ID, approved.Revision, store.By{Actor: "carol", At: start})
		wantErr(t, err, store.ErrConflict)
		c = must(s.ApproveCampaign(ctx, c.ID, changed.Revision, store.By{Actor: "carol", At: start}))(t)
		c = must(s.MoveCampaign(ctx, c.ID, c.Revision, store.PhaseScheduled, alice))(t)
		_, err = s.ApproveCampaign(ctx, c.ID, c.Revision, bob)
		wantErr(t, err, store.ErrState)
	})
}

func TestTwoAdministratorsOfACampaignOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := must(s.AddCampaign(ctx, draft(1, addRelease(t, s, "fw.bin", image(100))), alice))(t)
		errs := make([]error, 6)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				mine := c
				mine.Name = fmt.Sprint("by ", i)
				if i%2 == 0 {
					_, errs[i] = s.ChangeCampaign(ctx, mine, store.By{Actor: mine.Name, At: start})
				} else {
					_, errs[i] = s.MoveCampaign(ctx, c.ID, c.Revision, store.PhaseClosed, store.By{Actor: mine.Name, At: start})
				}
			})
		}
		all.Wait()
		winner := slices.Index(errs, nil)
		for i, err := range errs {
			if i != winner {
				wantErr(t, err, store.ErrConflict)
			}
		}
		got := must(s.Campaign(ctx, c.ID))(t)
		if (got.Name == fmt.Sprint("by ", winner)) != (winner%2 == 0) || (got.Phase == store.PhaseClosed) != (winner%2 == 1) || got.Revision != c.Revision+1 {
			t.Errorf("%d won: %+v", winner, got)
		}
	})
}

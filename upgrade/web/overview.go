package web

import (
	"context"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// An entry is a campaign in a list.
type entry struct {
	store.Campaign
	Snapshot fleet.Snapshot
	Release  string // product and version
}

// An overviewPage is what overview.html shows.
type overviewPage struct {
	Open     []entry // draft, scheduled and running
	MoreOpen bool
	fleet.Summary
	Waiting  []store.Device // for approval, the first
	Restored []entry        // of Open, those that wait for somebody to say how they go on
	Events   []store.Event  // the newest first
}

const (
	overviewCampaigns = 20
	overviewDevices   = 8
	overviewEvents    = 12
)

func (s *Site) lookAround(ctx context.Context) (p overviewPage, err error) {
	open, err := s.store.Campaigns(ctx, store.CampaignFilter{Phases: []store.CampaignPhase{
		store.PhaseRunning, store.PhasePaused, store.PhaseScheduled, store.PhaseDraft}}, store.Page{Limit: overviewCampaigns, Order: "-created"})
	if err != nil {
		return p, err
	}
	if p.Open, err = s.entries(ctx, open.Items); err != nil {
		return p, err
	}
	p.MoreOpen = open.Next != ""
	for _, e := range p.Open {
		if e.Restored == store.Unresolved {
			p.Restored = append(p.Restored, e)
		}
	}
	if p.Summary, err = s.fleet.Summary(ctx); err != nil {
		return p, err
	}
	pending := store.KeyPending
	waiting, err := s.store.Devices(ctx, store.DeviceFilter{KeyState: &pending}, store.Page{Limit: overviewDevices})
	if err != nil {
		return p, err
	}
	p.Waiting = waiting.Items
	p.Events, err = s.newest(ctx, store.EventFilter{}, overviewEvents)
	return p, err
}

// entries looks at campaigns of a list. What cannot be looked at, as another server leads it, is shown without progress.
func (s *Site) entries(ctx context.Context, campaigns []store.Campaign) ([]entry, error) {
	list := make([]entry, len(campaigns))
	for i, c := range campaigns {
		list[i].Campaign = c
		if r, err := s.store.Release(ctx, c.Release); err == nil {
			list[i].Release = r.Manifest.Product + " " + r.Manifest.Version
		}
		snap, err := s.fleet.Snapshot(ctx, c.ID)
		if err != nil {
			s.log.Debug("a campaign cannot be looked at", "campaign", c.ID, "err", err)
		}
		list[i].Snapshot = snap
	}
	return list, ctx.Err()
}

func (s *Site) overview(v *visit) error {
	p, err := s.lookAround(v.r.Context())
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "overview.html", "Overview", p)
	return nil
}

func (s *Site) overviewLive(v *visit) error {
	return s.stream(v, 2*time.Second, func(fleet.Changes) bool { return true }, func(ctx context.Context) (string, any, bool, error) {
		p, err := s.lookAround(ctx)
		return "part-overview", v.frame("Overview", p), false, err
	})
}

package web

import (
	"context"
	"net/http"
	"strconv"
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
	Devices  int
	Approved int
	Pending  int
	Revoked  int
	Waiting  []store.Device // for approval, the first
	Events   []store.Event  // the newest first
}

const (
	overviewCampaigns = 20
	overviewDevices   = 8
	overviewEvents    = 12
)

func (s *Site) lookAround(ctx context.Context) (p overviewPage, err error) {
	open, err := s.store.Campaigns(ctx, store.CampaignFilter{Phases: []store.CampaignPhase{
		store.PhaseRunning, store.PhasePaused, store.PhaseScheduled, store.PhaseDraft}}, store.Page{Limit: overviewCampaigns})
	if err != nil {
		return p, err
	}
	if p.Open, err = s.entries(ctx, open.Items); err != nil {
		return p, err
	}
	p.MoreOpen = open.Next != ""
	counts, err := s.store.CountDevices(ctx, store.DeviceFilter{})
	if err != nil {
		return p, err
	}
	for _, n := range counts {
		p.Devices += n
	}
	p.Approved, p.Pending, p.Revoked = counts[store.KeyApproved], counts[store.KeyPending], counts[store.KeyRevoked]
	pending := store.KeyPending
	waiting, err := s.store.Devices(ctx, store.DeviceFilter{KeyState: &pending}, store.Page{Limit: overviewDevices})
	if err != nil {
		return p, err
	}
	p.Waiting = waiting.Items
	p.Events, err = s.newest(ctx, store.EventFilter{}, overviewEvents)
	return p, err
}

// newest returns the last events of the audit trail that a filter selects among the last thousand, the newest first.
func (s *Site) newest(ctx context.Context, f store.EventFilter, n int) ([]store.Event, error) {
	const among = 1000
	last, err := s.store.LastEvent(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Events(ctx, f, store.Page{After: strconv.FormatInt(max(0, last-among), 10), Limit: among})
	if err != nil {
		return nil, err
	}
	events := l.Items[max(0, len(l.Items)-n):]
	for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
		events[i], events[j] = events[j], events[i]
	}
	return events, nil
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

// An auditPage is what audit.html shows.
type auditPage struct {
	Events []store.Event
	Filter store.EventFilter
	More   string
	Newest bool // the list is the newest ones, without a page
}

func (s *Site) audit(v *visit) error {
	p := auditPage{Filter: store.EventFilter{Actor: v.r.FormValue("actor"), Subject: v.r.FormValue("subject"), Campaign: v.r.FormValue("campaign")}}
	if v.r.FormValue("from") == "start" || v.r.FormValue("after") != "" {
		l, err := s.store.Events(v.r.Context(), p.Filter, v.page(100))
		if err != nil {
			return err
		}
		p.Events, p.More = l.Items, v.more(l.Next)
	} else {
		var err error
		p.Newest = true
		if p.Events, err = s.newest(v.r.Context(), p.Filter, 100); err != nil {
			return err
		}
	}
	v.show(http.StatusOK, "audit.html", "Audit trail", p)
	return nil
}

package fleet

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A lead is a campaign that this server leads.
type lead struct {
	place
	name     string
	campaign *upgrade.Campaign
	demand   demand
	notices  notices
	reports  reports
	rate     float64       // given last; guarded by Server.mu
	rated    chan struct{} // buffered, one: rate has changed
	view     view
}

// A wait is a campaign that is scheduled.
type wait struct {
	start   store.Start
	posting *discovery.Posting // by which its devices are counted; nil: they need not be
	waiting int                // devices that wait for it at all servers; guarded by Server.mu
}

// A failure is why a campaign could not be led, and when that is tried again.
type failure struct {
	err   error
	again time.Time
	count int
}

// lead returns a campaign that this server leads, or nil.
func (s *Server) lead(id commit.CampaignID) *lead {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leads[id]
}

// leaderOf returns who has a lease now; empty: nobody.
func leaderOf(l store.Lease) store.Owner {
	if !l.Until.After(time.Now()) {
		return ""
	}
	return l.Owner
}

// look goes through the campaigns that are scheduled or run: it takes the lead of those that have none, and follows those
// that another server leads.
func (s *Server) look(ctx context.Context, work *sync.WaitGroup) error {
	if err := s.hear(ctx); err != nil {
		return err
	}
	serials, err := s.store.NoticeSerials(ctx)
	if err != nil {
		return err
	}
	open := map[commit.CampaignID]bool{}
	filter := store.CampaignFilter{Phases: []store.CampaignPhase{store.PhaseScheduled, store.PhaseRunning, store.PhasePaused}}
	for page := (store.Page{Limit: 1000}); ; {
		l, err := s.store.Campaigns(ctx, filter, page)
		if err != nil {
			return err
		}
		for _, c := range l.Items {
			open[c.ID] = true
			if err := s.lookAt(ctx, work, c); err != nil {
				s.cfg.Log.Error("a campaign cannot be led", "campaign", c.ID, "err", err)
			}
			if c.Phase != store.PhaseScheduled && s.lead(c.ID) == nil {
				if err := s.follow(ctx, c, serials[c.ID]); err != nil {
					s.cfg.Log.Error("a campaign cannot be followed", "campaign", c.ID, "err", err)
				}
			}
		}
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	s.forget(open)
	return s.askExaminations(ctx)
}

// forget lets go of campaigns that are not open any more.
func (s *Server) forget(open map[commit.CampaignID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.waits {
		if !open[id] {
			w.end()
			delete(s.waits, id)
		}
	}
	for id, f := range s.follows {
		if !open[id] {
			s.unfollow(f)
		}
	}
	for id := range s.trouble {
		if !open[id] {
			delete(s.trouble, id)
		}
	}
}

// lookAt does what is due with one campaign.
func (s *Server) lookAt(ctx context.Context, work *sync.WaitGroup, c store.Campaign) (err error) {
	now := time.Now()
	s.mu.Lock()
	led, failed := s.leads[c.ID] != nil, s.trouble[c.ID]
	s.mu.Unlock()
	if led || now.Before(failed.again) {
		return nil
	}
	defer func() {
		if err != nil {
			s.failed(c.ID, err)
		}
	}()
	if c.Phase == store.PhaseScheduled {
		due, err := s.due(ctx, now, c)
		if err != nil || !due {
			return err
		}
		c, err = s.store.MoveCampaign(ctx, c.ID, c.Revision, store.PhaseRunning, s.by(s.owner.Actor()))
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrState) {
			return nil // another server was quicker
		}
		if err != nil {
			return err
		}
		s.told(c.ID, nil)
	}
	if c.Restored == store.Unresolved || c.Lease.Owner != "" && c.Lease.Owner != s.owner && now.Before(c.Lease.Until) {
		return nil
	}
	lease, err := s.store.TakeLease(ctx, c.ID, s.owner, now, s.cfg.Lease)
	if errors.Is(err, store.ErrLeased) || errors.Is(err, store.ErrState) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.begin(ctx, work, c, lease)
}

// failed notes why a campaign cannot be led, for people, and that it is to be tried again later.
func (s *Server) failed(id commit.CampaignID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := s.trouble[id].count
	pause := min(lookInterval<<min(count, 6), time.Minute)
	s.trouble[id] = failure{err, time.Now().Add(pause), count + 1}
	s.hub.changed(Changes{Campaigns: []commit.CampaignID{id}})
}

// waitingTime is how long it counts what a server has said of the devices that wait at it.
const waitingTime = 15 * time.Second

// due reports whether a campaign that is scheduled is to be announced.
func (s *Server) due(ctx context.Context, now time.Time, c store.Campaign) (bool, error) {
	s.mu.Lock()
	w := s.waits[c.ID]
	s.mu.Unlock()
	if w == nil {
		start, err := s.store.CampaignStart(ctx, c.ID)
		if err != nil {
			return false, err
		}
		w = &wait{start: start}
		if c.Settings.Schedule.Joined > 0 {
			w.posting = s.handler.Post(seats(start))
		}
		s.mu.Lock()
		s.waits[c.ID] = w
		s.mu.Unlock()
	}
	at, schedule := w.start.At, c.Settings.Schedule
	if schedule.At.After(at) {
		at = schedule.At
	}
	switch {
	case now.Before(at):
		return false, nil
	case schedule.Joined == 0:
		return !now.Before(at.Add(schedule.Wait)), nil
	}
	waiting, err := s.store.CountWaiting(ctx, c.ID, s.owner, w.posting.Waiting(), now, waitingTime)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	w.waiting = waiting
	s.mu.Unlock()
	if waiting >= min(schedule.Joined, len(w.start.Targets)) {
		return true, nil
	}
	return schedule.Wait > 0 && !now.Before(at.Add(schedule.Wait)), nil
}

func (w *wait) end() {
	if w.posting != nil {
		w.posting.Withdraw()
	}
}

func seats(start store.Start) map[string]discovery.Seat {
	m := make(map[string]discovery.Seat, len(start.Targets))
	for _, t := range start.Targets {
		m[t.Device] = discovery.Seat{Node: t.Node}
	}
	return m
}

// begin leads a campaign from the store on, in the background. Its context ends with the lease, which it gives back if
// it cannot.
func (s *Server) begin(ctx context.Context, work *sync.WaitGroup, c store.Campaign, lease store.Lease) error {
	start, err := s.store.CampaignStart(ctx, c.ID)
	if err != nil {
		return errors.Join(err, s.store.DropLease(context.WithoutCancel(ctx), lease))
	}
	l := &lead{place: place{id: c.ID, start: start}, name: c.Name, rated: make(chan struct{}, 1), notices: newNotices(), demand: demand{cmp.Or(c.Settings.Transport.Rate, c.Settings.Transport.MaxRate), cmp.Or(c.Settings.Transport.Interface, s.cfg.Interface)}}
	// What the campaign still has to write when ctx of the server ends goes under the lease all the same.
	state := s.store.CampaignState(context.WithoutCancel(ctx), lease)
	ctx, release := s.store.KeepLease(ctx, lease, s.cfg.Lease) // from now on: to read a large image through takes a while
	cfg, err := s.campaignConfig(ctx, c, l, state)
	if err == nil {
		l.campaign, err = upgrade.OpenCampaign(cfg)
	}
	if err != nil {
		return errors.Join(err, release())
	}
	l.answers = l.campaign.Backend()
	s.take(l)
	s.divideRates()
	work.Go(func() { s.keepRate(ctx, l) })
	work.Go(func() { s.keepNotices(ctx, l, lease) })
	work.Go(func() { s.keepReports(ctx, l) })
	work.Go(func() {
		result, err := l.campaign.Run(ctx)
		s.finish(context.WithoutCancel(ctx), l, release, result, err)
		s.divideRates()
	})
	return nil
}

// campaignConfig returns the config of a campaign; its settings only if it is new, as those of an old one are frozen.
func (s *Server) campaignConfig(ctx context.Context, c store.Campaign, l *lead, state *store.CampaignState) (upgrade.CampaignConfig, error) {
	cfg := upgrade.CampaignConfig{
		ID: c.ID, Key: s.cfg.Key, Roots: s.cfg.Roots, Store: state,
		Shared: &upgrade.Shared{Handler: s.handler, URL: s.cfg.URL, Seats: seats(l.start), Published: l.notices.put},
		Open:   func(name string) (upgrade.Content, error) { return s.store.OpenImage(ctx, c.Release, name) },
		Lead:   s.cfg.Lead, Linger: s.cfg.Linger, OutcomeTimeout: s.cfg.OutcomeTimeout,
		Log: s.cfg.Log.With("campaign", c.ID), Event: func(e upgrade.Event) { s.happened(l, e) },
		Reported: l.reports.put,
	}
	if s.cfg.Conn != nil {
		cfg.Conn = func() (session.Conn, error) { return s.cfg.Conn(c, l.start.Group) }
	}
	frozen, _, err := state.Load()
	if err != nil {
		return cfg, err
	}
	if frozen != nil {
		cfg.Restored = c.Restored == store.Adopting
		cfg.Reports, err = s.reportsOf(ctx, c.ID)
		return cfg, err
	}
	release, err := s.store.Release(ctx, c.Release)
	if err != nil {
		return cfg, err
	}
	cfg.Manifest = release.Signed
	for _, t := range l.start.Targets {
		cfg.Targets = append(cfg.Targets, t.Target)
	}
	set := c.Settings
	cfg.Waves = wavesOf(set.Policy)
	cfg.MaxFailures, cfg.AllowUnsigned = set.Policy.MaxFailures, set.Policy.AllowUnsigned
	cfg.NotBefore, cfg.Window, cfg.Spread, cfg.Hold = set.Activation.NotBefore, set.Activation.Window, set.Activation.Spread, set.Activation.Hold
	tr := set.Transport
	cfg.Group, cfg.Interface, cfg.Source, cfg.TTL = l.start.Group, l.demand.iface, tr.Source, cmp.Or(tr.TTL, s.cfg.TTL)
	cfg.RepairGroup = tr.RepairGroup
	cfg.Rate, cfg.StartRate, cfg.MinRate, cfg.MaxRate = tr.Rate, tr.StartRate, tr.MinRate, tr.MaxRate
	cfg.ECN, cfg.Burst, cfg.SegmentSize = tr.ECN, tr.Burst, tr.SegmentSize
	cfg.AutoParity, cfg.GRTT, cfg.BackoffFactor = tr.AutoParity, tr.GRTT, tr.BackoffFactor
	cfg.GroupSize, cfg.Auth = cmp.Or(tr.GroupSize, len(cfg.Targets)), tr.Auth
	cfg.SegmentHashes = tr.SegmentHashes
	if err := s.openSeal(ctx, &cfg, c); err != nil {
		return cfg, err
	}
	if tr.FEC != "" {
		if cfg.FEC, err = fec.ParseSpec(tr.FEC); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// take makes the campaign known to those who ask.
func (s *Server) take(l *lead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.follows[l.id]; f != nil {
		s.unfollow(f)
	}
	s.leads[l.id] = l
	s.enter(&l.place)
	s.cfg.Log.Info("leads a campaign", "campaign", l.id, "name", l.name)
	s.hub.changed(Changes{Campaigns: []commit.CampaignID{l.id}})
}

// let is the inverse of take.
func (s *Server) let(l *lead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leads, l.id)
	s.leave(&l.place)
	s.hub.changed(Changes{Campaigns: []commit.CampaignID{l.id}})
}

// finish closes a campaign that is over, and gives one back that is not.
func (s *Server) finish(ctx context.Context, l *lead, release func() error, result upgrade.Result, err error) {
	if err == nil {
		for {
			c, errRead := s.store.Campaign(ctx, l.id)
			if err = errRead; err == nil && (c.Phase == store.PhaseRunning || c.Phase == store.PhasePaused) {
				_, err = s.store.EndCampaign(ctx, l.id, c.Revision, s.by(s.owner.Actor()))
			}
			if !errors.Is(err, store.ErrConflict) {
				break
			}
		}
	}
	if dropped := release(); dropped != nil && !errors.Is(dropped, store.ErrFenced) {
		s.cfg.Log.Warn("the lease of a campaign was not given back", "campaign", l.id, "err", dropped)
	}
	if err != nil {
		s.cfg.Log.Info("leads a campaign no more", "campaign", l.id, "err", err)
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrFenced) {
		s.failed(l.id, err)
	}
	s.let(l)
}

// happened passes on an event of a campaign. It is called by the campaign's loop.
func (s *Server) happened(l *lead, e upgrade.Event) {
	c := Changes{Campaigns: []commit.CampaignID{l.id}}
	if e.Kind != upgrade.EventProgress {
		c.Events = []upgrade.Event{e}
	}
	l.view.happened(e)
	s.hub.changed(c)
}

// divideRates gives each campaign its share of the rate.
func (s *Server) divideRates() {
	s.mu.Lock()
	demands, leads := map[commit.CampaignID]demand{}, map[commit.CampaignID]*lead{}
	for id, l := range s.leads {
		demands[id], leads[id] = l.demand, l
	}
	given := shares(demands, s.cfg.Rate, s.cfg.InterfaceRate)
	var changed []*lead
	for id, l := range leads {
		if l.rate != given[id] {
			l.rate = given[id]
			changed = append(changed, l)
		}
	}
	s.mu.Unlock()
	for _, l := range changed {
		select {
		case l.rated <- struct{}{}:
		default: // it will see the latest
		}
	}
}

// keepRate passes on the rate of a campaign when it changes.
func (s *Server) keepRate(ctx context.Context, l *lead) {
	for {
		select {
		case <-l.rated:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		rate := l.rate
		s.mu.Unlock()
		if err := l.campaign.SetRate(ctx, rate); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("the rate of a campaign was not changed", "campaign", l.id, "err", err)
		}
	}
}

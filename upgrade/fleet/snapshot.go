package fleet

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sort"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A Snapshot is where a campaign is. It has a JSON form, in which durations are nanoseconds; fields are only ever added.
type Snapshot struct {
	Campaign commit.CampaignID   `json:"campaign"`
	At       time.Time           `json:"at"`
	Phase    store.CampaignPhase `json:"phase"`
	Step     commit.State        `json:"step,omitempty"` // what a running one did last: announced, sending, sent, asking, held, resumed, closed
	Leader   string              `json:"leader,omitempty"`
	Trouble  string              `json:"trouble,omitempty"` // why this server cannot lead it, or why it sends nothing
	Restored bool                `json:"restored,omitempty"`
	Deadline time.Time           `json:"deadline,omitzero"` // of votes
	Verdict  string              `json:"verdict,omitempty"`
	Reason   commit.Reason       `json:"reason,omitempty"` // why ABORT
	Asking   bool                `json:"asking,omitempty"` // the policy is met, and a person is asked
	Held     bool                `json:"held,omitempty"`
	Brake    commit.Reason       `json:"brake,omitempty"` // why held

	Targets   int                  `json:"targets"`
	Joined    int                  `json:"joined"` // targets that have shown themselves; of one that is scheduled: that wait
	Ready     int                  `json:"ready"`
	Committed int                  `json:"committed"`
	Unsigned  int                  `json:"unsigned,omitempty"` // targets whose last word was unsigned
	Counts    map[commit.State]int `json:"counts,omitempty"`   // targets in each state
	Causes    map[Cause]int        `json:"causes,omitempty"`   // laggards of each cause
	Laggards  []View               `json:"laggards,omitempty"` // the first MaxLaggards

	Sending   upgrade.Sending `json:"sending,omitzero"`
	Loss      float64         `json:"loss,omitempty"`       // mean share of datagrams lost, of the devices that hear any
	WorstLoss float64         `json:"worst_loss,omitempty"` // and of the device that loses most
	Left      time.Duration   `json:"left,omitempty"`       // until everything is sent once, at this rate
}

// MaxLaggards bounds the list in a [Snapshot]; [Server.CampaignDevices] has all.
const MaxLaggards = 100

// Snapshot returns where a campaign is. That of a running one is at most half a second old.
// Of one that another server leads, that one is asked; if it does not answer, what the store has is told.
func (s *Server) Snapshot(ctx context.Context, id commit.CampaignID) (Snapshot, error) {
	if f := s.followed(id); f != nil {
		return s.surveyFollowed(ctx, f)
	}
	snap, _, err := s.survey(ctx, id)
	return snap, err
}

// A View is a target as a person sees it.
type View struct {
	upgrade.DeviceState
	Cause  Cause  `json:"cause,omitempty"`  // why it is not where it should be; empty: it is
	Detail string `json:"detail,omitempty"` // likewise, for people
}

// CampaignDevices returns a page of the targets of a campaign by name, of those with this cause if one is given.
func (s *Server) CampaignDevices(ctx context.Context, id commit.CampaignID, cause Cause, p store.Page) (store.List[View], error) {
	if f := s.followed(id); f != nil {
		var l store.List[View]
		if err := s.peers.ask(ctx, f.leaderNow(), http.MethodGet, devicesPath(id, cause, p), nil, &l); err == nil {
			return l, nil
		}
	}
	_, views, err := s.survey(ctx, id)
	return pageOf(views, cause, p), err
}

// pageOf returns a page of targets, which are in the order of their names.
func pageOf(views []View, cause Cause, p store.Page) (l store.List[View]) {
	limit := min(max(p.Limit, 0), 1000)
	if limit == 0 {
		limit = 100
	}
	for i := sort.Search(len(views), func(i int) bool { return views[i].Device > p.After }); i < len(views); i++ {
		if cause != "" && views[i].Cause != cause {
			continue
		}
		if len(l.Items) == limit {
			l.Next = l.Items[limit-1].Device
			break
		}
		l.Items = append(l.Items, views[i])
	}
	return l
}

// storedTime is how long it counts what was read from the store in place of an answer: that takes all of a log.
const storedTime = 2 * time.Second

// surveyFollowed asks the server that leads a campaign, or the store, unless somebody has just done so.
func (s *Server) surveyFollowed(ctx context.Context, f *follow) (snap Snapshot, err error) {
	v := &f.view
	v.mu.Lock()
	defer v.mu.Unlock() // so that the leader is asked once
	if time.Now().Before(v.at) {
		return v.snap, nil
	}
	fresh := freshTime
	if err = s.peers.ask(ctx, f.leaderNow(), http.MethodGet, "/campaigns/"+f.id.String()+"/snapshot", nil, &snap); err != nil {
		fresh = storedTime
		snap, _, err = s.survey(ctx, f.id)
	}
	if err == nil {
		v.at, v.snap = time.Now().Add(fresh), snap
	}
	return snap, err
}

// A view is what people are shown of a running campaign, for as long as it is fresh.
type view struct {
	mu    sync.Mutex // guards all below
	step  commit.State
	fault string
	at    time.Time
	snap  Snapshot
	views []View
}

const freshTime = 500 * time.Millisecond

// happened notes what the campaign says of itself.
func (v *view) happened(e upgrade.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.Kind {
	case upgrade.EventCampaign:
		v.step = e.State
	case upgrade.EventTrouble:
		v.fault = e.Detail
	case upgrade.EventProgress:
		return
	}
	v.at = time.Time{}
}

// survey returns a campaign and its targets by name.
func (s *Server) survey(ctx context.Context, id commit.CampaignID) (Snapshot, []View, error) {
	c, err := s.store.Campaign(ctx, id)
	if err != nil {
		return Snapshot{}, nil, err
	}
	snap := Snapshot{Campaign: id, At: time.Now().UTC(), Phase: c.Phase, Leader: leaderOf(c.Lease).Name(), Restored: c.Restored == store.Unresolved}
	if l := s.lead(id); l != nil {
		led, views, err := l.survey(ctx, snap)
		if !errors.Is(err, upgrade.ErrNotRunning) {
			return led, views, err
		}
		// It has ended this very moment, and all that matters is in its log.
	}
	s.mu.Lock()
	w, failed, waiting := s.waits[id], s.trouble[id], 0
	if w != nil {
		waiting = w.waiting
	}
	s.mu.Unlock()
	if failed.err != nil {
		snap.Trouble = failed.err.Error()
	}
	switch c.Phase {
	case store.PhaseScheduled:
		if w == nil {
			return snap, nil, nil // started this very moment
		}
		snap.Targets = len(w.start.Targets)
		snap.Joined = waiting
	case store.PhaseRunning, store.PhasePaused:
		return s.surveyStored(ctx, snap)
	case store.PhaseClosed:
		var views []View
		err := s.asPast(ctx, id, func(c *commit.Coordinator) error { views = snap.take(logged(c)); return nil })
		return snap, views, err
	}
	return snap, nil, nil
}

// surveyStored returns where a campaign is that no server leads which answers: by its log, and by the reports of its devices.
func (s *Server) surveyStored(ctx context.Context, snap Snapshot) (Snapshot, []View, error) {
	coordinator, err := s.read(ctx, snap.Campaign)
	if err != nil {
		return snap, nil, err
	}
	reports, err := s.reportsOf(ctx, snap.Campaign)
	if err != nil {
		return snap, nil, err
	}
	said := make(map[string]discovery.Status, len(reports))
	for _, r := range reports {
		coordinator.Note(r.Device, commit.State(r.State), commit.Reason(r.Reason))
		said[r.Device] = r
	}
	st := logged(coordinator)
	for i := range st.Devices {
		d := &st.Devices[i]
		st.Counts[d.State]--
		d.Report(said[d.Device])
		st.Counts[d.State]++
	}
	maps.DeleteFunc(st.Counts, func(_ commit.State, n int) bool { return n == 0 })
	views := snap.take(st)
	return snap, views, nil
}

// logged returns a status as the log alone has it.
func logged(c *commit.Coordinator) upgrade.CampaignStatus {
	of := c.Status()
	st := upgrade.CampaignStatus{Held: of.Held, Brake: of.Brake, Closed: of.Closed, Unsigned: of.Unsigned, Counts: of.Devices}
	if len(of.Waves) > 0 {
		w := of.Waves[0]
		st.Verdict, st.Reason, st.Asking, st.Targets, st.Ready = w.Verdict.String(), w.Reason, w.Asking, w.Targets, w.Ready
	}
	if p, ok := c.Plan(); ok {
		st.Deadline = p.Waves[0].Deadline
	}
	for d := range c.Devices() {
		st.Devices = append(st.Devices, upgrade.DeviceState{Device: d.Device, Site: d.Site, State: d.State, Reason: d.Reason, Unsigned: d.Unsigned, Duplicate: d.Duplicate})
	}
	return st
}

// survey asks the campaign, unless somebody has just done so.
func (l *lead) survey(ctx context.Context, snap Snapshot) (Snapshot, []View, error) {
	v := &l.view
	v.mu.Lock()
	if v.snap.Phase == snap.Phase && time.Since(v.at) < freshTime {
		defer v.mu.Unlock()
		return v.snap, v.views, nil
	}
	v.mu.Unlock()
	st, err := l.campaign.Status(ctx)
	if err != nil {
		return snap, nil, err
	}
	views := snap.take(st)
	v.mu.Lock()
	defer v.mu.Unlock()
	snap.Step, snap.Trouble = v.step, v.fault
	v.at, v.snap, v.views = snap.At, snap, views
	return snap, views, nil
}

// take fills in what a status says, and returns the targets, which are in the order of their names as they were selected.
func (snap *Snapshot) take(st upgrade.CampaignStatus) []View {
	snap.Deadline, snap.Verdict, snap.Reason, snap.Asking = st.Deadline, st.Verdict, st.Reason, st.Asking
	snap.Held, snap.Brake, snap.Unsigned = st.Held, st.Brake, st.Unsigned
	snap.Targets, snap.Ready, snap.Counts, snap.Sending = st.Targets, st.Ready, st.Counts, st.Sending
	snap.Causes = map[Cause]int{}
	views := make([]View, len(st.Devices))
	hear := 0
	for i, d := range st.Devices {
		cause, detail := causeOf(d, st)
		views[i] = View{d, cause, detail}
		if d.State != commit.StateNone {
			snap.Joined++
		}
		if d.State == commit.StateCommitted {
			snap.Committed++
		}
		if d.Heard > 0 {
			hear++
			snap.Loss += d.Loss
			snap.WorstLoss = max(snap.WorstLoss, d.Loss)
		}
		if cause == "" {
			continue
		}
		snap.Causes[cause]++
		if len(snap.Laggards) < MaxLaggards {
			snap.Laggards = append(snap.Laggards, views[i])
		}
	}
	if hear > 0 {
		snap.Loss /= float64(hear)
	}
	if p := st.Sending; p.Begun && p.Rate > 0 {
		snap.Left = time.Duration(float64(p.Total-p.Sent) * 8 / p.Rate * float64(time.Second))
	}
	return views
}

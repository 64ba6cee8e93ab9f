package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A Snapshot is where a campaign is. It has a JSON form, in which durations are nanoseconds; fields are only ever added.
type Snapshot struct {
	Campaign commit.CampaignID   `json:"campaign"`
	At       time.Time           `json:"at"`
	Phase    store.CampaignPhase `json:"phase"`
	Step     commit.State        `json:"step,omitempty"` // what a running one did last: announced, sending, sent, asking, held, paused, resumed, voting, soaking, closed
	Leader   string              `json:"leader,omitempty"`
	Group    string              `json:"group,omitempty"`   // address and port that are sent to, of a campaign that this server leads or has waiting
	Trouble  string              `json:"trouble,omitempty"` // why this server cannot lead it, or why it sends nothing
	Restored bool                `json:"restored,omitempty"`
	Deadline time.Time           `json:"deadline,omitzero"` // of votes
	Verdict  string              `json:"verdict,omitempty"`
	Reason   commit.Reason       `json:"reason,omitempty"` // why ABORT
	Asking   bool                `json:"asking,omitempty"` // the policy is met, and a person is asked
	Held     bool                `json:"held,omitempty"`
	Paused   bool                `json:"paused,omitempty"` // and nothing is sent or decided; deadlines stand still
	Brake    commit.Reason       `json:"brake,omitempty"`  // why held or paused
	Waves    []WaveState         `json:"waves,omitempty"`  // in their order

	Approvers []upgrade.Approvers `json:"approvers,omitempty"` // who has to sign before a COMMIT, enough of each list
	List      string              `json:"list,omitempty"`      // digest of the targets, which they sign

	Targets   int                  `json:"targets"`
	Joined    int                  `json:"joined"` // targets that have shown themselves; of one that is scheduled: that wait
	Ready     int                  `json:"ready"`
	Committed int                  `json:"committed"`
	Unsigned  int                  `json:"unsigned,omitempty"` // targets whose last word was unsigned
	Counts    map[commit.State]int `json:"counts,omitempty"`   // targets in each state
	Causes    map[Cause]int        `json:"causes,omitempty"`   // laggards of each cause
	Laggards  []View               `json:"laggards,omitempty"` // the first MaxLaggards

	Sending   upgrade.Sending `json:"sending,omitzero"`
	Reporting int             `json:"reporting,omitempty"`  // devices that have said how much they lose
	Loss      float64         `json:"loss,omitempty"`       // the mean share of datagrams that they lost
	WorstLoss float64         `json:"worst_loss,omitempty"` // and of the device that loses most
	Left      time.Duration   `json:"left,omitempty"`       // until everything is sent once, at this rate
}

// MaxLaggards bounds the list in a [Snapshot]; [Server.CampaignDevices] has all.
const MaxLaggards = 100

// Snapshot returns where a campaign is. That of a running one is at most half a second old, of a large one that is busy up to
// two seconds, unless something has happened to the campaign itself.
// Of one that another server leads, that one is asked; if it does not answer, what the store has is told.
func (s *Server) Snapshot(ctx context.Context, id commit.CampaignID) (Snapshot, error) {
	if f := s.followed(id); f != nil {
		return s.surveyFollowed(ctx, f)
	}
	snap, _, err := s.survey(ctx, id)
	return snap, err
}

// A view is what people are shown of a running campaign, for as long as it is fresh.
type view struct {
	mu    sync.Mutex // guards all below
	step  commit.State
	fault string
	begun time.Time // when sending began; zero: it has not
	at    time.Time
	lasts time.Duration // snap is fresh for so long, and for freshTime at least
	old   bool          // something has happened to a device since
	again bool          // who was shown what is old will be told to look again
	snap  Snapshot
	views []View

	taking chan struct{} // closed when what is being asked for is there; nil: nothing is
	err    error         // of the last time
	late   bool          // somebody did not wait for it
}

const (
	freshTime = 500 * time.Millisecond
	// viewShare is how many times as long as it took to take a view it is fresh: on a machine that is too busy, looking does
	// not take from the devices what they wait for.
	viewShare = 10
	// maxFreshTime is the most.
	maxFreshTime = 2 * time.Second
	// manyViews is how many targets a campaign has that is not looked through again for each device to which something happens:
	// there are thousands in a second.
	manyViews = 1000
)

// happened notes what the campaign says of itself.
func (v *view) happened(e upgrade.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.Kind {
	case upgrade.EventCampaign:
		v.step = e.State
		if e.State == upgrade.CampaignSending {
			v.begun = e.Time
		}
	case upgrade.EventTrouble:
		v.fault = e.Detail
	case upgrade.EventDevice:
		v.old = true
		return
	case upgrade.EventProgress:
		return
	}
	v.at, v.taking = time.Time{}, nil
}

// survey returns a campaign and its targets by name.
func (s *Server) survey(ctx context.Context, id commit.CampaignID) (Snapshot, []View, error) {
	c, err := s.store.Campaign(ctx, id)
	if err != nil {
		return Snapshot{}, nil, err
	}
	snap := Snapshot{Campaign: id, At: time.Now().UTC(), Phase: c.Phase, Leader: leaderOf(c.Lease).Name(), Restored: c.Restored == store.Unresolved}
	if l := s.lead(id); l != nil {
		snap.Group = l.start.Group.String()
		led, views, err := l.survey(ctx, snap, func() { s.hub.changed(Changes{Campaigns: []commit.CampaignID{id}}) })
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
		snap.Targets, snap.Group = len(w.start.Targets), w.start.Group.String()
		snap.Joined = waiting
	case store.PhaseRunning, store.PhasePaused:
		if w != nil { // it has begun this very moment, and its log says nothing yet
			snap.Targets, snap.Group = len(w.start.Targets), w.start.Group.String()
			return snap, nil, nil
		}
		return s.surveyStored(ctx, snap)
	case store.PhaseClosed:
		return s.surveyPast(ctx, snap)
	}
	return snap, nil, nil
}

// logged returns a status as the log alone has it.
func logged(c *commit.Coordinator) upgrade.CampaignStatus {
	of := c.Status()
	st := upgrade.CampaignStatus{Closed: of.Closed, Unsigned: of.Unsigned, Counts: of.Devices}
	st.TakeWaves(of)
	n := 0
	for _, in := range of.Devices {
		n += in
	}
	st.Devices = make([]upgrade.DeviceState, 0, n)
	for d := range c.Devices() {
		st.Devices = append(st.Devices, upgrade.StateOf(d))
	}
	return st
}

// survey asks the campaign, unless somebody has just done so. If what it returns then is old, changed is called when there
// is something newer. Of a large campaign that is too busy to say at once it returns what was seen last, unless something has
// happened to the campaign itself since: people look at many things, and devices come first.
func (l *lead) survey(ctx context.Context, snap Snapshot, changed func()) (Snapshot, []View, error) {
	v := &l.view
	if seen, views, ok := v.fresh(snap.Phase, changed); ok {
		return seen, views, nil
	}
	taken, started := v.take()
	if started {
		go l.look(snap, taken, changed)
	}
	var late <-chan time.Time
	if len(l.start.Targets) >= manyViews {
		patience := time.NewTimer(busyTime)
		defer patience.Stop()
		late = patience.C
	}
	for waits := true; waits; {
		select {
		case <-taken:
			waits = false
		case <-late:
			if seen, views, ok := v.last(snap); ok {
				seen.Targets = len(l.start.Targets)
				return seen, views, nil
			}
		case <-ctx.Done():
			return snap, nil, context.Cause(ctx)
		}
	}
	v.mu.Lock()
	seen, views, err := v.snap, v.views, v.err
	again := err == nil && (v.at.IsZero() || seen.Phase != snap.Phase)
	v.mu.Unlock()
	if again { // something has happened meanwhile, and it is not the answer to that
		return l.survey(ctx, snap, changed)
	}
	return seen, views, err
}

// busyTime is how long people wait for a large campaign to say how it is.
const busyTime = 150 * time.Millisecond

// look has the campaign say how it is, for all who wait for that.
func (l *lead) look(snap Snapshot, taken chan struct{}, changed func()) {
	v := &l.view
	begun := time.Now()
	st, err := l.campaign.Status(context.Background()) // until it answers or ends
	v.mu.Lock()
	started := v.begun
	v.mu.Unlock()
	var views []View
	if err == nil { // a hundred thousand of them take a while, in which people are shown what was seen last
		views = snap.take(st, started.IsZero() || snap.At.Sub(started) < quietTime)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	defer close(taken)
	if v.taking != taken {
		return // somebody has asked anew, as something has happened since
	}
	v.taking = nil
	if v.err = err; err == nil {
		snap.Step, snap.Trouble = v.step, v.fault
		v.at, v.snap, v.views = snap.At, snap, views
		v.lasts = min(viewShare*time.Since(begun), maxFreshTime)
	}
	if v.late {
		v.late = false
		go changed()
	}
}

// take returns a channel that is closed when the campaign has said how it is, and whether the caller is to ask it.
func (v *view) take() (taken chan struct{}, start bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if start = v.taking == nil; start {
		v.taking = make(chan struct{})
	}
	return v.taking, start
}

// last returns what was seen last, if nothing has happened to the campaign since, or if nothing was ever seen what is known of
// it otherwise. Who is shown that will be told to look again.
func (v *view) last(known Snapshot) (Snapshot, []View, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.snap.Campaign != known.Campaign:
		v.late = true
		return known, nil, true
	case v.snap.Phase == known.Phase && !v.at.IsZero():
		v.late = true
		return v.snap, v.views, true
	}
	return known, nil, false
}

// fresh returns what was seen last, if that is short ago.
func (v *view) fresh(phase store.CampaignPhase, changed func()) (Snapshot, []View, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	rest := max(v.lasts, freshTime) - time.Since(v.at)
	if v.snap.Phase != phase || rest <= 0 || v.old && len(v.views) < manyViews {
		v.old = false // what happens from now on may be in the answer or not
		return Snapshot{}, nil, false
	}
	if v.old && !v.again {
		v.again = true
		time.AfterFunc(rest, func() {
			v.mu.Lock()
			v.again = false
			v.mu.Unlock()
			changed()
		})
	}
	return v.snap, v.views, true
}

// quietTime is how long after sending began a device need not have said how far it is: they do so every ten seconds or so.
const quietTime = 15 * time.Second

// take fills in what a status says, and returns the targets, which are in the order of their names as they were selected.
// In quiet times, nobody has to have said anything.
func (snap *Snapshot) take(st upgrade.CampaignStatus, quiet bool) []View {
	snap.Deadline, snap.Verdict, snap.Reason, snap.Asking = st.Deadline, st.Verdict, st.Reason, st.Asking
	snap.Held, snap.Paused, snap.Brake, snap.Waves, snap.Unsigned = st.Held, st.Paused, st.Brake, st.Waves, st.Unsigned
	snap.Targets, snap.Ready, snap.Counts, snap.Sending = st.Targets, st.Ready, st.Counts, st.Sending
	snap.Approvers, snap.List = st.Approvers, st.List
	snap.Causes = map[Cause]int{}
	views := make([]View, len(st.Devices))
	for i, d := range st.Devices {
		cause, detail := causeOf(d, st.Waves[d.Wave].Verdict, quiet)
		views[i] = View{d, cause, detail}
		if d.State != commit.StateNone {
			snap.Joined++
		}
		if d.State == commit.StateCommitted {
			snap.Committed++
		}
		if d.Heard > 0 {
			snap.Reporting++
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
	if snap.Reporting > 0 {
		snap.Loss /= float64(snap.Reporting)
	}
	if p := st.Sending; p.Begun && p.Rate > 0 {
		snap.Left = time.Duration(float64(p.Total-p.Sent) * 8 / p.Rate * float64(time.Second))
	}
	return views
}

// Transport returns what the session of a campaign has counted that this server leads; [*NotLeaderError] if it does not.
func (s *Server) Transport(ctx context.Context, id commit.CampaignID) (upgrade.Transport, error) {
	l := s.lead(id)
	if l == nil {
		return upgrade.Transport{}, &NotLeaderError{Campaign: id}
	}
	return l.campaign.Transport(ctx)
}

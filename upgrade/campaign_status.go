package upgrade

import (
	"cmp"
	"context"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// States of a campaign, as events of kind EventCampaign have them.
const (
	CampaignAnnounced commit.State = "announced" // devices are told: Version, Group, Server, Total
	CampaignSending   commit.State = "sending"   // Total
	CampaignSent      commit.State = "sent"      // everything was sent once; repair goes on: Seconds
	CampaignAsking    commit.State = "asking"    // the policy is met and a person is asked
	CampaignHeld      commit.State = "held"      // the brake is on: Reason
	CampaignPaused    commit.State = "paused"    // and nothing is sent or decided: Reason
	CampaignResumed   commit.State = "resumed"   // and off again
	CampaignVoting    commit.State = "voting"    // another wave has begun: Wave
	CampaignSoaking   commit.State = "soaking"   // a wave has passed: Wave
	CampaignConflict  commit.State = "conflict"  // a device showed the opposite of the decision: Verdict
	CampaignClosed    commit.State = "closed"    // Verdict, Counts
)

// tell passes on what the coordinator says.
func (c *Campaign) tell(now time.Time) {
	for e := range c.coordinator.Events() {
		switch e.Kind {
		case commit.EventDevice:
			p := c.progress[e.Device]
			d, _ := c.coordinator.Device(e.Device)
			c.emit(now, Event{Kind: EventDevice, Device: e.Device, State: e.State, Reason: e.Reason, Unsigned: d.Unsigned, Bytes: p.Bytes, Total: p.Total})
		case commit.EventAsking:
			c.emit(now, Event{Kind: EventCampaign, Wave: e.Wave, State: CampaignAsking, Counts: c.counts()})
		case commit.EventDecided:
			c.emit(now, Event{Kind: EventDecision, Wave: e.Wave, Verdict: e.Verdict.String(), Reason: e.Reason})
		case commit.EventBrake:
			state := CampaignResumed
			switch {
			case e.Pause:
				state = CampaignPaused
			case e.Hold:
				state = CampaignHeld
			}
			c.emit(now, Event{Kind: EventCampaign, State: state, Reason: e.Reason})
		case commit.EventWave:
			c.emit(now, Event{Kind: EventCampaign, Wave: e.Wave, State: commit.State(e.Step)})
		case commit.EventConflict:
			c.cfg.Log.Error("a device shows the opposite of the decision in the log", "verdict", e.Verdict)
			c.emit(now, Event{Kind: EventCampaign, State: CampaignConflict, Verdict: e.Verdict.String()})
		}
	}
}

// notHeard is what counts name targets that have not shown themselves.
const notHeard = commit.State(commit.ReasonNotHeard)

// counts returns how many targets are in each state.
func (c *Campaign) counts() map[commit.State]int {
	counts := c.coordinator.Status().Devices
	if n, ok := counts[commit.StateNone]; ok {
		counts[notHeard] = n
		delete(counts, commit.StateNone)
	}
	return counts
}

func (c *Campaign) emit(now time.Time, e Event) {
	e.Time, e.Campaign = now.UTC(), c.frozen.Campaign.String()
	c.cfg.Event(e)
}

// An endgame is what is known of the end of a campaign.
type endgame struct {
	deadline time.Time // when over has to be asked again; zero if only something else can change its answer
	due      time.Time // when devices that owe an outcome are given up
	settled  time.Time // since when nobody owes one, or when a device last showed progress after that
	extended bool      // the latter
}

// overInterval is how often the end is looked for: it takes a look at every device.
const overInterval = 100 * time.Millisecond

// over reports whether nothing more is to be done or hoped for.
func (c *Campaign) over(now time.Time) bool {
	e := &c.endgame
	if now.Before(e.deadline) {
		return false
	}
	e.deadline = time.Time{}
	if _, open := c.coordinator.Open(); open {
		return false
	}
	status := c.coordinator.Status()
	verdict, _ := verdictOf(status.Waves)
	if verdict == commit.Commit && !c.coordinator.Settled() {
		if status.Held {
			e.due, e.deadline = time.Time{}, now.Add(time.Second)
			return false
		}
		if e.due.IsZero() {
			e.due = c.activationEnd(now).Add(c.cfg.OutcomeTimeout)
		}
		e.deadline = now.Add(overInterval)
		return !now.Before(e.due)
	}
	e.due = time.Time{} // a device that becomes READY yet has as long as the others had
	if e.settled.IsZero() {
		e.settled = now
	}
	if c.announced == nil || status.Closed || verdict == commit.Commit && c.complete() {
		return true
	}
	end := e.settled.Add(c.linger(verdict))
	if limit := c.decidedBy(now); e.extended && end.After(limit) {
		end = limit // progress is what anybody may claim
	}
	e.deadline = end
	if verdict == commit.Commit && end.After(now) {
		e.deadline = now.Add(overInterval) // a late device may become READY, or complete
	}
	return !now.Before(end)
}

// linger returns how long devices are waited for that may still come.
func (c *Campaign) linger(v commit.Verdict) time.Duration {
	if v == commit.Commit {
		return max(0, cmp.Or(c.cfg.Linger, time.Minute))
	}
	return max(0, cmp.Or(c.cfg.Linger, 10*time.Second))
}

// alive notes that a device makes progress, so that it is worth waiting for.
func (e *endgame) alive(now time.Time) {
	if !e.settled.IsZero() {
		e.settled, e.extended = now, true
	}
}

// activationEnd returns when the last device may begin to activate.
func (c *Campaign) activationEnd(now time.Time) time.Time {
	last := now
	for _, a := range c.coordinator.Answers() {
		d, err := commit.OpenDecision(a.Signed, c.cfg.Key.Public())
		if end := d.NotBefore.Add(d.Spread); err == nil && end.After(last) {
			last = end
		}
	}
	return last
}

// complete reports whether no target can change any more.
func (c *Campaign) complete() bool {
	for d := range c.coordinator.Devices() {
		switch d.State {
		case commit.StateCommitted, commit.StateRolledBack, commit.StateFailed, commit.StateRefused:
		default:
			return false
		}
	}
	return true
}

// A Result is how a campaign ended, or how far it is.
type Result struct {
	Campaign commit.CampaignID
	Verdict  commit.Verdict // COMMIT if a wave was committed; Undecided if Run was ended before all were decided
	Reason   commit.Reason  // why the first ABORT
	Devices  []commit.DeviceStatus
	Laggards []commit.DeviceStatus // after COMMIT: targets that do not run the new image, each with its cause
}

// Exit statuses of a campaign.
const (
	ExitCommitted = 0 // on every target
	ExitFailed    = 1 // aborted by votes or a person, or not ended
	ExitTimedOut  = 3 // aborted by the deadline
	ExitLaggards  = 4 // committed, but not on every target
)

// ExitStatus returns what a command exits with.
func (r Result) ExitStatus() int {
	switch {
	case r.Verdict == commit.Commit && len(r.Laggards) == 0:
		return ExitCommitted
	case r.Verdict == commit.Commit:
		return ExitLaggards
	case r.Reason == commit.ReasonDeadline || r.Reason == commit.ReasonNotApproved:
		return ExitTimedOut
	}
	return ExitFailed
}

func (c *Campaign) result() Result {
	r := Result{Campaign: c.frozen.Campaign}
	r.Verdict, r.Reason = verdictOf(c.coordinator.Status().Waves)
	for d := range c.coordinator.Devices() {
		d = c.progress[d.Device].explain(d)
		r.Devices = append(r.Devices, d)
		if r.Verdict == commit.Commit && d.State != commit.StateCommitted {
			r.Laggards = append(r.Laggards, d)
		}
	}
	return r
}

// explain adds what the device itself said of why it does not take part.
func (p progress) explain(d commit.DeviceStatus) commit.DeviceStatus {
	switch d.State {
	case commit.StateNone, commit.StateAnnounced, commit.StateReceiving, commit.StateStaged:
		if p.refused != commit.ReasonNone {
			d.State, d.Reason = commit.StateRefused, p.refused
		}
	}
	return d
}

// A CampaignStatus is where a campaign is. It has a JSON form; fields are only ever added.
type CampaignStatus struct {
	Campaign commit.CampaignID    `json:"campaign"`
	Running  bool                 `json:"running"`
	Product  string               `json:"product"`
	Version  string               `json:"version"`
	Server   string               `json:"server"`
	Group    string               `json:"group"`
	Started  time.Time            `json:"started"`
	Deadline time.Time            `json:"deadline"`         // of votes, of the wave that began last
	Verdict  string               `json:"verdict"`          // undecided until all waves are; COMMIT if one is committed
	Reason   commit.Reason        `json:"reason,omitempty"` // why ABORT, of the first wave that was aborted
	Asking   bool                 `json:"asking,omitempty"` // the policy is met and a person is asked
	Held     bool                 `json:"held,omitempty"`
	Paused   bool                 `json:"paused,omitempty"` // and nothing is sent or decided
	Brake    commit.Reason        `json:"brake,omitempty"`  // why held or paused
	Waves    []WaveState          `json:"waves"`            // in their order
	Closed   bool                 `json:"closed,omitempty"`
	Targets  int                  `json:"targets"`
	Ready    int                  `json:"ready"`
	Refused  int                  `json:"refused"`
	Unsigned int                  `json:"unsigned,omitempty"` // targets whose last word was unsigned
	Counts   map[commit.State]int `json:"counts"`
	Sending  Sending              `json:"sending,omitzero"`
	Devices  []DeviceState        `json:"devices"`

	Approvers []Approvers `json:"approvers,omitempty"` // who has to agree to a COMMIT, enough of each list
	List      string      `json:"list,omitempty"`      // digest of the targets, which they agree to
}

// Approvers are keys of people, of whom so many have to agree.
type Approvers struct {
	Keys      []manifest.PublicKey `json:"keys"`
	Threshold int                  `json:"threshold"`
}

// A DeviceState is where a target is.
type DeviceState struct {
	Device    string        `json:"device"`
	Site      string        `json:"site,omitempty"`
	Wave      uint32        `json:"wave,omitempty"` // counted from 0
	State     commit.State  `json:"state,omitempty"`
	Reason    commit.Reason `json:"reason,omitempty"`
	Bytes     int64         `json:"bytes,omitempty"` // verified so far, of Total
	Total     int64         `json:"total,omitempty"`
	Unsigned  bool          `json:"unsigned,omitempty"`
	Duplicate bool          `json:"duplicate,omitempty"`

	// What multicast is like at the device, as it says.
	Heard    uint64  `json:"heard,omitempty"`    // datagrams
	Loss     float64 `json:"loss,omitempty"`     // share of datagrams that did not arrive
	Overruns uint64  `json:"overruns,omitempty"` // datagrams that its own socket had no room for
	ByHTTP   bool    `json:"by_http,omitempty"`  // it has given multicast up, and fetches the rest
}

// A Sending is how far the process that runs a campaign is with sending.
type Sending struct {
	Begun bool    `json:"begun,omitempty"`
	Once  bool    `json:"once,omitempty"` // everything was sent once, by this process or one before
	Sent  int64   `json:"sent,omitempty"` // bytes of Total, the first time
	Total int64   `json:"total,omitempty"`
	Rate  float64 `json:"rate,omitempty"` // bits per second that it may send with
	Nacks uint64  `json:"nacks,omitempty"`

	Repairs uint64 `json:"repairs,omitempty"` // segments of repair sent
	Bytes   uint64 `json:"bytes,omitempty"`   // UDP payload sent, of everything
}

func (c *Campaign) status() CampaignStatus {
	s := campaignStatus(c.frozen, c.release.manifest, c.coordinator, c.progress)
	s.Running = true
	s.Sending = c.sending()
	return s
}

// sending asks the session, which may have failed: then there is nothing more to know.
func (c *Campaign) sending() Sending {
	s := Sending{Total: c.release.manifest.Size(), Rate: cmp.Or(c.rate, c.frozen.Settings.Rate)}
	t := c.sender
	if t == nil || !t.begun {
		return s
	}
	s.Begun, s.Once = true, t.sentAll
	ctx := context.Background() // the session's loop answers at once, or has ended
	if st, err := t.session.Stats(ctx); err == nil {
		s.Nacks, s.Rate, s.Repairs, s.Bytes = st.Sender.NacksHeard, st.Sender.Rate, st.Sender.Repairs, st.Sender.Bytes
	}
	for _, h := range t.objects[min(1, len(t.objects)):] {
		if o, err := t.session.Sent(ctx, h); err == nil {
			s.Sent += o.Position
		}
	}
	if t.sentAll {
		s.Sent = s.Total
	}
	return s
}

func campaignStatus(f frozen, m *manifest.Manifest, coordinator *commit.Coordinator, progress map[string]progress) CampaignStatus {
	of := coordinator.Status()
	s := CampaignStatus{Campaign: f.Campaign, Product: m.Product, Version: m.Version, Server: f.URL, Group: f.Settings.Group.String(),
		Started: f.Started, Closed: of.Closed, Unsigned: of.Unsigned, Counts: map[commit.State]int{}}
	s.TakeWaves(of)
	s.Devices = make([]DeviceState, 0, s.Targets)
	for d := range coordinator.Devices() {
		state := StateOf(d)
		state.take(progress[d.Device])
		s.Counts[cmp.Or(state.State, notHeard)]++
		s.Devices = append(s.Devices, state)
	}
	return s
}

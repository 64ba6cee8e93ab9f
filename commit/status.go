package commit

import (
	"iter"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A DeviceStatus is where a target is.
type DeviceStatus struct {
	Target
	State     State
	Reason    Reason // why it is there, or why it is not further
	Unsigned  bool   // what it said last was not signed
	Duplicate bool   // its key lives in two agents
}

// A WaveStatus is where a wave is.
type WaveStatus struct {
	Verdict Verdict
	Reason  Reason // why ABORT
	Asking  bool   // the policy is met and a person is asked
	Targets int    // of the frozen list
	Ready   int    // are READY now
	Refused int    // cannot be READY any more

	Step      WaveStep
	Deadline  time.Time // of votes; zero: the wave has not begun
	Until     time.Time // when votes, results or the soak end; zero: they do not, or they wait. It stands still in a pause
	Committed int       // run the new image
	Failed    int       // have FAILED or ROLLED_BACK

	MissingApprovals int                  // so many more approvers have to agree, at least
	Approved         []manifest.PublicKey // those who have
}

// A Status is where a campaign is.
type Status struct {
	Campaign CampaignID
	Manifest Digest
	Waves    []WaveStatus
	Held     bool
	Paused   bool   // and nothing is decided or sent
	Brake    Reason // why held or paused
	Closed   bool
	Restored bool
	Devices  map[State]int // targets in each state
	Unsigned int           // targets whose last message was unsigned

	// Approvers have to agree to each COMMIT, enough of each list, and List is the digest of the targets that they agree to;
	// zero if nobody is asked.
	Approvers []manifest.Approvers
	List      Digest
}

// Status returns where the campaign is; the zero Status before Start.
func (c *Coordinator) Status() Status {
	if c.plan == nil {
		return Status{}
	}
	s := Status{Campaign: c.plan.Campaign, Manifest: c.plan.Manifest, Held: c.brake.Hold, Paused: c.brake.Pause, Closed: c.closed,
		Restored: c.restored, Devices: map[State]int{}}
	if s.Held {
		s.Brake = c.brakeReason
	}
	if s.Approvers = c.plan.Approvers; len(s.Approvers) > 0 {
		s.List = c.targetsDigest()
	}
	for i, w := range c.waves {
		step, until := c.step(i)
		s.Waves = append(s.Waves, WaveStatus{w.decision.Verdict, w.reason, w.waiting && w.decision.Verdict == Undecided,
			max(w.all.targets, c.plan.Expect), w.all.ready, w.all.refused, step, w.deadline, until, w.all.committed, w.all.failed, c.missingApprovals(uint32(i)), c.approvers(uint32(i))})
	}
	for d := range c.Devices() {
		s.Devices[d.State]++
		if d.Unsigned {
			s.Unsigned++
		}
	}
	return s
}

// Devices yields the targets in the order of the list.
func (c *Coordinator) Devices() iter.Seq[DeviceStatus] {
	return func(yield func(DeviceStatus) bool) {
		for _, d := range c.order {
			if !yield(c.deviceStatus(d)) {
				return
			}
		}
	}
}

// Device returns where one target is.
func (c *Coordinator) Device(name string) (s DeviceStatus, ok bool) {
	d := c.devices[name]
	if d == nil {
		return DeviceStatus{}, false
	}
	return c.deviceStatus(d), true
}

// Laggards yields the targets that do not run the new image although their wave is committed, each with its cause.
func (c *Coordinator) Laggards() iter.Seq[DeviceStatus] {
	return func(yield func(DeviceStatus) bool) {
		for d := range c.Devices() {
			if c.waves[d.Wave].decision.Verdict == Commit && d.State != StateCommitted && !yield(d) {
				return
			}
		}
	}
}

// Settled reports whether all waves are decided and nobody who voted READY for a committed one still owes an outcome.
// Targets that did not vote may still come.
func (c *Coordinator) Settled() bool {
	if c.plan == nil {
		return false
	}
	if _, open := c.Open(); open {
		return false
	}
	for _, d := range c.order {
		if c.waves[d.Wave].decision.Verdict == Commit && d.isReady() {
			return false
		}
	}
	return true
}

func (c *Coordinator) deviceStatus(d *device) DeviceStatus {
	s := DeviceStatus{d.Target, d.state, d.reason, d.unsigned, d.duplicate}
	verdict := c.waves[d.Wave].decision.Verdict
	switch {
	case d.duplicate:
		s.Reason = ReasonDuplicate
	case verdict == Abort && !d.final() && d.state != StateRefused && d.state != StateNone:
		s.State = StateAborted
		s.Reason = c.waves[d.Wave].reason
	case s.Reason != ReasonNone:
	case d.state == StateNone:
		s.Reason = ReasonNotHeard
	case verdict == Commit && d.isReady():
		s.Reason = ReasonNoOutcome
	case verdict == Commit && !d.voted:
		s.Reason = ReasonNoVote
	}
	return s
}

func (c *Coordinator) emitDevice(d *device) {
	s := c.deviceStatus(d)
	c.emit(Event{Kind: EventDevice, Wave: d.Wave, Device: d.Device, State: s.State, Reason: s.Reason})
}

package commit

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A MessageKind tells votes from reports.
type MessageKind uint8

const (
	VoteMessage MessageKind = iota + 1
	ReportMessage
)

func (k MessageKind) String() string {
	switch k {
	case VoteMessage:
		return "vote"
	case ReportMessage:
		return "report"
	}
	return fmt.Sprintf("message kind %d", uint8(k))
}

// A Message is a vote or a report on its way from a device to the server.
type Message struct {
	Kind     MessageKind
	Device   string // who says so; it has to be the device that Bytes names
	Unsigned bool   // Bytes is the bare payload, not signed by the device key
	Bytes    []byte
	Campaign CampaignID // that it is about, for a server of several to find its way; not looked at by the coordinator
	Counter  uint64     // what an acknowledgment names, see [Participant.Acknowledge]; not looked at by the server
}

// A device is what a coordinator knows of a target.
type device struct {
	Target
	state     State
	reason    Reason
	duplicate bool
	unsigned  bool // its last message was
	voted     bool // READY or NO, at any time

	kind    MessageKind // of the last message
	counter uint64      // its counter
	payload []byte      // and what it said

	instances [2][16]byte // the latest two agents that announced themselves as this device, the latest first
}

func (d *device) isReady() bool { return d.state == StateReady && !d.duplicate }

// cannotBeReady reports whether no later vote of the device can count as READY.
func (d *device) cannotBeReady() bool {
	return d.duplicate || d.state == StateRefused || d.final()
}

// final reports whether the device has done with this round.
func (d *device) final() bool {
	return d.state == StateCommitted || d.state == StateRolledBack || d.state == StateFailed
}

// Receive takes votes and reports, makes all that are accepted durable in one append, and then applies the policy. The
// result has an entry for each message: nil if it is to be acknowledged, because it is durable now or was before.
// [ErrReplay] means that the device has said something newer, so that one is to be acknowledged as well. The other
// errors are refusals. An error of the log or of signing is returned as err, and then nothing is to be acknowledged.
func (c *Coordinator) Receive(now time.Time, messages ...Message) (refused []error, err error) {
	if err := c.Advance(now); err != nil {
		return nil, err
	}
	var recs [][]byte
	refused = make([]error, len(messages))
	for i, m := range messages {
		var rec *coordRecord
		rec, refused[i] = c.take(m)
		if rec != nil {
			recs = append(recs, rec.encode())
		}
	}
	if len(recs) > 0 {
		if err := c.log.append(recs...); err != nil {
			return nil, err // what was taken is never shown: the coordinator is finished
		}
	}
	return refused, c.Advance(now)
}

// take checks a message and applies it; rec is what has to be logged for that, nil if nothing changed.
func (c *Coordinator) take(m Message) (rec *coordRecord, err error) {
	d := c.devices[m.Device]
	if d == nil {
		return nil, fmt.Errorf("%w: %.70q", ErrNotTarget, m.Device)
	}
	payload, err := c.payload(d, m)
	if err != nil {
		return nil, err
	}
	entry := messageRecord{Kind: m.Kind, Payload: payload}
	if !m.Unsigned {
		entry.Evidence = bytes.Clone(m.Bytes)
	}
	var (
		round   Round
		name    string
		counter uint64
		vote    Vote
		report  Report
	)
	switch m.Kind {
	case VoteMessage:
		vote, err = ParseVote(payload)
		round, name, counter = vote.Round, vote.Device, vote.Counter
	case ReportMessage:
		report, err = ParseReport(payload)
		round, name, counter = report.Round, report.Device, report.Counter
	default:
		err = fmt.Errorf("%w: %s", ErrMessage, m.Kind)
	}
	switch {
	case err != nil:
		return nil, err
	case name != d.Device:
		return nil, fmt.Errorf("%w: %s of %s as %s", ErrMessage, m.Kind, name, d.Device)
	case round != (Round{c.plan.Campaign, d.Wave, c.plan.Manifest}):
		return nil, fmt.Errorf("%w: %s for %s", ErrUnknown, m.Kind, round)
	case counter < d.counter:
		return nil, ErrReplay
	case counter == d.counter && m.Kind == d.kind && bytes.Equal(payload, d.payload):
		return nil, nil // heard before
	case counter == d.counter:
		// One device never uses a counter twice, so there are two of them.
		return c.markDuplicate(d), ErrDuplicate
	}
	switch {
	case d.final():
		return nil, ErrReplay // its outcome is known and stays
	case d.state == StateRefused:
		return nil, ErrRefused
	case m.Kind == ReportMessage:
		c.takeReport(d, report, entry)
		return &coordRecord{Message: &entry}, nil
	case vote.Ready && c.closed:
		return nil, ErrClosed
	case vote.Ready && d.duplicate:
		return nil, ErrDuplicate
	case vote.Ready && !slices.Equal(vote.Roots, c.plan.Roots):
		return nil, ErrRoots
	}
	c.takeVote(d, vote, entry)
	return &coordRecord{Message: &entry}, nil
}

// payload checks the signature of a message.
func (c *Coordinator) payload(d *device, m Message) ([]byte, error) {
	if m.Unsigned {
		// Where the device has a key, anybody could speak for it if unsigned messages counted as well.
		if !c.plan.AllowUnsigned || !d.Key.IsZero() {
			return nil, ErrUnsigned
		}
		return bytes.Clone(m.Bytes), nil
	}
	purpose := contextVote
	if m.Kind == ReportMessage {
		purpose = contextReport
	}
	payload, err := d.Key.Verify(purpose, m.Bytes)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(payload), nil
}

func (d *device) heard(counter uint64, m messageRecord) {
	d.kind, d.counter, d.payload = m.Kind, counter, m.Payload
	d.unsigned = len(m.Evidence) == 0
}

func (c *Coordinator) takeVote(d *device, v Vote, m messageRecord) {
	c.change(d, func() {
		d.heard(v.Counter, m)
		d.voted = true
		d.state, d.reason = StateReady, ReasonNone
		if !v.Ready {
			d.state, d.reason = StateRefused, v.Reason
		}
	})
	c.emitDevice(d)
}

func (c *Coordinator) takeReport(d *device, r Report, m messageRecord) {
	c.change(d, func() {
		d.heard(r.Counter, m)
		d.state, d.reason = r.Outcome, r.Reason
	})
	if r.Outcome == StateFailed || r.Outcome == StateRolledBack {
		c.failures++
	}
	c.emitDevice(d)
}

func (c *Coordinator) markDuplicate(devices ...*device) *coordRecord {
	rec := &duplicateRecord{}
	for _, d := range devices {
		if d.duplicate {
			continue
		}
		c.change(d, func() { d.duplicate = true })
		rec.Devices = append(rec.Devices, d.Device)
		c.emitDevice(d)
	}
	if len(rec.Devices) == 0 {
		return nil
	}
	return &coordRecord{Duplicate: rec}
}

// A Presence is a device that shows itself.
type Presence struct {
	Device string
	// Key is what the device signs with; the caller has checked that it signed this very presence. Zero if it has none.
	Key manifest.PublicKey
	// Instance is random, new each time the agent starts. Zero if not known.
	Instance [16]byte
}

// Announce notes that a device has shown itself. While the plan expects devices the first so many are put on the list,
// durably, with the keys they show. Two devices with one key, and two live agents that call themselves one device, are
// marked as duplicates for good: they are never READY.
func (c *Coordinator) Announce(now time.Time, p Presence) error {
	if err := c.Advance(now); err != nil {
		return err
	}
	d := c.devices[p.Device]
	if d == nil {
		return c.join(now, p)
	}
	if !p.Key.IsZero() && !d.Key.SameKey(p.Key) {
		// Another agent under this name. What it cannot sign does not count, so nothing is lost but its own voice.
		if d.Key.IsZero() {
			return fmt.Errorf("%w: %s is listed without a key and shows one; list the key, or have the device make none", ErrNotTarget, p.Device)
		}
		return fmt.Errorf("%w: %s with another key", ErrNotTarget, p.Device)
	}
	if d.Key == p.Key && d.returns(p.Instance) { // nobody else can make a signed device a duplicate
		if rec := c.markDuplicate(d); rec != nil {
			if err := c.log.append(rec.encode()); err != nil {
				return err
			}
			return c.Advance(now)
		}
	}
	c.Note(p.Device, StateAnnounced, ReasonNone)
	return nil
}

// returns notes the instance and reports whether it was there before another one: an agent that restarts is a new
// instance and its old one is gone, so two that take turns are alive at once.
func (d *device) returns(instance [16]byte) bool {
	if instance == ([16]byte{}) || instance == d.instances[0] {
		return false
	}
	back := instance == d.instances[1]
	d.instances = [2][16]byte{instance, d.instances[0]}
	return back
}

// join puts a device on the list that is still expected.
func (c *Coordinator) join(now time.Time, p Presence) error {
	closed := len(c.order) >= c.plan.Expect || c.waves[0].decision.Verdict != Undecided
	switch {
	case !manifest.ValidName(p.Device):
		return fmt.Errorf("%w: device %.70q", ErrMessage, p.Device)
	case closed:
		return fmt.Errorf("%w: %s", ErrNotTarget, p.Device)
	case p.Key.IsZero() && !c.plan.AllowUnsigned:
		return fmt.Errorf("%w: %s has no key", ErrUnsigned, p.Device)
	case !p.Key.IsZero() && p.Key.Role() != manifest.RoleDevice:
		return fmt.Errorf("%w: %s has a key of role %s", ErrNotTarget, p.Device, p.Key.Role())
	}
	t := Target{Device: p.Device, Key: p.Key}
	other := c.devices[c.keys[p.Key]] // nil for the zero key, which nobody holds
	recs := [][]byte{coordRecord{Target: new(t.record())}.encode()}
	d := c.addTarget(t)
	d.instances[0] = p.Instance
	if other != nil {
		recs = append(recs, c.markDuplicate(other, d).encode())
	}
	if err := c.log.append(recs...); err != nil {
		return err
	}
	c.Note(p.Device, StateAnnounced, ReasonNone)
	return c.Advance(now)
}

// Note keeps what a device tells of its progress until it votes: StateAnnounced, StateReceiving or StateStaged; and after
// COMMIT, that it is StateReady and waits for its maintenance window. It is for show, not durable, and decides nothing.
func (c *Coordinator) Note(device string, s State, r Reason) {
	d := c.devices[device]
	if d == nil {
		return
	}
	switch d.state {
	case StateNone, StateAnnounced, StateReceiving, StateStaged:
	case StateReady:
		if s == StateReady && r == ReasonWindow && d.reason != r && c.waves[d.Wave].decision.Verdict == Commit {
			d.reason = r
			c.emitDevice(d)
		}
		return
	default:
		return // it has voted
	}
	switch s {
	case StateAnnounced:
		if d.state != StateNone {
			return // polls after it began to receive
		}
	case StateReceiving, StateStaged:
	default:
		return
	}
	if s != d.state || r != d.reason {
		d.state, d.reason = s, r
		c.emitDevice(d)
	}
}

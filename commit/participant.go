package commit

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// What a participant refuses; errors wrap these.
var (
	ErrFinished = errors.New("commit: this device has done with the round")
	ErrBusy     = errors.New("commit: an activation is under way")
	ErrNoVote   = errors.New("commit: no unreleased READY for the round in this device's log")
	ErrStale    = errors.New("commit: result of a job that is not open")
)

// DefaultHold is how long a stage is held past the deadline of votes when no decision comes, in powered time.
const DefaultHold = manifest.DefaultHold

// heldStep is how much powered time a power cut makes forgotten, at most.
const heldStep = 10 * time.Minute

// A ParticipantConfig is what a Participant works with.
type ParticipantConfig struct {
	Device string             // its id; required
	Key    Signer             // the device key; if nil (a nil interface), messages are unsigned
	Server manifest.PublicKey // of the server, whose decisions count; required, see [Participant.TrustServers]
	Boot   string             // the id of this boot of the system, another one after each restart; required
	Build  time.Time          // when the program was built: the least that the time can be
	// Opens is the device's maintenance window: it returns the earliest instant not before utc at which the device may
	// begin to activate, and utc itself within the window. If nil, the device may at any time.
	Opens func(utc time.Time) time.Time
	// Open opens the log and gives replay each record in it, in order. Only the last one matters, so the log may be
	// rewritten with just [Participant.Snapshot] when it has grown long.
	Open func(replay func(rec []byte) error) (Log, error)
}

// A Participant is the device's side of all campaigns; see the package documentation for the calling contract.
//
// After each call take the jobs from Next and begin them, send what Messages has, and call Advance at Deadline. The
// result of each job goes to Finish.
type Participant struct {
	cfg     ParticipantConfig
	servers []manifest.PublicKey
	log     journal
	clock   Clock
	s       participantState

	// Of this run only.
	job      Job           // open: handed out or about to be
	taken    bool          // handed out
	serial   uint64        // of the latest job
	asked    bool          // the brake was asked, in this attempt to activate
	hooked   bool          // the activate hook has ended well
	told     bool          // the server has acknowledged the READY
	decision Decision      // the COMMIT in the log, if the phase is later than READY
	opens    time.Time     // of a COMMIT: the instant, in UTC, that the device waits for
	ticked   time.Time     // up to here the powered time is counted
	held     time.Duration // and this much of it is not yet in the log
	changes  []Change
}

// A Stage is an image set that is whole on the device's storage, with what the signed documents say of it.
type Stage struct {
	Round
	Roots           []Digest // of the images, in manifest order
	Sequence, Epoch uint64
	Expires         time.Time     // of the manifest, checked before READY and never after; zero: never
	Ends            time.Time     // of the campaign: as long a finished round is remembered; zero: for ever
	Deadline        time.Time     // of votes
	Hold            time.Duration // how long past Deadline it is held without a decision; if zero, DefaultHold
}

// A Change is a step of a round on this device.
type Change struct {
	Round  Round
	State  State
	Reason Reason
}

// OpenParticipant opens the log and continues where it ends. The reading now is of a clock that only runs forward, as
// all later ones; see [NewClock].
func OpenParticipant(now time.Time, cfg ParticipantConfig) (*Participant, error) {
	if !manifest.ValidName(cfg.Device) || cfg.Boot == "" || cfg.Server.IsZero() {
		return nil, fmt.Errorf("commit: participant %.70q: device id, boot id and server key are required", cfg.Device)
	}
	p := &Participant{cfg: cfg, servers: []manifest.PublicKey{cfg.Server}, ticked: now}
	log, err := cfg.Open(func(rec []byte) (err error) {
		p.s, err = decodeParticipantState(rec)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.log.log = log
	p.clock = NewClock(now, cfg.Build, fromNanoseconds(p.s.UTC))
	if cur := p.s.Current; cur != nil && len(cur.Decision) > 0 {
		if p.decision, err = parseDecision(cur.Decision); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRecord, err)
		}
	}
	return p, nil
}

// TrustServers replaces the server keys whose messages count, of which there has to be at least one. What was taken before
// stays: a COMMIT in the log is carried out.
func (p *Participant) TrustServers(keys []manifest.PublicKey) { p.servers = slices.Clone(keys) }

// commit makes next the state: it is in the log when commit returns without error.
func (p *Participant) commit(now time.Time, next participantState) error {
	next.Format = format
	next.UTC = nanoseconds(p.clock.UTC(now))
	if err := p.log.append(encode(next)); err != nil {
		return err
	}
	p.s = next
	return nil
}

// Snapshot returns the record that is the whole state, for rewriting the log.
func (p *Participant) Snapshot() []byte {
	s := p.s
	s.Format = format
	return encode(s)
}

// Stage asks for a vote on a stage that has just become whole. A stage below the device's floors or past its expiry is
// refused with a NO; otherwise it is to be verified ([TaskVerify]), and then comes the vote. A READY for another
// campaign is released first, for this one supersedes it. For a round that is under way nothing happens; for one that
// is over Stage returns [ErrFinished], and while another is activated [ErrBusy].
func (p *Participant) Stage(now time.Time, st Stage) error {
	if len(st.Roots) == 0 || len(st.Roots) > MaxRoots {
		return fmt.Errorf("commit: stage of %d images, want 1 to %d", len(st.Roots), MaxRoots)
	}
	if st.Hold < 0 {
		return fmt.Errorf("commit: stage held for %v", st.Hold)
	}
	if err := p.clear(now, st.Round, st.Ends); err != nil {
		return err
	}
	if cur := p.s.Current; cur != nil {
		if cur.Round == st.Round {
			return nil
		}
		if err := p.Release(now, ReasonSuperseded); err != nil {
			return err
		}
	}
	switch {
	case st.Sequence < p.s.Floors.Sequence:
		return p.refuse(now, st.Round, nanoseconds(st.Ends), ReasonSequence)
	case st.Epoch < p.s.Floors.Epoch:
		return p.refuse(now, st.Round, nanoseconds(st.Ends), ReasonEpoch)
	case p.expired(now, nanoseconds(st.Expires)):
		return p.refuse(now, st.Round, nanoseconds(st.Ends), ReasonExpired)
	}
	next := p.s.clone()
	next.Current = &currentRound{
		Round: st.Round, Roots: slices.Clone(st.Roots), Version: Floors{st.Sequence, st.Epoch},
		Expires: nanoseconds(st.Expires), Ends: nanoseconds(st.Ends), Deadline: nanoseconds(st.Deadline),
		Hold: st.Hold, Phase: phaseVerifying,
	}
	if st.Hold == 0 {
		next.Current.Hold = DefaultHold
	}
	if err := p.commit(now, next); err != nil {
		return err
	}
	p.fresh(now)
	p.change(st.Round, StateStaged, ReasonNone)
	return nil
}

// Refuse votes NO before or instead of a stage: for what the device cannot or must not install. It ends the round for
// this device. A READY of another campaign stands.
func (p *Participant) Refuse(now time.Time, round Round, ends time.Time, reason Reason) error {
	if reason == ReasonNone || !reason.wellFormed() {
		return fmt.Errorf("commit: refused without a reason: %.40q", reason)
	}
	if err := p.clear(now, round, ends); err != nil {
		return err
	}
	if cur := p.s.Current; cur != nil && cur.Round == round && cur.Phase != phaseVerifying {
		return fmt.Errorf("%w: it is READY", ErrBusy)
	}
	return p.refuse(now, round, nanoseconds(ends), reason)
}

// clear reports whether the round can begin.
func (p *Participant) clear(now time.Time, round Round, ends time.Time) error {
	if err := p.Advance(now); err != nil {
		return err
	}
	if p.s.isFinished(round, nanoseconds(ends)) {
		return fmt.Errorf("%w: %s", ErrFinished, round)
	}
	return nil
}

func (p *Participant) expired(now time.Time, expires int64) bool {
	return expires != 0 && p.clock.UTC(now).After(fromNanoseconds(expires))
}

// fresh forgets what this run knew of the round before.
func (p *Participant) fresh(now time.Time) {
	p.job, p.taken, p.asked, p.hooked, p.told = Job{}, false, false, false, false
	p.ticked, p.held = now, 0
	p.decision = Decision{}
}

// refuse logs and so queues a NO.
func (p *Participant) refuse(now time.Time, round Round, ends int64, reason Reason) error {
	next := p.s.clone()
	next.say(VoteMessage, func(counter uint64) []byte {
		return Vote{Round: round, Device: p.cfg.Device, Reason: reason, Counter: counter}.Encode()
	})
	next.Last, next.Heard = &Outcome{round, StateRefused, reason}, nil
	next.finish(round, ends, p.clock.UTC(now))
	current := next.Current != nil && next.Current.Round == round
	if current {
		next.Current = nil
	}
	if err := p.commit(now, next); err != nil {
		return err
	}
	if current {
		p.fresh(now)
	}
	p.change(round, StateRefused, reason)
	return nil
}

// Decide takes a decision, from wherever it came. It is acted upon if the server signed it for the very round that this
// device is READY for and has not released: COMMIT leads to activation, after ABORT the stage can never be activated.
// Otherwise the error says why it does not count ([ErrNoVote], [ErrFinished], [ErrConflict]) and nothing has changed.
func (p *Participant) Decide(now time.Time, signed []byte) error {
	if err := p.Advance(now); err != nil {
		return err
	}
	d, err := OpenDecision(signed, manifest.KeyFor(signed, p.servers))
	if err != nil {
		return err
	}
	cur := p.s.Current
	switch {
	case p.s.isFinished(d.Round, 0):
		return fmt.Errorf("%w: %s", ErrFinished, d.Round)
	case cur == nil || cur.Round != d.Round || cur.Phase < phaseReady:
		return fmt.Errorf("%w: %s for %s", ErrNoVote, d.Verdict, d.Round)
	case cur.Phase > phaseReady && d.Verdict == Commit:
		return nil // heard before
	case cur.Phase > phaseReady:
		return fmt.Errorf("%w: %s", ErrConflict, d.Round)
	case d.Verdict == Abort:
		return p.endBy(now, signed, StateAborted, ReasonNone)
	}
	next := p.s.clone()
	next.Current.Phase = phaseCommitted
	next.Current.Signed, next.Current.Decision = slices.Clone(signed), d.Encode()
	if err := p.commit(now, next); err != nil {
		return err
	}
	p.decision = d
	return p.Advance(now)
}

// Brake takes a HOLD or RESUME of the current round's campaign. One with a lower sequence than the latest is nothing
// new, and is not an error. HOLD stops the device until ACTIVATING is in its log.
func (p *Participant) Brake(now time.Time, signed []byte) error {
	if err := p.Advance(now); err != nil {
		return err
	}
	b, err := OpenBrake(signed, manifest.KeyFor(signed, p.servers))
	if err != nil {
		return err
	}
	cur := p.s.Current
	if cur == nil || cur.Round.Campaign != b.Campaign || b.Sequence <= cur.Brake {
		return nil
	}
	next := p.s.clone()
	next.Current.Brake, next.Current.Stopped = b.Sequence, b.Hold
	if err := p.commit(now, next); err != nil {
		return err
	}
	p.asked = false
	return nil
}

// Timestamp takes the server's word for what time it is.
func (p *Participant) Timestamp(now time.Time, signed []byte) error {
	t, err := OpenTimestamp(signed, manifest.KeyFor(signed, p.servers))
	if err != nil {
		return err
	}
	if err := p.Advance(now); err != nil { // by the time known before
		return err
	}
	p.clock.Observe(now, t)
	return p.Advance(now)
}

// Release gives up the stage, because of another campaign (ReasonSuperseded), a person (ReasonAbandoned) or because a key is
// no longer trusted (ReasonRevoked): the READY no longer binds, which is logged and then reported. It returns [ErrBusy] once ACTIVATING is in the log.
func (p *Participant) Release(now time.Time, reason Reason) error {
	if err := p.Advance(now); err != nil {
		return err
	}
	switch cur := p.s.Current; {
	case cur == nil:
		return nil
	case cur.Phase >= phaseActivating:
		return fmt.Errorf("%w: %s", ErrBusy, cur.Round)
	}
	return p.end(now, StateReleased, reason)
}

// end logs how the current round ends here, with a report if it is an outcome that the server does not know.
func (p *Participant) end(now time.Time, state State, reason Reason) error {
	return p.endBy(now, p.s.Current.Signed, state, reason)
}

// endBy is end after a decision, which may be nil.
func (p *Participant) endBy(now time.Time, decision []byte, state State, reason Reason) error {
	next := p.s.clone()
	cur := next.Current
	next.Current = nil
	next.Last, next.Heard = &Outcome{cur.Round, state, reason}, slices.Clone(decision)
	if state.Outcome() && cur.Phase >= phaseReady {
		next.say(ReportMessage, func(counter uint64) []byte {
			return Report{cur.Round, p.cfg.Device, state, reason, counter}.Encode()
		})
	}
	if state == StateAborted && !p.told { // no report follows, and the server may not know that it was READY
		next.Outbox = append(next.Outbox, outgoing{VoteMessage, p.ready(cur).Encode(), cur.Vote})
	}
	if state != StateReleased { // that one may be voted on anew
		next.finish(cur.Round, cur.Ends, p.clock.UTC(now))
	}
	if state == StateCommitted {
		next.Floors.Sequence = max(next.Floors.Sequence, cur.Version.Sequence)
		next.Floors.Epoch = max(next.Floors.Epoch, cur.Version.Epoch)
	}
	if err := p.commit(now, next); err != nil {
		return err
	}
	p.fresh(now)
	p.change(cur.Round, state, reason)
	return nil
}

// ready is the READY in the log.
func (p *Participant) ready(cur *currentRound) Vote {
	return Vote{cur.Round, cur.Roots, p.cfg.Device, true, ReasonNone, cur.Vote}
}

// Messages returns what the server has to be told, oldest first, until it is acknowledged. All of it is in the log.
func (p *Participant) Messages() ([]Message, error) {
	if p.log.err != nil {
		return nil, p.log.err
	}
	var all []Message
	add := func(o outgoing) error {
		m := Message{Kind: o.Kind, Device: p.cfg.Device, Bytes: o.Payload, Unsigned: true, Campaign: o.campaign(), Counter: o.Counter}
		if p.cfg.Key != nil {
			purpose := contextVote
			if o.Kind == ReportMessage {
				purpose = contextReport
			}
			signed, err := p.cfg.Key.Sign(purpose, o.Payload)
			if err != nil {
				return err
			}
			m.Bytes, m.Unsigned = signed, false
		}
		all = append(all, m)
		return nil
	}
	for _, o := range p.s.Outbox {
		if err := add(o); err != nil {
			return nil, err
		}
	}
	if cur := p.s.Current; cur != nil && cur.Phase >= phaseReady && !p.told {
		if err := add(outgoing{VoteMessage, p.ready(cur).Encode(), cur.Vote}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Message) int { return cmp.Compare(a.Counter, b.Counter) })
	return all, nil
}

// Acknowledge notes that the server has made the message with this counter durable, or does not want it.
func (p *Participant) Acknowledge(now time.Time, counter uint64) error {
	if err := p.Advance(now); err != nil {
		return err
	}
	if cur := p.s.Current; cur != nil && cur.Phase >= phaseReady && cur.Vote == counter {
		p.told = true
		return nil
	}
	next := p.s.clone()
	next.Outbox = slices.DeleteFunc(next.Outbox, func(o outgoing) bool { return o.Counter == counter })
	if len(next.Outbox) == len(p.s.Outbox) {
		return nil
	}
	return p.commit(now, next)
}

// Repeat puts what was acknowledged of a round among Messages again, for a server that has forgotten it: the READY, or how
// the round before ended after its decision. Of others it knows nothing.
func (p *Participant) Repeat(now time.Time, round Round) error {
	if cur := p.s.Current; cur != nil && cur.Round == round {
		p.told = false
		return nil
	}
	last := p.s.Last
	if last == nil || last.Round != round || len(p.s.Heard) == 0 || !last.State.Outcome() ||
		slices.ContainsFunc(p.s.Outbox, func(o outgoing) bool { return o.Kind == ReportMessage && o.campaign() == round.Campaign }) {
		return nil
	}
	next := p.s.clone()
	next.say(ReportMessage, func(counter uint64) []byte {
		return Report{round, p.cfg.Device, last.State, last.Reason, counter}.Encode()
	})
	return p.commit(now, next)
}

func (p *Participant) change(r Round, s State, reason Reason) {
	p.changes = append(p.changes, Change{r, s, reason})
}

// Changes yields what happened since it was last drained.
func (p *Participant) Changes() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for len(p.changes) > 0 {
			c := p.changes[0]
			p.changes = p.changes[1:]
			if !yield(c) {
				return
			}
		}
		p.changes = nil
	}
}

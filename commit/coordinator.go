package commit

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// What a coordinator refuses; errors wrap these.
var (
	ErrNoPlan    = errors.New("commit: campaign is not started")
	ErrStarted   = errors.New("commit: campaign is started, its plan is frozen")
	ErrUnknown   = errors.New("commit: unknown campaign or wave")
	ErrNotTarget = errors.New("commit: device is not on the target list")
	ErrUnsigned  = errors.New("commit: unsigned message where it has to be signed")
	ErrReplay    = errors.New("commit: counter is behind a later message of the device")
	ErrDuplicate = errors.New("commit: one key in two live agents")
	ErrRefused   = errors.New("commit: device voted NO in this round")
	ErrRoots     = errors.New("commit: READY for other images")
	ErrClosed    = errors.New("commit: campaign is closed")
	ErrNotReady  = errors.New("commit: policy is not met")
	ErrDecided   = errors.New("commit: wave is decided")
	ErrRestored  = errors.New("commit: store was restored, so this campaign can only adopt a decision")
	ErrConflict  = errors.New("commit: COMMIT and ABORT are both signed for one round")
	ErrPaused    = errors.New("commit: campaign is paused")
)

// A CoordinatorConfig is what a Coordinator works with; all fields are required.
type CoordinatorConfig struct {
	Key    Signer             // the server key
	Public manifest.PublicKey // its public half, for adopting decisions that a device shows
	// Open opens the log and gives replay each record in it, in order.
	Open func(replay func(rec []byte) error) (Log, error)
}

// A Coordinator is the server's side of a campaign; see the package documentation for the calling contract.
//
// It decides each wave once: COMMIT when the policy is met, ABORT when it cannot be met any more or the deadline has
// passed (presumed abort). Waves are decided one after the other, each when enough of the one before run the new image; see
// [WaveStep]. The decision is in the log before it is signed, and the signed bytes are in the log before
// they are handed out, so all copies ever given out are equal.
type Coordinator struct {
	key    Signer
	public manifest.PublicKey
	log    journal

	plan     *Plan // nil before Start; its Targets grow while devices are expected
	waves    []wave
	devices  map[string]*device
	order    []*device                     // as they came on the list
	keys     map[manifest.PublicKey]string // which device holds it
	open     int                           // the first wave that is not decided
	failures int                           // FAILED and ROLLED_BACK
	answered int                           // failures when the brake was last set
	closed   bool
	restored bool
	list     Digest // of the first so many targets; zero: not worked out yet
	listed   int

	brake       Brake // Sequence 0: never used
	brakeReason Reason
	brakeSigned []byte
	heldAt      time.Time     // since when there is HOLD
	pausedAt    time.Time     // since when the campaign is paused
	stood       time.Duration // how long it was, before

	events []Event
}

// A wave is what a coordinator knows of one.
type wave struct {
	decision  Decision // Verdict Undecided: open
	reason    Reason
	signed    []byte   // what is told; empty until it is in the log
	waiting   bool     // for a person
	approvals [][]byte // signed, each by another approver
	all       tally
	sites     map[string]*tally
	pacing
}

// OpenCoordinator opens the log and continues the campaign in it. If the log is new the campaign is to be started.
func OpenCoordinator(cfg CoordinatorConfig) (*Coordinator, error) {
	c := &Coordinator{
		key:     cfg.Key,
		public:  cfg.Public,
		devices: map[string]*device{},
		keys:    map[manifest.PublicKey]string{},
	}
	log, err := cfg.Open(c.replay)
	if err != nil {
		return nil, err
	}
	c.log.log = log
	c.events = nil // of the earlier run
	return c, nil
}

// Start makes the plan durable. Nothing may be announced before it returns.
func (c *Coordinator) Start(p Plan) error {
	switch {
	case c.log.err != nil:
		return c.log.err
	case c.plan != nil:
		return ErrStarted
	}
	if err := p.check(); err != nil {
		return err
	}
	if err := c.log.append(p.records()...); err != nil {
		return err
	}
	targets := p.Targets
	p.Targets = nil
	c.begin(p)
	for _, t := range targets {
		c.addTarget(t)
	}
	return nil
}

func (c *Coordinator) begin(p Plan) {
	p.Waves = slices.Clone(p.Waves)
	for i := range p.Waves {
		p.Waves[i] = p.Waves[i].resolve()
	}
	c.plan = &p
	c.waves = make([]wave, len(p.Waves))
	for i := range c.waves {
		c.waves[i].sites = map[string]*tally{}
	}
	c.waves[0].deadline = p.Waves[0].Deadline
}

// targetsDigest returns the [TargetsDigest] of the list, for which a long one is gone through once.
func (c *Coordinator) targetsDigest() Digest {
	if n := len(c.plan.Targets); c.list == (Digest{}) || n != c.listed {
		c.list, c.listed = TargetsDigest(c.plan.Targets), n
	}
	return c.list
}

func (c *Coordinator) addTarget(t Target) *device {
	d := &device{Target: t}
	c.plan.Targets = append(c.plan.Targets, t)
	c.devices[t.Device] = d
	c.order = append(c.order, d)
	c.count(d, +1)
	if !t.Key.IsZero() {
		c.keys[t.Key] = t.Device
	}
	return d
}

// ready returns why the coordinator cannot go on, if it cannot.
func (c *Coordinator) ready() error {
	if c.log.err == nil && c.plan == nil {
		return ErrNoPlan
	}
	return c.log.err
}

// Plan returns the plan as it was started, with the targets so far; ok is false before Start.
func (c *Coordinator) Plan() (p Plan, ok bool) {
	if c.plan == nil {
		return Plan{}, false
	}
	return *c.plan, true
}

// Advance does what is due at now: it aborts waves whose deadline has passed, begins those whose time has come, and signs
// what was decided before a crash.
func (c *Coordinator) Advance(now time.Time) error {
	if err := c.ready(); err != nil {
		return err
	}
	if err := errors.Join(c.brakeForFailures(now), c.signBrake()); err != nil {
		return err
	}
	for i := range c.waves {
		w := uint32(i)
		if err := c.sign(w); err != nil {
			return err
		}
		if err := c.pace(now, w); err != nil {
			return err
		}
	}
	return c.endPause(now)
}

// Deadline returns when Advance has something to do next; zero if nothing is due before another call.
func (c *Coordinator) Deadline() (next time.Time) {
	if c.ready() != nil || c.restored {
		return next
	}
	for i := range c.waves {
		if t := c.stepDue(i); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// Approve is a person's agreement to COMMIT the wave. The policy has to be met otherwise ([ErrNotReady]), and the campaign
// must not be paused ([ErrPaused]).
func (c *Coordinator) Approve(now time.Time, wave uint32) error {
	if err := c.undecided(now, wave); err != nil {
		return err
	}
	if c.brake.Pause {
		return ErrPaused
	}
	if verdict, _ := c.judge(wave); verdict != Commit || !c.waves[wave].begun() {
		return ErrNotReady
	}
	if n := c.missingApprovals(wave); n > 0 {
		return fmt.Errorf("%w: wave %d lacks %d", ErrNotApproved, wave, n)
	}
	return c.decide(now, wave, Commit, ReasonNone)
}

// Abort is a person's decision to ABORT the wave, which is open, and with it those behind it. Those before it have to be
// decided ([ErrNotReady]).
func (c *Coordinator) Abort(now time.Time, wave uint32) error {
	if err := c.undecided(now, wave); err != nil {
		return err
	}
	if first, _ := c.Open(); first != wave {
		return fmt.Errorf("%w: wave %d is open", ErrNotReady, first)
	}
	if err := c.decide(now, wave, Abort, ReasonOperator); err != nil {
		return err
	}
	return c.Advance(now)
}

// Open returns the first wave that is not decided; ok is false if all are.
func (c *Coordinator) Open() (wave uint32, ok bool) {
	return uint32(c.open), c.open < len(c.waves)
}

// undecided reports whether the wave can be decided at now.
func (c *Coordinator) undecided(now time.Time, wave uint32) error {
	if err := c.Advance(now); err != nil {
		return err
	}
	switch {
	case !hasWave(c.waves, wave):
		return ErrUnknown
	case c.waves[wave].decision.Verdict != Undecided:
		return fmt.Errorf("%w: %s", ErrDecided, c.waves[wave].decision.Verdict)
	case c.restored:
		return ErrRestored
	}
	return nil
}

// Adopt takes a decision that a device shows. If its signature holds it is this server's own, forgotten in a crash that
// the log did not survive, and it is taken over; if the log holds the opposite, that is [ErrConflict].
func (c *Coordinator) Adopt(signed []byte) error {
	if err := c.ready(); err != nil {
		return err
	}
	d, err := OpenDecision(signed, c.public)
	if err != nil {
		return err
	}
	if d.Campaign != c.plan.Campaign || d.Manifest != c.plan.Manifest || !hasWave(c.waves, d.Wave) {
		return fmt.Errorf("%w: decision for %s", ErrUnknown, d.Round)
	}
	switch w := &c.waves[d.Wave]; w.decision.Verdict {
	case d.Verdict:
		return nil
	case Undecided:
		// The target list need not match: the devices that joined may be forgotten as well.
		err := c.log.append(
			coordRecord{Decided: &decidedRecord{Payload: d.Encode()}}.encode(),
			coordRecord{Signed: &signedRecord{d.Wave, signed}}.encode())
		if err != nil {
			return err
		}
		c.takeDecision(d, ReasonNone, time.Time{})
		w.signed = signed
		c.emit(Event{Kind: EventDecided, Wave: d.Wave, Verdict: d.Verdict})
		return nil
	default:
		c.emit(Event{Kind: EventConflict, Wave: d.Wave, Verdict: d.Verdict})
		return fmt.Errorf("%w: %s", ErrConflict, d.Round)
	}
}

// MarkRestored is to be called once when the store was restored from a copy, which may be older than what this server
// has signed. From then on the campaign's open waves are decided only by adopting what a device shows.
func (c *Coordinator) MarkRestored() error {
	if err := c.ready(); err != nil {
		return err
	}
	if err := c.log.append(coordRecord{Restored: true}.encode()); err != nil {
		return err
	}
	c.restored = true
	return nil
}

// Close ends the campaign: whoever is READY from now on does not get the decision. All waves have to be decided.
// Reports are still taken.
func (c *Coordinator) Close(now time.Time) error {
	if err := c.Advance(now); err != nil {
		return err
	}
	if wave, open := c.Open(); open {
		return fmt.Errorf("%w: wave %d is open", ErrNotReady, wave)
	}
	if c.closed {
		return nil
	}
	if err := c.log.append(coordRecord{Closed: true}.encode()); err != nil {
		return err
	}
	c.closed = true
	return nil
}

// An Answer is what a device gets that asks for the decision of its round.
type Answer struct {
	// Known is false for a campaign or wave that is not in the log. That is never an ABORT: the device waits.
	Known   bool
	Verdict Verdict
	Signed  []byte // the decision, once there is one; not to be changed
	Brake   []byte // the latest HOLD or RESUME, if there was one; not to be changed
}

// Answer returns what is decided for a wave. Waves that are past their deadline are decided first.
func (c *Coordinator) Answer(now time.Time, campaign CampaignID, wave uint32) (Answer, error) {
	if c.log.err != nil {
		return Answer{}, c.log.err
	}
	if c.plan == nil || campaign != c.plan.Campaign || !hasWave(c.waves, wave) {
		return Answer{}, nil
	}
	if err := c.Advance(now); err != nil {
		return Answer{}, err
	}
	a := Answer{Known: true, Brake: c.brakeSigned}
	if w := c.waves[wave]; len(w.signed) > 0 {
		a.Verdict, a.Signed = w.decision.Verdict, w.signed
	}
	return a, nil
}

// Answers returns what is decided, in the order of waves and up to the first that is open, as of the last Advance.
func (c *Coordinator) Answers() []Answer {
	answers := make([]Answer, 0, c.open)
	for _, w := range c.waves[:c.open] {
		if len(w.signed) == 0 {
			break
		}
		answers = append(answers, Answer{true, w.decision.Verdict, w.signed, c.brakeSigned})
	}
	return answers
}

// An EventKind is what an Event is about.
type EventKind uint8

const (
	EventDevice   EventKind = iota + 1 // a device changed: Device, Wave, State, Reason
	EventAsking                        // the policy is met and a person is asked: Wave
	EventDecided                       // Wave, Verdict, Reason
	EventBrake                         // Hold, Pause, Reason
	EventConflict                      // a device showed the opposite of the decision in the log: Wave, Verdict
	EventWave                          // Wave, Step: WaveVoting when it has begun, WaveSoaking when it has passed
)

// An Event is something that an operator sees.
type Event struct {
	Kind    EventKind
	Wave    uint32
	Device  string
	State   State
	Reason  Reason
	Verdict Verdict
	Hold    bool
	Pause   bool
	Step    WaveStep
}

func (c *Coordinator) emit(e Event) { c.events = append(c.events, e) }

// Events yields what happened since it was last drained.
func (c *Coordinator) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for len(c.events) > 0 {
			e := c.events[0]
			c.events = c.events[1:]
			if !yield(e) {
				return
			}
		}
		c.events = nil
	}
}

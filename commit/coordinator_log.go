package commit

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A coordRecord is a record of a coordinator's log: exactly one field besides Format is set.
type coordRecord struct {
	Format    uint64           `cbor:"1,keyasint"`
	Plan      *planRecord      `cbor:"2,keyasint,omitempty"`
	Target    *targetRecord    `cbor:"3,keyasint,omitempty"` // of the list, in one append with Plan; or one that was expected
	Message   *messageRecord   `cbor:"4,keyasint,omitempty"` // a vote or report, whose signature held
	Decided   *decidedRecord   `cbor:"5,keyasint,omitempty"` // before the decision is signed
	Signed    *signedRecord    `cbor:"6,keyasint,omitempty"` // before the decision is told
	Brake     *brakeRecord     `cbor:"7,keyasint,omitempty"` // before the brake is signed
	Duplicate *duplicateRecord `cbor:"8,keyasint,omitempty"`
	Closed    bool             `cbor:"9,keyasint,omitempty"`
	Restored  bool             `cbor:"10,keyasint,omitempty"`
	Wave      *waveRecord      `cbor:"11,keyasint,omitempty"`
	Approval  *approvalRecord  `cbor:"12,keyasint,omitempty"` // whose signature held
}

type planRecord struct {
	Campaign      CampaignID     `cbor:"1,keyasint"`
	Manifest      Digest         `cbor:"2,keyasint"`
	Roots         []Digest       `cbor:"3,keyasint"`
	Expect        int            `cbor:"5,keyasint,omitempty"`
	Waves         []policyRecord `cbor:"6,keyasint"`
	MaxFailures   int            `cbor:"7,keyasint,omitempty"`
	AllowUnsigned bool           `cbor:"8,keyasint,omitempty"`

	Approvers []approversRecord `cbor:"9,keyasint,omitempty"`
}

type approversRecord struct {
	Keys      []string `cbor:"1,keyasint"`
	Threshold int      `cbor:"2,keyasint"`
}

type policyRecord struct {
	Quorum     int           `cbor:"1,keyasint,omitempty"`
	SiteQuorum int           `cbor:"2,keyasint,omitempty"`
	Must       []string      `cbor:"3,keyasint,omitempty"`
	Deadline   int64         `cbor:"4,keyasint"` // nanoseconds since 1970
	Ask        bool          `cbor:"5,keyasint,omitempty"`
	NotBefore  int64         `cbor:"6,keyasint,omitempty"`
	Window     time.Duration `cbor:"7,keyasint,omitempty"`
	Spread     time.Duration `cbor:"8,keyasint,omitempty"`

	ReadyTimeout   time.Duration `cbor:"9,keyasint,omitempty"`
	Success        int           `cbor:"10,keyasint,omitempty"`
	Errors         int           `cbor:"11,keyasint,omitempty"`
	OutcomeTimeout time.Duration `cbor:"12,keyasint,omitempty"`
	Soak           time.Duration `cbor:"13,keyasint,omitempty"`
}

type targetRecord struct {
	Device string `cbor:"1,keyasint"`
	Site   string `cbor:"2,keyasint,omitempty"`
	Wave   uint32 `cbor:"3,keyasint,omitempty"`
	Key    string `cbor:"4,keyasint,omitempty"`
}

type messageRecord struct {
	Kind     MessageKind `cbor:"1,keyasint"`
	Payload  []byte      `cbor:"2,keyasint"`
	Evidence []byte      `cbor:"3,keyasint,omitempty"` // the signed message; none if unsigned
}

type decidedRecord struct {
	Payload []byte `cbor:"1,keyasint"`
	Reason  Reason `cbor:"2,keyasint,omitempty"`
	At      int64  `cbor:"3,keyasint,omitempty"` // nanoseconds since 1970, as in the next two; 0: by what a device showed
}

type signedRecord struct {
	Wave   uint32 `cbor:"1,keyasint"`
	Signed []byte `cbor:"2,keyasint"`
}

type brakeRecord struct {
	Sequence uint64 `cbor:"1,keyasint"`
	Hold     bool   `cbor:"2,keyasint,omitempty"`
	Reason   Reason `cbor:"3,keyasint,omitempty"`
	Pause    bool   `cbor:"4,keyasint,omitempty"`
	At       int64  `cbor:"5,keyasint,omitempty"`
}

type approvalRecord struct {
	Wave   uint32 `cbor:"1,keyasint"`
	Signed []byte `cbor:"2,keyasint"`
}

// A waveRecord says that a wave has passed, or that it has begun.
type waveRecord struct {
	Wave   uint32 `cbor:"1,keyasint"`
	Passed bool   `cbor:"2,keyasint,omitempty"`
	At     int64  `cbor:"3,keyasint"`
}

type duplicateRecord struct {
	Devices []string `cbor:"1,keyasint"`
}

// MaxRecord is the most bytes that a record of a log has.
const MaxRecord = 1 << 20

func (r coordRecord) encode() []byte {
	r.Format = format
	return encode(r)
}

func (p Plan) records() [][]byte {
	head := planRecord{p.Campaign, p.Manifest, p.Roots, p.Expect, nil, p.MaxFailures, p.AllowUnsigned, nil}
	for _, by := range p.Approvers {
		r := approversRecord{Threshold: by.Threshold}
		for _, k := range by.Keys {
			r.Keys = append(r.Keys, k.String())
		}
		head.Approvers = append(head.Approvers, r)
	}
	for _, w := range p.Waves {
		head.Waves = append(head.Waves, policyRecord{w.Quorum, w.SiteQuorum, w.Must, nanoseconds(w.Deadline), w.Ask,
			nanoseconds(w.NotBefore), w.Window, w.Spread, w.ReadyTimeout, w.Success, w.Errors, w.OutcomeTimeout, w.Soak})
	}
	recs := make([][]byte, 0, 1+len(p.Targets))
	recs = append(recs, coordRecord{Plan: &head}.encode())
	for _, t := range p.Targets {
		recs = append(recs, coordRecord{Target: new(t.record())}.encode())
	}
	return recs
}

func (r planRecord) plan() (p Plan, err error) {
	p = Plan{Campaign: r.Campaign, Manifest: r.Manifest, Roots: r.Roots, Expect: r.Expect,
		MaxFailures: r.MaxFailures, AllowUnsigned: r.AllowUnsigned}
	for _, by := range r.Approvers {
		approvers := manifest.Approvers{Threshold: by.Threshold}
		for _, text := range by.Keys {
			k, err := manifest.ParsePublicKey(text)
			if err != nil {
				return p, err
			}
			approvers.Keys = append(approvers.Keys, k)
		}
		p.Approvers = append(p.Approvers, approvers)
	}
	for _, w := range r.Waves {
		p.Waves = append(p.Waves, Policy{w.Quorum, w.SiteQuorum, w.Must, fromNanoseconds(w.Deadline), w.ReadyTimeout, w.Ask,
			fromNanoseconds(w.NotBefore), w.Window, w.Spread, w.Success, w.Errors, w.OutcomeTimeout, w.Soak})
	}
	return p, nil
}

func (t Target) record() targetRecord {
	r := targetRecord{t.Device, t.Site, t.Wave, ""}
	if !t.Key.IsZero() {
		r.Key = t.Key.String()
	}
	return r
}

func (r targetRecord) target() (t Target, err error) {
	t = Target{Device: r.Device, Site: r.Site, Wave: r.Wave}
	if r.Key != "" {
		t.Key, err = manifest.ParsePublicKey(r.Key)
	}
	return t, err
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanoseconds(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// replay applies a record of an earlier run. The log vouches for it: signatures are not checked again.
func (c *Coordinator) replay(rec []byte) error {
	var r coordRecord
	if err := decode(rec, &r, MaxRecord); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if r.Format != format {
		return fmt.Errorf("%w: format %d", ErrRecord, r.Format)
	}
	if (r.Plan == nil) == (c.plan == nil) {
		return fmt.Errorf("%w: want one plan, and first", ErrRecord)
	}
	switch {
	case r.Plan != nil && len(r.Plan.Waves) == 0:
		return fmt.Errorf("%w: plan without a wave", ErrRecord)
	case r.Plan != nil:
		p, err := r.Plan.plan()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
		c.begin(p)
		return nil
	case r.Target != nil:
		t, err := r.Target.target()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
		if !hasWave(c.waves, t.Wave) {
			return fmt.Errorf("%w: target in wave %d", ErrRecord, t.Wave)
		}
		c.addTarget(t)
		return nil
	case r.Message != nil:
		return c.replayMessage(*r.Message)
	case r.Decided != nil:
		d, err := parseDecision(r.Decided.Payload)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
		if !hasWave(c.waves, d.Wave) {
			return fmt.Errorf("%w: decision of wave %d", ErrRecord, d.Wave)
		}
		c.takeDecision(d, r.Decided.Reason, fromNanoseconds(r.Decided.At))
		return nil
	case r.Signed != nil:
		if !hasWave(c.waves, r.Signed.Wave) {
			return fmt.Errorf("%w: decision of wave %d", ErrRecord, r.Signed.Wave)
		}
		c.waves[r.Signed.Wave].signed = r.Signed.Signed
		return nil
	case r.Approval != nil:
		if !hasWave(c.waves, r.Approval.Wave) {
			return fmt.Errorf("%w: approval of wave %d", ErrRecord, r.Approval.Wave)
		}
		w := &c.waves[r.Approval.Wave]
		w.approvals = append(w.approvals, r.Approval.Signed)
		return nil
	case r.Brake != nil:
		c.takeBrake(Brake{c.plan.Campaign, r.Brake.Sequence, r.Brake.Hold, r.Brake.Pause}, r.Brake.Reason, fromNanoseconds(r.Brake.At))
		return nil
	case r.Wave != nil:
		if !hasWave(c.waves, r.Wave.Wave) {
			return fmt.Errorf("%w: step of wave %d", ErrRecord, r.Wave.Wave)
		}
		c.takeStep(*r.Wave)
		return nil
	case r.Duplicate != nil:
		for _, device := range r.Duplicate.Devices {
			if d := c.devices[device]; d != nil {
				c.change(d, func() { d.duplicate = true })
			}
		}
		return nil
	}
	c.closed = c.closed || r.Closed
	c.restored = c.restored || r.Restored
	return nil
}

func (c *Coordinator) replayMessage(m messageRecord) error {
	switch m.Kind {
	case VoteMessage:
		v, err := ParseVote(m.Payload)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
		if d := c.devices[v.Device]; d != nil {
			c.takeVote(d, v, m)
		}
	case ReportMessage:
		r, err := ParseReport(m.Payload)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
		if d := c.devices[r.Device]; d != nil {
			c.takeReport(d, r, m)
		}
	default:
		return fmt.Errorf("%w: message of kind %d", ErrRecord, m.Kind)
	}
	return nil
}

// A Summary is what a record of a coordinator's log says that others want to know without reading the log.
type Summary struct {
	Decision Decision // Verdict Undecided: the record decides nothing

	Brake  bool // the record puts the brake on or off
	Paused bool // and the campaign is paused from then on, for Reason
	Reason Reason
	At     time.Time
}

// Summarize reads a record of a coordinator's log. A log in a database uses it to keep each decision under a key of its own,
// and whether the campaign is paused.
func Summarize(rec []byte) (s Summary, err error) {
	var r coordRecord
	if err := decode(rec, &r, MaxRecord); err != nil {
		return s, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if r.Decided != nil {
		if s.Decision, err = parseDecision(r.Decided.Payload); err != nil {
			return s, fmt.Errorf("%w: %w", ErrRecord, err)
		}
	}
	if b := r.Brake; b != nil {
		s.Brake, s.Paused, s.Reason, s.At = true, b.Pause, b.Reason, fromNanoseconds(b.At)
	}
	return s, nil
}

package commit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Proof is what the records of a campaign prove of something that was said in it.
type Proof string

const (
	ProofNone     Proof = ""         // it was not said
	ProofVerified Proof = "verified" // and the signature holds
	ProofUnsigned Proof = "unsigned" // by a device without a key, so that anybody can have said it
	ProofWrong    Proof = "WRONG"    // the record is not what was signed
)

// An Audit holds the records of a coordinator's log against signatures, for somebody who trusts neither the log nor who kept
// it: the signed messages of devices and the signed decisions are in it. That a device is on the list with its key is
// bound by the decision, which names the digest of the list.
type Audit struct {
	servers  []manifest.PublicKey
	manifest Digest
	asked    []manifest.Approvers

	plan    *Plan
	targets []Target
	devices map[string]*DeviceAudit
	keys    map[string]manifest.PublicKey // by device
	waves   []WaveAudit
	decided map[uint32][]byte // payload, by wave
}

// A DeviceAudit is what is proved of one device.
type DeviceAudit struct {
	Device, Site string
	Wave         uint32
	State        State  // by its last message
	Vote         Proof  // of its votes, READY or NO
	Result       Proof  // of its reports
	Detail       string // of what is wrong first
}

// A WaveAudit is what is proved of the decision of a wave.
type WaveAudit struct {
	Verdict   Verdict
	Decision  Proof
	Approvals Proof // that enough approvers have agreed to COMMIT; ProofNone if nobody is asked
	Detail    string
}

// NewAudit begins an audit by what the auditor trusts: server keys, the digest of a release whose signatures hold, and whose
// agreement to a COMMIT of it is needed.
func NewAudit(servers []manifest.PublicKey, release Digest, asked []manifest.Approvers) *Audit {
	return &Audit{servers: servers, manifest: release, asked: asked, devices: map[string]*DeviceAudit{}, keys: map[string]manifest.PublicKey{}, decided: map[uint32][]byte{}}
}

// Record takes the next record of the log. An error, which wraps [ErrRecord], says that it is none.
func (a *Audit) Record(rec []byte) error {
	var r coordRecord
	if err := decode(rec, &r, MaxRecord); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	switch {
	case r.Format != format || (r.Plan == nil) == (a.plan == nil):
		return fmt.Errorf("%w: want one plan, and first", ErrRecord)
	case r.Plan != nil:
		p, err := r.Plan.plan()
		if err != nil || len(p.Waves) == 0 || p.Manifest != a.manifest {
			return fmt.Errorf("%w: a plan of manifest %s, this is %s", ErrRecord, p.Manifest, a.manifest)
		}
		a.plan, a.waves = &p, make([]WaveAudit, len(p.Waves))
	case r.Target != nil:
		t, err := r.Target.target()
		if err != nil || !hasWave(a.waves, t.Wave) || a.devices[t.Device] != nil || len(a.targets) == MaxTargets {
			return fmt.Errorf("%w: target %.70q", ErrRecord, r.Target.Device)
		}
		a.targets = append(a.targets, t)
		a.keys[t.Device] = t.Key
		a.devices[t.Device] = &DeviceAudit{Device: t.Device, Site: t.Site, Wave: t.Wave}
	case r.Message != nil:
		return a.message(*r.Message)
	case r.Decided != nil:
		d, err := parseDecision(r.Decided.Payload)
		if err != nil || !hasWave(a.waves, d.Wave) || a.decided[d.Wave] != nil {
			return fmt.Errorf("%w: decision", ErrRecord)
		}
		a.decided[d.Wave], a.waves[d.Wave].Verdict = r.Decided.Payload, d.Verdict
		a.waves[d.Wave].Decision, a.waves[d.Wave].Detail = ProofWrong, "it was never signed"
	case r.Signed != nil:
		if !hasWave(a.waves, r.Signed.Wave) {
			return fmt.Errorf("%w: decision of wave %d", ErrRecord, r.Signed.Wave)
		}
		a.decision(r.Signed.Wave, r.Signed.Signed)
	}
	return nil
}

// message checks a vote or report against what its device has signed.
func (a *Audit) message(m messageRecord) error {
	said, purpose := m.Payload, contextVote
	var (
		round Round
		name  string
		state State
		err   error
	)
	switch m.Kind {
	case VoteMessage:
		var v Vote
		v, err = ParseVote(said)
		round, name, state = v.Round, v.Device, StateRefused
		if v.Ready {
			state = StateReady
			if err == nil && !slices.Equal(v.Roots, a.plan.Roots) {
				err = ErrRoots
			}
		}
	case ReportMessage:
		var r Report
		r, err = ParseReport(said)
		round, name, state, purpose = r.Round, r.Device, r.Outcome, contextReport
	default:
		err = fmt.Errorf("message of kind %d", m.Kind)
	}
	d := a.devices[name]
	if d == nil {
		return errors.Join(fmt.Errorf("%w: a message of %.70q, which is no target", ErrRecord, name), err)
	}
	proof := &d.Vote
	if m.Kind == ReportMessage {
		proof = &d.Result
	}
	d.State = state
	key := a.keys[name]
	switch payload, signature := key.Verify(purpose, m.Evidence); {
	case err != nil:
	case round != Round{a.plan.Campaign, d.Wave, a.plan.Manifest}:
		err = fmt.Errorf("it is about %s", round)
	case len(m.Evidence) == 0 && key.IsZero():
		if *proof != ProofWrong {
			*proof = ProofUnsigned
		}
		return nil
	case signature != nil:
		err = signature
	case !bytes.Equal(payload, said):
		err = errors.New("the record says another thing than was signed")
	}
	switch {
	case err != nil:
		if *proof = ProofWrong; d.Detail == "" {
			d.Detail = fmt.Sprintf("%s: %v", m.Kind, err)
		}
	case *proof == ProofNone:
		*proof = ProofVerified
	}
	return nil
}

// decision checks a signed decision against the one that was made, and against the list of targets and who had to agree.
func (a *Audit) decision(wave uint32, signed []byte) {
	w := &a.waves[wave]
	w.Decision, w.Detail = ProofWrong, ""
	d, err := OpenDecision(signed, manifest.KeyFor(signed, a.servers))
	switch {
	case err != nil:
	case !bytes.Equal(d.Encode(), a.decided[wave]):
		err = errors.New("the record says another thing than was signed")
	case d.Round != Round{a.plan.Campaign, wave, a.plan.Manifest}:
		err = fmt.Errorf("it is about %s", d.Round)
	case d.Targets != TargetsDigest(a.targets):
		err = errors.New("it is about another list of devices, or other keys of them")
	}
	if err != nil {
		w.Detail = err.Error()
		return
	}
	w.Decision = ProofVerified
	if d.Verdict != Commit || len(a.asked) == 0 {
		return
	}
	w.Approvals = ProofVerified
	if err := d.CheckApprovals(a.asked); err != nil {
		w.Approvals, w.Detail = ProofWrong, err.Error()
	}
}

// Devices returns what is proved of each target, in the order of the list.
func (a *Audit) Devices() []DeviceAudit {
	all := make([]DeviceAudit, 0, len(a.targets))
	for _, t := range a.targets {
		all = append(all, *a.devices[t.Device])
	}
	return all
}

// Waves returns what is proved of each wave.
func (a *Audit) Waves() []WaveAudit { return a.waves }

// Targets returns the list of targets, for comparison with one that the auditor has.
func (a *Audit) Targets() []Target { return a.targets }

// Campaign returns which campaign the log is of.
func (a *Audit) Campaign() (id CampaignID) {
	if a.plan != nil {
		id = a.plan.Campaign
	}
	return id
}

// Holds reports whether nothing is wrong. What is unsigned proves nothing, and is not wrong where that was allowed.
func (a *Audit) Holds() bool {
	for _, w := range a.waves {
		if w.Decision == ProofWrong || w.Approvals == ProofWrong {
			return false
		}
	}
	for _, d := range a.devices {
		if d.Vote == ProofWrong || d.Result == ProofWrong {
			return false
		}
	}
	return a.plan != nil
}

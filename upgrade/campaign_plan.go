package upgrade

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// defaultSegment is how many bytes of an image a datagram has, less what authentication adds.
const defaultSegment = 1400

// newFrozen returns what a new campaign is, but for where it listens.
func newFrozen(cfg CampaignConfig, given settings, id commit.CampaignID, now time.Time) (f frozen, err error) {
	f = frozen{Format: stateFormat, Campaign: id, Server: cfg.Key.Public(), Manifest: cfg.Manifest}
	if f.GroupKey, err = newGroupKey(cfg); err != nil {
		return f, err
	}
	if cfg.Open == nil && len(given.Images) == 0 {
		return f, errors.New("the images of the manifest are required")
	}
	if given.SegmentSize == 0 {
		given.SegmentSize = defaultSegment - f.auth().SenderOverhead()
	}
	if f.Settings, err = given.resolve(); err != nil {
		return f, err
	}
	f.Started = now.UTC().Truncate(time.Second)
	f.Deadline = f.Started.Add(f.Settings.waves()[0].ReadyTimeout).Truncate(time.Second)
	var random [6]byte
	cfg.random(random[:])
	// Neither NORM_NODE_NONE nor NORM_NODE_ANY (RFC 5740, Section 6).
	f.NodeID = max(1, binary.BigEndian.Uint32(random[:])&0x7fffffff)
	f.Instance = binary.BigEndian.Uint16(random[4:])
	return f, nil
}

// admit returns why the campaign cannot be continued with these settings and this key.
func (f frozen) admit(given settings, id commit.CampaignID, key manifest.PublicKey, dir string) error {
	if id != (commit.CampaignID{}) && id != f.Campaign {
		return fmt.Errorf("%s has campaign %s, not %s", dir, f.Campaign, id)
	}
	if f.Server != key {
		return fmt.Errorf("--key: the campaign in %s was started with the server key %s, this is %s", dir, f.Server.Fingerprint(), key.Fingerprint())
	}
	return given.sameAs(f.Settings, dir)
}

// plan returns what the coordinator makes durable. When devices may activate is within what the release allows.
func (f frozen) plan(targets []commit.Target, m *manifest.Manifest, now time.Time) (commit.Plan, error) {
	if m.Approvals > 0 {
		return commit.Plan{}, fmt.Errorf("--manifest: the release asks for the signatures of %d approvers, which this version cannot collect", m.Approvals)
	}
	s := f.Settings
	policy := commit.Policy{NotBefore: s.NotBefore, Window: s.Window, Spread: s.Spread}
	limit := m.Activation
	if policy.Spread == 0 {
		policy.Spread = limit.MinSpread
	}
	if policy.NotBefore.IsZero() {
		policy.NotBefore = limit.NotBefore
	}
	if !limit.NotAfter.IsZero() && policy.Window == 0 {
		if policy.NotBefore.IsZero() {
			policy.NotBefore = f.Started
		}
		policy.Window = limit.NotAfter.Sub(policy.NotBefore)
	}
	earliest, latest := policy.NotBefore, time.Time{}
	if earliest.IsZero() && policy.Spread > 0 {
		earliest = now // and the decision comes later
	}
	if policy.Window > 0 {
		latest = policy.NotBefore.Add(policy.Window)
	}
	if err := limit.Check(earliest, latest, policy.Spread); err != nil {
		return commit.Plan{}, fmt.Errorf("the release does not allow that: %w", err)
	}
	if policy.Window > 0 && policy.NotBefore.IsZero() && !limit.NotAfter.IsZero() {
		return commit.Plan{}, errors.New("--window needs --not-before, as the release has a last time of activation")
	}
	plan := commit.Plan{
		Campaign: f.Campaign, Manifest: m.Digest(), Targets: targets, Expect: s.Expect,
		Waves: f.policies(policy), MaxFailures: s.MaxFailures, AllowUnsigned: s.AllowUnsigned,
	}
	for _, im := range m.Images {
		plan.Roots = append(plan.Roots, commit.Digest(im.Root))
	}
	return plan, nil
}

// session returns the session description of an issue, in which all waves are decided by some time.
func (f frozen) session(i issue, plan commit.Plan, m *manifest.Manifest, now, decided time.Time) *manifest.Session {
	waves := uint32(0)
	if len(plan.Waves) > 1 {
		waves = uint32(len(plan.Waves))
	}
	code := f.Settings.code()
	target := fmt.Sprintf("%d devices", len(plan.Targets))
	if len(plan.Targets) == 1 {
		target = "device " + plan.Targets[0].Device
	}
	return &manifest.Session{
		Campaign: f.Campaign, Serial: i.Serial, Issued: now.UTC().Truncate(time.Second), Expires: decided.Add(f.Settings.Hold),
		Manifest: m.Digest(), Targets: commit.TargetsDigest(plan.Targets), Target: target,
		Group: f.Settings.Group, Repairs: f.Settings.Repairs, Source: f.Settings.Source, NodeID: f.NodeID, Objects: manifest.ObjectsFor(len(m.Images)),
		FEC:   describeFEC(code),
		Start: i.Start, VoteDeadline: decided, Hold: f.Settings.Hold, Report: f.URL, Waves: waves, Auth: f.authScheme(),
		Wraps: f.Wraps, SealDevices: f.FileKeys != nil,
	}
}

// describeFEC returns a code as a session description carries it: the inverse of paramsOf.
func describeFEC(p fec.Params) manifest.FEC {
	f := manifest.FEC{ID: p.ID, Instance: p.Instance, BlockSize: uint16(p.MaxBlockLen), Parity: uint16(p.MaxParity),
		SegmentSize: uint16(p.SegmentSize), Dialect: manifest.DialectRFC}
	if p.Dialect == fec.NRL {
		f.Dialect = manifest.DialectNRL
	}
	if p.M == 16 {
		f.FieldSize = 16
	}
	return f
}

// instance returns the instance_id of a start, by which receivers tell that the sender lost its state in between
// (RFC 5740, Section 4.2).
func (f frozen) instance(serial uint64) norm.InstanceID {
	return norm.InstanceID(f.Instance + uint16(serial))
}

package commit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// ErrNotApproved: fewer approvers than the release, or the root document, asks for have agreed.
var ErrNotApproved = errors.New("commit: not enough approvals")

// An Approval is a person's agreement to COMMIT one wave of a campaign. Signed by an approver key, which need never be where
// the server is; a decision carries those that it rests on, and each device checks them. It says nothing of when: that is
// within what the release allows.
type Approval struct {
	Round
	Targets Digest // of the frozen target list: [TargetsDigest]
}

type approvalWire struct {
	Format   uint64     `cbor:"1,keyasint"`
	Campaign CampaignID `cbor:"2,keyasint"`
	Wave     uint32     `cbor:"3,keyasint"`
	Manifest Digest     `cbor:"4,keyasint"`
	Targets  Digest     `cbor:"5,keyasint"`
	Verdict  Verdict    `cbor:"6,keyasint"` // COMMIT: nobody is asked about ABORT
}

// MaxApproval is the most bytes that a signed approval has.
const MaxApproval = 512

// Encode returns the payload that is signed.
func (a Approval) Encode() []byte {
	return encode(approvalWire{format, a.Campaign, a.Wave, a.Manifest, a.Targets, Commit})
}

// Sign returns the signed message.
func (a Approval) Sign(approver Signer) ([]byte, error) {
	return approver.Sign(contextApproval, a.Encode())
}

// OpenApproval returns the approval that key, which has to be an approver's, has signed.
func OpenApproval(signed []byte, key manifest.PublicKey) (Approval, error) {
	if len(signed) > MaxApproval {
		return Approval{}, fmt.Errorf("%w: approval of %d bytes, limit %d", ErrMessage, len(signed), MaxApproval)
	}
	if key.Role() != manifest.RoleApprover {
		return Approval{}, fmt.Errorf("%w: a %q key approves nothing", manifest.ErrKeyRole, key.Role())
	}
	payload, err := key.Verify(contextApproval, signed)
	if err != nil {
		return Approval{}, err
	}
	return parseApproval(payload)
}

func parseApproval(payload []byte) (Approval, error) {
	var w approvalWire
	if err := decode(payload, &w, MaxApproval); err != nil {
		return Approval{}, err
	}
	if err := errors.Join(field(w.Format == format, "format"), field(w.Verdict == Commit, "verdict")); err != nil {
		return Approval{}, err
	}
	return Approval{Round{w.Campaign, w.Wave, w.Manifest}, w.Targets}, nil
}

// CheckApprovals returns nil if a COMMIT carries the agreement of enough approvers, of each of the lists, and otherwise
// [ErrNotApproved]. ABORT needs none.
func (d Decision) CheckApprovals(asked []manifest.Approvers) error {
	if d.Verdict != Commit {
		return nil
	}
	for _, by := range asked {
		if n := d.approvedBy(by); n < by.Threshold {
			return fmt.Errorf("%w: %d of the %d that are needed", ErrNotApproved, n, by.Threshold)
		}
	}
	return nil
}

// approvedBy counts the keys of a list that have agreed to this very decision.
func (d Decision) approvedBy(by manifest.Approvers) (n int) {
	want := Approval{d.Round, d.Targets}
	for _, key := range by.Keys {
		agreed := func(signed []byte) bool {
			a, err := OpenApproval(signed, key)
			return err == nil && a == want
		}
		if slices.ContainsFunc(d.Approvals, agreed) {
			n++
		}
	}
	return n
}

// maxApprovals bounds the approvals of a decision: those that a root document and a release can ask for.
const maxApprovals = 2 * manifest.MaxApprovers

// Agree takes a person's signed approval of a wave that is not decided, whose target list has to be closed ([ErrNotReady]).
// It is durable when Agree returns. With the last that is needed the wave is decided, if nothing else is waited for. One that
// is there already changes nothing.
func (c *Coordinator) Agree(now time.Time, signed []byte) error {
	if err := c.ready(); err != nil {
		return err
	}
	a, err := c.openApproval(signed)
	if err != nil {
		return err
	}
	if err := c.undecided(now, a.Wave); err != nil {
		return err
	}
	w := &c.waves[a.Wave]
	if id, _ := manifest.SignerID(signed); w.agreed(id) {
		return nil
	}
	if err := c.log.append(coordRecord{Approval: &approvalRecord{a.Wave, signed}}.encode()); err != nil {
		return err
	}
	w.approvals = append(w.approvals, bytes.Clone(signed))
	return c.Advance(now)
}

// openApproval returns an approval of this campaign by somebody who is asked.
func (c *Coordinator) openApproval(signed []byte) (Approval, error) {
	keys := c.asked()
	if len(keys) == 0 {
		return Approval{}, fmt.Errorf("%w: neither the release nor a root document asks for approvals", ErrUnknown)
	}
	a, err := OpenApproval(signed, manifest.KeyFor(signed, keys))
	if err != nil {
		return a, err
	}
	want := c.approvalOf(a.Wave)
	switch {
	case a.Campaign != want.Campaign || a.Manifest != want.Manifest || !hasWave(c.waves, a.Wave):
		return a, fmt.Errorf("%w: approval of %s", ErrUnknown, a.Round)
	case len(c.order) < c.plan.Expect:
		return a, fmt.Errorf("%w: more devices are expected, so nobody can agree to the list yet", ErrNotReady)
	case a.Targets != want.Targets:
		return a, fmt.Errorf("%w: approval of another list of devices", ErrUnknown)
	}
	return a, nil
}

// approvalOf returns what is to be agreed to.
func (c *Coordinator) approvalOf(wave uint32) Approval {
	return Approval{Round{c.plan.Campaign, wave, c.plan.Manifest}, c.targetsDigest()}
}

// agreed reports whether there is an approval by a key. Each was verified before it came to be there.
func (w *wave) agreed(id manifest.KeyID) bool {
	return slices.ContainsFunc(w.approvals, func(signed []byte) bool {
		by, ok := manifest.SignerID(signed)
		return ok && by == id
	})
}

// asked returns whose approvals count; who is on two lists is there twice.
func (c *Coordinator) asked() (keys []manifest.PublicKey) {
	for _, by := range c.plan.Approvers {
		keys = append(keys, by.Keys...)
	}
	return keys
}

// approvers returns who has agreed to a wave.
func (c *Coordinator) approvers(wave uint32) (keys []manifest.PublicKey) {
	for _, key := range c.asked() {
		if c.waves[wave].agreed(key.ID()) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// missingApprovals returns how many more people have to agree to a wave, at least.
func (c *Coordinator) missingApprovals(wave uint32) (n int) {
	for _, by := range c.plan.Approvers {
		missing := by.Threshold
		for _, key := range by.Keys {
			if c.waves[wave].agreed(key.ID()) {
				missing--
			}
		}
		n = max(n, missing)
	}
	return n
}

package commit

import (
	"errors"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Verdict is how a round was decided.
type Verdict uint8

const (
	Undecided Verdict = iota
	Commit
	Abort
)

func (v Verdict) String() string {
	switch v {
	case Commit:
		return "COMMIT"
	case Abort:
		return "ABORT"
	}
	return "undecided"
}

// A Decision ends the voting of a round. Signed by the server key; there is at most one for a round, always the same
// bytes.
type Decision struct {
	Round
	Targets Digest // of the frozen target list: [TargetsDigest]
	Verdict Verdict

	// When a device may activate, as absolute UTC in whole seconds. Zero NotBefore: at once. Zero NotAfter: for ever.
	// Devices spread themselves over Spread after NotBefore.
	NotBefore, NotAfter time.Time
	Spread              time.Duration

	// Approvals are the signed [Approval] messages that COMMIT rests on; see [Decision.CheckApprovals].
	Approvals [][]byte
}

// Timed reports whether the decision may be acted on only at certain times, so that a device has to know the time.
func (d Decision) Timed() bool { return !d.NotBefore.IsZero() || !d.NotAfter.IsZero() || d.Spread != 0 }

type decisionWire struct {
	Format    uint64     `cbor:"1,keyasint"`
	Campaign  CampaignID `cbor:"2,keyasint"`
	Wave      uint32     `cbor:"3,keyasint"`
	Manifest  Digest     `cbor:"4,keyasint"`
	Targets   Digest     `cbor:"5,keyasint"`
	Verdict   Verdict    `cbor:"6,keyasint"`
	NotBefore uint64     `cbor:"7,keyasint,omitempty"` // seconds since 1970
	NotAfter  uint64     `cbor:"8,keyasint,omitempty"`
	Spread    uint64     `cbor:"9,keyasint,omitempty"` // seconds
	Approvals [][]byte   `cbor:"10,keyasint,omitempty"`
}

// Encode returns the payload that is signed.
func (d Decision) Encode() []byte {
	return encode(decisionWire{format, d.Campaign, d.Wave, d.Manifest, d.Targets, d.Verdict,
		toSeconds(d.NotBefore), toSeconds(d.NotAfter), uint64(d.Spread / time.Second), d.Approvals})
}

// Sign returns the signed message.
func (d Decision) Sign(server Signer) ([]byte, error) {
	return server.Sign(contextDecision, d.Encode())
}

func parseDecision(payload []byte) (Decision, error) {
	var w decisionWire
	if err := decode(payload, &w, MaxMessage); err != nil {
		return Decision{}, err
	}
	err := errors.Join(
		field(w.Format == format, "format"),
		field(w.Verdict == Commit || w.Verdict == Abort, "verdict"),
		field(w.NotBefore <= maxSeconds, "not-before"),
		field(w.NotAfter <= maxSeconds && (w.NotAfter == 0 || w.NotAfter >= w.NotBefore), "not-after"),
		field(w.Spread <= uint64(maxSpread/time.Second) && (w.Spread == 0 || w.NotBefore > 0), "spread"),
		field(len(w.Approvals) <= maxApprovals && (w.Approvals == nil || w.Verdict == Commit), "approvals"))
	if err != nil {
		return Decision{}, err
	}
	return Decision{Round{w.Campaign, w.Wave, w.Manifest}, w.Targets, w.Verdict,
		fromSeconds(w.NotBefore), fromSeconds(w.NotAfter), time.Duration(w.Spread) * time.Second, w.Approvals}, nil
}

// maxSpread bounds how long devices spread their activation: a year.
const maxSpread = 366 * 24 * time.Hour

// OpenDecision returns the decision that key has signed.
func OpenDecision(signed []byte, key manifest.PublicKey) (Decision, error) {
	payload, err := key.Verify(contextDecision, signed)
	if err != nil {
		return Decision{}, err
	}
	return parseDecision(payload)
}

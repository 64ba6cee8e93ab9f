package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// An ExaminationID names an examination. It is random.
type ExaminationID [16]byte

// An Examination asks devices to find out, as normrecv doctor does, how multicast reaches them. The server key signs it: it has
// devices join a group, and send to it.
type Examination struct {
	ID          ExaminationID  `cbor:"1,keyasint"`
	Group       netip.AddrPort `cbor:"2,keyasint"`
	SegmentSize int            `cbor:"3,keyasint"` // that has to pass, in bytes
	Rate        float64        `cbor:"4,keyasint"` // up to which loss is looked for, in bits per second
	Spread      time.Duration  `cbor:"5,keyasint"` // over which devices begin, each at a moment of its own: one sender answers them all
	Until       time.Time      `cbor:"6,keyasint"` // no device begins after this; whole seconds
	Sender      netip.Addr     `cbor:"7,keyasint"` // asked by unicast as well, at the group's port; the zero value if it is not known
}

// Contexts of signatures, which keep them from counting for anything else.
const (
	examinationContext = "multicast-upgrade examination 1"
	diagnosisContext   = "multicast-upgrade diagnosis 1"
)

// longestSpread bounds what a device believes of an Examination's Spread.
const longestSpread = time.Hour

// Sign returns the examination in a message that the server key has signed.
func (e Examination) Sign(key *manifest.PrivateKey) ([]byte, error) {
	b, err := encoding.Marshal(e)
	if err != nil {
		return nil, err
	}
	return key.Sign(examinationContext, b)
}

// ErrExamination: it is not one of the server's, or not one that a device could do.
var ErrExamination = errors.New("discovery: not an examination")

// OpenExamination returns the examination that the server key has signed. Whether it is over is not looked at.
func OpenExamination(signed []byte, server manifest.PublicKey) (e Examination, err error) {
	b, err := server.Verify(examinationContext, signed)
	if err == nil {
		err = decoding.Unmarshal(b, &e)
	}
	switch {
	case err != nil:
		return e, fmt.Errorf("%w: %w", ErrExamination, err)
	case !e.Group.Addr().IsMulticast() || e.Group.Port() == 0:
		return e, fmt.Errorf("%w: %v is no group and port", ErrExamination, e.Group)
	case e.Sender.IsValid() && e.Sender.Is4() != e.Group.Addr().Is4():
		return e, fmt.Errorf("%w: sender %v and group %v are not of one IP version", ErrExamination, e.Sender, e.Group)
	case e.Spread < 0 || e.Spread > longestSpread || e.Until.IsZero():
		return e, fmt.Errorf("%w: over %v, until %v", ErrExamination, e.Spread, e.Until)
	}
	return e, nil
}

// A Finding is what one check of the doctor came to at a device.
type Finding struct {
	Check   string `cbor:"1,keyasint" json:"check"`
	Verdict string `cbor:"2,keyasint" json:"verdict"` // ok, warning, fault, unknown
	Seen    string `cbor:"3,keyasint,omitempty" json:"seen,omitempty"`
	Remedy  string `cbor:"4,keyasint,omitempty" json:"remedy,omitempty"`
}

// A Diagnosis is what a device has found in an examination. People look at it, and nothing is decided by it.
type Diagnosis struct {
	Device      string        `cbor:"1,keyasint"`
	Examination ExaminationID `cbor:"2,keyasint"`
	Findings    []Finding     `cbor:"3,keyasint"`
	Proof       []byte        `cbor:"4,keyasint,omitempty"` // all others, signed with the device's key
}

// Sign puts the proof into d that it is from who holds the key.
func (d *Diagnosis) Sign(key *manifest.PrivateKey) (err error) {
	d.Proof = nil
	d.Proof, err = key.Sign(diagnosisContext, must(encoding.Marshal(*d)))
	return err
}

// Verify returns nil if the holder of the key has signed d as it is, and otherwise [ErrProof].
func (d Diagnosis) Verify(key manifest.PublicKey) error {
	said := d
	said.Proof = nil
	return proves(key, diagnosisContext, d.Proof, said)
}

func (d Diagnosis) from() string { return d.Device }

// An Examiner is a [Backend] that has devices examine their network, and takes what they find.
type Examiner interface {
	Diagnosis(ctx context.Context, d Diagnosis) error
}

// Diagnosis tells what the device has found.
func (c *Client) Diagnosis(ctx context.Context, d Diagnosis) error {
	return c.post(ctx, "/v1/diagnosis", d)
}

// serveExaminer takes what devices find for a backend that wants it.
func (h *Handler) serveExaminer() {
	if e, ok := h.backend.(Examiner); ok {
		h.mux.HandleFunc("POST /v1/diagnosis", take(h, e.Diagnosis))
	}
}

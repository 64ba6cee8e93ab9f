package manifest

import (
	"fmt"
	"slices"
	"time"
)

// Keys are the release keys that a device trusts.
type Keys struct {
	Keys      []PublicKey // all of RoleRelease, all different
	Threshold int         // how many of them must have signed: 1 to len(Keys)
}

// check refuses a set of keys that would trust more or less than it seems to.
func (k Keys) check() error {
	if k.Threshold < 1 || k.Threshold > len(k.Keys) {
		return fmt.Errorf("manifest: %d of %d trusted keys are to sign", k.Threshold, len(k.Keys))
	}
	for i, key := range k.Keys {
		if key.role != RoleRelease {
			return fmt.Errorf("manifest: trusted key %d: %w: it is a %q key", i+1, ErrKeyRole, key.role)
		}
		if slices.ContainsFunc(k.Keys[:i], func(other PublicKey) bool { return other.ID() == key.ID() }) {
			return fmt.Errorf("manifest: trusted key %s is there twice", key.ID())
		}
	}
	return nil
}

// signers returns which of the keys signed the payload.
func (k Keys) signers(payload []byte, signatures [][]byte) (by []PublicKey) {
	for _, key := range k.Keys {
		holds := func(s []byte) bool { return key.verifyDetached(manifestContext, payload, s) == nil }
		if slices.ContainsFunc(signatures, holds) {
			by = append(by, key)
		}
	}
	return by
}

// A Device is what a manifest is held against.
type Device struct {
	Product    string
	Hardware   string
	Floor      Floor
	Now        time.Time // the device's best idea of the time
	Extensions []string  // names of critical extensions that the device understands
}

// A Floor is what a device never goes below: the highest values it has committed.
type Floor struct {
	Sequence uint64
	Epoch    uint64
}

// Open returns the manifest of a release that this device may install: signed
// by enough trusted keys, for this product and hardware, not expired, not
// below the floor. Until the signatures hold, nothing is decoded but their
// framing. The error says the first thing wrong, in this order: ErrTooLarge,
// ErrSignature, ErrUnsupported, ErrMalformed, ErrProduct, ErrHardware,
// ErrRollback, ErrExpired.
func Open(signed []byte, trusted Keys, device Device) (*Manifest, error) {
	m, err := OpenSigned(signed, trusted)
	if err != nil {
		return nil, err
	}
	if err := m.Check(device); err != nil {
		return nil, err
	}
	return m, nil
}

// OpenSigned returns the manifest of a release that enough trusted keys signed,
// whatever device it is for and however old it is. Check does the rest of Open.
func OpenSigned(signed []byte, trusted Keys) (*Manifest, error) {
	if err := trusted.check(); err != nil {
		return nil, err
	}
	payload, signatures, err := splitFile(signed)
	if err != nil {
		return nil, err
	}
	if n := len(trusted.signers(payload, signatures)); n < trusted.Threshold {
		return nil, fmt.Errorf("%w: %d of %d signatures by trusted keys hold, %d are needed",
			ErrSignature, n, len(signatures), trusted.Threshold)
	}
	return decode(payload)
}

// OpenUnverified returns the manifest in a signed file and the keys that the
// signatures name, without checking any signature: for the server, which
// passes on what it need not trust, and for people. No device calls it.
func OpenUnverified(signed []byte) (*Manifest, []KeyID, error) {
	payload, signatures, err := splitFile(signed)
	if err != nil {
		return nil, nil, err
	}
	m, err := decode(payload)
	if err != nil {
		return nil, nil, err
	}
	var ids []KeyID
	for _, s := range signatures {
		if id, ok := SignerID(s); ok {
			ids = append(ids, id)
		}
	}
	return m, ids, nil
}

// Check returns why a device must not install the release, or nil: see Open.
func (m *Manifest) Check(d Device) error {
	critical := m.Critical
	if len(m.Sealed()) > 0 {
		critical = append(slices.Clip(critical), ExtensionSealed)
	}
	for _, name := range critical {
		if !slices.Contains(d.Extensions, name) {
			return fmt.Errorf("%w: critical extension %s", ErrUnsupported, name)
		}
	}
	switch {
	case m.Product != d.Product:
		return fmt.Errorf("%w: %s, this is %s", ErrProduct, m.Product, d.Product)
	case !m.CompatibleWith(d.Hardware):
		return fmt.Errorf("%w: %s; it is for %s", ErrHardware, d.Hardware, m.Hardware)
	case m.Epoch < d.Floor.Epoch:
		return fmt.Errorf("%w: security epoch %d, this device is at %d", ErrRollback, m.Epoch, d.Floor.Epoch)
	case m.Sequence < d.Floor.Sequence:
		return fmt.Errorf("%w: sequence %d, this device is at %d", ErrRollback, m.Sequence, d.Floor.Sequence)
	}
	return m.CheckExpiry(d.Now)
}

// CheckExpiry returns ErrExpired from the manifest's expiry on.
func (m *Manifest) CheckExpiry(now time.Time) error {
	if !now.Before(m.Expires) {
		return fmt.Errorf("%w: on %s", ErrExpired, stamp(m.Expires))
	}
	return nil
}

package manifest

import (
	"fmt"
	"slices"
	"time"
)

// Limits of a root document.
const (
	MaxRoot       = 16 << 10 // bytes of a signed root, signatures included
	MaxRootKeys   = 8        // release keys, so that those of two roots can all sign: MaxSignatures
	MaxServerKeys = 4
)

// A Root names the keys that devices trust, and replaces the root before it: it is signed by as many of that one's release
// keys as that one asks for, and by as many of its own. So keys are replaced, and revoked by being left out, by those who
// hold release keys and by nobody else, and a device that has slept follows one root after the other.
//
// There is no role above the release keys. Whoever has enough of them can sign what runs anyway, and a key that is needed
// once in five years is one that is lost.
//
// Version 0 is what a device without any root was configured with: it never expires, and is never signed.
type Root struct {
	Version uint64    // rises by one
	Issued  time.Time // whole seconds
	Expires time.Time // whole seconds; from then on a device installs nothing before it has seen a newer root

	Release Keys        // 1 to MaxRootKeys, of whom Threshold have to sign a release, and the next root
	Servers []PublicKey // 1 to MaxServerKeys (RoleServer), of whom any one counts: two while one is replaced

	// Approvers are the keys (RoleApprover) that count as such, of whom Approvals must agree to activate any release. Both
	// empty: it is left to each release.
	Approvers []PublicKey
	Approvals int
}

// OpenRoot returns the root that a device begins with: signed by as many of its own release keys as it asks for. That it is
// the right one is for whoever gives it to the device to know.
func OpenRoot(signed []byte) (*Root, error) {
	payload, signatures, err := splitRoot(signed)
	if err != nil {
		return nil, err
	}
	r, err := decodeRoot(payload)
	if err != nil {
		return nil, err
	}
	if err := r.Release.signed(rootContext, payload, signatures); err != nil {
		return nil, fmt.Errorf("its own keys: %w", err)
	}
	return r, nil
}

// Next returns the root that follows r, signed by the keys of both. Whether one of them has expired does not matter: a device
// that has slept follows what it missed, and only the last root has to be in force. The error is ErrTooLarge, ErrSignature,
// ErrUnsupported, ErrMalformed, or ErrRollback if it is not the very next version.
func (r *Root) Next(signed []byte) (*Root, error) {
	payload, signatures, err := splitRoot(signed)
	if err != nil {
		return nil, err
	}
	if err := r.Release.check(); err != nil {
		return nil, err
	}
	if err := r.Release.signed(rootContext, payload, signatures); err != nil {
		return nil, fmt.Errorf("keys of root %d: %w", r.Version, err)
	}
	next, err := decodeRoot(payload)
	if err != nil {
		return nil, err
	}
	if err := next.Release.signed(rootContext, payload, signatures); err != nil {
		return nil, fmt.Errorf("its own keys: %w", err)
	}
	if next.Version != r.Version+1 {
		return nil, fmt.Errorf("%w: root %d does not follow root %d", ErrRollback, next.Version, r.Version)
	}
	return next, nil
}

// OpenRootUnverified returns the root in a signed file and the keys that the signatures name, without checking any
// signature: for people and for who adds one.
func OpenRootUnverified(signed []byte) (*Root, []KeyID, error) {
	payload, signatures, err := splitRoot(signed)
	if err != nil {
		return nil, nil, err
	}
	r, err := decodeRoot(payload)
	return r, signerIDs(signatures), err
}

// CheckExpiry returns ErrExpired from the root's expiry on.
func (r *Root) CheckExpiry(now time.Time) error {
	if !r.Expires.IsZero() && !now.Before(r.Expires) {
		return fmt.Errorf("%w: root %d, on %s", ErrExpired, r.Version, stamp(r.Expires))
	}
	return nil
}

// Server returns the server key that a signed message names: one of Servers, or else the first of them, which refuses it.
func (r *Root) Server(signed []byte) PublicKey { return KeyFor(signed, r.Servers) }

// KeyFor returns that of the keys which a signed message names: it tells which one to check with. If it is none of them the
// first is returned, which refuses the message; if there is no key at all, the zero key, which does so too.
func KeyFor(signed []byte, keys []PublicKey) (key PublicKey) {
	id, _ := SignerID(signed)
	for i, k := range keys {
		if i == 0 || k.ID() == id {
			key = k
		}
	}
	return key
}

// Approvers are people's keys, of whom Threshold have to agree to a decision to activate.
type Approvers struct {
	Keys      []PublicKey
	Threshold int
}

// ApproversOf returns whose agreement a COMMIT of the release needs, and how many of each list: what the release asks for,
// and what the root asks for in any case. If the root names approvers a release counts on those alone, so that one who is
// left out agrees to nothing any more.
func (r *Root) ApproversOf(m *Manifest) (asked []Approvers) {
	if r.Approvals > 0 {
		asked = append(asked, Approvers{r.Approvers, r.Approvals})
	}
	if m.Approvals > 0 {
		keys := m.Approvers
		if len(r.Approvers) > 0 {
			keys = nil
			for _, k := range m.Approvers {
				if slices.Contains(r.Approvers, k) {
					keys = append(keys, k)
				}
			}
		}
		asked = append(asked, Approvers{keys, m.Approvals})
	}
	return asked
}

// validate returns what is wrong with the content. It holds at signing and at opening.
func (r *Root) validate() error {
	if r.Version == 0 {
		return fmt.Errorf("version 0: the first is 1")
	}
	if !validTime(r.Issued) || !validTime(r.Expires) || !r.Issued.Before(r.Expires) {
		return fmt.Errorf("issued %s, expires %s: want whole seconds in this order", stamp(r.Issued), stamp(r.Expires))
	}
	if n := len(r.Release.Keys); n > MaxRootKeys {
		return fmt.Errorf("%d release keys, limit %d", n, MaxRootKeys)
	}
	if err := r.Release.check(); err != nil {
		return err
	}
	if n := len(r.Servers); n < 1 || n > MaxServerKeys {
		return fmt.Errorf("%d server keys, want 1 to %d", n, MaxServerKeys)
	}
	for i, k := range r.Servers {
		if k.role != RoleServer {
			return fmt.Errorf("server key %d: %w: it is a %q key", i+1, ErrKeyRole, k.role)
		}
	}
	if err := validateApprovers(r.Approvers, r.Approvals); err != nil {
		return err
	}
	// One key in two roles would be lost, or stolen, in both.
	all := slices.Concat(r.Release.Keys, r.Servers, r.Approvers)
	for i, k := range all {
		if slices.ContainsFunc(all[:i], k.SameKey) {
			return fmt.Errorf("key %s is there twice", k.ID())
		}
	}
	return nil
}

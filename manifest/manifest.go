package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/merkle"
)

// Limits of a manifest. They bound what a device allocates before and after
// it has checked the signatures.
const (
	MaxFile       = 64 << 10 // bytes of a signed manifest, signatures included
	MaxSignatures = 16
	MaxImages     = 16
	MaxHardware   = 64
	MaxApprovers  = 16
	MaxExtensions = 16
	MaxNodes      = 64        // tree nodes listed for each image
	MaxImageSize  = 1<<48 - 1 // bytes: what NORM's object size can say (RFC 5740, Section 4.2.1)
)

// AnyHardware, as the only entry of Manifest.Hardware, stands for every hardware.
const AnyHardware = "any"

// A Digest is the SHA-256 of some bytes.
type Digest [sha256.Size]byte

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// A Manifest is a release: which images may run, on what, and until when they may be installed.
type Manifest struct {
	Product  string   // a name (ValidName)
	Hardware []string // names of compatible hardware, or AnyHardware alone
	Version  string   // a name, for people: nothing is decided by it

	// Sequence rises with each release. A device refuses a lower one than it
	// has committed; going back means signing the old image again.
	Sequence uint64
	// Epoch rises when releases before must never run again, for example
	// because of a security fix. A device refuses a lower one.
	Epoch uint64

	Created time.Time // whole seconds
	Expires time.Time // whole seconds; checked before reception and before READY, never after

	Activation Activation

	// Approvers are keys (RoleApprover) of people, of whom Approvals must
	// agree to a decision to activate. Both empty: nobody is asked.
	Approvers []PublicKey
	Approvals int

	Images []Image // 1 to MaxImages, in the order of their NORM objects

	// Extensions holds what later versions add, by name. Those named in
	// Critical must be understood by whoever opens the manifest.
	Extensions map[string][]byte
	Critical   []string
}

// Activation is what the release key allows the server key to decide. The zero value allows everything.
type Activation struct {
	NotBefore time.Time     // whole seconds; no activation before. Zero: no bound
	NotAfter  time.Time     // whole seconds; no activation after. Zero: no bound
	MinSpread time.Duration // whole seconds; activations of a wave are spread over at least this
}

// An Image is one file of a release, as it is distributed.
type Image struct {
	Name     string // unique in its manifest, also without regard to case
	Size     int64  // bytes, at least 1
	SHA256   Digest // of the whole file
	LeafSize int64  // bytes: a power of two from merkle.MinLeafSize up
	Root     merkle.Hash
	Nodes    []merkle.Hash // of the level that merkle.PiecesFor(Leaves(), MaxNodes) gives

	Sealed *Sealed // the image is encrypted; nil: it is not
}

// Leaves returns the number of leaves of the image's tree.
func (im *Image) Leaves() int { return merkle.LeafCount(im.Size, im.LeafSize) }

// Pieces returns how the image's leaf hashes are cut; the i-th of Nodes checks the i-th piece.
func (im *Image) Pieces() merkle.Pieces { return merkle.PiecesFor(im.Leaves(), MaxNodes) }

// Digest returns the SHA-256 of the signed bytes, without the signatures: what
// session descriptions, votes and decisions call the manifest digest. As a
// manifest has one encoding only, it is the same before signing and after
// opening. It is zero for a manifest that could not be signed.
func (m *Manifest) Digest() Digest {
	payload, err := m.encode()
	if err != nil {
		return Digest{}
	}
	return sha256.Sum256(payload)
}

// Size returns the length of all images together, in bytes.
func (m *Manifest) Size() (total int64) {
	for i := range m.Images {
		total += m.Images[i].Size
	}
	return total
}

// CompatibleWith reports whether the manifest is for a hardware.
func (m *Manifest) CompatibleWith(hardware string) bool {
	return slices.Contains(m.Hardware, AnyHardware) || slices.Contains(m.Hardware, hardware)
}

// Check returns nil if a decision to activate between notBefore and notAfter,
// spread over spread, is within the limits, and otherwise what exceeds them.
// A zero time means that the decision sets no bound.
func (a Activation) Check(notBefore, notAfter time.Time, spread time.Duration) error {
	switch {
	case !a.NotBefore.IsZero() && notBefore.Before(a.NotBefore):
		return fmt.Errorf("manifest: activation from %s on, not allowed before %s", stamp(notBefore), stamp(a.NotBefore))
	case !a.NotAfter.IsZero() && (notAfter.IsZero() || notAfter.After(a.NotAfter)):
		return fmt.Errorf("manifest: activation until %s, not allowed after %s", stamp(notAfter), stamp(a.NotAfter))
	case spread < a.MinSpread:
		return fmt.Errorf("manifest: activation spread over %s, at least %s is asked for", spread, a.MinSpread)
	}
	return nil
}

// ValidName reports whether s may name a product, version, hardware, device or
// image: [A-Za-z0-9][A-Za-z0-9._+-]{0,63}. Such a name is a file name on every
// system, and safe to print.
func ValidName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && strings.IndexByte("._+-", c) >= 0:
		default:
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

// validate returns what is wrong with the manifest's content. It holds at signing and at opening.
func (m *Manifest) validate() error {
	for _, f := range []struct{ field, name string }{{"product", m.Product}, {"version", m.Version}} {
		if !ValidName(f.name) {
			return fmt.Errorf("%s %.80q is not a valid name", f.field, f.name)
		}
	}
	if n := len(m.Hardware); n < 1 || n > MaxHardware {
		return fmt.Errorf("%d hardware names, want 1 to %d", n, MaxHardware)
	}
	for i, hw := range m.Hardware {
		if !ValidName(hw) || slices.Contains(m.Hardware[:i], hw) || hw == AnyHardware && len(m.Hardware) > 1 {
			return fmt.Errorf("hardware %.80q is not a valid name, is there twice, or is not alone", hw)
		}
	}
	if !validTime(m.Created) || !validTime(m.Expires) || !m.Created.Before(m.Expires) {
		return fmt.Errorf("created %s, expires %s: want whole seconds in this order", stamp(m.Created), stamp(m.Expires))
	}
	if err := m.Activation.validate(); err != nil {
		return err
	}
	if err := m.validateApprovers(); err != nil {
		return err
	}
	if err := m.validateExtensions(); err != nil {
		return err
	}
	if n := len(m.Images); n < 1 || n > MaxImages {
		return fmt.Errorf("%d images, want 1 to %d", n, MaxImages)
	}
	for i := range m.Images {
		im := &m.Images[i]
		if err := im.validate(); err != nil {
			return fmt.Errorf("image %d: %w", i+1, err)
		}
		if slices.ContainsFunc(m.Images[:i], func(other Image) bool { return strings.EqualFold(other.Name, im.Name) }) {
			return fmt.Errorf("two images named %q", im.Name)
		}
	}
	return nil
}

func (a Activation) validate() error {
	for _, t := range []time.Time{a.NotBefore, a.NotAfter} {
		if !t.IsZero() && !validTime(t) {
			return fmt.Errorf("activation limit %s is not in whole seconds", stamp(t))
		}
	}
	if !a.NotAfter.IsZero() && a.NotAfter.Before(a.NotBefore) {
		return fmt.Errorf("activation not before %s and not after %s", stamp(a.NotBefore), stamp(a.NotAfter))
	}
	if !validSeconds(a.MinSpread) {
		return fmt.Errorf("activation spread %s, want whole seconds up to %s", a.MinSpread, maxDuration)
	}
	return nil
}

func (m *Manifest) validateApprovers() error {
	n := len(m.Approvers)
	if n > MaxApprovers || m.Approvals < 0 || m.Approvals > n || (n > 0 && m.Approvals == 0) {
		return fmt.Errorf("%d approvals by %d approvers, want 1 to all of at most %d, or none by none", m.Approvals, n, MaxApprovers)
	}
	for i, k := range m.Approvers {
		if k.role != RoleApprover {
			return fmt.Errorf("approver %d: %w: it is a %q key", i+1, ErrKeyRole, k.role)
		}
		if slices.ContainsFunc(m.Approvers[:i], k.SameKey) {
			return fmt.Errorf("approver %d is there twice", i+1)
		}
	}
	return nil
}

func (m *Manifest) validateExtensions() error {
	if len(m.Extensions) > MaxExtensions {
		return fmt.Errorf("%d extensions, limit %d", len(m.Extensions), MaxExtensions)
	}
	for name := range m.Extensions {
		if name == ExtensionSealed {
			return fmt.Errorf("extension %s is said by Image.Sealed", name)
		}
		if !ValidName(name) {
			return fmt.Errorf("extension %.80q is not a valid name", name)
		}
	}
	for i, name := range m.Critical {
		if _, ok := m.Extensions[name]; !ok || slices.Contains(m.Critical[:i], name) {
			return fmt.Errorf("critical extension %.80q is absent or named twice", name)
		}
	}
	return nil
}

func (im *Image) validate() error {
	switch {
	case !ValidName(im.Name):
		return fmt.Errorf("%.80q is not a valid name", im.Name)
	case im.Size < 1 || im.Size > MaxImageSize:
		return fmt.Errorf("%s: size %d, want 1 to %d bytes", im.Name, im.Size, int64(MaxImageSize))
	case im.LeafSize < merkle.MinLeafSize || im.LeafSize > MaxImageSize || bits.OnesCount64(uint64(im.LeafSize)) != 1:
		return fmt.Errorf("%s: leaf size %d, want a power of two from %d up", im.Name, im.LeafSize, merkle.MinLeafSize)
	case im.Leaves() > merkle.MaxLeaves:
		return fmt.Errorf("%s: %d leaves, limit %d", im.Name, im.Leaves(), merkle.MaxLeaves)
	case len(im.Nodes) != im.Pieces().Len() || merkle.Root(im.Nodes) != im.Root:
		return fmt.Errorf("%s: the %d tree nodes do not lead to the root", im.Name, len(im.Nodes))
	case im.Sealed != nil:
		return im.Sealed.validate(im)
	}
	return nil
}

// maxDuration bounds the durations in signed documents.
const maxDuration = 10 * 365 * 24 * time.Hour

// validSeconds reports whether d is a number of whole seconds, zero included, that a document may hold.
func validSeconds(d time.Duration) bool {
	return d >= 0 && d <= maxDuration && d%time.Second == 0
}

// maxTime is the last second of the year 9999: what RFC 3339 can print.
const maxTime = 253402300799

// validTime reports whether t is a time of whole seconds that a document may hold.
func validTime(t time.Time) bool {
	return t.Unix() > 0 && t.Unix() <= maxTime && t.Nanosecond() == 0
}

// stamp prints a time for people, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "unset"
	}
	return t.UTC().Format(time.RFC3339)
}

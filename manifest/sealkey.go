package manifest

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
)

// RoleSeal is what a key file says that holds a half of an Identity.
const RoleSeal Role = "seal"

// algSeal names what seal keys are for in their text form: HPKE (RFC 9180) with the hybrid KEM MLKEM768-X25519 (id 0x647a),
// HKDF-SHA256 and ChaCha20Poly1305, the suite of age's own hybrid recipients.
//
// The rendezvous tells a session description, wraps included, to whoever asks, and images go to everybody on the network. So
// what is recorded today must not be opened by a quantum computer later: a wrap of 1.2 KB in place of 80 bytes is the price.
const algSeal = "mlkem768x25519"

var (
	sealKEM  = hpke.MLKEM768X25519()
	sealKDF  = hpke.HKDFSHA256()
	sealAEAD = hpke.ChaCha20Poly1305()
)

const (
	recipientSize = 1184 + 32 // bytes of a public key: ML-KEM-768's and X25519's
	identitySize  = 32        // of a private one: the seed of both
	wrapOverhead  = 1088 + 32 + 16
)

// A Recipient is the public half of an Identity: file keys are wrapped for it. It is comparable.
type Recipient struct{ raw string }

// NewRecipient returns the Recipient that Bytes made b of. The error is ErrKeyFormat.
func NewRecipient(b []byte) (Recipient, error) {
	if len(b) != recipientSize {
		return Recipient{}, fmt.Errorf("%w: a seal key of %d bytes, want %d", ErrKeyFormat, len(b), recipientSize)
	}
	if _, err := sealKEM.NewPublicKey(b); err != nil {
		return Recipient{}, fmt.Errorf("%w: %w", ErrKeyFormat, err)
	}
	return Recipient{string(b)}, nil
}

// Bytes returns the key as HPKE serializes it.
func (r Recipient) Bytes() []byte { return []byte(r.raw) }

// IsZero reports whether r is no key at all.
func (r Recipient) IsZero() bool { return r == Recipient{} }

// ID returns the id by which wraps name their recipient: it begins the SHA-256 of the key.
func (r Recipient) ID() KeyID {
	sum := sha256.Sum256([]byte(r.raw))
	return KeyID(sum[:len(KeyID{})])
}

// Fingerprint returns the SHA-256 of the key as people compare it.
func (r Recipient) Fingerprint() string {
	sum := sha256.Sum256([]byte(r.raw))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// String returns the one-word text form "seal:mlkem768x25519:base64url", which ParseRecipient reads.
func (r Recipient) String() string {
	if r.IsZero() {
		return ""
	}
	return keyText{role: RoleSeal, alg: algSeal, raw: []byte(r.raw)}.String()
}

// MarshalText returns the form of String.
func (r Recipient) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the form of String; the empty text is no key.
func (r *Recipient) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*r = Recipient{}
		return nil
	}
	*r, err = ParseRecipient(string(text))
	return err
}

// ParseRecipient reads the form that String writes. The error is ErrKeyFormat, or ErrKeyRole for a key of another kind.
func ParseRecipient(text string) (Recipient, error) {
	k, err := parseKeyText(text)
	if err == nil {
		err = k.check(false, RoleSeal, algSeal)
	}
	if err != nil {
		return Recipient{}, err
	}
	return NewRecipient(k.raw)
}

// An Identity opens what was wrapped for its Recipient: the key of a group of devices. Printing it shows its public half only.
type Identity struct {
	recipient Recipient
	key       hpke.PrivateKey
}

// GenerateIdentity makes a new one.
func GenerateIdentity() (*Identity, error) {
	key, err := sealKEM.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("manifest: generating a seal key: %w", err)
	}
	return identityOf(key), nil
}

func identityOf(key hpke.PrivateKey) *Identity {
	return &Identity{Recipient{string(key.PublicKey().Bytes())}, key}
}

// Recipient returns the half that others may know.
func (k *Identity) Recipient() Recipient { return k.recipient }

// String returns the public half.
func (k *Identity) String() string { return "private half of " + k.recipient.String() }

// GoString returns the public half, so that %#v shows no secret either.
func (k *Identity) GoString() string { return k.String() }

// WriteKeyPair writes the key to name.key, readable by its owner only, and its public half to name.pub, as
// PrivateKey.WriteKeyPair does.
func (k *Identity) WriteKeyPair(name string) error {
	secret, err := k.key.Bytes()
	if err != nil {
		return fmt.Errorf("manifest: seal key: %w", err)
	}
	return writePair(name, secretText(RoleSeal, algSeal, "private seal key, for the devices of a group", secret), publicText(RoleSeal, k.recipient.Fingerprint(), k.recipient.String()))
}

// LoadIdentity reads a key file that WriteKeyPair wrote. Its errors are those of LoadPrivateKey.
func LoadIdentity(path string) (*Identity, error) {
	raw, err := loadSecret(path, RoleSeal, algSeal)
	if err != nil {
		return nil, err
	}
	key, err := sealKEM.NewPrivateKey(raw)
	if err != nil || len(raw) != identitySize {
		return nil, fmt.Errorf("%s: %w: want a seed of %d bytes", path, ErrKeyFormat, identitySize)
	}
	return identityOf(key), nil
}

// LoadRecipient reads the public half that WriteKeyPair wrote. Its errors are those of LoadPublicKey.
func LoadRecipient(path string) (Recipient, error) {
	word, _, err := readKeyFile(path)
	if err != nil {
		return Recipient{}, err
	}
	r, err := ParseRecipient(word)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// wrapContext keeps a wrap from being opened as anything else.
const wrapContext = "multicast-upgrade file keys 1"

// wrapInfo is HPKE's info: a wrap opens for the campaign and the release it was made for, and for no other. The images are
// bound by the release, whose order is that of the keys.
func wrapInfo(campaign CampaignID, release Digest) []byte {
	return slices.Concat([]byte(wrapContext), campaign[:], release[:])
}

// Wrap returns the file keys of a release's sealed images, in their order, as only r can open them: HPKE in base mode.
func (r Recipient) Wrap(campaign CampaignID, release Digest, keys []FileKey) ([]byte, error) {
	public, err := sealKEM.NewPublicKey([]byte(r.raw))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", ErrKeyFormat, err)
	}
	return hpke.Seal(public, sealKDF, sealAEAD, wrapInfo(campaign, release), joinKeys(keys))
}

// Unwrap returns the file keys that Wrap wrapped for k. The error is ErrNoKey.
func (k *Identity) Unwrap(campaign CampaignID, release Digest, wrap []byte) ([]FileKey, error) {
	if !validWrap(wrap) {
		return nil, fmt.Errorf("%w: a wrap of %d bytes", ErrNoKey, len(wrap))
	}
	b, err := hpke.Open(k.key, sealKDF, sealAEAD, wrapInfo(campaign, release), wrap)
	if err != nil {
		return nil, fmt.Errorf("%w: the wrap is not for key %s, campaign %s and this release", ErrNoKey, k.recipient.ID(), campaign)
	}
	return splitKeys(b)
}

// validWrap reports whether b is as long as a wrap of 1 to MaxImages file keys.
func validWrap(b []byte) bool {
	n := len(b) - wrapOverhead
	return n > 0 && n%len(FileKey{}) == 0 && n <= MaxImages*len(FileKey{})
}

package manifest

import (
	"cmp"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
)

// A Role is what a key may be used for. It is stored with the key and checked
// whenever one is loaded, so that a server key cannot stand in for a release key.
type Role string

const (
	RoleRelease  Role = "release"  // says what may run
	RoleServer   Role = "server"   // says where to listen and when to activate
	RoleDevice   Role = "device"   // says who is ready
	RoleApprover Role = "approver" // says that a person agreed
)

func (r Role) valid() bool {
	switch r {
	case RoleRelease, RoleServer, RoleDevice, RoleApprover:
		return true
	}
	return false
}

// algEd25519 names the one algorithm in the text form of keys. In COSE it is
// alg -8 (EdDSA) with curve 6; others can be added beside it.
const algEd25519 = "ed25519"

// A KeyID names a key inside a signature (COSE kid): the first 8 bytes of its
// COSE Key Thumbprint. It is a hint for finding the key, never a proof.
type KeyID [8]byte

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// A PublicKey checks signatures. It is comparable, two keys being equal if
// role, algorithm and key are. The zero PublicKey verifies nothing.
type PublicKey struct {
	role Role
	alg  string
	raw  string // key in the algorithm's own encoding, for Ed25519 the 32 bytes of RFC 8032
}

// Role returns what the key may be used for.
func (k PublicKey) Role() Role { return k.role }

// IsZero reports whether k is no key at all.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// SameKey reports whether k and other are the same key, whatever their roles.
func (k PublicKey) SameKey(other PublicKey) bool {
	return k.alg == other.alg && k.raw == other.raw
}

// coseKeyHead starts the COSE_Key {1 (kty): 1 (OKP), -1 (crv): 6 (Ed25519), -2 (x): 32 bytes},
// RFC 9053, Section 7.2, in deterministic encoding.
const coseKeyHead = "\xa3\x01\x01\x20\x06\x21\x58\x20"

// thumbprint is the SHA-256 COSE Key Thumbprint (RFC 9679): the hash of the
// COSE_Key holding only the parameters that define the key, so it does not
// depend on the role.
func (k PublicKey) thumbprint() [sha256.Size]byte {
	return sha256.Sum256([]byte(coseKeyHead + k.raw))
}

// ID returns the id under which signatures name the key. Two roles given to one key share one id.
func (k PublicKey) ID() KeyID {
	sum := k.thumbprint()
	return KeyID(sum[:len(KeyID{})])
}

// Fingerprint returns the whole thumbprint as people compare it: "SHA256:" and base64, as OpenSSH prints it.
func (k PublicKey) Fingerprint() string {
	sum := k.thumbprint()
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// String returns the one-word text form "role:ed25519:base64url", which ParsePublicKey reads.
// It is what a .pub file and a list of devices hold.
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return keyText{role: k.role, alg: k.alg, raw: []byte(k.raw)}.String()
}

// MarshalText returns the form of String.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the form of String, whatever the role; the empty text is the zero key.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*k = PublicKey{}
		return nil
	}
	*k, err = ParsePublicKey(string(text))
	return err
}

// ParsePublicKey reads the form that String writes. The error is ErrKeyFormat.
func ParsePublicKey(text string) (PublicKey, error) { return parsePublicKey(text, "") }

// parsePublicKey is ParsePublicKey for keys of one role, or ErrKeyRole; empty: any.
func parsePublicKey(text string, want Role) (PublicKey, error) {
	k, err := parseKeyText(text)
	if err == nil {
		err = k.check(false, cmp.Or(want, k.role), algEd25519)
	}
	switch {
	case err != nil:
		return PublicKey{}, err
	case !k.role.valid():
		return PublicKey{}, fmt.Errorf("%w: unknown role %.32q", ErrKeyFormat, k.role)
	case len(k.raw) != ed25519.PublicKeySize:
		return PublicKey{}, fmt.Errorf("%w: %d bytes, want %d", ErrKeyFormat, len(k.raw), ed25519.PublicKeySize)
	}
	return PublicKey{role: k.role, alg: algEd25519, raw: string(k.raw)}, nil
}

// CryptoPublicKey returns the key as the standard library knows it, for certificates.
func (k PublicKey) CryptoPublicKey() crypto.PublicKey {
	return ed25519.PublicKey(k.raw)
}

// A PrivateKey makes signatures. Printing it shows its public half only.
type PrivateKey struct {
	public PublicKey
	key    ed25519.PrivateKey
}

// GenerateKey makes a key for a role. If rand is nil, crypto/rand is used; any
// other source of 32 bytes determines the key, which only tests want.
func GenerateKey(role Role, random io.Reader) (*PrivateKey, error) {
	if !role.valid() {
		return nil, fmt.Errorf("manifest: unknown key role %q", role)
	}
	if random == nil {
		random = rand.Reader
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("manifest: generating a key: %w", err)
	}
	return newPrivateKey(role, ed25519.NewKeyFromSeed(seed)), nil
}

func newPrivateKey(role Role, key ed25519.PrivateKey) *PrivateKey {
	public := PublicKey{role: role, alg: algEd25519, raw: string(key.Public().(ed25519.PublicKey))}
	return &PrivateKey{public: public, key: key}
}

// Public returns the half that others may know.
func (k *PrivateKey) Public() PublicKey { return k.public }

// Role returns what the key may be used for.
func (k *PrivateKey) Role() Role { return k.public.role }

// String returns the public half.
func (k *PrivateKey) String() string { return "private half of " + k.public.String() }

// GoString returns the public half, so that %#v shows no secret either.
func (k *PrivateKey) GoString() string { return k.String() }

// CryptoSigner returns the key as the standard library knows it, for
// certificates. A certificate is DER and starts with another byte than the
// COSE structure that Sign signs, so neither passes for the other.
func (k *PrivateKey) CryptoSigner() crypto.Signer { return k.key }

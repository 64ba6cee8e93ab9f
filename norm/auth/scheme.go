package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"hash"
	"math/big"
)

// A scheme makes and checks the tag of a packet: what stands in EXT_AUTH behind the sequence number. "The computation
// [...] includes the ALC or NORM header (with the various header extensions) and the payload when applicable. [...] During
// this computation, the [...] field MUST be set to 0" (RFC 6584, Sections 3.3.1, 4.3 and 5.3.1).
type scheme interface {
	size() int                       // of the tag in bytes, a multiple of 4
	seal(packet []byte, at int)      // fills in the tag, which is zero
	open(packet []byte, at int) bool // checks the tag; leaves the packet alone, as others may read it
}

var zeros [signatureSize + sha256.Size]byte

// digest hashes the packet with zeros in place of n bytes at an offset.
func digest(h hash.Hash, sum, packet []byte, at, n int) []byte {
	h.Reset()
	h.Write(packet[:at])
	h.Write(zeros[:n])
	h.Write(packet[at+n:])
	return h.Sum(sum)
}

// A groupMAC is HMAC-SHA-256, truncated (Section 5).
type groupMAC struct {
	hmac  hash.Hash
	bytes int
	sum   [sha256.Size]byte
}

// newGroupMAC derives the key of a direction from the group key.
func newGroupMAC(key []byte, purpose string, bits int) (*groupMAC, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, "NORM EXT_AUTH "+purpose, sha256.Size)
	if err != nil {
		return nil, err
	}
	return &groupMAC{hmac: hmac.New(sha256.New, derived), bytes: bits / 8}, nil
}

func (m *groupMAC) size() int { return m.bytes }

// mac returns the MAC over the packet, its field and all behind it in the tag being zero.
func (m *groupMAC) mac(packet []byte, at int) []byte {
	return digest(m.hmac, m.sum[:0], packet, at, m.bytes)[:m.bytes] // "Only the n_m leftmost bits": Section 5.2
}

func (m *groupMAC) seal(packet []byte, at int) { copy(packet[at:], m.mac(packet, at)) }

func (m *groupMAC) open(packet []byte, at int) bool {
	return hmac.Equal(m.mac(packet, at), packet[at:at+m.bytes])
}

// signatureSize is the length of r and s for P-256, in bytes. RFC 6584, Section 4.2 would have it half of that, "the key
// size", but both of them are needed (RFC 4754, Section 7).
const signatureSize = 64

// A signature is that of ECDSA on P-256 (secp256r1) with SHA-256 (Section 4).
type signature struct {
	private *ecdsa.PrivateKey // nil: verifies only
	public  *ecdsa.PublicKey
	hash    hash.Hash
	sum     [sha256.Size]byte
	field   int // bytes that are zero while it is computed: its own, and those of a MAC behind it
}

func newSignature(c Config, field int) *signature {
	return &signature{private: c.Signer, public: c.Public, hash: sha256.New(), field: field}
}

func (s *signature) size() int { return signatureSize }

func (s *signature) seal(packet []byte, at int) {
	// Without a source of randomness the nonce follows from key and packet (RFC 6979).
	der, err := s.private.Sign(nil, digest(s.hash, s.sum[:0], packet, at, s.field), crypto.SHA256)
	var value struct{ R, S *big.Int }
	if err == nil {
		_, err = asn1.Unmarshal(der, &value)
	}
	if err != nil {
		panic("auth: " + err.Error()) // the key was checked, and what was just made is well-formed
	}
	value.R.FillBytes(packet[at : at+signatureSize/2])
	value.S.FillBytes(packet[at+signatureSize/2 : at+signatureSize])
}

func (s *signature) open(packet []byte, at int) bool {
	r := new(big.Int).SetBytes(packet[at : at+signatureSize/2])
	ss := new(big.Int).SetBytes(packet[at+signatureSize/2 : at+signatureSize])
	return ecdsa.Verify(s.public, digest(s.hash, s.sum[:0], packet, at, s.field), r, ss)
}

// Combined is a signature with a short MAC behind it, which keeps those without the group key from making a receiver
// verify signatures (Section 6).
type combined struct {
	signature *signature
	mac       *groupMAC
}

func (c combined) size() int { return signatureSize + c.mac.size() }

// seal signs while both fields are zero, "then, the sender computes the Group-keyed MAC": it covers the signature.
func (c combined) seal(packet []byte, at int) {
	c.signature.seal(packet, at)
	c.mac.seal(packet, at+signatureSize)
}

func (c combined) open(packet []byte, at int) bool {
	return c.mac.open(packet, at+signatureSize) && c.signature.open(packet, at)
}

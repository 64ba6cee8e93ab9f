package manifest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/veraison/go-cose"
)

// MaxSigned is the largest signed message Verify looks at, in bytes, and
// MaxPayload the largest payload that Sign embeds.
const (
	MaxSigned  = MaxPayload + 256
	MaxPayload = MaxSession
)

const signatureSize = 64 // Ed25519, RFC 8032

// Sign returns payload inside a signed message: a tagged COSE_Sign1 (RFC 9052,
// Section 4.2) whose protected header holds alg and kid and whose unprotected
// header is empty. The context goes in as external_aad and is not
// transmitted: a message signed for one purpose verifies for no other.
func (k *PrivateKey) Sign(context string, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("%w: payload of %d bytes, limit %d", ErrTooLarge, len(payload), MaxPayload)
	}
	m, err := k.sign(context, payload)
	if err != nil {
		return nil, err
	}
	return m.MarshalCBOR()
}

// signDetached is Sign without the payload in the result (RFC 9052, Section 4.1: payload nil).
func (k *PrivateKey) signDetached(context string, payload []byte) ([]byte, error) {
	m, err := k.sign(context, payload)
	if err != nil {
		return nil, err
	}
	m.Payload = nil
	return m.MarshalCBOR()
}

func (k *PrivateKey) sign(context string, payload []byte) (*cose.Sign1Message, error) {
	if payload == nil {
		payload = []byte{} // nil would mean detached
	}
	m := &cose.Sign1Message{Headers: k.public.headers(), Payload: payload}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, k.key)
	if err != nil {
		return nil, fmt.Errorf("manifest: signing: %w", err)
	}
	if err := m.Sign(nil, []byte(context), signer); err != nil { // Ed25519 needs no randomness
		return nil, fmt.Errorf("manifest: signing: %w", err)
	}
	return m, nil
}

func (k PublicKey) headers() cose.Headers {
	id := k.ID()
	return cose.Headers{Protected: cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA,
		cose.HeaderLabelKeyID:     id[:],
	}}
}

// Verify returns the payload of a message that the key's owner signed for
// context, or ErrSignature. A message has exactly one encoding, the one that
// Sign gives: no bit of it can be changed without notice. The payload is a
// view into signed.
func (k PublicKey) Verify(context string, signed []byte) (payload []byte, err error) {
	m, ok := splitSign1(signed)
	if !ok || m.detached {
		return nil, fmt.Errorf("%w: not a signed message", ErrSignature)
	}
	if err := k.verify(context, m.keyID, m.payload, m.signature); err != nil {
		return nil, err
	}
	return m.payload, nil
}

// verifyDetached checks a message of signDetached against the payload it stands for.
func (k PublicKey) verifyDetached(context string, payload, signed []byte) error {
	m, ok := splitSign1(signed)
	if !ok || !m.detached {
		return fmt.Errorf("%w: not a detached signature", ErrSignature)
	}
	return k.verify(context, m.keyID, payload, m.signature)
}

func (k PublicKey) verify(context string, id KeyID, payload, signature []byte) error {
	if k.IsZero() || id != k.ID() {
		return fmt.Errorf("%w: signed by key %s", ErrSignature, id)
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, k.CryptoPublicKey())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if payload == nil {
		payload = []byte{}
	}
	m := cose.Sign1Message{Headers: k.headers(), Payload: payload, Signature: signature}
	if err := m.Verify([]byte(context), verifier); err != nil {
		return fmt.Errorf("%w: key %s: %w", ErrSignature, id, err)
	}
	return nil
}

// SignerID returns the key id that a signed message names, unverified: it
// tells which key to try, and nothing else.
func SignerID(signed []byte) (id KeyID, ok bool) {
	m, ok := splitSign1(signed)
	return m.keyID, ok
}

// sign1Head starts a message: tag 18, array of 4, the protected header
// {1 (alg): -8 (EdDSA), 4 (kid): 8 bytes} as a byte string. The key id and sign1Unprotected follow.
const (
	sign1Head        = "\xd2\x84\x4d\xa2\x01\x27\x04\x48"
	sign1Unprotected = "\xa0"
)

type sign1 struct {
	keyID     KeyID
	detached  bool
	payload   []byte // views into the message
	signature []byte
}

// splitSign1 takes a message apart at its fixed places. It interprets nothing
// but lengths, and accepts only the shortest form of those.
func splitSign1(b []byte) (m sign1, ok bool) {
	if len(b) > MaxSigned {
		return m, false
	}
	b, ok = bytes.CutPrefix(b, []byte(sign1Head))
	if !ok || len(b) < len(m.keyID) {
		return m, false
	}
	m.keyID = KeyID(b[:len(m.keyID)])
	b, ok = bytes.CutPrefix(b[len(m.keyID):], []byte(sign1Unprotected))
	if !ok {
		return m, false
	}
	if rest, cut := bytes.CutPrefix(b, []byte{0xf6}); cut { // null: detached
		m.detached, b = true, rest
	} else if m.payload, b, ok = cutBytes(b); !ok {
		return m, false
	}
	m.signature, b, ok = cutBytes(b)
	return m, ok && len(m.signature) == signatureSize && len(b) == 0
}

// cutBytes splits a CBOR byte string with the shortest possible length (RFC 8949, Section 4.2.1) off b.
func cutBytes(b []byte) (content, rest []byte, ok bool) {
	if len(b) == 0 || b[0]>>5 != 2 {
		return nil, nil, false
	}
	n, b := uint64(b[0]&0x1f), b[1:]
	switch {
	case n < 24:
	case n == 24 && len(b) >= 1 && b[0] >= 24:
		n, b = uint64(b[0]), b[1:]
	case n == 25 && len(b) >= 2 && b[0] != 0:
		n, b = uint64(binary.BigEndian.Uint16(b)), b[2:]
	case n == 26 && len(b) >= 4 && (b[0] != 0 || b[1] != 0): // enough for MaxSigned
		n, b = uint64(binary.BigEndian.Uint32(b)), b[4:]
	default:
		return nil, nil, false
	}
	if n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// manifestContext binds signatures to the purpose "release manifest" (external_aad).
const manifestContext = "multicast-upgrade release manifest 1"

// fileHead starts a signed manifest, a CBOR array of three: this text, the
// payload as a byte string, and an array of byte strings that are each a
// tagged COSE_Sign1 with detached payload, by one key each.
const fileHead = "\x83\x78\x1amulticast-upgrade manifest"

// Sign returns the signed manifest, the content of fw.manifest, with a
// signature of each key. Keys must be different and have RoleRelease.
func (m *Manifest) Sign(keys ...*PrivateKey) ([]byte, error) {
	payload, err := m.encode()
	if err != nil {
		return nil, err
	}
	return releaseFile.sign(payload, keys, AddSignature)
}

// AddSignature returns a signed manifest with one more signature, by a key
// that has not signed it yet. The payload stays as it is, byte for byte. It
// does not check the signatures that are there; it does check that the
// payload is a manifest.
func AddSignature(signed []byte, key *PrivateKey) ([]byte, error) {
	return releaseFile.add(signed, key, func(payload []byte) error { _, err := decode(payload); return err })
}

func joinFile(payload []byte, signatures [][]byte) []byte {
	return releaseFile.join(payload, signatures)
}

func splitFile(signed []byte) (payload []byte, signatures [][]byte, err error) {
	return releaseFile.split(signed)
}

// A fileKind is a document that many sign, in the file format of releases.
type fileKind struct {
	name    string // for people
	head    string // what a file begins with
	limit   int    // bytes
	context string // of the signatures
}

var releaseFile = fileKind{"manifest", fileHead, MaxFile, manifestContext}

// add is AddSignature for a kind whose payload check knows.
func (f fileKind) add(signed []byte, key *PrivateKey, check func(payload []byte) error) ([]byte, error) {
	if key.Role() != RoleRelease {
		return nil, fmt.Errorf("manifest: %w: a %s key cannot sign a %s", ErrKeyRole, key.Role(), f.name)
	}
	payload, signatures, err := f.split(signed)
	if err != nil {
		return nil, err
	}
	if err := check(payload); err != nil {
		return nil, err
	}
	id := key.Public().ID()
	for _, s := range signatures {
		if by, _ := SignerID(s); by == id {
			return nil, fmt.Errorf("manifest: already signed by key %s", id)
		}
	}
	if len(signatures) == MaxSignatures {
		return nil, fmt.Errorf("manifest: already %d signatures, the limit", MaxSignatures)
	}
	s, err := key.signDetached(f.context, payload)
	if err != nil {
		return nil, err
	}
	out := f.join(payload, append(slices.Clip(signatures), s))
	if len(out) > f.limit {
		return nil, fmt.Errorf("manifest: %w: %d bytes, limit %d", ErrTooLarge, len(out), f.limit)
	}
	return out, nil
}

// sign returns the payload as a file, with a signature of each key.
func (f fileKind) sign(payload []byte, keys []*PrivateKey, add func([]byte, *PrivateKey) ([]byte, error)) ([]byte, error) {
	if len(keys) == 0 {
		return nil, errors.New("manifest: no key to sign with")
	}
	signed := f.join(payload, nil)
	for _, k := range keys {
		var err error
		if signed, err = add(signed, k); err != nil {
			return nil, err
		}
	}
	return signed, nil
}

// join writes the file format, split reads it.
func (f fileKind) join(payload []byte, signatures [][]byte) []byte {
	b := appendBytes([]byte(f.head), payload)
	b = append(b, 0x80|byte(len(signatures))) // an array of up to 23
	for _, s := range signatures {
		b = appendBytes(b, s)
	}
	return b
}

// split takes a signed file apart: views into it, not interpreted.
func (f fileKind) split(signed []byte) (payload []byte, signatures [][]byte, err error) {
	if len(signed) > f.limit {
		return nil, nil, fmt.Errorf("%w: %s of %d bytes, limit %d", ErrTooLarge, f.name, len(signed), f.limit)
	}
	notOne := fmt.Errorf("%w: not a signed %s", ErrSignature, f.name)
	b, ok := bytes.CutPrefix(signed, []byte(f.head))
	if !ok {
		return nil, nil, notOne
	}
	if payload, b, ok = cutBytes(b); !ok || len(b) == 0 || b[0] < 0x80 || b[0] > 0x80+MaxSignatures {
		return nil, nil, notOne
	}
	n := int(b[0] - 0x80)
	b = b[1:]
	for range n {
		var s []byte
		if s, b, ok = cutBytes(b); !ok {
			return nil, nil, notOne
		}
		signatures = append(signatures, s)
	}
	if len(b) > 0 {
		return nil, nil, notOne
	}
	return payload, signatures, nil
}

// appendBytes appends a CBOR byte string.
func appendBytes(b, content []byte) []byte {
	switch n := len(content); {
	case n < 24:
		b = append(b, 0x40|byte(n))
	case n <= 0xff:
		b = append(b, 0x58, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x59), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0x5a), uint32(n))
	}
	return append(b, content...)
}

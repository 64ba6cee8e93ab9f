package discovery

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/multicast-upgrade/tool/manifest"
)

// helloContext keeps the signature of a Hello from counting for anything else.
const helloContext = "multicast-upgrade hello 1"

// ErrProof: a Hello or a Diagnosis comes without proof that whoever says it holds the device's key.
var ErrProof = errors.New("discovery: no proof of the device's key")

// Sign puts the public half of a device key into h, and the proof that whoever says h holds the key. Anybody could show
// another device's key otherwise, and make it pass for a cloned one.
func (h *Hello) Sign(key interface {
	Public() manifest.PublicKey
	Sign(context string, payload []byte) ([]byte, error)
}) error {
	h.Key, h.Proof = key.Public().String(), nil
	proof, err := key.Sign(helloContext, must(encoding.Marshal(*h)))
	h.Proof = proof
	return err
}

// OpenKey returns the device key that h shows, once its proof holds: the zero key if it shows none.
func (h Hello) OpenKey() (manifest.PublicKey, error) {
	if h.Key == "" || !h.proven.IsZero() {
		return h.proven, nil
	}
	key, err := manifest.ParsePublicKey(h.Key)
	if err != nil {
		return manifest.PublicKey{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if key.Role() != manifest.RoleDevice {
		return manifest.PublicKey{}, fmt.Errorf("%w: a %s key", ErrProof, key.Role())
	}
	said := h
	said.Proof = nil
	if err := proves(key, helloContext, h.Proof, said); err != nil {
		return manifest.PublicKey{}, err
	}
	return key, nil
}

// Proven returns h as it is passed on within a server, which need not check the proof again: key is what OpenKey has returned.
func (h Hello) Proven(key manifest.PublicKey) Hello {
	h.proven = key
	return h
}

// proves returns nil if proof is a message, signed with the key of a device, and the message is said.
func proves(key manifest.PublicKey, context string, proof []byte, said any) error {
	signed, err := key.Verify(context, proof)
	if err != nil || key.Role() != manifest.RoleDevice || !bytes.Equal(signed, must(encoding.Marshal(said))) {
		return ErrProof
	}
	return nil
}

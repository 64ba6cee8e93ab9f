package discovery

import (
	"errors"

	"github.com/multicast-upgrade/tool/manifest"
)

// keyContext keeps the signature of a KeyRequest from counting for anything else.
const keyContext = "multicast-upgrade group key request 1"

// ErrReplay: a KeyRequest is one that the server has answered.
var ErrReplay = errors.New("discovery: the request for the group key was made before")

// A KeyRequest is how a device asks for the group key of a campaign, by which packets are authenticated. The answer is
// secret: it goes over TLS, or stays on the host.
type KeyRequest struct {
	Device   string   `cbor:"1,keyasint"`
	Campaign string   `cbor:"2,keyasint"`
	Nonce    [16]byte `cbor:"3,keyasint"` // random: a device need not know the time
	Proof    []byte   `cbor:"4,keyasint"` // all of the above, signed with the device key
}

// Sign puts the proof into r that who makes it holds the device key.
func (r *KeyRequest) Sign(key interface {
	Sign(context string, payload []byte) ([]byte, error)
}) (err error) {
	r.Proof = nil
	r.Proof, err = key.Sign(keyContext, must(encoding.Marshal(*r)))
	return err
}

// Open returns nil if the holder of key made the request, and otherwise ErrProof.
func (r KeyRequest) Open(key manifest.PublicKey) error {
	said := r
	said.Proof = nil
	return proves(key, keyContext, r.Proof, said)
}

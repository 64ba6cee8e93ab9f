package discovery

import (
	"github.com/multicast-upgrade/tool/manifest"
)

// fileKeyContext keeps the signature of a FileKeyRequest from counting for anything else.
const fileKeyContext = "multicast-upgrade file key request 1"

// A FileKeyRequest is how a device asks for the file keys of a campaign's sealed images. The answer is wrapped for the
// recipient it names, so that neither who repeats the request nor a server on the way learns them.
type FileKeyRequest struct {
	Device    string `cbor:"1,keyasint"`
	Campaign  string `cbor:"2,keyasint"`
	Recipient []byte `cbor:"3,keyasint"` // a key of the device's for this request: see [manifest.NewRecipient]
	Proof     []byte `cbor:"4,keyasint"` // all of the above, signed with the device key
}

// Sign puts the proof into r that who makes it holds the device key.
func (r *FileKeyRequest) Sign(key interface {
	Sign(context string, payload []byte) ([]byte, error)
}) (err error) {
	r.Proof = nil
	r.Proof, err = key.Sign(fileKeyContext, must(encoding.Marshal(*r)))
	return err
}

// Open returns the recipient if the holder of key made the request, and otherwise ErrProof.
func (r FileKeyRequest) Open(key manifest.PublicKey) (manifest.Recipient, error) {
	said := r
	said.Proof = nil
	if err := proves(key, fileKeyContext, r.Proof, said); err != nil {
		return manifest.Recipient{}, err
	}
	to, err := manifest.NewRecipient(r.Recipient)
	if err != nil {
		return to, ErrProof // of no use to anybody
	}
	return to, nil
}

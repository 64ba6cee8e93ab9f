package commit

import (
	"errors"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Vote is what a device says about its stage. Signed by the device key.
type Vote struct {
	Round
	Roots   []Digest // of the images, in manifest order, recomputed from storage; none with NO
	Device  string
	Ready   bool
	Reason  Reason // why NO
	Counter uint64 // rises with each vote and report of the device
}

type voteWire struct {
	Format   uint64     `cbor:"1,keyasint"`
	Campaign CampaignID `cbor:"2,keyasint"`
	Wave     uint32     `cbor:"3,keyasint"`
	Manifest Digest     `cbor:"4,keyasint"`
	Roots    []Digest   `cbor:"5,keyasint,omitempty"`
	Device   string     `cbor:"6,keyasint"`
	Ready    bool       `cbor:"7,keyasint"`
	Reason   Reason     `cbor:"8,keyasint,omitempty"`
	Counter  uint64     `cbor:"9,keyasint"`
}

// Encode returns the payload that is signed. The message has to be valid, as Parse makes it.
func (v Vote) Encode() []byte {
	return encode(voteWire{format, v.Campaign, v.Wave, v.Manifest, v.Roots, v.Device, v.Ready, v.Reason, v.Counter})
}

// Sign returns the signed message.
func (v Vote) Sign(device Signer) ([]byte, error) { return device.Sign(contextVote, v.Encode()) }

// ParseVote reads the payload of a vote. It may have come without a signature.
func ParseVote(payload []byte) (Vote, error) {
	var w voteWire
	if err := decode(payload, &w, MaxMessage); err != nil {
		return Vote{}, err
	}
	err := errors.Join(
		field(w.Format == format, "format"),
		field(len(w.Roots) <= MaxRoots && w.Ready == (len(w.Roots) > 0), "roots"),
		field(manifest.ValidName(w.Device), "device"),
		field(w.Reason.wellFormed() && w.Ready == (w.Reason == ReasonNone), "reason"),
		field(w.Counter > 0, "counter"))
	if err != nil {
		return Vote{}, err
	}
	return Vote{Round{w.Campaign, w.Wave, w.Manifest}, w.Roots, w.Device, w.Ready, w.Reason, w.Counter}, nil
}

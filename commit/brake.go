package commit

import (
	"errors"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Brake holds a campaign, pauses it, or lets it go on. Signed by the server key; the highest sequence counts.
type Brake struct {
	Campaign CampaignID
	Sequence uint64 // rising from 1
	Hold     bool   // HOLD, or RESUME
	Pause    bool   // with Hold: nothing is sent or decided meanwhile, so who receives waits
}

type brakeWire struct {
	Format   uint64     `cbor:"1,keyasint"`
	Campaign CampaignID `cbor:"2,keyasint"`
	Sequence uint64     `cbor:"3,keyasint"`
	Hold     bool       `cbor:"4,keyasint"`
	Pause    bool       `cbor:"5,keyasint,omitempty"`
}

// Encode returns the payload that is signed.
func (b Brake) Encode() []byte {
	return encode(brakeWire{format, b.Campaign, b.Sequence, b.Hold, b.Pause})
}

// Sign returns the signed message.
func (b Brake) Sign(server Signer) ([]byte, error) { return server.Sign(contextBrake, b.Encode()) }

func parseBrake(payload []byte) (Brake, error) {
	var w brakeWire
	if err := decode(payload, &w, MaxMessage); err != nil {
		return Brake{}, err
	}
	err := errors.Join(
		field(w.Format == format, "format"),
		field(w.Sequence > 0, "sequence"),
		field(w.Hold || !w.Pause, "pause"))
	if err != nil {
		return Brake{}, err
	}
	return Brake{w.Campaign, w.Sequence, w.Hold, w.Pause}, nil
}

// OpenBrake returns the brake that key has signed.
func OpenBrake(signed []byte, key manifest.PublicKey) (Brake, error) {
	payload, err := key.Verify(contextBrake, signed)
	if err != nil {
		return Brake{}, err
	}
	return parseBrake(payload)
}

package commit

import (
	"errors"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Seat says which wave of a campaign a device is in. The server key signs it, so that nobody on the way can have a device
// vote in another wave, whose COMMIT would then count for it. A campaign of one wave needs none.
type Seat struct {
	Campaign CampaignID
	Device   string
	Wave     uint32
}

type seatWire struct {
	Format   uint64     `cbor:"1,keyasint"`
	Campaign CampaignID `cbor:"2,keyasint"`
	Device   string     `cbor:"3,keyasint"`
	Wave     uint32     `cbor:"4,keyasint"`
}

// Encode returns the payload that is signed.
func (s Seat) Encode() []byte { return encode(seatWire{format, s.Campaign, s.Device, s.Wave}) }

// Sign returns the signed message.
func (s Seat) Sign(server Signer) ([]byte, error) { return server.Sign(contextSeat, s.Encode()) }

func parseSeat(payload []byte) (Seat, error) {
	var w seatWire
	if err := decode(payload, &w, MaxMessage); err != nil {
		return Seat{}, err
	}
	err := errors.Join(
		field(w.Format == format, "format"),
		field(manifest.ValidName(w.Device), "device"),
		field(w.Wave < MaxWaves, "wave"))
	if err != nil {
		return Seat{}, err
	}
	return Seat{w.Campaign, w.Device, w.Wave}, nil
}

// OpenSeat returns the seat that key has signed.
func OpenSeat(signed []byte, key manifest.PublicKey) (Seat, error) {
	payload, err := key.Verify(contextSeat, signed)
	if err != nil {
		return Seat{}, err
	}
	return parseSeat(payload)
}

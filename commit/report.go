package commit

import (
	"errors"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Report is the outcome on a device. Signed by the device key, repeated until acknowledged.
type Report struct {
	Round
	Device  string
	Outcome State // StateCommitted, StateRolledBack, StateFailed or StateReleased
	Reason  Reason
	Counter uint64 // rises with each vote and report of the device
}

type reportWire struct {
	Format   uint64     `cbor:"1,keyasint"`
	Campaign CampaignID `cbor:"2,keyasint"`
	Wave     uint32     `cbor:"3,keyasint"`
	Manifest Digest     `cbor:"4,keyasint"`
	Device   string     `cbor:"5,keyasint"`
	Outcome  State      `cbor:"6,keyasint"`
	Reason   Reason     `cbor:"7,keyasint,omitempty"`
	Counter  uint64     `cbor:"8,keyasint"`
}

// Encode returns the payload that is signed.
func (r Report) Encode() []byte {
	return encode(reportWire{format, r.Campaign, r.Wave, r.Manifest, r.Device, r.Outcome, r.Reason, r.Counter})
}

// Sign returns the signed message.
func (r Report) Sign(device Signer) ([]byte, error) { return device.Sign(contextReport, r.Encode()) }

// ParseReport reads the payload of a report. It may have come without a signature.
func ParseReport(payload []byte) (Report, error) {
	var w reportWire
	if err := decode(payload, &w, MaxMessage); err != nil {
		return Report{}, err
	}
	err := errors.Join(
		field(w.Format == format, "format"),
		field(manifest.ValidName(w.Device), "device"),
		field(w.Outcome.Outcome(), "outcome"),
		field(w.Reason.wellFormed(), "reason"),
		field(w.Counter > 0, "counter"))
	if err != nil {
		return Report{}, err
	}
	return Report{Round{w.Campaign, w.Wave, w.Manifest}, w.Device, w.Outcome, w.Reason, w.Counter}, nil
}

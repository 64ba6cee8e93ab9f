package commit

import (
	"errors"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Timestamp tells devices the time. Signed by the server key.
type Timestamp struct {
	Time time.Time // whole seconds
}

type timestampWire struct {
	Format uint64 `cbor:"1,keyasint"`
	Time   uint64 `cbor:"2,keyasint"` // seconds since 1970
}

// Encode returns the payload that is signed.
func (t Timestamp) Encode() []byte { return encode(timestampWire{format, toSeconds(t.Time)}) }

// Sign returns the signed message.
func (t Timestamp) Sign(server Signer) ([]byte, error) {
	return server.Sign(contextTimestamp, t.Encode())
}

// OpenTimestamp returns the time that key has signed.
func OpenTimestamp(signed []byte, key manifest.PublicKey) (Timestamp, error) {
	payload, err := key.Verify(contextTimestamp, signed)
	if err != nil {
		return Timestamp{}, err
	}
	return parseTimestamp(payload)
}

func parseTimestamp(payload []byte) (Timestamp, error) {
	var w timestampWire
	if err := decode(payload, &w, MaxMessage); err != nil {
		return Timestamp{}, err
	}
	err := errors.Join(field(w.Format == format, "format"), field(w.Time > 0 && w.Time <= maxSeconds, "time"))
	if err != nil {
		return Timestamp{}, err
	}
	return Timestamp{fromSeconds(w.Time)}, nil
}

package commit

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// format is the version of all messages and records. Another one is refused, not guessed at.
const format = 1

// The contexts of signatures: a message signed for one purpose verifies for no other.
const (
	contextVote      = "multicast-upgrade commit vote 1"
	contextDecision  = "multicast-upgrade commit decision 1"
	contextBrake     = "multicast-upgrade commit brake 1"
	contextReport    = "multicast-upgrade commit report 1"
	contextTimestamp = "multicast-upgrade commit timestamp 1"
	contextSeat      = "multicast-upgrade commit seat 1"
	contextApproval  = "multicast-upgrade commit approval 1"
)

// ErrMessage is wrapped when bytes are not a message: not the one CBOR form it has, a format of another version, a
// field out of bounds.
var ErrMessage = errors.New("commit: malformed message")

// A Signer signs a payload for a purpose, as *[manifest.PrivateKey] does. A key in hardware can stand behind it.
type Signer interface {
	Sign(context string, payload []byte) ([]byte, error)
}

// Messages and records are CBOR maps with small integer keys in deterministic encoding (RFC 8949, Section 4.2.1), so
// that equal messages are equal bytes.
var (
	encoding = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8,
		MaxArrayElements:  1024,
		MaxMapPairs:       32,
	}.DecMode())
)

func must[M any](mode M, err error) M {
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}

// decode reads b into v, if b is the one encoding of what it holds.
func decode(b []byte, v any, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrMessage, len(b), limit)
	}
	if err := decoding.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if again, err := encoding.Marshal(v); err != nil || !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not in deterministic encoding", ErrMessage)
	}
	return nil
}

// encode cannot fail for the structs of this package.
func encode(v any) []byte {
	return must(encoding.Marshal(v))
}

func field(ok bool, name string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: field %s", ErrMessage, name)
}

// maxSeconds keeps times and sums of them far from overflow: it is in the year 36812.
const maxSeconds = 1 << 40

func toSeconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(min(max(0, t.Unix()), maxSeconds))
}

func fromSeconds(s uint64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

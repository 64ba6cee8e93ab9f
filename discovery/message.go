package discovery

import (
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/multicast-upgrade/tool/manifest"
)

// maxBody bounds what either side reads of one message, in bytes: a notice holds a manifest and a session description
// of at most 64 KiB each, and small signed messages beside them.
const maxBody = 256 << 10

// A Notice is what the server announces. Every part is signed and means nothing before its signature is checked.
type Notice struct {
	Manifest  []byte   `cbor:"1,keyasint"`           // the signed release
	Session   []byte   `cbor:"2,keyasint"`           // the signed session description
	Decisions [][]byte `cbor:"3,keyasint,omitempty"` // the signed decision of the device's wave, once there is one
	Brake     []byte   `cbor:"4,keyasint,omitempty"` // the signed HOLD or RESUME last given
	Timestamp []byte   `cbor:"5,keyasint,omitempty"` // the server's time, signed; not part of the ETag
	Seat      []byte   `cbor:"7,keyasint,omitempty"` // which wave the device is in, signed; of a campaign of several
	Root      []byte   `cbor:"9,keyasint,omitempty"` // the newest signed root document, if the server has any; see [Client.Root]
	Node      uint32   `cbor:"6,keyasint,omitempty"` // the device's NormNodeId, if the server gives one; not signed, as its own traffic alone depends on it

	Examination []byte `cbor:"8,keyasint,omitempty"` // a signed [Examination], in place of Manifest and Session

	spread time.Duration // over which those that are told it poll again
}

// A Hello is how a device shows itself.
type Hello struct {
	Device   string `cbor:"1,keyasint"`
	Product  string `cbor:"2,keyasint"`
	Hardware string `cbor:"3,keyasint"`
	Version  string `cbor:"4,keyasint,omitempty"` // what it runs, if it knows
	Key      string `cbor:"5,keyasint,omitempty"` // its public key in text form
	Agent    []byte `cbor:"6,keyasint,omitempty"` // random, one for each start of an agent: two at once are a cloned device
	Proof    []byte `cbor:"7,keyasint,omitempty"` // all others, signed with Key: see [Hello.Sign]
	Token    string `cbor:"8,keyasint,omitempty"` // a one-time enrolment token, secret: over TLS, or on this host
	Seeded   bool   `cbor:"9,keyasint,omitempty"` // it has an older image: it looks there first, and asks for what it lacks

	proven manifest.PublicKey // see [Hello.Proven]
}

// A Status is how far a device is with a campaign. Nobody has to believe it: it is for people to look at.
type Status struct {
	Device   string `cbor:"1,keyasint"`
	Campaign string `cbor:"2,keyasint"`
	State    string `cbor:"3,keyasint"`
	Reason   string `cbor:"4,keyasint,omitempty"`
	Bytes    int64  `cbor:"5,keyasint,omitempty"` // verified so far
	Total    int64  `cbor:"6,keyasint,omitempty"`

	// What multicast was like, since the device joined the session.
	Received uint64 `cbor:"7,keyasint,omitempty"`  // datagrams of the sender
	Lost     uint64 `cbor:"8,keyasint,omitempty"`  // gaps in its sequence numbers
	Overruns uint64 `cbor:"9,keyasint,omitempty"`  // datagrams that the device's own socket had no room for, where the system tells
	ByHTTP   bool   `cbor:"10,keyasint,omitempty"` // multicast is of no use to it: the rest is fetched
}

// A Statement is a vote or an outcome. Body is a signed message or, if Signed is false, its payload alone.
type Statement struct {
	Device string `cbor:"1,keyasint"`
	Signed bool   `cbor:"2,keyasint"`
	Body   []byte `cbor:"3,keyasint"`

	Campaign string `cbor:"4,keyasint,omitempty"` // whose statement it is, for a server that has several
}

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: 1024,
		MaxMapPairs:      16,
	}.DecMode())
)

func must[M any](mode M, err error) M {
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}

// A Refusal is a request the server understood and turned down.
type Refusal struct {
	Status     int    // HTTP status code, 4xx or 5xx
	Reason     string // a word for programs, such as one of commit's reasons
	Detail     string // a sentence for people
	retryAfter int    // seconds the device is asked to wait; 0: it is not
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("discovery: the server refused: %s (%s)", r.Detail, r.Reason)
}

var (
	// ErrUnknown: the server does not know the campaign. It says nothing about a decision.
	ErrUnknown = errors.New("discovery: the server does not know the campaign")
	// ErrUndecided: there is no decision yet.
	ErrUndecided = errors.New("discovery: not decided")
	// ErrNoRoot: the server has no root document of this version.
	ErrNoRoot = errors.New("discovery: the server has no such root")
)

// Encode returns n as it is kept between servers; [ParseNotice] is its inverse.
func (n Notice) Encode() []byte { return must(encoding.Marshal(n)) }

// ParseNotice returns the Notice that Encode made b of.
func ParseNotice(b []byte) (n Notice, err error) {
	if err := decoding.Unmarshal(b, &n); err != nil {
		return n, fmt.Errorf("discovery: the notice is malformed: %w", err)
	}
	return n, nil
}

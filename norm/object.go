package norm

import "github.com/multicast-upgrade/tool/norm/fec"

// A Kind is the kind of a NORM object (RFC 5740, Section 2).
type Kind uint8

const (
	Data   Kind = iota + 1 // NORM_OBJECT_DATA: bytes without a hint where to put them
	File                   // NORM_OBJECT_FILE: bytes for a file (NORM_FLAG_FILE)
	Stream                 // NORM_OBJECT_STREAM: bytes without a known end (NORM_FLAG_STREAM); see [Sender.OpenStream]
)

// An Object is what a [Sender] is given to send. Its bytes are asked for by [Sender.Requests].
type Object struct {
	Kind Kind   // if zero, Data
	Size int64  // in bytes; 0 is an object without NORM_DATA, known by its NORM_INFO alone
	Info []byte // content of NORM_INFO, at most SegmentSize bytes; nil: the object has none

	// Pinned objects are never purged to make room; only Cancel lets go of them.
	Pinned bool

	// RepairOnly objects are not transmitted on their own: they only take their place in the order of objects, and
	// the FLUSH behind them invites receivers to ask for what they lack. It is how a restarted sender goes on without
	// sending again what most receivers have.
	RepairOnly bool

	// Unreliable objects are sent once and never repaired (NORM_FLAG_UNRELIABLE, RFC 5740, Section 4.2.1).
	Unreliable bool
}

// A Preset is an object a [Receiver] knows beforehand, by a session description: it needs no EXT_FTI to be received,
// is asked for even when nothing of it was ever heard, and keeps what it has when the sender restarts.
type Preset struct {
	Sender NodeID
	ID     TransportID
	Kind   Kind
	Size   int64
	FEC    fec.Params
	Info   bool // whether the object has NORM_INFO
}

// ReceivedObject is what a [Receiver] knows about an object.
type ReceivedObject struct {
	Sender   NodeID
	Instance InstanceID // of the sender when last heard; zero before that
	ID       TransportID
	Kind     Kind
	Size     int64
	FEC      fec.Params
	HasInfo  bool   // NORM_FLAG_INFO: NORM_INFO exists
	Info     []byte // its content; nil until it arrived; valid until the object is released
	Received int64  // bytes written to the sink or declared present
	Complete bool
}

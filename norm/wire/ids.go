package wire

import "strconv"

// A NodeID is a NormNodeId: a participant's identity (source_id, server_id, cc_node_id).
type NodeID uint32

// Node ids that "are reserved and MUST NOT be assigned to NORM participants", RFC 5740, Section 6.
const (
	NodeNone NodeID = 0          // NORM_NODE_NONE
	NodeAny  NodeID = 0xffffffff // NORM_NODE_ANY
)

// String returns the id in decimal.
func (id NodeID) String() string { return strconv.FormatUint(uint64(id), 10) }

func (id NodeID) valid() bool { return id != NodeNone && id != NodeAny }

// An InstanceID is an instance_id: it names one run of a sender and changes at each start.
type InstanceID uint16

// A TransportID is a NormTransportId: an object's id (object_transport_id), circular in 16 bits.
type TransportID uint16

// Before reports whether a precedes b on the circle: 0 < (b-a) mod 2^16 < 2^15.
func (a TransportID) Before(b TransportID) bool { return before16(uint16(a), uint16(b)) }

// A Sequence is a message's sequence number, circular in 16 bits.
type Sequence uint16

// Before reports whether a precedes b on the circle: 0 < (b-a) mod 2^16 < 2^15.
func (a Sequence) Before(b Sequence) bool { return before16(uint16(a), uint16(b)) }

// A CCSequence is a cc_sequence: the number of a NORM_CMD(CC) probe, circular in 16 bits.
type CCSequence uint16

// Before reports whether a precedes b on the circle: 0 < (b-a) mod 2^16 < 2^15.
func (a CCSequence) Before(b CCSequence) bool { return before16(uint16(a), uint16(b)) }

// before16 compares 0 < (b-a) < 2^15; a signed difference would call points half the circle
// apart mutually "before".
func before16(a, b uint16) bool { d := b - a; return 0 < d && d < 1<<15 }

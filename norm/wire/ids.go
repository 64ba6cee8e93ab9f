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
func (a TransportID) Before(b TransportID) bool { return SerialBefore(uint32(a), uint32(b), 16) }

// A Sequence is a message's sequence number, circular in 16 bits.
type Sequence uint16

// Before reports whether a precedes b on the circle: 0 < (b-a) mod 2^16 < 2^15.
func (a Sequence) Before(b Sequence) bool { return SerialBefore(uint32(a), uint32(b), 16) }

// A CCSequence is a cc_sequence: the number of a NORM_CMD(CC) probe, circular in 16 bits.
type CCSequence uint16

// Before reports whether a precedes b on the circle: 0 < (b-a) mod 2^16 < 2^15.
func (a CCSequence) Before(b CCSequence) bool { return SerialBefore(uint32(a), uint32(b), 16) }

// SerialBefore reports whether a precedes b on a circle of 2^width, width being 1 to 32:
// 0 < (b-a) mod 2^width < 2^(width-1). Of two points half the circle apart neither precedes the
// other, which a signed difference would get wrong. Bits above the width are ignored.
func SerialBefore(a, b uint32, width int) bool {
	d := (b - a) << (32 - width) // the circle scaled to 32 bits
	return 0 < d && d < 1<<31
}

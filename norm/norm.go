package norm

import (
	"net/netip"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// Identifiers as package wire defines them; each distinct id of the RFC is a distinct type.
type (
	NodeID      = wire.NodeID      // NormNodeId: 32 bits, unique in the session; never 0 or 0xffffffff
	InstanceID  = wire.InstanceID  // instance_id: one start of one sender
	TransportID = wire.TransportID // NormTransportId: an object of a sender, circular in 16 bits
)

// A Datagram is one UDP datagram as it arrived: raw bytes, so that packet authentication can see them.
type Datagram struct {
	From netip.AddrPort // the node that sent it
	To   netip.AddrPort // the group, or our own address
	ECN  uint8          // the two ECN bits of the IP header (RFC 3168)
	B    []byte         // valid during the call of Handle only
}

// A Handle names an object at one Sender or Receiver, from the moment it is known until it is released. Handles are
// local, never reused, and survive a restart of the sender when the object was announced by [Receiver.Expect].
type Handle uint64

// An Op says what an [IO] asks for.
type Op uint8

const (
	Read  Op = iota + 1 // fill B from Offset
	Write               // store B at Offset
)

// An IO is one request to read or write bytes of an object. The core owns it and its buffer; the driver performs it,
// sets Err, and hands it back by Complete, in any order. A Read that ends short must set Err. An IO may name an object
// that has been released since; what becomes of it does not matter, but it must be handed back.
type IO struct {
	Op     Op
	Object Handle
	Offset int64  // in bytes from the start of the object
	B      []byte // where to read to, or what to write; the driver must not keep it after Complete
	Err    error  // set by the driver

	tag any // what the core wanted it for
}

// A Range is the bytes [Offset, Offset+Length) of an object.
type Range struct{ Offset, Length int64 }

// End returns the offset of the first byte behind r.
func (r Range) End() int64 { return r.Offset + r.Length }

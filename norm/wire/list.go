package wire

import (
	"encoding/binary"
	"iter"
)

// A NodeList is an acking_node_list: node ids of 4 bytes each. Bytes after the last whole entry are
// ignored.
type NodeList []byte

// Len returns the number of entries.
func (l NodeList) Len() int { return len(l) / 4 }

// All returns the entries in their order.
func (l NodeList) All() iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) {
		for ; len(l) >= 4; l = l[4:] {
			if !yield(NodeID(binary.BigEndian.Uint32(l))) {
				return
			}
		}
	}
}

// Contains reports whether id is listed. NORM_NODE_ANY in the list stands for nobody.
func (l NodeList) Contains(id NodeID) bool {
	for node := range l.All() {
		if node == id {
			return id.valid()
		}
	}
	return false
}

// AppendNode appends an entry to an acking_node_list.
func AppendNode(l NodeList, id NodeID) NodeList { return binary.BigEndian.AppendUint32(l, uint32(id)) }

// An ObjectList is an invalid_object_list: object ids of 2 bytes each. A byte after the last whole
// entry is ignored.
type ObjectList []byte

// Len returns the number of entries.
func (l ObjectList) Len() int { return len(l) / 2 }

// All returns the entries in their order.
func (l ObjectList) All() iter.Seq[TransportID] {
	return func(yield func(TransportID) bool) {
		for ; len(l) >= 2; l = l[2:] {
			if !yield(TransportID(binary.BigEndian.Uint16(l))) {
				return
			}
		}
	}
}

// AppendObject appends an entry to an invalid_object_list.
func AppendObject(l ObjectList, id TransportID) ObjectList {
	return binary.BigEndian.AppendUint16(l, uint16(id))
}

// A CCNode is an item of the cc_node_list of a NORM_CMD(CC) (RFC 5740, Section 4.2.3.4).
type CCNode struct {
	Node  NodeID // cc_node_id
	Flags CCFlags
	RTT   uint8  // cc_rtt, coded as [EncodeRTT] does; valid only if CCFlagRTT is set
	Rate  uint16 // cc_rate, coded as [EncodeRate] does
}

const ccNodeSize = 8

// A CCNodeList is a cc_node_list: items of 8 bytes each. Bytes after the last whole item are ignored.
type CCNodeList []byte

// Len returns the number of items.
func (l CCNodeList) Len() int { return len(l) / ccNodeSize }

// All returns the items in their order.
func (l CCNodeList) All() iter.Seq[CCNode] {
	return func(yield func(CCNode) bool) {
		for ; len(l) >= ccNodeSize; l = l[ccNodeSize:] {
			n := CCNode{
				Node:  NodeID(binary.BigEndian.Uint32(l)),
				Flags: CCFlags(l[4]),
				RTT:   l[5],
				Rate:  binary.BigEndian.Uint16(l[6:]),
			}
			if !yield(n) {
				return
			}
		}
	}
}

// Find returns the item of a node; ok is false if it is not listed.
func (l CCNodeList) Find(id NodeID) (node CCNode, ok bool) {
	for n := range l.All() {
		if n.Node == id {
			return n, true
		}
	}
	return CCNode{}, false
}

// AppendCCNode appends an item to a cc_node_list.
func AppendCCNode(l CCNodeList, n CCNode) CCNodeList {
	l = binary.BigEndian.AppendUint32(l, uint32(n.Node))
	l = append(l, byte(n.Flags), n.RTT)
	return binary.BigEndian.AppendUint16(l, n.Rate)
}

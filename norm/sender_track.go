package norm

import (
	"container/list"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A TrackPolicy says which nodes a [Sender] takes for the group when it is asked to name them ([Sender.Tracked]), as NRL's
// automatic acking nodes are.
type TrackPolicy uint8

const (
	// TrackNone names nobody.
	TrackNone TrackPolicy = iota
	// TrackReceivers names those that asked for repairs or acknowledged what the sender asked for.
	TrackReceivers
	// TrackAll names these and those that gave feedback for congestion control or GRTT alone.
	TrackAll
)

// A tracker knows the nodes that were heard. Any source_id would be one, so the number is bounded, and the one longest
// silent gives way.
type tracker struct {
	nodes map[NodeID]*list.Element // in heard
	heard list.List                // NodeIDs, the one heard last in front
}

// track notes a node that gave feedback to this sender; cc is whether it was NORM_ACK(CC).
func (s *Sender) track(id NodeID, cc bool) {
	if s.cfg.Track == TrackNone || cc && s.cfg.Track == TrackReceivers {
		return
	}
	t := &s.tracked
	if e := t.nodes[id]; e != nil {
		t.heard.MoveToFront(e)
		return
	}
	if t.nodes == nil {
		t.nodes = make(map[NodeID]*list.Element)
	}
	if t.heard.Len() == s.cfg.MaxTracked {
		delete(t.nodes, t.heard.Remove(t.heard.Back()).(wire.NodeID))
	}
	t.nodes[id] = t.heard.PushFront(id)
}

// Tracked returns the nodes known by their feedback, the one heard last first; none unless [SenderConfig].Track is set.
func (s *Sender) Tracked() []NodeID {
	var nodes []NodeID
	for e := s.tracked.heard.Front(); e != nil; e = e.Next() {
		nodes = append(nodes, e.Value.(NodeID))
	}
	return nodes
}

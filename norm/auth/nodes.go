package auth

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A node is what is remembered of who has sent genuine packets in one direction.
type node struct {
	window   window
	instance wire.InstanceID // of a sender: the run that the window is of
	sent     wire.Timestamp  // of a sender: the latest send_time
}

// Nodes are the known nodes in two generations. One heard of moves to the younger; when that has half of all that may be
// kept, or is old enough, the older is forgotten and the younger becomes it. So what is kept is bounded, nobody is
// forgotten before others were silent for longer, and no packet takes a search.
type nodes struct {
	young, old map[wire.NodeID]*node
	half       int
	forget     time.Duration
	turned     time.Time
}

// find returns what is known of a node, or nil.
func (s *nodes) find(id wire.NodeID) *node {
	if n := s.young[id]; n != nil {
		return n
	}
	return s.old[id]
}

// age turns the generations when it is time.
func (s *nodes) age(now time.Time) {
	if s.turned.IsZero() {
		s.turned = now
	}
	if now.Sub(s.turned) >= s.forget {
		s.turn(now)
	}
}

func (s *nodes) turn(now time.Time) {
	if now.Sub(s.turned) >= 2*s.forget {
		clear(s.young) // nothing was heard in between
	}
	s.young, s.old, s.turned = s.old, s.young, now
	clear(s.young)
}

// keep puts a node whose packet was genuine in the younger generation.
func (s *nodes) keep(now time.Time, id wire.NodeID, n *node) {
	if s.young[id] == n {
		return
	}
	if len(s.young) >= s.half {
		s.turn(now)
	}
	delete(s.old, id)
	if s.young == nil {
		s.young = make(map[wire.NodeID]*node)
	}
	s.young[id] = n
}

package fleettest

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync"

	"github.com/multicast-upgrade/tool/norm/normtest/hub"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A Network is groups in memory, in which each socket has an address of its own. The zero Network is ready to use; it may be
// used by several goroutines.
type Network struct {
	mu      sync.Mutex // guards all below
	groups  map[netip.AddrPort]*hub.Hub
	last    byte
	rng     *rand.Rand
	lost    float64
	nackers map[uint32]bool
	data    int
	heard   int
}

// Open returns a socket in a group.
func (n *Network) Open(group netip.AddrPort) session.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.groups[group]
	if h == nil {
		if n.groups == nil {
			n.groups, n.nackers, n.rng = map[netip.AddrPort]*hub.Hub{}, map[uint32]bool{}, rand.New(rand.NewPCG(1, 2))
		}
		h = new(hub.Hub)
		h.Lose(func(_, _ netip.AddrPort, b []byte) bool { return n.loses(b) })
		n.groups[group] = h
	}
	n.last++
	return h.Open(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n.last}), 6003))
}

func (n *Network) loses(b []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch typ := b[0] & 0x0f; typ {
	case uint8(wire.TypeNack):
		n.nackers[binary.BigEndian.Uint32(b[4:])] = true // source_id (RFC 5740, Section 4.1)
	case uint8(wire.TypeData):
		n.data += len(b)
		fallthrough
	case uint8(wire.TypeInfo), uint8(wire.TypeCmd):
		n.heard++
	}
	return n.rng.Float64() < n.lost
}

// Lose has this share of all datagrams lost from now on.
func (n *Network) Lose(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = share
}

// Nackers returns the NormNodeIds of those who have sent a NORM_NACK.
func (n *Network) Nackers() map[uint32]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.nackers)
}

// Sent returns how many bytes of NORM_DATA, and how many datagrams of senders, went to receivers, each counted once for each of them.
func (n *Network) Sent() (data, datagrams int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.data, n.heard
}

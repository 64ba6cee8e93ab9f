package normtest

import (
	"net/netip"
	"slices"
	"time"
)

// A membership is what a host has to do with the repair group.
type membership struct {
	always bool          // a sender hears the requests there
	joined bool          // as its node wants it
	before bool          // and the last time it wanted anything else
	at     time.Duration // when that changed; the network is late by its latency
}

// followRepairs joins the repair group, or leaves it, as a node that is a [norm.Receiver] wants.
func (h *Host) followRepairs() {
	node, ok := h.node.(interface{ HearsRepairs() bool })
	if !ok || node.HearsRepairs() == h.repairs.joined {
		return
	}
	h.repairs = membership{joined: !h.repairs.joined, before: h.inRepairGroup(), at: h.net.now}
	if h.net.OnJoin != nil {
		h.net.OnJoin(h, h.repairs.joined)
	}
}

// inRepairGroup reports whether the network brings the repair group to h.
func (h *Host) inRepairGroup() bool {
	m, latency := &h.repairs, h.net.LeaveLatency
	if m.joined {
		latency = h.net.JoinLatency
	}
	if m.always || h.net.now >= m.at+latency {
		return m.always || m.joined
	}
	return m.before
}

// hears reports whether what is sent to an address may reach h.
func (h *Host) hears(to netip.AddrPort) bool { return to != RepairGroup || h.inRepairGroup() }

// hears reports whether any host of the site does.
func (s *Site) hears(to netip.AddrPort) bool {
	return to != RepairGroup || slices.ContainsFunc(s.branches, func(b *branch) bool {
		return slices.ContainsFunc(b.hosts, (*Host).inRepairGroup)
	})
}

package upgrade

import (
	"net"
	"net/netip"
)

// A Link is where to, from where and how fast a campaign sends.
type Link struct {
	Group     netip.AddrPort
	Interface string  // name; empty: the routing table decides
	TTL       int     // of multicast; 0 stays on this host
	Rate      float64 // bits per second
	AutoRate  bool    // by congestion control; Rate is zero
}

// Link returns how the campaign sends. It is for the time before Run.
func (c *Campaign) Link() Link {
	s := c.frozen.Settings
	l := Link{Group: s.Group, Interface: s.Interface, TTL: s.TTL, Rate: s.Rate, AutoRate: s.AutoRate}
	if conn, ok := c.conn.(interface {
		Interface() *net.Interface
		TTL() int
	}); ok {
		if l.TTL = conn.TTL(); conn.Interface() != nil {
			l.Interface = conn.Interface().Name
		}
	}
	return l
}

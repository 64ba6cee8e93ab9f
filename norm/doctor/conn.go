package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// keep is how much of a datagram is looked at.
const keep = 256

// A packet is a datagram that arrived.
type packet struct {
	from    netip.AddrPort
	to      netip.Addr // zero where the system does not tell
	ttl     int        // as it arrived; 0 where the system does not tell
	ifindex int        // likewise
	size    int
	tapped  bool // seen on the wire, not delivered
	own     bool // came to the port that no other socket has
	query   *query
	b       []byte // its first bytes
}

// A conn is a UDP socket that sets the TTL of each datagram and tells that of each one it gets.
type conn struct {
	udp *net.UDPConn
	v4  *ipv4.PacketConn // or v6
	v6  *ipv6.PacketConn

	own        bool  // its port is its own
	noFragment error // why datagrams may be fragmented; nil: they are not
}

// listen opens a socket at an address. A group stands for its port on all addresses, shared with others that do the same.
func listen(at netip.AddrPort, ifi *net.Interface) (*conn, error) {
	c := &conn{own: at.Port() == 0}
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { c.noFragment = dontFragment(fd, network == "udp4") })
	}}
	pc, err := lc.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, err
	}
	c.udp = pc.(*net.UDPConn)
	c.udp.SetReadBuffer(udp.DefaultReadBuffer) // as granted
	// Where control messages are not to be had, what they tell is unknown.
	if network == "udp4" {
		c.v4 = ipv4.NewPacketConn(pc)
		c.v4.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst|ipv4.FlagInterface, true)
		err = c.v4.SetMulticastInterface(ifi)
		err = errors.Join(err, c.v4.SetMulticastLoopback(true))
	} else {
		c.v6 = ipv6.NewPacketConn(pc)
		c.v6.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst|ipv6.FlagInterface, true)
		err = c.v6.SetMulticastInterface(ifi)
		err = errors.Join(err, c.v6.SetMulticastLoopback(true))
	}
	if err != nil {
		pc.Close()
		return nil, fmt.Errorf("interface %s cannot send multicast: %w", ifi.Name, err)
	}
	return c, nil
}

func (c *conn) close() { c.udp.Close() }

// join joins a group on an interface; source may be the zero Addr.
func (c *conn) join(ifi *net.Interface, group, source netip.Addr) error {
	g := &net.UDPAddr{IP: group.AsSlice()}
	s := &net.UDPAddr{IP: source.AsSlice()}
	switch {
	case c.v4 != nil && source.IsValid():
		return c.v4.JoinSourceSpecificGroup(ifi, g, s)
	case c.v4 != nil:
		return c.v4.JoinGroup(ifi, g)
	case source.IsValid():
		return c.v6.JoinSourceSpecificGroup(ifi, g, s)
	}
	return c.v6.JoinGroup(ifi, g)
}

// leave leaves what join has joined without a source.
func (c *conn) leave(ifi *net.Interface, group netip.Addr) {
	g := &net.UDPAddr{IP: group.AsSlice()}
	if c.v4 != nil {
		c.v4.LeaveGroup(ifi, g)
	} else {
		c.v6.LeaveGroup(ifi, g)
	}
}

// send sends to an address; ttl counts if it is a group.
func (c *conn) send(b []byte, to netip.AddrPort, ttl int) error {
	if to.Addr().IsMulticast() {
		var err error
		if c.v4 != nil {
			err = c.v4.SetMulticastTTL(ttl)
		} else {
			err = c.v6.SetMulticastHopLimit(ttl)
		}
		if err != nil {
			return err
		}
	}
	_, err := c.udp.WriteToUDPAddrPort(b, to)
	return err
}

// read sends what arrives to in, until the socket is closed or ctx ends.
func (c *conn) read(ctx context.Context, in chan<- packet) {
	b := make([]byte, 1<<16)
	for {
		p, err := c.readOne(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			continue // an ICMP error of an earlier datagram
		}
		select {
		case in <- p:
		case <-ctx.Done():
			return
		}
	}
}

func (c *conn) readOne(b []byte) (packet, error) {
	p := packet{own: c.own}
	var from net.Addr
	var err error
	if c.v4 != nil {
		var cm *ipv4.ControlMessage
		if p.size, cm, from, err = c.v4.ReadFrom(b); cm != nil {
			p.to, _ = netip.AddrFromSlice(cm.Dst)
			p.ttl, p.ifindex = cm.TTL, cm.IfIndex
		}
	} else {
		var cm *ipv6.ControlMessage
		if p.size, cm, from, err = c.v6.ReadFrom(b); cm != nil {
			p.to, _ = netip.AddrFromSlice(cm.Dst)
			p.ttl, p.ifindex = cm.HopLimit, cm.IfIndex
		}
	}
	if err != nil {
		return p, err
	}
	p.to = p.to.Unmap()
	if a, ok := from.(*net.UDPAddr); ok {
		p.from = a.AddrPort()
		p.from = netip.AddrPortFrom(p.from.Addr().Unmap(), p.from.Port())
	}
	p.b = append([]byte(nil), b[:min(p.size, keep)]...)
	return p, nil
}

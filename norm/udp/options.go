package udp

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// options are the socket options that IPv4 and IPv6 have in common.
type options interface {
	JoinGroup(ifi *net.Interface, group net.Addr) error
	JoinSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error
	LeaveGroup(ifi *net.Interface, group net.Addr) error
	LeaveSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error
	SetMulticastInterface(ifi *net.Interface) error
	SetMulticastLoopback(on bool) error
	setMulticastTTL(ttl int) error
	setTTL(ttl int) error
	setTrafficClass(tos int) error
}

type options4 struct{ *ipv4.PacketConn }

func (o options4) setMulticastTTL(ttl int) error { return o.SetMulticastTTL(ttl) }
func (o options4) setTTL(ttl int) error          { return o.SetTTL(ttl) }
func (o options4) setTrafficClass(tos int) error { return o.SetTOS(tos) }

type options6 struct{ *ipv6.PacketConn }

func (o options6) setMulticastTTL(ttl int) error { return o.SetMulticastHopLimit(ttl) }
func (o options6) setTTL(ttl int) error          { return o.SetHopLimit(ttl) }
func (o options6) setTrafficClass(tos int) error { return o.SetTrafficClass(tos) }

func (s *socket) options(r *resolved) options {
	if r.is4() {
		return options4{ipv4.NewPacketConn(s.conn)}
	}
	return options6{ipv6.NewPacketConn(s.conn)}
}

// setOptions sets how s sends and how much the kernel queues.
func (s *socket) setOptions(r *resolved) error {
	o := s.options(r)
	set := func(what string, err error) error {
		if err != nil {
			return fmt.Errorf("setting the %s: %w", what, err)
		}
		return nil
	}
	if r.multicast() {
		if r.ifi != nil {
			err := o.SetMulticastInterface(r.ifi)
			if err == nil && r.is4() && r.from.IsValid() {
				err = setMulticastSource(s, r.ifi, r.from)
			}
			if err != nil {
				return fmt.Errorf("interface %s cannot send multicast to %v: %w", r.ifi.Name, r.Group, err)
			}
		}
		if err := set("multicast TTL", o.setMulticastTTL(max(r.TTL, 0))); err != nil {
			return err
		}
		if err := set("multicast loopback", o.SetMulticastLoopback(!r.NoLoopback)); err != nil {
			return err
		}
	} else if r.TTL != 0 {
		if err := set("TTL", o.setTTL(max(r.TTL, 0))); err != nil {
			return err
		}
	}
	if tos := r.DSCP<<2 | r.ECN; tos != 0 {
		if err := set("DSCP and ECN", o.setTrafficClass(tos)); err != nil {
			return err
		}
	}
	var err error
	s.readBuffer, s.writeBuffer, err = setBuffers(s, r.ReadBuffer, r.WriteBuffer)
	return set("buffer sizes", err)
}

// join makes s a member of a group of the session.
func (s *socket) join(r *resolved, group netip.Addr) error {
	to := ipAddr(group)
	var err error
	if r.Source.IsValid() {
		err = joinSource(s, r, to, ipAddr(r.Source))
	} else {
		err = s.options(r).JoinGroup(r.ifi, to)
	}
	switch {
	case err == nil:
		return nil
	case r.ifi == nil:
		return fmt.Errorf("joining %v: %w (no interface is given; there are %s)", group, err, Interfaces())
	}
	return fmt.Errorf("joining %v on interface %s: %w", group, r.ifi.Name, err)
}

// leave ends that.
func (s *socket) leave(r *resolved, group netip.Addr) error {
	from := ipAddr(group)
	var err error
	if r.Source.IsValid() {
		err = leaveSource(s, r, from, ipAddr(r.Source))
	} else {
		err = s.options(r).LeaveGroup(r.ifi, from)
	}
	if err != nil {
		return fmt.Errorf("leaving %v: %w", group, err)
	}
	return nil
}

func ipAddr(a netip.Addr) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
}

package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// A socket is one UDP socket and what it accepts. What differs from system to
// system is in batch, which has the buffers, readBatch and writeBatch.
type socket struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	local netip.AddrPort
	group netip.AddrPort // where a Message without To goes
	stats *counters
	accept

	readBuffer, writeBuffer int // as granted by the kernel, in bytes

	batch
	detached
}

// accept says which datagrams a socket is for. The kernel filters too, but
// not alike everywhere.
type accept struct {
	group   netip.Addr // the one group heard; zero: none
	source  netip.Addr // the one source heard on it; zero: any
	ifindex int        // the one interface it is heard on; 0: any
}

// control is what came with a datagram beside its payload.
type control struct {
	to       netip.Addr // as in the IP header
	local    netip.Addr // IPv4: the address of this host it was meant for
	ifindex  int        // where it arrived; 0 where the system does not tell
	ecn      uint8
	segment  int    // UDP_GRO: the payload is several datagrams of this size; 0: one
	overflow uint32 // SO_RXQ_OVFL: how many the queue has dropped so far
}

// A verdict says whether a datagram is delivered, or why not.
type verdict int

const (
	deliver verdict = iota
	wrongDestination
	wrongSource
)

// judge decides on a datagram from its addresses.
func (a *accept) judge(from netip.Addr, c *control) verdict {
	switch {
	case !c.to.IsValid():
		return wrongDestination
	case !c.to.IsMulticast():
		if c.local.IsValid() && c.to != c.local {
			return wrongDestination // broadcast
		}
		return deliver
	case c.to.WithZone("") != a.group:
		return wrongDestination
	case a.ifindex != 0 && c.ifindex != 0 && c.ifindex != a.ifindex:
		return wrongDestination
	case a.source.IsValid() && from.WithZone("") != a.source.WithZone(""):
		// "It MUST NOT be delivered to other sockets." RFC 4607, Section 4.2.
		return wrongSource
	}
	return deliver
}

// drop counts n datagrams that are not delivered.
func (s *socket) drop(v verdict, n int) {
	switch v {
	case wrongDestination:
		s.stats.destination.Add(uint64(n))
	case wrongSource:
		s.stats.source.Add(uint64(n))
	}
}

// openSession opens the socket on the port of a group, in that group, or at the
// address of this host that stands for it.
func openSession(r *resolved, group netip.AddrPort, stats *counters) (*socket, error) {
	s, err := openGroup(r, group, stats)
	if err != nil {
		return nil, err
	}
	if r.multicast() {
		if err := s.join(r, group.Addr()); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, s.detach()
}

// openGroup is openSession without joining. The socket stays with package net,
// which can still join.
func openGroup(r *resolved, group netip.AddrPort, stats *counters) (*socket, error) {
	at := netip.AddrPortFrom(r.wildcard(), group.Port())
	if !r.multicast() {
		at = group
	}
	s, err := listen(r, at, stats)
	if err != nil {
		return nil, err
	}
	if r.multicast() {
		s.accept = accept{group: group.Addr(), source: r.Source}
		if r.ifi != nil {
			s.accept.ifindex = r.ifi.Index
		}
	}
	return s, nil
}

// openSource opens the socket a sender sends from.
func openSource(r *resolved, stats *counters) (*socket, error) {
	from := r.from
	if !from.IsValid() {
		from = r.wildcard()
	}
	at := netip.AddrPortFrom(from, r.SourcePort)
	s, err := listen(r, at, stats)
	if err != nil {
		return nil, err
	}
	if r.sessionPort(s.local.Port()) {
		// The kernel chose a port of the session, of all there are: hold it while
		// choosing another one.
		defer s.close()
		if s, err = listen(r, at, stats); err != nil {
			return nil, err
		}
	}
	return s, s.detach()
}

// listen opens a socket bound to at, with all options of r that are not about
// membership.
func listen(r *resolved, at netip.AddrPort, stats *counters) (*socket, error) {
	shared := r.sessionPort(at.Port()) && r.multicast()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			if shared {
				err = shareAddress(fd)
			}
			if err == nil {
				err = receiveOptions(fd, r.is4())
			}
		}), err)
	}}
	pc, err := lc.ListenPacket(context.Background(), r.network(), at.String())
	if err != nil {
		return nil, listenError(at, err)
	}
	s := &socket{conn: pc.(*net.UDPConn), group: r.Group, stats: stats}
	s.local = s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s.local = netip.AddrPortFrom(s.local.Addr().Unmap(), s.local.Port())
	if s.raw, err = s.conn.SyscallConn(); err == nil {
		err = s.setOptions(r)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.batch.init(s, r)
	return s, nil
}

// listenError says in a user's words why at could not be bound.
func listenError(at netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, errAddrInUse):
		return fmt.Errorf("port %d is in use by another program: %w", at.Port(), err)
	case errors.Is(err, errAddrNotAvail):
		return fmt.Errorf("address %v is not on this host; there are %s", at.Addr(), Interfaces())
	}
	return fmt.Errorf("opening a socket on %v: %w", at, err)
}

package udp

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"time"
)

// A Role says which ports a Conn uses.
type Role int

const (
	// Receiver listens on the session's port and sends its feedback from there.
	Receiver Role = iota

	// Sender sends from a port of its own, other than the session's, and
	// listens there for unicast feedback. With such a port "the NORM sender
	// implementation can discriminate unicast feedback messages from
	// multicast feedback messages" (RFC 5740, Section 5.4.4). It also listens
	// to the group, where receivers send NACKs in the any-source model. A
	// node that sends and receives is a Sender.
	Sender
)

// Buffer sizes asked of the kernel when Config does not say.
const (
	DefaultReadBuffer  = 2 << 20
	DefaultWriteBuffer = 1 << 20
)

// ECT0 is the codepoint ECT(0) for Config.ECN, by which routers may mark
// datagrams in place of dropping them. It is for a sender that gives way to
// marks, to receivers that see them.
const ECT0 = 2

// stall is for how long a receiver may not get to read: several processes take turns on a processor, or a disk is slow.
const stall = 50 * time.Millisecond

// ReadBufferFor returns a Config.ReadBuffer for a rate, in bits per second: what arrives in 50 ms, 64 KiB to 64 MiB.
func ReadBufferFor(rate float64) int {
	return int(min(max(rate/8*stall.Seconds(), 64<<10), 64<<20))
}

// A Config describes the sockets of one NORM session. Only Group is required.
type Config struct {
	// Group is the session's address and port: a multicast group, or the
	// address of the one host that receives. A zone ("[ff12::1%eth0]:6003")
	// stands for Interface.
	Group netip.AddrPort

	// RepairGroup, unless zero, is a second group that repairs go to. A Sender
	// hears it as it hears Group; a Receiver does between the calls of
	// HearRepairs.
	RepairGroup netip.AddrPort

	// Role is Receiver if zero.
	Role Role

	// Interface is the name of a network interface or one of its addresses.
	// Groups are joined there and multicast leaves from there; a Sender given
	// an address sends from it. If empty, the routing table decides.
	Interface string

	// Source makes the session source-specific: a Receiver joins (Source,
	// Group) and accepts no multicast from anyone else (RFC 4607); a Sender
	// sends from this address and does not join, since all feedback is
	// unicast. If it is the zero Addr, any source will do.
	Source netip.Addr

	// SourcePort is the port a Sender sends from. If zero, the kernel chooses
	// one. It must differ from the port of Group.
	SourcePort uint16

	// TTL is the time to live, or hop limit, of what is sent to Group. If
	// zero, multicast has 1 and stays on the link, and unicast has the
	// system's default. If negative, 0 is used: multicast stays on this host.
	TTL int

	// NoLoopback keeps multicast from this Conn away from other sockets on
	// this host. By default they hear it, and on the loopback interface they
	// do in any case.
	NoLoopback bool

	// DSCP is the differentiated services codepoint of what is sent, 0 to 63.
	DSCP int

	// ECN is the ECN codepoint of what is sent (RFC 3168): 0 is Not-ECT, 1
	// ECT(1), 2 is ECT0. Windows lets no program choose one.
	ECN int

	// ReadBuffer and WriteBuffer are the sizes of the kernel's queues in
	// bytes. If zero, DefaultReadBuffer and DefaultWriteBuffer are asked for.
	// The kernel may grant less: see Stats.
	ReadBuffer  int
	WriteBuffer int

	// NoOffload turns UDP_SEGMENT and UDP_GRO off, which are otherwise used
	// where the kernel has them.
	NoOffload bool
}

// resolved is a Config that can work: defaults filled in, names looked up.
type resolved struct {
	Config
	ifi  *net.Interface // nil: the routing table decides
	from netip.Addr     // the address to send from; zero: the kernel chooses
}

// multicast reports whether the session uses a group rather than a host.
func (r *resolved) multicast() bool { return r.Group.Addr().IsMulticast() }

// is4 reports whether the session runs over IPv4.
func (r *resolved) is4() bool { return r.Group.Addr().Is4() }

// sourceSpecific reports whether all feedback is unicast, so that a sender has
// nothing to hear on the group.
func (r *resolved) sourceSpecific() bool {
	return r.Source.IsValid() || IsSourceSpecific(r.Group.Addr())
}

// network is the name that package net has for the session's IP version.
func (r *resolved) network() string {
	if r.is4() {
		return "udp4"
	}
	return "udp6"
}

// sessionPort reports whether a port is that of one of the session's groups.
func (r *resolved) sessionPort(port uint16) bool {
	return port == r.Group.Port() || port == r.RepairGroup.Port()
}

// wildcard is the unspecified address of the session's IP version.
func (r *resolved) wildcard() netip.Addr {
	if r.is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// resolve returns c with defaults filled in, or which field cannot work and why.
func (c Config) resolve() (*resolved, error) {
	addr := c.Group.Addr().Unmap()
	if zone := addr.Zone(); zone != "" && addr.IsMulticast() {
		if c.Interface != "" && c.Interface != zone {
			return nil, fmt.Errorf("group %v is on %s, but interface %s is asked for", c.Group, zone, c.Interface)
		}
		c.Interface, addr = zone, addr.WithZone("")
	}
	c.Group = netip.AddrPortFrom(addr, c.Group.Port())
	c.Source = c.Source.Unmap()
	if err := checkGroup(c.Group); err != nil {
		return nil, err
	}
	if g := c.RepairGroup; g != (netip.AddrPort{}) && (!g.Addr().IsMulticast() || g.Port() == 0 || !addr.IsMulticast()) {
		return nil, fmt.Errorf("repair group %v beside group %v: both have to be multicast groups with a port", g, c.Group)
	}
	r := &resolved{Config: c}
	for _, check := range []func() error{r.findInterface, r.checkSource, r.checkNumbers} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if r.TTL == 0 && r.multicast() {
		r.TTL = 1
	}
	r.ReadBuffer = cmp.Or(c.ReadBuffer, DefaultReadBuffer)
	r.WriteBuffer = cmp.Or(c.WriteBuffer, DefaultWriteBuffer)
	return r, nil
}

// findInterface looks Interface up and, where it is an address, sends from it.
func (r *resolved) findInterface() error {
	if r.Interface == "" {
		return nil
	}
	ifi, addr, err := InterfaceFor(r.Interface)
	if err != nil {
		return err
	}
	r.ifi, r.from = ifi, addr
	if addr.IsValid() && addr.Is4() != r.is4() {
		return fmt.Errorf("interface address %v and group %v are not of one IP version", addr, r.Group)
	}
	if r.multicast() && ifi.Flags&net.FlagLoopback == 0 {
		return nil
	}
	// To one host the routing table decides where datagrams leave, and what
	// an interface means is one of its addresses. Over loopback the kernel
	// would send multicast from an address of another interface.
	own, err := addrsOf(ifi)
	if err != nil {
		return err
	}
	if host := r.Group.Addr(); !r.multicast() && r.Role == Receiver {
		if !slices.Contains(own, host.WithZone("")) {
			return fmt.Errorf("address %v is not on interface %s", host, ifi.Name)
		}
		return nil
	}
	i := slices.IndexFunc(own, func(a netip.Addr) bool { return a.Is4() == r.is4() && !a.IsLinkLocalUnicast() })
	if i < 0 && !r.from.IsValid() {
		return fmt.Errorf("interface %s has no address to reach %v from", ifi.Name, r.Group.Addr())
	}
	if !r.from.IsValid() {
		r.from = own[i]
	}
	return nil
}

func (r *resolved) checkSource() error {
	switch {
	case !r.Source.IsValid() && r.Role == Receiver && IsSourceSpecific(r.Group.Addr()):
		// "It is meaningless [...] to request reception of datagrams sent to
		// an SSM destination address G [...] without also specifying a
		// corresponding source address, and routers MUST ignore any such
		// request." RFC 4607, Section 3.
		return fmt.Errorf("group %v is source-specific (RFC 4607): the sender's address is needed", r.Group)
	case !r.Source.IsValid():
		return nil
	case !r.multicast():
		return fmt.Errorf("source %v needs a multicast group, and %v is a host", r.Source, r.Group)
	case r.Source.Is4() != r.is4():
		return fmt.Errorf("source %v and group %v are not of one IP version", r.Source, r.Group)
	case !isHost(r.Source):
		return fmt.Errorf("source %v is not the address of a host", r.Source)
	}
	if r.Role == Sender {
		r.from = r.Source
	}
	return nil
}

func (r *resolved) checkNumbers() error {
	switch {
	case r.Role != Receiver && r.Role != Sender:
		return fmt.Errorf("role %d is neither Receiver nor Sender", r.Role)
	case r.SourcePort != 0 && r.Role != Sender:
		return errors.New("a source port is for a sender: receivers send from the session port")
	case r.SourcePort != 0 && r.sessionPort(r.SourcePort):
		return fmt.Errorf("source port %d is the session port: feedback could not be told apart (RFC 5740, Section 5.4.4)", r.SourcePort)
	case r.TTL < 0 && !r.multicast():
		return fmt.Errorf("a TTL of 0 keeps datagrams on this host, and %v is not multicast", r.Group)
	case r.TTL > 255:
		return fmt.Errorf("TTL %d is over 255", r.TTL)
	case r.DSCP < 0 || r.DSCP > 63:
		return fmt.Errorf("DSCP %d is not within 0 to 63", r.DSCP)
	case r.ECN < 0 || r.ECN > 3:
		return fmt.Errorf("ECN %d is not within 0 to 3", r.ECN)
	case r.ECN != 0 && runtime.GOOS == "windows":
		return errors.New("ECN cannot be marked on Windows")
	case r.ReadBuffer < 0 || r.WriteBuffer < 0:
		return errors.New("a buffer size is negative")
	case r.ReadBuffer > math.MaxInt32 || r.WriteBuffer > math.MaxInt32:
		return errors.New("a buffer size is over 2 GiB")
	}
	return nil
}

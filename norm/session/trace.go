package session

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// A Tracer is told what a Session does, in order: trace.Recorder writes it to a file. It is called on the loop and must
// neither block nor keep the messages.
type Tracer interface {
	// Sent tells of datagrams that the socket took; from is where they come from as far as is known.
	Sent(now time.Time, from netip.AddrPort, msgs []udp.Message)
	// Received tells of datagrams that arrived, before anything is done with them.
	Received(now time.Time, msgs []udp.Message)
	// Event tells of an event as the log has it: its name, and the fields that are set.
	Event(now time.Time, name string, attrs ...slog.Attr)
}

// localAddr returns where the datagrams of a socket come from: if the kernel chooses the address, the first one of its
// interface; the zero AddrPort if that is not known either.
func localAddr(c Conn) netip.AddrPort {
	s, ok := c.(interface {
		LocalAddr() netip.AddrPort
		Interface() *net.Interface
	})
	if !ok {
		return netip.AddrPort{}
	}
	local, ifi := s.LocalAddr(), s.Interface()
	if !local.Addr().IsUnspecified() || ifi == nil {
		return local
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return local
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() == local.Addr().Unmap().Is4() {
			return netip.AddrPortFrom(p.Addr(), local.Port())
		}
	}
	return local
}

//go:build linux

package interop

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A packet is a NORM message on its way from one node to another.
type packet struct {
	from, to int // indices of nodes
	b        []byte
	msg      wire.Message // what b holds; valid during the call
}

// A loss decides which packets do not arrive. It is asked once for each packet and node that would get it.
type loss func(p packet) bool

// A relay is the network between the nodes of an exchange, on the loopback interface. Each node has an address of its own,
// the session's as far as it knows, and what it sends there the relay brings to all others: except what is to be lost.
// Feedback by unicast goes back to the node whose message it answers.
type relay struct {
	t     *testing.T
	taps  []*tap
	lose  loss
	watch func(p packet) // sees each packet that arrives

	mu    sync.Mutex
	dec   wire.Decoder
	lost  int
	trace []string // what passed lately, for a test that fails
}

// A tap is where one node meets the network.
type tap struct {
	at   netip.AddrPort // the session address of this node
	to   netip.AddrPort // where the node hears: at, or in a unicast session its own address
	in   *net.UDPConn   // hears what the node sends to at; nil for a receiver of a unicast session
	face *net.UDPConn   // sends to the others what this node sends, and hears what they answer to it by unicast
}

// networks are the kinds of session that exchanges run in.
var (
	multicast4 = netip.MustParseAddr("239.255.77.63")
	multicast6 = netip.MustParseAddr("ff15::77:63")
	unicast4   = netip.MustParseAddr("127.0.0.1")
)

// newRelay joins n nodes. In a unicast session the first one sends.
func newRelay(t *testing.T, group netip.Addr, n int, lose loss) *relay {
	t.Helper()
	r := &relay{t: t, lose: lose}
	var readers sync.WaitGroup
	for i := range n {
		p := &tap{}
		if group.IsMulticast() || i == 0 {
			p.in = listen(t, group)
			p.at = netip.AddrPortFrom(group, localPort(p.in))
			p.to = p.at
		} else {
			free := listen(t, group)
			p.at = netip.AddrPortFrom(group, localPort(free))
			p.to = p.at
			free.Close()
		}
		if !group.IsMulticast() && i == 0 {
			p.to = netip.AddrPort{} // not known before it sends
		}
		p.face = listen(t, loopbackOf(group))
		sendToLoopback(t, p.face, group)
		r.taps = append(r.taps, p)
	}
	for i, p := range r.taps {
		if p.in != nil {
			readers.Go(func() { read(p.in, func(b []byte, from netip.AddrPort) { r.forward(i, from, b) }) })
		}
		readers.Go(func() { read(p.face, func(b []byte, from netip.AddrPort) { r.answer(i, from, b) }) })
	}
	t.Cleanup(func() {
		for _, p := range r.taps {
			if p.in != nil {
				p.in.Close()
			}
			p.face.Close()
		}
		readers.Wait()
		if t.Failed() {
			for _, line := range r.trace {
				t.Log(line)
			}
		}
	})
	return r
}

func loopbackOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return unicast4
	}
	return netip.IPv6Loopback()
}

// listen opens a socket for addr on a port that is free. A group is joined on the loopback interface.
func listen(t *testing.T, addr netip.Addr) (c *net.UDPConn) {
	t.Helper()
	network, at := "udp4", &net.UDPAddr{IP: addr.AsSlice()}
	if addr.Is6() {
		network = "udp6"
	}
	var err error
	if addr.IsMulticast() {
		c, err = net.ListenMulticastUDP(network, loopbackInterface(t), at)
	} else {
		c, err = net.ListenUDP(network, at)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadBuffer(4 << 20)
	return c
}

func loopbackInterface(t *testing.T) *net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback != 0 })
	if i < 0 {
		t.Fatal("no loopback interface")
	}
	return &all[i]
}

// sendToLoopback makes multicast that c sends stay on the loopback interface.
func sendToLoopback(t *testing.T, c *net.UDPConn, group netip.Addr) {
	t.Helper()
	var err error
	if group.Is4() {
		p := ipv4.NewPacketConn(c)
		if err = p.SetMulticastInterface(loopbackInterface(t)); err == nil {
			err = p.SetMulticastTTL(0)
		}
	} else {
		p := ipv6.NewPacketConn(c)
		if err = p.SetMulticastInterface(loopbackInterface(t)); err == nil {
			err = p.SetMulticastHopLimit(0)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func localPort(c *net.UDPConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// read hands on what arrives until c is closed.
func read(c *net.UDPConn, f func(b []byte, from netip.AddrPort)) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		f(b[:n], from)
	}
}

// own reports whether a datagram came from the relay itself, which hears the groups that it sends to.
func (r *relay) own(from netip.AddrPort) bool {
	return slices.ContainsFunc(r.taps, func(p *tap) bool { return localPort(p.face) == from.Port() })
}

// forward brings what node i sent to the session address to all others.
func (r *relay) forward(i int, from netip.AddrPort, b []byte) {
	if r.own(from) {
		return
	}
	if !r.taps[i].at.Addr().IsMulticast() {
		r.mu.Lock()
		r.taps[i].to = from
		r.mu.Unlock()
	}
	for j := range r.taps {
		if j != i {
			r.pass(i, j, b)
		}
	}
}

// answer brings what a node sent back, by unicast, to node i: known by the port that heard it. Which of the others it was
// tells the port that it sends from, or the first of its sender ids.
func (r *relay) answer(i int, from netip.AddrPort, b []byte) {
	j := slices.IndexFunc(r.taps, func(p *tap) bool { return p.at.Port() == from.Port() })
	if j < 0 {
		if j = 1; i == 1 {
			j = 0
		}
	}
	r.pass(j, i, b)
}

// pass brings a message from node i to node j, or loses it.
func (r *relay) pass(i, j int, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	msg, err := r.dec.Parse(b)
	if err != nil {
		r.t.Errorf("what node %d sent is no NORM message: %v: %x", i, err, b)
		return
	}
	p := packet{from: i, to: j, b: b, msg: msg}
	fate := ""
	if r.lose != nil && r.lose(p) {
		r.lost++
		fate = "  lost"
	} else {
		if r.watch != nil {
			r.watch(p)
		}
		to := r.taps[j].to
		if i != 0 && j == 0 && !r.taps[0].at.Addr().IsMulticast() {
			to = r.taps[0].to
		}
		if to.IsValid() {
			r.taps[i].face.WriteToUDPAddrPort(b, to)
		}
	}
	if len(r.trace) < 400 {
		r.trace = append(r.trace, fmt.Sprintf("%d > %d  %v%s", i, j, msg, fate))
	}
}

// losses is how many packets did not arrive.
func (r *relay) losses() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

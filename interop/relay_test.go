//go:build linux

package interop

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A packet is a NORM message on its way from one node to another.
type packet struct {
	from, to int // indices of nodes
	unicast  bool
	b        []byte
	msg      wire.Message // what b holds; valid during the call
}

// A loss decides which packets do not arrive. It is asked once for each packet and node that would get it.
type loss func(p packet) bool

// A relay is the network between the nodes of an exchange, on the loopback interface. Each node has an address of its own,
// the session's as far as it knows, and what it sends there the relay brings to all others: except what is to be lost.
// Feedback by unicast goes back to the node whose message it answers.
type relay struct {
	t    *testing.T
	taps []*tap
	lose loss
	look func(p packet, lost bool) // sees all packets, once for each node that would get it

	mu    sync.Mutex
	dec   wire.Decoder
	lost  int
	trace excerpt // what passed, for a test that fails
}

// A tap is where one node meets the network.
type tap struct {
	at   netip.AddrPort // the session address of this node
	from netip.AddrPort // where the node sends from, and hears what is sent to it by unicast; zero before it sends
	in   *net.UDPConn   // hears what the node sends to at; nil for a receiver of a unicast session
	face *net.UDPConn   // sends to the others what this node sends, and hears what they answer to it by unicast
}

// The addresses that sessions run at.
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
		} else {
			free := listen(t, group)
			p.at = netip.AddrPortFrom(group, localPort(free))
			free.Close()
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
			t.Log("\n" + r.trace.String())
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
	c.SetReadBuffer(readBuffer)
	if raw, err := c.SyscallConn(); err == nil { // beyond the system's limit, where that is allowed
		raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, readBuffer) })
	}
	return c
}

// readBuffer is what a socket of the relay may hold, in bytes, so that nothing is lost but what is to be.
const readBuffer = 8 << 20

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

// watch has see see all packets from now on.
func (r *relay) watch(see func(p packet, lost bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look = see
}

// own reports whether a datagram came from the relay itself, which hears the groups that it sends to.
func (r *relay) own(from netip.AddrPort) bool {
	return slices.ContainsFunc(r.taps, func(p *tap) bool { return localPort(p.face) == from.Port() })
}

// hears is where node p gets what others send: its session address, or the port that it sends from.
func (p *tap) hears(unicast bool) netip.AddrPort {
	if unicast {
		return p.from
	}
	return p.at
}

// forward brings what node i sent to the session address to all others.
func (r *relay) forward(i int, from netip.AddrPort, b []byte) {
	if r.own(from) {
		return
	}
	r.mu.Lock()
	r.taps[i].from = from
	r.mu.Unlock()
	for j := range r.taps {
		if j != i {
			r.pass(i, j, false, b)
		}
	}
}

// answer brings what a node sent by unicast, to where node i sends from, to node i.
func (r *relay) answer(i int, from netip.AddrPort, b []byte) {
	r.pass(r.nodeAt(i, from), i, true, b)
}

// nodeAt is the node, other than node i, that sends from an address: one that is known there, or the first that was not heard
// before, or, if all were, the last, which then has moved.
func (r *relay) nodeAt(i int, from netip.AddrPort) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	unknown := -1
	for j, p := range r.taps {
		switch {
		case p.from == from || p.at == from:
			return j
		case !p.from.IsValid() && j != i && unknown < 0:
			unknown = j
		}
	}
	if unknown < 0 {
		unknown = len(r.taps) - 1
	}
	r.taps[unknown].from = from
	return unknown
}

// pass brings a message from node i to node j, or loses it.
func (r *relay) pass(i, j int, unicast bool, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	msg, err := r.dec.Parse(b)
	if err != nil {
		r.t.Errorf("what node %d sent is no NORM message: %v: %x", i, err, b)
		return
	}
	p := packet{from: i, to: j, unicast: unicast, b: b, msg: msg}
	lost := r.lose != nil && r.lose(p)
	if r.look != nil {
		r.look(p, lost)
	}
	fate := ""
	if lost {
		r.lost++
		fate = "  lost"
	} else if to := r.taps[j].hears(unicast); to.IsValid() {
		r.taps[i].face.WriteToUDPAddrPort(b, to)
	}
	r.trace.add(fmt.Sprintf("%d > %d  %v%s", i, j, msg, fate))
}

// awaitData makes a channel that is closed when NORM_DATA of that block of an object has passed.
func (r *relay) awaitData(object norm.TransportID, block uint32) <-chan struct{} {
	passed := make(chan struct{})
	closeOnce := sync.OnceFunc(func() { close(passed) })
	r.watch(func(p packet, _ bool) {
		if m, ok := p.data(); ok && m.Object == object && at(m).Block == block {
			closeOnce()
		}
	})
	return passed
}

// An excerpt is the first and the last lines of a long text.
type excerpt struct{ first, last []string }

const excerptLines = 200

func (t *excerpt) add(line string) {
	if len(t.first) < excerptLines {
		t.first = append(t.first, line)
		return
	}
	if t.last = append(t.last, line); len(t.last) == 2*excerptLines {
		t.last = slices.Delete(t.last, 0, excerptLines)
	}
}

func (t *excerpt) String() string {
	return strings.Join(slices.Concat(t.first, []string{"…"}, t.last), "\n")
}

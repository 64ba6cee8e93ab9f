package normtest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// Group is the multicast group of every network; a host's own port is the group's.
var Group = netip.MustParseAddrPort("239.255.0.1:6003")

// RepairGroup is the second group, that repairs go to where nodes are told of it. Hosts hear it only while their receivers do.
var RepairGroup = netip.MustParseAddrPort("239.255.0.2:6003")

// Epoch is when every network starts.
var Epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// A Net is a network of hosts in virtual time. Its hosts hang on sites, the sites on a core that loses nothing and
// takes no time: a packet from one site to another passes the sender's Up link, its site's Up link, the other site's
// Down link and the receiver's Down link; within a site only the first and the last.
//
// The same calls with the same seed give the same run, to the last datagram.
type Net struct {
	// What a test may watch; each may be nil. None may keep the packet.
	OnSend    func(p *Packet)                          // a host sent a packet
	OnDeliver func(p *Packet, to *Host)                // it arrived
	OnLose    func(p *Packet, to *Host)                // it did not, by loss or rule; not called for what a site's link loses
	OnEvent   func(h *Host, e norm.Event)              // a node told its application
	OnRead    func(h *Host, o *Received, p norm.Piece) // it read from a stream
	OnJoin    func(h *Host, joined bool)               // it joined the repair group, or left it

	// JoinLatency and LeaveLatency are how long the network takes to bring the repair group to a host that joins it, and to
	// end that when it leaves.
	JoinLatency, LeaveLatency time.Duration

	now    time.Duration
	queue  queue
	seed   uint64
	rng    *rand.Rand
	core   *Site
	sites  []*Site
	hosts  []*Host
	byAddr map[netip.AddrPort]*Host
	rules  []*Rule
	free   []*Packet // packets to use again
	buf    []byte

	decoder wire.Decoder
	decoded *Packet // whose message it holds
	message wire.Message
}

// New returns an empty network. All its chance comes from seed.
func New(seed uint64) *Net {
	n := &Net{seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), byAddr: make(map[netip.AddrPort]*Host)}
	n.core = n.AddSite()
	return n
}

// Now returns the virtual time, which stands still but in Run and RunUntil.
func (n *Net) Now() time.Time { return Epoch.Add(n.now) }

// Elapsed returns the virtual time since the network's start.
func (n *Net) Elapsed() time.Duration { return n.now }

// Hosts returns the hosts in the order they were added.
func (n *Net) Hosts() []*Host { return n.hosts }

// Run lets d of virtual time pass.
func (n *Net) Run(d time.Duration) {
	n.RunUntil(d, func() bool { return false })
}

// RunUntil lets virtual time pass until done, which is asked after each event, or at most for d. It reports whether it was done.
func (n *Net) RunUntil(d time.Duration, done func() bool) bool {
	end := n.now + d
	for len(n.queue.events) > 0 && n.queue.events[0].at <= end {
		if done() {
			return true
		}
		n.step()
	}
	if done() {
		return true
	}
	n.now = end
	return false
}

// At calls f when the virtual time is d from now.
func (n *Net) At(d time.Duration, f func()) {
	n.queue.push(event{at: n.now + max(0, d), do: f})
}

// step lets the next event happen.
func (n *Net) step() {
	e := n.queue.pop()
	n.now = e.at
	switch {
	case e.do != nil:
		e.do()
	case e.branch != nil:
		for _, h := range e.branch.hosts {
			if h != e.packet.From || h.crowd != nil {
				n.arrive(e.packet, h)
			}
		}
		n.release(e.packet)
	case e.shard != nil:
		e.shard.wake(e.at, int(e.member))
	case e.packet != nil:
		n.deliver(e.packet, e.host, e.marked)
		n.release(e.packet)
	default:
		e.host.wake(e.at)
	}
}

// A Packet is a datagram under way.
type Packet struct {
	From   *Host
	Source netip.AddrPort // where it is seen to come from
	To     netip.AddrPort
	Sent   time.Time
	B      []byte

	member int    // of the crowd it is from
	refs   int    // events that still need it
	text   string // what String returned
}

// Message returns the packet's message, nil if it is none. It is valid until the next call for another packet.
func (p *Packet) Message() wire.Message {
	n := p.From.net
	if n.decoded != p {
		n.message, _ = n.decoder.Parse(p.B)
		n.decoded = p
	}
	return n.message
}

// String returns the message in words, or why it is none.
func (p *Packet) String() string {
	if p.text == "" {
		p.text = wire.Describe(p.B)
	}
	return p.text
}

// send puts a datagram of h, or of a member of the crowd there, on the wire.
func (n *Net) send(h *Host, member int, b []byte, to netip.AddrPort) {
	p := n.packet()
	p.From, p.member, p.Source, p.To, p.Sent, p.B = h, member, h.Addr, to, n.Now(), append(p.B[:0], b...)
	defer n.release(p)
	if n.OnSend != nil {
		n.OnSend(p)
	}
	if h.Detached {
		return
	}
	up := h.Up.pass(h.rng, n.now, len(b))
	for _, at := range up.at[:up.n] {
		if to.Addr().IsMulticast() {
			n.multicast(p, at)
		} else {
			n.unicast(p, at)
		}
	}
}

func (n *Net) multicast(p *Packet, at time.Duration) {
	home := p.From.site
	home.descend(p, at)
	left := burst{at: [2]time.Duration{at}, n: 1}
	if home != n.core {
		left = home.Up.pass(n.rng, at, len(p.B))
	}
	for _, at := range left.at[:left.n] {
		for _, s := range n.sites {
			if s == home || len(s.branches) == 0 || !s.hears(p.To) {
				continue
			}
			down := s.Down.pass(n.rng, at, len(p.B))
			for _, at := range down.at[:down.n] {
				s.descend(p, at)
			}
		}
	}
}

func (n *Net) unicast(p *Packet, at time.Duration) {
	to, ok := n.byAddr[p.To]
	if !ok {
		return
	}
	route := burst{at: [2]time.Duration{at}, n: 1}
	if home := p.From.site; home != to.site {
		for _, l := range []*Link{&home.Up, &to.site.Down} {
			if route.n > 0 {
				route = l.pass(n.rng, route.at[0], len(p.B))
			}
		}
	}
	for _, at := range route.at[:route.n] {
		n.queue.push(event{at: at + to.Down.Delay, packet: n.hold(p), branch: &to.alone})
	}
}

// arrive hands the packet to the last link of h. Who shares the delay arrives together; a link that is not steady
// decides only now when the packet, which was under way for the delay already, comes out.
func (n *Net) arrive(p *Packet, h *Host) {
	if !h.hears(p.To) {
		return
	}
	if h.Detached || n.ruledOut(p, h) {
		n.lose(p, h)
		return
	}
	if h.crowd != nil {
		h.crowd.arrive(p)
		return
	}
	if h.Down.steady() {
		if h.Down.Loss != nil && h.Down.Loss.lost(h.rng) {
			n.lose(p, h)
			return
		}
		n.deliver(p, h, false)
		return
	}
	out := h.Down.pass(h.rng, n.now-h.Down.Delay, len(p.B))
	if out.n == 0 {
		n.lose(p, h)
	}
	for _, at := range out.at[:out.n] {
		n.queue.push(event{at: at, packet: n.hold(p), host: h, marked: out.marked})
	}
}

// ECN codepoints (RFC 3168): all packets are ECT(0) until a link marks them.
const (
	ect0 = 2
	ce   = 3
)

func (n *Net) lose(p *Packet, h *Host) {
	if n.OnLose != nil {
		n.OnLose(p, h)
	}
}

func (n *Net) deliver(p *Packet, h *Host, marked bool) {
	if h.node == nil || h.Detached {
		return
	}
	if n.OnDeliver != nil {
		n.OnDeliver(p, h)
	}
	d := norm.Datagram{From: p.Source, To: p.To, ECN: ect0, B: p.B}
	if marked {
		d.ECN = ce
	}
	h.node.Handle(n.Now(), d)
	h.settle()
}

func (n *Net) packet() *Packet {
	if last := len(n.free) - 1; last >= 0 {
		p := n.free[last]
		n.free = n.free[:last]
		p.refs, p.text = 1, ""
		if n.decoded == p {
			n.decoded = nil
		}
		return p
	}
	return &Packet{refs: 1}
}

func (n *Net) hold(p *Packet) *Packet {
	p.refs++
	return p
}

func (n *Net) release(p *Packet) {
	if p.refs--; p.refs == 0 {
		n.free = append(n.free, p)
	}
}

// A Site is a part of the network behind links of its own: what its Down link loses, all its hosts lose.
type Site struct {
	Up, Down Link

	net      *Net
	branches []*branch
}

// A branch is the hosts of a site that a packet reaches at one instant: one event serves them all.
type branch struct {
	delay time.Duration
	hosts []*Host
}

// AddSite adds a site without hosts.
func (n *Net) AddSite() *Site {
	s := &Site{net: n}
	n.sites = append(n.sites, s)
	return s
}

// descend sends a packet that is at the head of the site to all its hosts.
func (s *Site) descend(p *Packet, at time.Duration) {
	for _, b := range s.branches {
		s.net.queue.push(event{at: at + b.delay, packet: s.net.hold(p), branch: b})
	}
}

// add puts h among the hosts with the same delay.
func (s *Site) add(h *Host) {
	for _, b := range s.branches {
		if b.delay == h.Down.Delay {
			b.hosts = append(b.hosts, h)
			return
		}
	}
	s.branches = append(s.branches, &branch{delay: h.Down.Delay, hosts: []*Host{h}})
}

// Address returns the address of the i-th host added to a network, from 0 on, for configurations that must name it before.
func Address(i int) netip.AddrPort {
	i++
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Group.Port())
}

func (n *Net) fault(format string, args ...any) {
	panic(fmt.Sprintf("normtest: %v: ", n.now) + fmt.Sprintf(format, args...))
}

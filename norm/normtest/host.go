package normtest

import (
	"iter"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A Node is a state machine with the verbs of package norm's calling contract: a [norm.Sender], a [norm.Receiver], or
// what a test puts in their place.
type Node interface {
	Handle(now time.Time, d norm.Datagram)
	Complete(now time.Time, io *norm.IO)
	Advance(now time.Time)
	Requests() iter.Seq[*norm.IO]
	Poll(now time.Time, b []byte) (pkt []byte, to netip.AddrPort, ok bool)
	Events() iter.Seq[norm.Event]
	Deadline() time.Time
}

// A Host is a place in the network where a node runs. It is the node's driver: it keeps the calling contract, and
// holds the bytes of its objects.
type Host struct {
	Name string
	Addr netip.AddrPort

	Up       Link // towards the others
	Down     Link // from the others; Down.Delay must not change once the host is added
	Detached bool // the cable is out: the node runs, but nothing leaves or arrives

	// OnEvent is the application; nil: it ignores everything. It may call methods of the node, but not Do.
	OnEvent func(e norm.Event)
	// Open returns where the bytes of an object are; nil or a nil File fails its requests.
	Open func(h norm.Handle) File

	// Identify names an object in a trace; nil: not at all.
	Identify func(h norm.Handle) string
	// OnSettle is called when the node has said all it has to say after a call; it may be nil.
	OnSettle func()

	// Lag is how much later than its Deadline the node is woken at the most, as by an operating system's timer.
	Lag time.Duration

	// Requests of the node are done after IODelay; with IOShuffle after up to twice that time, in no order. If zero, at once.
	IODelay   time.Duration
	IOShuffle bool

	net    *Net
	site   *Site
	alone  branch // only us
	node   Node
	crowd  *Crowd // in place of a node
	start  uint64 // counts the nodes that ran here: a completion for an earlier one is dropped
	rng    *rand.Rand
	alarm  time.Duration // when the earliest event of our own in the queue comes; none: negative
	spins  int           // wake-ups at this instant
	events []norm.Event
	ios    []*norm.IO

	repairs membership
}

// Add puts a new host into the site (nil: directly at the core), reached over the two links, without a node.
func (n *Net) Add(name string, site *Site, up, down Link) *Host {
	if site == nil {
		site = n.core
	}
	i := len(n.hosts)
	h := &Host{
		Name: name, Addr: Address(i), Up: up, Down: down, net: n, site: site, alarm: -1,
		rng: rand.New(rand.NewPCG(n.seed, uint64(i)+1)),
	}
	n.hosts = append(n.hosts, h)
	n.byAddr[h.Addr] = h
	h.alone.hosts = []*Host{h}
	site.add(h)
	return h
}

// Start lets node run on h, in place of the one before.
func (h *Host) Start(node Node) {
	h.Kill()
	h.node = node
	h.settle()
}

// Move gives h another address, as when it changes networks or an address translator before it forgets it: it is seen
// there from now on, and what is sent to its old address is lost.
func (h *Host) Move(to netip.AddrPort) {
	delete(h.net.byAddr, h.Addr)
	h.Addr = to
	h.net.byAddr[to] = h
}

// Kill ends the node of h without a word to anybody: packets to it and completions of its requests are dropped.
func (h *Host) Kill() {
	h.node, h.alarm = nil, -1
	h.start++
}

// Node returns the node that runs on h; nil if none does.
func (h *Host) Node() Node { return h.node }

// Do runs f, which calls methods of the node of h, as the contract asks for: what the call brought about is drained.
func (h *Host) Do(f func(now time.Time)) {
	f(h.net.Now())
	h.settle()
}

// settle drains the node until it has nothing more to say, and sets the alarm for its Deadline.
func (h *Host) settle() {
	for busy := true; busy && h.node != nil; {
		busy = h.serve()
		for {
			pkt, to, ok := h.node.Poll(h.net.Now(), h.net.buf[:0])
			if !ok {
				break
			}
			h.net.buf = pkt
			h.net.send(h, 0, pkt, to)
		}
		busy = h.listen() || busy
	}
	if h.node == nil {
		return
	}
	if h.OnSettle != nil {
		h.OnSettle()
	}
	h.followRepairs()
	if d := h.node.Deadline(); !d.IsZero() {
		h.setAlarm(max(h.net.now, d.Sub(Epoch)))
	}
}

// setAlarm makes sure that an event of our own comes at the given instant or before. An earlier one is left in the
// queue: deadlines move away with every packet, and finding the alarm too early costs less than moving it.
func (h *Host) setAlarm(at time.Duration) {
	if h.Lag > 0 && at > h.net.now {
		at += time.Duration(h.rng.Float64() * float64(h.Lag))
	}
	if h.alarm < 0 || at < h.alarm {
		h.alarm = at
		h.net.queue.push(event{at: at, host: h})
	}
}

// maxSpins is how often a node may ask to be woken at one instant before it counts as stuck.
const maxSpins = 10_000

// wake is called when an alarm set for at rings.
func (h *Host) wake(at time.Duration) {
	if h.node == nil || at != h.alarm {
		return // an alarm of an earlier node, or one that an earlier one replaced
	}
	h.alarm = -1
	d := h.node.Deadline()
	if d.IsZero() {
		return
	}
	if due := d.Sub(Epoch); due > at {
		h.setAlarm(due)
		return
	}
	h.node.Advance(h.net.Now())
	h.settle()
	if h.alarm != at {
		h.spins = 0
	} else if h.spins++; h.spins > maxSpins {
		h.net.fault("%s has a deadline that Advance does not move", h.Name)
	}
}

// serve performs what the node asks of its storage, and reports whether any of it is done.
func (h *Host) serve() bool {
	h.ios = h.ios[:0]
	for io := range h.node.Requests() {
		h.ios = append(h.ios, io)
	}
	for _, io := range h.ios {
		h.perform(io)
	}
	return len(h.ios) > 0 && h.IODelay == 0
}

func (h *Host) perform(io *norm.IO) {
	complete := func() {
		io.Err = h.access(io)
		h.node.Complete(h.net.Now(), io)
	}
	if h.IODelay == 0 {
		complete()
		return
	}
	delay := h.IODelay
	if h.IOShuffle {
		delay = time.Duration(h.rng.Float64() * 2 * float64(h.IODelay))
	}
	start := h.start
	h.net.At(delay, func() {
		if h.start == start {
			complete()
			h.settle()
		}
	})
}

// listen hands the node's events to the application, and reports whether there were any.
func (h *Host) listen() bool {
	h.events = h.events[:0]
	for e := range h.node.Events() {
		h.events = append(h.events, e)
	}
	for _, e := range h.events {
		if h.OnEvent != nil {
			h.OnEvent(e)
		}
		if h.net.OnEvent != nil {
			h.net.OnEvent(h, e)
		}
	}
	return len(h.events) > 0
}

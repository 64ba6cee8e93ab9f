//go:build linux

package interop

import (
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// An exchange is one row of docs/interop.md.
type exchange struct {
	section string
	what    string
	ways    []way
}

// A way is an exchange with one implementation in each role.
type way struct {
	name string // such as "NRL → Go"
	run  func(t *testing.T)
}

// exchanges are all of them, in the order of the document.
func exchanges() []exchange {
	var all []exchange
	for _, s := range []struct {
		name string
		rows []exchange
	}{
		{"Objects and codes", objectExchanges()},
		{"Repair", repairExchanges()},
		{"Streams", streamExchanges()},
		{"Sessions", sessionExchanges()},
		{"Dialects", dialectExchanges()},
		{"Commands", commandExchanges()},
		{"libzmq", zmqExchanges()},
	} {
		for _, x := range s.rows {
			x.section = s.name
			all = append(all, x)
		}
	}
	return all
}

// together is how many exchanges run at once, unless -parallel says otherwise: they wait more than they work.
const together = "8"

func TestExchanges(t *testing.T) {
	nrlProgram.require(t)
	if !t.Run("gate", testGate) { // all others depend on it
		t.FailNow()
	}
	for _, x := range exchanges() {
		t.Run(x.what, func(t *testing.T) {
			for _, w := range x.ways {
				t.Run(w.name, func(t *testing.T) {
					t.Parallel()
					w.run(t)
				})
			}
		})
	}
}

// testGate proves that the peer repairs at all. Builds of NRL's library against a newer protolib than theirs never answer a
// NACK while they hold a single object, and so would fail, or be taken for fine, for a reason that is not ours.
func testGate(t *testing.T) {
	x := transfer{objects: []object{{kind: norm.Data, info: "one object", content: content(20_000, 1)}}, lose: func() loss { return once(symbol(0, 3)) }}
	x.run(t, nrl, nrl)
}

// A transfer is what most exchanges are: objects from one node to others.
type transfer struct {
	code      fec.Params // if zero, id 5 with segments of 1024 bytes in blocks of 64 and 16 parity symbols
	auto      int
	group     netip.Addr  // if zero, multicast4
	objects   []object    // what is sent, and expected
	receivers int         // if zero, 1
	lose      func() loss // makes what the relay loses; nil: nothing
	tune      func(n *node)

	// look makes two functions for one run: one sees each packet on its way to a node, the other says at the end whether
	// that is right.
	look func(t *testing.T) (see func(p packet, lost bool), check func())
}

// bothWays runs the transfer from NRL's implementation to ours, and back.
func (x transfer) bothWays() []way {
	return []way{x.way(nrl, ours), x.way(ours, nrl)}
}

func (x transfer) way(from, to implementation) way {
	return way{from.name + " → " + to.name, func(t *testing.T) { x.run(t, from, to) }}
}

// usualCode is what a transfer has that says nothing.
var usualCode = fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1024, MaxBlockLen: 64, MaxParity: 16}

const senderID = 1

// sender is the sending node as transfers have it: a GRTT that suits one host, and a rate that it can bear while other
// exchanges run.
func (x transfer) sender(at netip.AddrPort) node {
	n := node{id: senderID, at: at, instance: 7, code: x.code, auto: x.auto, rate: 20e6, grtt: 20 * time.Millisecond, backoff: 2,
		unicast: !at.Addr().IsMulticast(), objects: x.objects}
	if n.code.MaxBlockLen == 0 {
		n.code = usualCode
	}
	n.code.Dialect = fec.NRL
	return x.tuned(n)
}

func (x transfer) receiver(i int, at netip.AddrPort) node {
	return x.tuned(node{id: norm.NodeID(10 + i), at: at, join: norm.JoinAll, objects: x.objects})
}

func (x transfer) tuned(n node) node {
	if x.tune != nil {
		x.tune(&n)
	}
	return n
}

// network makes the relay for one run, with what is lost in it.
func (x transfer) network(t *testing.T) *relay {
	group, lose := x.group, loss(nil)
	if !group.IsValid() {
		group = multicast4
	}
	if x.lose != nil {
		lose = x.lose()
	}
	r := newRelay(t, group, 1+max(x.receivers, 1), lose)
	return r
}

// run sends from one implementation to the other, and compares what arrives.
func (x transfer) run(t *testing.T, from, to implementation) {
	r := x.network(t)
	see, check := func(packet, bool) {}, func() {}
	if x.look != nil {
		see, check = x.look(t)
	}
	r.watch(see)
	var receivers []*peer
	for i, tap := range r.taps[1:] {
		receivers = append(receivers, to.receive(t, x.receiver(i, tap.at)))
	}
	n := x.sender(r.taps[0].at)
	sender := from.send(t, n)
	for _, p := range receivers {
		p.awaitObjects(t, x.objects)
	}
	if n.acks != nil {
		sender.await(t, "watermark")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if x.lose != nil && r.lost == 0 {
		t.Error("nothing was lost")
	}
	check()
}

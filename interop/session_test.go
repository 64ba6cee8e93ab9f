//go:build linux

package interop

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/wire"
)

func sessionExchanges() []exchange {
	return []exchange{
		{what: "a receiver that comes in the middle gets what was before, too", ways: eachWay(lateJoin)},
		{what: "the sender starts again with another instance_id, and the same object id", ways: eachWay(restart)},
		{what: "object ids pass 65535, objects 65535 and 0 lost once", ways: []way{{"Go → NRL", wrapFromOurs}, {"NRL → Go", wrapFromNRL}}},
		{what: "a receiver that may not speak, served by proactive parity", ways: silent().bothWays()},
		{what: "receivers answer by unicast, NORM_CMD(REPAIR_ADV) tells the others", ways: unicastFeedback().bothWays()},
		{what: "a watermark, of two receivers that are there, every third packet lost, and one that is not", ways: eachWay(watermark)},
		{what: "a unicast session, every third packet lost", ways: unicastSession().bothWays()},
		{what: "the sender's congestion control: the rate climbs from one segment a second, by NORM_ACK(CC) with START", ways: eachWay(rateClimbs)},
	}
}

// eachWay are both ways of an exchange that is a function.
func eachWay(run func(t *testing.T, from, to implementation)) []way {
	return []way{
		{"NRL → Go", func(t *testing.T) { run(t, nrl, ours) }},
		{"Go → NRL", func(t *testing.T) { run(t, ours, nrl) }},
	}
}

// lateJoin starts the receiver when a part of the first object was sent.
func lateJoin(t *testing.T, from, to implementation) {
	x := transfer{
		objects: []object{{kind: norm.Data, info: "first", content: content(300*1024, 1)}, {kind: norm.Data, info: "second", content: content(50*1024, 2)}},
		tune:    func(n *node) { n.rate = 4e6 },
	}
	r := x.network(t)
	part := r.awaitData(0, 1)
	from.send(t, x.sender(r.taps[0].at))
	<-part
	to.receive(t, x.receiver(0, r.taps[1].at)).awaitObjects(t, x.objects)
}

// restart stops a sender and starts another one under its name: object 0 of the second is not object 0 of the first.
func restart(t *testing.T, from, to implementation) {
	x := transfer{objects: []object{{kind: norm.Data, info: "before", content: content(100*1024, 1)}}}
	r := x.network(t)
	receiver := to.receive(t, x.receiver(0, r.taps[1].at))
	first := from.send(t, x.sender(r.taps[0].at))
	receiver.awaitObjects(t, x.objects)
	first.stop()

	x.objects = []object{{kind: norm.Data, info: "after", content: content(60*1024, 2)}}
	n := x.sender(r.taps[0].at)
	n.instance++
	r.mu.Lock()
	r.lose = everyThird()
	r.mu.Unlock()
	from.send(t, n)
	receiver.await(t, "reset")
	receiver.awaitObjects(t, x.objects)
}

// aroundTheWrap loses the last object of the number space and the first one behind it, once.
func aroundTheWrap() loss {
	last, first := once(objectOf(math.MaxUint16)), once(objectOf(0))
	passed := false // the first object 0 is before the wrap
	return func(p packet) bool {
		passed = passed || objectOf(math.MaxUint16)(p)
		return last(p) || passed && first(p)
	}
}

func wrapFromOurs(t *testing.T) {
	x := transfer{tune: func(n *node) { n.first = math.MaxUint16 - 5 }, lose: aroundTheWrap}
	for i := range byte(12) {
		x.objects = append(x.objects, object{kind: norm.Data, info: fmt.Sprint(i), content: content(5000, i)})
	}
	x.run(t, ours, nrl)
}

// wrapFromNRL has libnorm, whose ids begin with 0, send as many small objects as it takes: some at a time, so that what is
// lost by chance can be repaired before the sender lets go of it.
func wrapFromNRL(t *testing.T) {
	const n, some = math.MaxUint16 + 12, 100
	x := transfer{lose: aroundTheWrap, tune: func(node *node) { node.extra = []string{fmt.Sprintf("many=%d", some), "flow=0"} }}
	r := x.network(t)
	receiver := ours.receive(t, x.receiver(0, r.taps[1].at))
	sender := nrl.send(t, x.sender(r.taps[0].at))
	sent := 0 // allowed to be
	missing := make(map[string]bool)
	for got := 0; got < n; got++ {
		for ; sent < n && sent < got+2*some; sent += some {
			for i := range some {
				missing[digest(fmt.Append(nil, sent+i))] = true
			}
			if _, err := sender.input.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		e := receiver.await(t, "completed")
		if !missing[e.SHA256] {
			t.Fatalf("%+v is not what was sent, or came twice", e)
		}
		delete(missing, e.SHA256)
	}
}

// silent sends so much parity unasked that a receiver which may not ask gets all.
func silent() transfer {
	return transfer{
		auto:    8,
		objects: []object{{kind: norm.Data, info: "unasked", content: content(200*1024, 1)}},
		tune:    func(n *node) { n.silent = true },
		lose: func() loss {
			return once(func(p packet) bool {
				m, ok := p.data()
				return ok && at(m).Symbol%10 == 3
			})
		},
		look: func(t *testing.T) (func(packet, bool), func()) {
			said := 0
			return func(p packet, _ bool) {
					if p.from != 0 {
						said++
					}
				}, func() {
					if said > 0 {
						t.Errorf("%d packets from a silent receiver", said)
					}
				}
		},
	}
}

// unicastFeedback has receivers send their NACKs to the sender alone, which then tells the group.
func unicastFeedback() transfer {
	return transfer{
		receivers: 2,
		objects:   []object{{kind: norm.Data, content: content(200*1024, 1)}},
		tune:      func(n *node) { n.unicastFeedback = true },
		lose:      everyThird,
		look: func(t *testing.T) (func(packet, bool), func()) {
			var unicast, multicast, told int
			see := func(p packet, _ bool) {
				switch m := p.msg.(type) {
				case *wire.Nack:
					if p.unicast {
						unicast++
					} else {
						multicast++
					}
				case *wire.RepairAdv:
					for range wire.Requests(m.Payload) {
						told++
					}
				}
			}
			return see, func() {
				if unicast == 0 || multicast > 0 || told == 0 {
					t.Errorf("%d NACKs by unicast, %d by multicast; %d requests in NORM_CMD(REPAIR_ADV)", unicast, multicast, told)
				}
			}
		},
	}
}

func unicastSession() transfer {
	return transfer{
		group:   unicast4,
		objects: sized(norm.File, 1024, 64),
		tune:    func(n *node) { n.unicastFeedback = true },
		lose:    everyThird,
	}
}

// watermark has receivers acknowledge what they have. One of those asked does not exist, and is given up.
func watermark(t *testing.T, from, to implementation) {
	x := transfer{
		receivers: 2,
		objects:   []object{{kind: norm.Data, info: "a", content: content(100*1024, 1)}, {kind: norm.Data, info: "b", content: content(3000, 2)}},
		lose:      everyThird,
		tune:      func(n *node) { n.robust = 10 },
	}
	r := x.network(t)
	var receivers []*peer
	var ids []norm.NodeID
	for i, tap := range r.taps[1:] {
		n := x.receiver(i, tap.at)
		receivers, ids = append(receivers, to.receive(t, n)), append(ids, n.id)
	}
	n := x.sender(r.taps[0].at)
	n.acks = append(ids, 99)
	got := from.send(t, n).await(t, "watermark").Acks
	if want := map[string]bool{"10": true, "11": true, "99": false}; !maps.Equal(got, want) {
		t.Errorf("acknowledged: %v, want %v", got, want)
	}
	for _, p := range receivers {
		p.awaitObjects(t, x.objects)
	}
}

// rateClimbs has the sender control its rate by what the receiver answers. Both begin with a segment a second, as RFC 5740,
// Section 5.5.2, has it.
func rateClimbs(t *testing.T, from, to implementation) {
	x := transfer{objects: []object{{kind: norm.Data, content: content(400*1024, 1)}}, tune: func(n *node) { n.control = true }}
	r := x.network(t)
	var first, last float64 // rates that NORM_CMD(CC) tells, in bits per second
	answers := 0
	r.watch(func(p packet, _ bool) {
		switch m := p.msg.(type) {
		case *wire.CC:
			if code, ok := m.Extensions.Rate(); ok {
				last = 8 * wire.DecodeRate(code)
				first = cmp.Or(first, last)
			}
		case *wire.Ack:
			if m.AckType != wire.AckCC {
				break
			}
			answers++
			if cc, ok := m.Extensions.CC(); !ok || cc.Flags&wire.CCFlagStart == 0 {
				t.Errorf("a NORM_ACK(CC) before any loss without START: %+v", cc)
			}
		}
	})
	receiver := to.receive(t, x.receiver(0, r.taps[1].at))
	from.send(t, x.sender(r.taps[0].at))
	receiver.awaitObjects(t, x.objects)
	r.mu.Lock()
	defer r.mu.Unlock()
	if first > 20_000 || last < 500_000 || answers == 0 {
		t.Errorf("the rate went from %.0f to %.0f bit/s by %d NORM_ACK(CC)", first, last, answers)
	}
}

package norm

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// watermark lets a NORM_CMD(FLUSH) arrive that names a symbol, and nodes that are to acknowledge it.
func (g *receiverRig) watermark(o *testObject, block uint32, symbol int, nodes ...NodeID) {
	m := &wire.Flush{Header: g.from(), SenderHeader: g.header(), Position: o.position(o.id, block, symbol)}
	for _, id := range nodes {
		m.AckingNodes = wire.AppendNode(m.AckingNodes, id)
	}
	g.arrive(g.message(m))
}

// ackReq lets a NORM_CMD(ACK_REQ) arrive.
func (g *receiverRig) ackReq(ackType wire.AckType, id uint8, nodes ...NodeID) {
	m := &wire.AckReq{Header: g.from(), SenderHeader: g.header(), AckType: ackType, AckID: id}
	for _, id := range nodes {
		m.AckingNodes = wire.AppendNode(m.AckingNodes, id)
	}
	g.arrive(g.message(m))
}

// N-5.5.3-09: "randomly, with a uniform distribution, [...] over a time window of (1*GRTT_sender)".
func TestAckTimesAreUniform(t *testing.T) {
	const n = 2000
	var tenths [10]int
	for seed := range uint64(n) {
		g := newReceiverRig(t, ReceiverConfig{Seed: seed})
		o := blocks(t, 0, 1)
		g.block(o, 0)
		g.watermark(o, 0, 7, rigReceiver)
		wait := g.Deadline().Sub(g.now)
		if wait < 0 || wait > g.grtt { // N-5.3-24
			t.Fatalf("seed %d: after %v", seed, wait)
		}
		tenths[min(int(wait*10/g.grtt), 9)]++
	}
	for i, count := range tenths {
		if count < n/10*7/10 || count > n/10*13/10 { // six standard deviations are 0.4
			t.Errorf("%d in tenth %d of GRTT, want about %d: %v", count, i, n/10, tenths)
		}
	}
}

// What a NORM_ACK(FLUSH) holds, and that another request while it waits neither moves nor doubles it.
func TestAckOfWatermark(t *testing.T) {
	for _, p := range []fec.Params{
		{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 8, MaxParity: 4},
		{ID: fec.SmallBlockSystematic, SegmentSize: 64, MaxBlockLen: 8, MaxParity: 4},
		{ID: fec.ReedSolomon, SegmentSize: 64, MaxBlockLen: 8, MaxParity: 4},
		{ID: fec.NoCode, SegmentSize: 64, MaxBlockLen: 8},
	} {
		g := newReceiverRig(t, ReceiverConfig{})
		o := objectWith(t, 3, 8*64, p)
		g.probeAt(9, wire.Timestamp{Sec: 50}, 0)
		probed := g.now
		g.block(o, 0)
		g.watermark(o, 0, 7, 5, rigReceiver, 6)
		at := g.Deadline()
		g.watermark(o, 0, 7, rigReceiver) // N-5.5.3-17: a timer that runs is not drawn anew
		if g.Deadline() != at {
			t.Errorf("%v: moved from %v to %v", p, at, g.Deadline())
		}
		g.run(g.grtt)
		acks := g.acks()
		if len(acks) != 1 {
			t.Fatalf("%v: %d NORM_ACKs", p, len(acks))
		}
		a := acks[0]
		want, _ := o.position(3, 0, 7).AppendItem(nil)
		if a.AckType != wire.AckFlush || a.AckID != 0 || string(a.Payload) != string(want) { // N-4.3.2-04 N-4.3.2-02
			t.Errorf("%v: %+v, want payload %x", p, a, want)
		}
		if a.Server != g.sender || a.Instance != g.instance || a.GRTTResponse != (wire.Timestamp{Sec: 50}).Add(at.Sub(probed)) { // N-4.3.2-06
			t.Errorf("%v: %+v", p, a.FeedbackHeader)
		}
		g.watermark(o, 0, 7, rigReceiver) // N-5.5.3-17: the first may be lost
		g.run(g.grtt)
		if len(g.acks()) != 1 {
			t.Errorf("%v: not acknowledged again", p)
		}
	}
}

// Congestion control feedback rides on acknowledgments as on NORM_NACKs.
func TestAckCarriesFeedback(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 1)
	g.block(o, 0)
	g.probeAt(9, wire.Timestamp{Sec: 50}, 5e4)
	g.watermark(o, 0, 7, rigReceiver)
	g.run(g.grtt)
	acks := g.acks()
	if len(acks) == 0 {
		t.Fatal("no acknowledgment")
	}
	for _, a := range acks {
		if x, ok := a.Extensions.CC(); !ok || x.Sequence != 9 {
			t.Errorf("%v without EXT_CC", a)
		}
	}
}

// N-4.2.3.6-08 I-42: who is not named says nothing, and NORM_NODE_ANY and NORM_NODE_NONE name nobody.
func TestNotNamed(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 1)
	g.block(o, 0)
	for _, nodes := range [][]NodeID{nil, {7, 8}, {wire.NodeAny}, {wire.NodeNone}} {
		g.watermark(o, 0, 7, nodes...)
		g.ackReq(16, 1, nodes...)
	}
	g.ackReq(15, 1, rigReceiver) // reserved
	g.run(time.Second)
	if acks := g.acks(); len(acks) != 0 || len(g.happened(AckRequested)) != 0 {
		t.Errorf("%v, %v", acks, g.events)
	}
}

// In a unicast session there is nobody to keep out of the way of.
func TestAckAtOnceInUnicast(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	g.cfg.Group = netip.MustParseAddrPort("192.0.2.1:6003")
	o := blocks(t, 0, 1)
	g.block(o, 0)
	g.Handle(g.now, Datagram{From: g.source, B: g.message(&wire.Flush{
		Header: g.from(), SenderHeader: g.header(), Position: o.position(0, 0, 7), AckingNodes: wire.AppendNode(nil, rigReceiver),
	})})
	if _, to, ok := g.Poll(g.now, nil); !ok || to != g.source {
		t.Errorf("to %v, %v", to, ok)
	}
}

// N-5.5.3-10: acknowledgments go where NORM_NACKs go: to the group, or to the sender.
func TestAckDestination(t *testing.T) {
	for feedback, want := range map[FeedbackPolicy]netip.AddrPort{FeedbackGroup: rigGroup, FeedbackUnicast: rigSource} {
		g := newReceiverRig(t, ReceiverConfig{Feedback: feedback})
		o := blocks(t, 0, 1)
		g.block(o, 0)
		g.Answer(16, nil)
		g.ackReq(16, 1, rigReceiver)
		g.watermark(o, 0, 7, rigReceiver)
		g.probeAt(1, wire.Timestamp{Sec: 1}, 5e4)
		types := map[wire.AckType]bool{}
		for range 3 {
			g.now = g.now.Add(4 * g.grtt)
			g.Advance(g.now)
			for {
				b, to, ok := g.Poll(g.now, nil)
				if !ok {
					break
				}
				var a wire.Ack
				if err := a.Parse(b); err != nil || to != want {
					t.Errorf("%v to %v, want %v; %v", a, to, want, err)
				}
				types[a.AckType] = true
			}
			g.probeAt(2, wire.Timestamp{Sec: 2}, 5e4)
		}
		if !types[16] || !types[wire.AckFlush] {
			t.Errorf("answered %v", types)
		}
	}
}

// Silent receivers owe nothing, and wait for nothing.
func TestSilentReceiverOwesNothing(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Silent: true})
	o := blocks(t, 0, 1)
	g.block(o, 0)
	g.watermark(o, 0, 7, rigReceiver)
	g.ackReq(16, 1, rigReceiver)
	g.run(time.Second)
	if len(g.sent) != 0 || g.senders[rigSender].acks != nil || len(g.happened(AckRequested)) != 0 {
		t.Errorf("sent %v, events %v", g.sent, g.events)
	}
}

// N-5.5.3-11: not before it is written to the sink, to the last symbol of the watermark.
func TestAckWaitsForAll(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 3)
	g.block(o, 0)
	g.block(o, 1, 4)
	for s := range 4 {
		g.data(o, 2, s)
	}
	g.watermark(o, 0, 7, rigReceiver)
	g.run(g.grtt)
	if n := len(g.acks()); n != 1 {
		t.Errorf("%d NORM_ACKs of a block that is here", n)
	}
	g.watermark(o, 2, 3, rigReceiver)
	g.run(20 * g.grtt)
	if n := len(g.acks()); n != 0 {
		t.Errorf("%d NORM_ACKs of what lacks a symbol", n)
	}
	g.stall = true
	g.repair(o, 1, 9)
	g.run(20 * g.grtt)
	if n := len(g.acks()); n != 0 {
		t.Errorf("%d NORM_ACKs before it is written", n)
	}
	g.stall = false
	g.perform()
	g.drain()
	g.run(g.grtt)
	if n := len(g.acks()); n != 1 {
		t.Errorf("%d NORM_ACKs of what is repaired", n)
	}
}

// Our id as often as a datagram has room for, and floods of requests: one answer of each, and no more is remembered than
// there is room for.
func TestAckFloods(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 1)
	g.block(o, 0)
	many := make([]NodeID, 16_000)
	for i := range many {
		many[i] = rigReceiver
	}
	g.watermark(o, 0, 7, many...)
	g.run(g.grtt)
	if n := len(g.acks()); n != 1 {
		t.Errorf("%d NORM_ACKs", n)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		g.watermark(o, random.Uint32N(1<<24), random.IntN(256), rigReceiver)
		g.ackReq(wire.AckType(16+random.IntN(240)), uint8(random.Uint32()), rigReceiver)
	}
	if n := len(g.senders[rigSender].acks.owed); n > maxOwed {
		t.Errorf("%d acknowledgments are owed", n)
	}
	g.run(time.Second)
	if n := len(g.acks()); n > maxOwed {
		t.Errorf("%d NORM_ACKs", n)
	}
	for id := range TransportID(1000) {
		g.senders[rigSender].lose(id)
	}
	if n := len(g.senders[rigSender].acks.lost); n > maxLost {
		t.Errorf("%d lost objects are remembered", n)
	}
}

func TestApplicationAnswersRequests(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	g.block(blocks(t, 0, 1), 0) // tells the segment size, 64
	g.ackReq(20, 3, rigReceiver)
	g.ackReq(20, 3, rigReceiver)
	if got := g.happened(AckRequested); len(got) != 1 || got[0].AckType != 20 || got[0].AckID != 3 || got[0].Sender != rigSender { // N-4.2.3.6-07
		t.Fatalf("%v", got)
	}
	if err := g.Acknowledge(g.now, rigSender, 20, 3, make([]byte, 65)); err == nil { // N-4.3.2-05
		t.Error("a payload of more than a segment")
	}
	if err := g.Acknowledge(g.now, rigSender, 20, 4, nil); !errors.Is(err, ErrUnknownRequest) {
		t.Error(err)
	}
	if err := g.Acknowledge(g.now, 99, 20, 3, nil); !errors.Is(err, ErrUnknownRequest) {
		t.Error(err)
	}
	if err := g.Acknowledge(g.now, rigSender, 20, 3, []byte("fine")); err != nil {
		t.Fatal(err)
	}
	g.run(g.grtt)
	acks := g.acks()
	if len(acks) != 1 || acks[0].AckType != 20 || acks[0].AckID != 3 || string(acks[0].Payload) != "fine" { // N-4.2.3.6-05 N-4.3.2-08
		t.Fatalf("%v", acks)
	}
	g.ackReq(20, 3, rigReceiver)
	g.run(g.grtt)
	if n := len(g.acks()); n != 1 || len(g.happened(AckRequested)) != 1 { // N-5.5.3-17
		t.Errorf("%d NORM_ACKs to a request that was answered", n)
	}
	// Long after, it is another request with the same ack_id.
	g.run(time.Minute)
	g.ackReq(20, 3, rigReceiver)
	if n := len(g.happened(AckRequested)); n != 2 {
		t.Errorf("asked %d times", n)
	}
	// Beforehand: the payload is cut to the sender's segment.
	if err := g.Answer(21, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	g.sent = nil
	g.ackReq(21, 1, rigReceiver)
	g.run(g.grtt)
	if acks := g.acks(); len(acks) != 1 || len(acks[0].Payload) != 64 || len(g.happened(AckRequested)) != 2 {
		t.Errorf("%v", acks)
	}
	if g.Answer(2, nil) == nil || g.Answer(16, make([]byte, 70_000)) == nil {
		t.Error("an answer that cannot be given")
	}
	for i := range maxAnswers - 1 {
		if err := g.Answer(uint8(30+i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if g.Answer(100, nil) == nil || g.Answer(30, []byte("x")) != nil {
		t.Error("the limit of answers")
	}
}

// N-4.2.3.7-04: each copy is told.
func TestCommandsAreDelivered(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	for range 3 {
		g.arrive(append(g.message(&wire.Application{Header: g.from(), SenderHeader: g.header()}), "do it"...))
	}
	got := g.happened(AppCommand)
	if len(got) != 3 || got[0].Content != "do it" || got[0].Sender != rigSender || got[0].Instance != rigInstance {
		t.Errorf("%v", got)
	}
}

package norm

import (
	"math"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/cc"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A ccRig is a receiverRig that hears a segment each millisecond, and a probe each 100 ms. It takes no object, so that all
// feedback is NORM_ACK(CC).
type ccRig struct {
	*receiverRig
	o     *testObject
	n     int
	probe wire.CCSequence
	nodes []wire.CCNode
	rate  float64 // advertised
}

func newCCRig(t *testing.T, cfg ReceiverConfig) *ccRig {
	g := &ccRig{receiverRig: newReceiverRig(t, cfg), o: blocks(t, 0, 100), rate: 124e3}
	g.ignore = true
	return g
}

// hear lets n milliseconds pass; one segment in every is lost, or marked if marked says so.
func (g *ccRig) hear(n, every int, marked bool) {
	for range n {
		g.run(time.Millisecond)
		g.n++
		if g.n%100 == 0 {
			g.probe++
			g.probeAt(g.probe, wire.Timestamp{Sec: uint32(g.probe)}, g.rate, g.nodes...)
			continue
		}
		hit := every > 0 && g.n%every == 7
		b := g.message(&wire.Data{
			Header: g.from(), SenderHeader: g.header(), Flags: g.o.flags, Position: g.o.position(0, uint32(g.n/8%100), g.n%8),
			Extensions: g.o.extensions(), Payload: g.o.symbol(0, 0),
		})
		d := Datagram{From: g.source, To: rigGroup, ECN: 2, B: b}
		if hit && marked {
			d.ECN = 3
		}
		if !hit || marked {
			g.Handle(g.now, d)
			g.drain()
		}
	}
}

// last returns the EXT_CC of the last feedback, and forgets what was sent.
func (g *ccRig) last() (x wire.ExtCC, ok bool) {
	g.Helper()
	acks := g.acks()
	if len(acks) == 0 {
		return x, false
	}
	return acks[len(acks)-1].Extensions.CC()
}

var (
	asCLR = wire.CCNode{Node: rigReceiver, Flags: wire.CCFlagCLR}
	rtt50 = wire.EncodeRTT(50 * time.Millisecond)
)

func TestFeedbackInSlowStart(t *testing.T) {
	g := newCCRig(t, ReceiverConfig{})
	g.nodes = []wire.CCNode{asCLR}
	g.hear(2000, 0, false)
	x, ok := g.last()
	segment := len(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: g.o.position(0, 0, 0), Extensions: g.o.extensions(), Payload: g.o.symbol(0, 0)}))
	received := float64(segment+28) * 1000                                          // bytes per second, less that a hundredth are probes
	if got := wire.DecodeRate(x.Rate); !ok || math.Abs(got/(2*received)-1) > 0.03 { // N-4.2.3.5-18 N-5.5.2.2-16 T-4.3.4-01
		t.Errorf("cc_rate %.0f, want twice %.0f", got, received)
	}
	if x.Flags != wire.CCFlagStart || x.Loss != 0 || x.RTT != 0xff { // N-4.2.3.5-18 N-4.2.3.5-13
		t.Errorf("%+v, want START alone", x)
	}
}

func TestFeedbackInSteadyState(t *testing.T) {
	g := newCCRig(t, ReceiverConfig{})
	g.nodes = []wire.CCNode{asCLR}
	check := func(rtt time.Duration) {
		t.Helper()
		x, ok := g.last()
		p := wire.DecodeLoss(x.Loss)
		if !ok || x.Flags&wire.CCFlagStart != 0 || p < 0.0024 || p > 0.0026 { // N-5.5.2.2-15: an event in 400 packets
			t.Errorf("%+v (p %v), want 1/400", x, p)
		}
		size := float64(len(g.message(&wire.Data{
			Header: g.from(), SenderHeader: g.header(), Position: g.o.position(0, 0, 0), Extensions: g.o.extensions(), Payload: g.o.symbol(0, 0),
		})) + 28)
		g.sequence--                                                                                  // that one was not sent
		if got, want := wire.DecodeRate(x.Rate), cc.Rate(size, rtt, p); math.Abs(got/want-1) > 0.05 { // N-4.2.3.5-18 N-5.5.2.2-16
			t.Errorf("cc_rate %.0f, want %.0f by the equation with %v", got, want, rtt)
		}
	}
	g.hear(8000, 400, false)
	check(g.grtt) // which it takes while it has none of its own
	g.nodes = []wire.CCNode{{Node: rigReceiver, Flags: wire.CCFlagCLR | wire.CCFlagRTT, RTT: rtt50}}
	g.hear(8000, 400, false)
	check(wire.DecodeRTT(rtt50))
}

func TestMarksAreReported(t *testing.T) {
	g := newCCRig(t, ReceiverConfig{})
	g.nodes = []wire.CCNode{asCLR}
	g.hear(8000, 400, true)
	if x, _ := g.last(); x.Flags&wire.CCFlagStart != 0 || wire.DecodeLoss(x.Loss) < 0.002 { // T-5.1-02
		t.Errorf("%+v for marks", x)
	}
	if st := g.Stats(); st.Lost != 0 || st.Marked != 20 {
		t.Errorf("%d lost, %d marked", st.Lost, st.Marked)
	}
}

// T-4.5-02: what is reported is of when it is sent, not of when the backoff began.
func TestFeedbackIsCurrent(t *testing.T) {
	for seed := range uint64(20) {
		g := newCCRig(t, ReceiverConfig{Seed: seed})
		g.hear(100, 0, false)
		wait := int(g.Deadline().Sub(g.now) / time.Millisecond)
		if wait < 50 || len(g.acks()) > 0 {
			continue
		}
		g.hear(wait+1, 20, false)
		if x, ok := g.last(); !ok || x.Loss == 0 || x.Flags&wire.CCFlagStart != 0 {
			t.Errorf("seed %d: %+v %v, though packets were lost in the backoff", seed, x, ok)
		}
		return
	}
	t.Error("no backoff was long enough")
}

// TestStartClearsLoss: after a break the items of the list say START, "until any receiver experiences a new loss event".
func TestStartClearsLoss(t *testing.T) {
	g := newCCRig(t, ReceiverConfig{})
	start := asCLR
	start.Flags |= wire.CCFlagStart
	g.nodes = []wire.CCNode{start}
	g.hear(1050, 300, false)
	if x, _ := g.last(); x.Flags&wire.CCFlagStart != 0 {
		t.Error("the first slow start ends with a loss, though the sender does not know yet")
	}
	g.nodes = []wire.CCNode{asCLR}
	g.hear(1000, 300, false)
	g.nodes = []wire.CCNode{start}
	g.hear(210, 0, false)
	if x, _ := g.last(); x.Flags&wire.CCFlagStart == 0 || x.Loss != 0 {
		t.Errorf("%+v after a break", x)
	}
	g.hear(1000, 300, false)
	if x, _ := g.last(); x.Flags&wire.CCFlagStart != 0 {
		t.Error("a new loss event does not count")
	}
}

func TestLeavingReceiver(t *testing.T) {
	g := newCCRig(t, ReceiverConfig{})
	g.hear(150, 0, false)
	g.acks()
	g.Leave(g.now)
	g.drain()
	if x, ok := g.last(); !ok || x.Flags&wire.CCFlagLeave == 0 { // N-5.5.2.3-01
		t.Errorf("%+v %v, want LEAVE at once", x, ok)
	}
	g.nodes = []wire.CCNode{asCLR}
	for range 5 {
		g.hear(100, 0, false)
		if x, ok := g.last(); !ok || x.Flags&wire.CCFlagLeave == 0 { // T-4.2-01
			t.Errorf("%+v %v, want LEAVE until it goes", x, ok)
		}
	}
}

func TestTooSlow(t *testing.T) {
	g := newCCRig(t, ReceiverConfig{MinRate: 500e3})
	g.nodes = []wire.CCNode{asCLR}
	g.hear(25_000, 30, false) // 8 losses in 256 packets: 150 kbit/s
	if len(g.happened(TooSlow)) != 0 {
		t.Error("too slow after 25 s")
	}
	if x, _ := g.last(); x.Flags&wire.CCFlagLeave != 0 {
		t.Error("LEAVE after 25 s")
	}
	g.hear(10_000, 30, false)
	if n := len(g.happened(TooSlow)); n != 1 { // T-4.4-01
		t.Errorf("%d events", n)
	}
	if x, _ := g.last(); x.Flags&wire.CCFlagLeave == 0 {
		t.Error("no LEAVE in the feedback of one that is too slow")
	}
	g.hear(20_000, 0, false)
	if x, _ := g.last(); x.Flags&wire.CCFlagLeave != 0 {
		t.Error("LEAVE though the path is good again")
	}
}

// TestSlowestAnswerSoonest: one whose path bears a tenth of what is sent waits half as long.
func TestSlowestAnswerSoonest(t *testing.T) {
	for _, test := range []struct {
		every       int
		least, most time.Duration
	}{
		{0, time.Second, time.Second}, // without loss, even if less arrives than is sent: the sender may rest
		{10, 500 * time.Millisecond, 600 * time.Millisecond},
	} {
		g := newCCRig(t, ReceiverConfig{})
		g.rate = 1e6
		g.hear(1000, test.every, false)
		if got := g.senders[g.sender].probe.path.Bias(time.Second); got < test.least || got > test.most {
			t.Errorf("a segment in %d lost: a backoff of %v in place of 1 s", test.every, got)
		}
	}
}

package norm

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// acks returns the NORM_ACKs sent since the last call.
func (g *receiverRig) acks() (acks []*wire.Ack) {
	for _, m := range g.sent {
		if a, ok := m.(*wire.Ack); ok {
			acks = append(acks, a)
		}
	}
	g.sent = nil
	return acks
}

func TestTimestampIsReturned(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 3)
	sent := wire.Timestamp{Sec: 0xffffffff, Usec: 900_000}
	g.probeAt(65535, wire.Timestamp{Sec: 5}, 0)
	g.probeAt(0, sent, 0)
	arrived := g.now
	g.run(10 * time.Millisecond)
	g.probeAt(65534, wire.Timestamp{Sec: 7}, 0) // N-4.2.3.4-04: reordered
	g.block(o, 0, 1)
	g.data(o, 1, 0)
	for len(g.sent) == 0 {
		g.now = g.Deadline()
		g.Advance(g.now)
		g.drain()
	}
	held := g.now.Sub(arrived)
	// N-4.3.1-04: at the time of transmission, across the wrap of the seconds
	if got, want := g.sent[0].(*wire.Nack).GRTTResponse, sent.Add(held); got != want {
		t.Errorf("grtt_response %v, want %v", got, want)
	}
	if ext := g.sent[0].(*wire.Nack).Extensions; len(ext) != 0 {
		t.Errorf("extensions %x without congestion control", ext)
	}
	g.run(time.Second)
	if n := g.acks(); len(n) != 0 { // N-5.5.1-01
		t.Errorf("%d NORM_ACK(CC) without EXT_RATE", len(n))
	}
}

func TestAnswerToAProbe(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	g.probeAt(7, wire.Timestamp{Sec: 100}, 5e4)
	held := g.Deadline().Sub(g.now)
	g.backoffs()
	acks := g.acks()
	if len(acks) != 1 { // N-4.2.3.4-10 N-5.5.2.2-11; the rig has seen to it that it goes where NACKs go: N-5.5.2.2-12
		t.Fatalf("%d NORM_ACK(CC)", len(acks))
	}
	a := acks[0]
	x, ok := a.Extensions.CC()
	if a.AckType != wire.AckCC || a.AckID != 0 || len(a.Payload) != 0 || a.Server != g.sender || a.Instance != g.instance { // N-4.3.2-02 N-4.3.2-03
		t.Errorf("%v", a)
	}
	if want := (wire.Timestamp{Sec: 100}).Add(held); a.GRTTResponse != want { // N-4.3.2-06
		t.Errorf("grtt_response %v, want %v", a.GRTTResponse, want)
	}
	want := wire.ExtCC{Sequence: 7, Flags: wire.CCFlagStart, RTT: 0xff, Rate: wire.EncodeRate(1e5)}
	if !ok || x != want { // N-5.5.2.2-13 N-4.2.3.5-08 N-4.2.3.5-13
		t.Errorf("%+v, want %+v", x, want)
	}
	g.probeAt(8, wire.Timestamp{Sec: 101}, 5e4)
	g.run(g.grtt)
	if len(g.acks()) != 0 { // N-5.5.2.2-17
		t.Error("answered again in the hold-off")
	}
}

// TestBackoffSurvivesProbes: they come each GRTT, the backoff takes four.
func TestBackoffSurvivesProbes(t *testing.T) {
	for seed := range uint64(20) {
		g := newReceiverRig(t, ReceiverConfig{Seed: seed})
		for i := range wire.CCSequence(5) {
			g.probeAt(i, wire.Timestamp{Sec: uint32(i) + 1}, 5e4)
			g.run(g.grtt)
		}
		acks := g.acks()
		if len(acks) != 1 {
			t.Fatalf("seed %d: %d answers in 5 GRTT", seed, len(acks))
		}
		if x, _ := acks[0].Extensions.CC(); wire.Timestamp.Sub(acks[0].GRTTResponse, wire.Timestamp{Sec: uint32(x.Sequence) + 1}) > g.grtt {
			t.Errorf("seed %d: timestamp not of the latest probe", seed)
		}
	}
}

// TestProbeTimers draws many backoffs, and looks at the hold-off behind each answer.
func TestProbeTimers(t *testing.T) {
	const n = 1000
	var waits []float64
	for seed := range uint64(n) {
		g := newReceiverRig(t, ReceiverConfig{Seed: seed})
		g.groupSize = 100
		g.probeAt(1, wire.Timestamp{Sec: 1}, 5e4)
		waits = append(waits, float64(g.Deadline().Sub(g.now))/float64(g.grtt))
		g.now = g.Deadline()
		g.Advance(g.now)
		g.drain()
		if len(g.acks()) != 1 {
			t.Fatalf("seed %d: no answer", seed)
		}
		if holdoff := g.Deadline().Sub(g.now); holdoff != 4*g.grtt { // N-5.5.2.2-17 N-5.5.2.2-02
			t.Fatalf("hold-off of %v, want %v", holdoff, 4*g.grtt)
		}
	}
	slices.Sort(waits)
	lambda := math.Log(100) + 1
	for _, q := range []float64{0.1, 0.5, 0.9} {
		want := 4 / lambda * math.Log1p(q*math.Expm1(lambda)) // N-5.5.2.2-04
		if got := waits[int(q*n)]; math.Abs(got-want) > 0.2 {
			t.Errorf("quantile %v: %.3f GRTT, want %.3f", q, got, want)
		}
	}
}

// TestNodeThatSendsToo numbers what its Sender and its Receiver send apart.
func TestNodeThatSendsToo(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	s, err := NewSender(SenderConfig{Node: rigReceiver, Group: rigGroup, Rate: 1e9, BackoffFactor: 4}, g.now)
	if err != nil {
		t.Fatal(err)
	}
	o := blocks(t, 0, 40)
	want := wire.Sequence(0)
	for i := range uint32(10) {
		g.block(o, 2*i, 1)
		g.block(o, 2*i+1)
		g.run(2 * time.Second)
		s.Advance(g.now)
		for {
			b, _, ok := s.Poll(g.now, nil)
			if !ok {
				break
			}
			h, err := wire.Peek(b)
			if err != nil || h.Sequence != want { // N-4.1-13
				t.Fatalf("the sender's message has sequence %d, want %d (%v)", h.Sequence, want, err)
			}
			want++
			g.Handle(g.now, Datagram{From: rigPeer, B: b}) // which the network may loop back
		}
	}
	if want < 5 || g.Stats().NacksSent < 5 {
		t.Fatalf("%d messages of the sender, %d NACKs", want, g.Stats().NacksSent)
	}
	g.drain()
	if len(g.happened(NodeCollision)) != 0 {
		t.Error("a node collides with itself")
	}
}

// TestSmallBackoffFactorStillSpreadsAnswers: NACKs may be few, but all would answer a probe.
func TestSmallBackoffFactorStillSpreadsAnswers(t *testing.T) {
	latest := time.Duration(0)
	for seed := range uint64(50) {
		g := newReceiverRig(t, ReceiverConfig{Seed: seed})
		g.backoff, g.groupSize = 0, 10_000
		g.probeAt(1, wire.Timestamp{Sec: 1}, 5e4)
		latest = max(latest, g.Deadline().Sub(g.now))
	}
	g := wire.DecodeRTT(wire.EncodeRTT(100 * time.Millisecond))
	if latest < 3*g || latest > 4*g { // N-5.5.2.2-01
		t.Errorf("latest answer after %v", latest)
	}
}

func TestListedReceiverAnswersAtOnce(t *testing.T) {
	for _, flag := range []wire.CCFlags{wire.CCFlagCLR, wire.CCFlagPLR} {
		g := newReceiverRig(t, ReceiverConfig{})
		node := wire.CCNode{Node: rigReceiver, Flags: flag | wire.CCFlagRTT, RTT: wire.EncodeRTT(30 * time.Millisecond)}
		g.probeAt(1, wire.Timestamp{Sec: 1}, 5e4, wire.CCNode{Node: 5, Flags: wire.CCFlagRTT, RTT: 1}, node)
		acks := g.acks()
		if len(acks) != 1 { // N-5.5.2.2-03
			t.Fatalf("%d answers", len(acks))
		}
		if x, _ := acks[0].Extensions.CC(); x.RTT != node.RTT || x.Flags != wire.CCFlagRTT|wire.CCFlagStart { // N-5.5.2.2-14 N-4.2.3.4-14
			t.Errorf("%+v", x)
		}
	}
}

func TestNackIsFeedback(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	g.backoff = 0 // NACKs at once
	o := blocks(t, 0, 3)
	g.block(o, 0, 1)
	g.probeAt(3, wire.Timestamp{Sec: 1}, 5e4)
	g.data(o, 1, 0)
	if len(g.sent) != 1 {
		t.Fatalf("%d messages", len(g.sent))
	}
	if x, ok := g.sent[0].(*wire.Nack).Extensions.CC(); !ok || x.Sequence != 3 { // N-4.3.1-08
		t.Errorf("%+v", x)
	}
	g.sent = nil
	g.run(5 * g.grtt)
	if len(g.acks()) != 0 { // N-5.3-20 N-5.5.2.2-05
		t.Error("NORM_ACK(CC) after NORM_NACK")
	}
}

func TestAnswersAreSuppressed(t *testing.T) {
	const rtt = 100
	for _, test := range []struct {
		name       string
		own, other wire.ExtCC // what matters: Flags, RTT; Rate is the rate itself, ours 1000
		rate       float64
		suppressed bool
	}{
		{name: "nearly as limiting", rate: 1100, suppressed: true}, // N-5.5.2.2-08
		{name: "less limiting", rate: 1200},
		{name: "above nine tenths", rate: 1105, suppressed: true}, // T-3.4-01: 994
		{name: "below nine tenths", rate: 1118},                   // T-3.4-01: 1006
		{name: "more limiting", rate: 500, suppressed: true},
		{name: "no rate", rate: 0},                                                                      // N-4.2.3.5-20
		{name: "with RTT, we without", rate: 500, other: wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtt}},   // N-5.5.2.2-09
		{name: "of the current limiting receiver", rate: 500, other: wire.ExtCC{Flags: wire.CCFlagCLR}}, // T-4.5-01
		{name: "nearer than we", rate: 500, own: wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtt}, other: wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtt - 1}},
		{name: "farther than we", rate: 500, own: wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtt}, other: wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtt + 1}, suppressed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newReceiverRig(t, ReceiverConfig{})
			test.other.Sequence, test.other.Rate = 1, wire.EncodeRate(test.rate)
			peer, to := wire.Header{Source: 77}, wire.FeedbackHeader{Server: g.sender, Instance: g.instance}
			ext := wire.AppendCC(nil, test.other)
			for _, m := range []wire.Message{ // all carry it alike
				&wire.Ack{Header: peer, FeedbackHeader: to, AckType: wire.AckCC, Extensions: ext},
				&wire.Nack{Header: peer, FeedbackHeader: to, Extensions: ext},
				&wire.RepairAdv{Header: g.from(), SenderHeader: g.header(), Extensions: ext},
			} {
				g := newReceiverRig(t, ReceiverConfig{})
				g.probeAt(1, wire.Timestamp{Sec: 1}, 500, wire.CCNode{Node: rigReceiver, Flags: test.own.Flags, RTT: test.own.RTT})
				b, err := m.AppendBinary(nil)
				if err != nil {
					t.Fatal(err)
				}
				g.Handle(g.now, Datagram{From: rigPeer, B: b})
				g.drain()
				g.backoffs()
				if got := len(g.acks()) == 0; got != test.suppressed {
					t.Errorf("%v: suppressed %v, want %v", m, got, test.suppressed)
				}
			}
		})
	}
}

func TestMeasuredRateIsReported(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 100)
	g.probeAt(1, wire.Timestamp{Sec: 1}, 5e4)
	g.run(10 * g.grtt)
	g.acks()
	g.probeAt(2, wire.Timestamp{Sec: 1}, 5e4)
	arrived := func() uint64 { return g.Stats().Bytes + 28*g.Stats().Datagrams } // with headers: T-4.3.4-01
	before := arrived()
	start := g.now
	for b := range uint32(100) {
		g.block(o, b)
		g.run(10 * time.Millisecond)
	}
	g.acks()
	received := arrived() - before
	rate := float64(received) / g.now.Sub(start).Seconds()
	g.probeAt(3, wire.Timestamp{Sec: 2}, 5e4)
	g.run(10 * g.grtt)
	acks := g.acks()
	if len(acks) != 1 {
		t.Fatalf("%d answers", len(acks))
	}
	x, _ := acks[0].Extensions.CC()
	if got := wire.DecodeRate(x.Rate); got < 1.9*rate || got > 2.1*rate { // as in slow start
		t.Errorf("cc_rate %.0f, received at %.0f", got, rate)
	}
}

// TestFeedbackIsNumbered counts NORM_NACK and NORM_ACK in one space.
func TestFeedbackIsNumbered(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 40)
	for i := range uint32(10) {
		g.block(o, 2*i, 1)
		g.block(o, 2*i+1)
		g.probeAt(wire.CCSequence(i), wire.Timestamp{Sec: i + 1}, 5e4)
		g.run(2 * time.Second)
	}
	if len(g.sent) < 10 {
		t.Fatalf("%d messages", len(g.sent))
	}
	for i, m := range g.sent {
		var sequence wire.Sequence
		switch m := m.(type) {
		case *wire.Nack:
			sequence = m.Sequence
		case *wire.Ack:
			sequence = m.Sequence
		default: // N-2.1-04 N-4.4.1-02
			t.Fatalf("a receiver sent %v", m)
		}
		if sequence != wire.Sequence(i) { // N-4.1-11
			t.Errorf("message %d has sequence %d", i, sequence)
		}
	}
}

// TestInvalidRateSuppressesNobody: "a value of ZERO for the "cc_rate" field here MUST be treated as an invalid value and be
// ignored for the purposes of feedback suppression, etc." RFC 5740, Section 5.5.2.1.
func TestInvalidRateSuppressesNobody(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	g.probeAt(1, wire.Timestamp{Sec: 1}, 500,
		wire.CCNode{Node: 5, Flags: wire.CCFlagPLR}, wire.CCNode{Node: 6, Flags: wire.CCFlagRTT, RTT: wire.EncodeRTT(time.Second)})
	g.backoffs()
	if n := len(g.acks()); n != 1 { // N-5.5.2.1-10
		t.Errorf("%d answers to a probe that lists others with the rate zero, want one", n)
	}
}

// TestOldRTTIsForgotten: who was not listed for long competes as one that knows no RTT, and says so.
func TestOldRTTIsForgotten(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	own := wire.CCNode{Node: rigReceiver, Flags: wire.CCFlagRTT, RTT: wire.EncodeRTT(30 * time.Millisecond)}
	g.probeAt(1, wire.Timestamp{Sec: 1}, 500, own)
	g.backoffs()
	for sequence, test := range []struct {
		wait time.Duration
		list []wire.CCNode
		has  bool
	}{
		{oldRTT / 2, nil, true},
		{oldRTT / 2, []wire.CCNode{own}, true},
		{oldRTT / 3, nil, true},
		{oldRTT / 3, nil, true},
		{oldRTT / 2, nil, false}, // N-5.5.2.2-10
		{time.Minute, nil, false},
		{time.Minute, []wire.CCNode{own}, true},
	} {
		g.now = g.now.Add(test.wait)
		g.acks()
		g.sent = nil
		g.probeAt(wire.CCSequence(sequence+2), wire.Timestamp{Sec: 2}, 500, test.list...)
		g.backoffs()
		acks := g.acks()
		if len(acks) == 0 {
			t.Fatalf("probe %d: no answer", sequence+2)
		}
		x, _ := acks[len(acks)-1].Extensions.CC()
		if has := x.Flags&wire.CCFlagRTT != 0; has != test.has {
			t.Errorf("probe %d: it knows its RTT: %v, want %v", sequence+2, has, test.has)
		}
	}
}

package norm

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestNackIsInitiatedAtBoundaries: "The NACKing procedure SHALL be initiated only at FEC coding block boundaries,
// NormObject boundaries, upon receipt of a NORM_CMD(FLUSH) message, or upon an "inactivity" timeout".
func TestNackIsInitiatedAtBoundaries(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 4)
	g.block(o, 0, 2)
	g.backoffs()
	g.wantNack("")
	g.data(o, 1, 0) // N-5.3-01: the next block begins
	g.backoffs()
	g.wantNack("segment 0/0/8")
	g.repair(o, 0, 8)

	g.block(o, 1, 0, 5)
	g.block(o, 2)
	g.block(o, 3, 7)
	g.run(time.Second)
	g.nacks()
	g.repair(o, 1, 9)
	g.run(time.Second)
	next := blocks(t, 1, 1)
	g.data(next, 0, 0) // the next object begins
	g.backoffs()
	g.wantNack("segment 0/3/8")
	g.repair(o, 3, 8)
	g.wantReceived(o)

	g.run(time.Second)
	g.block(next, 0, 0, 7) // the very last symbol is lost
	g.wantNack("")
	g.flushAll(next) // N-4.2.3.1-08 N-4.2.3.1-09 N-5.1-02: through the position
	g.backoffs()
	g.wantNack("segment 1/0/8")
	g.repair(next, 0, 8)
	g.wantReceived(next)
	g.run(time.Second)
	g.flushAll(next)
	g.backoffs()
	g.wantNack("") // N-4.2.3.1-10
}

func TestContentEndsBeforeThePosition(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 6)
	g.block(o, 0, 1)
	g.data(o, 1, 3) // the cycle begins
	g.block(o, 2, 0, 4)
	g.data(o, 3, 0) // where the sender is when it ends; only the beginning of the block was sent
	g.backoffs()
	g.wantNack("segment 0/0/8, segment 0/1/5-11, segment 0/2/8-9") // N-5.3-13 N-5-03
}

// TestBackoffIsRandom compares the backoffs of many receivers with the distribution of RFC 5401, Section 3.2.2.
func TestBackoffIsRandom(t *testing.T) {
	const n = 2000
	var waits []float64
	for seed := range uint64(n) {
		g := newReceiverRig(t, ReceiverConfig{Seed: seed})
		g.groupSize = 10_000
		o := blocks(t, 0, 2)
		g.block(o, 0, 1)
		g.data(o, 1, 0)
		waits = append(waits, float64(g.Deadline().Sub(g.now))/float64(g.grtt))
	}
	slices.Sort(waits)
	lambda := math.Log(10_000) + 1
	for _, q := range []float64{0.1, 0.25, 0.5, 0.75, 0.9} {
		want := 4 / lambda * math.Log1p(q*math.Expm1(lambda)) // N-5.3-05 B-3.2.2-01: the inverse of the CDF
		if got := waits[int(q*n)]; math.Abs(got-want) > 0.1 {
			t.Errorf("quantile %v: %.3f GRTT, want %.3f", q, got, want)
		}
	}
	if waits[0] < 0 || waits[n-1] > 4 { // N-4.2.1-20 N-5.3-23
		t.Errorf("backoff from %v to %v GRTT", waits[0], waits[n-1])
	}
}

func TestZeroBackoff(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	g.backoff = 0
	o := blocks(t, 0, 3)
	g.block(o, 0, 1)
	g.data(o, 1, 0)
	g.wantNack("segment 0/0/8") // N-5.4.1-01: at once
}

func TestHoldoff(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 20)
	g.block(o, 0, 1)
	g.data(o, 1, 0)
	for len(g.sent) == 0 {
		g.now = g.Deadline()
		g.Advance(g.now)
		g.drain()
	}
	g.nacks()
	sent := g.now
	block := uint32(2)
	for ; g.now.Before(sent.Add(6*g.grtt - 10*time.Millisecond)); block++ {
		g.data(o, block%20, 0) // boundary after boundary
		g.run(10 * time.Millisecond)
		g.wantNack("") // N-5.3-12 B-3.2.2-06: (K+2)*GRTT, the aggregation (K+1)*GRTT of the sender included
	}
	g.run(20 * time.Millisecond)
	g.data(o, 19, 0)
	g.backoffs()
	if g.nacks() == "" {
		t.Error("nothing asked for after the hold-off")
	}
}

func TestSuppressionByOthers(t *testing.T) {
	begin := func() (*receiverRig, *testObject) {
		g := newReceiverRig(t, ReceiverConfig{})
		o := blocks(t, 0, 10)
		g.block(o, 0, 1, 4)
		g.data(o, 1, 0)
		return g, o
	}
	parity := func(o *testObject, first, last int) func(*wire.RepairWriter) {
		return func(w *wire.RepairWriter) {
			w.Range(wire.RepairSegment, o.position(0, 0, first), o.position(0, 0, last))
		}
	}
	type test struct {
		name       string
		suppressed bool
		others     func(g *receiverRig, o *testObject)
	}
	nack := func(first, last int) func(*receiverRig, *testObject) {
		return func(g *receiverRig, o *testObject) { g.overhear(g.sender, g.instance, parity(o, first, last)) }
	}
	for _, test := range []test{
		{"nothing", false, func(*receiverRig, *testObject) {}},
		{"the same", true, nack(8, 9)}, // N-5.3-09 N-5.3-10 N-5.3-11
		{"more", true, nack(8, 11)},
		{"less", false, nack(8, 8)}, // N-5.3-11
		{"other symbols", false, nack(9, 10)},
		{"two that make it up", true, func(g *receiverRig, o *testObject) { nack(9, 9)(g, o); nack(8, 8)(g, o) }},
		{"the block", true, func(g *receiverRig, o *testObject) {
			g.overhear(g.sender, g.instance, func(w *wire.RepairWriter) { w.Item(wire.RepairBlock, o.position(0, 0, 0)) })
		}},
		{"the object", true, func(g *receiverRig, o *testObject) {
			g.overhear(g.sender, g.instance, func(w *wire.RepairWriter) { w.Item(wire.RepairObject, o.position(0, 0, 0)) })
		}},
		{"the info", false, func(g *receiverRig, o *testObject) {
			g.overhear(g.sender, g.instance, func(w *wire.RepairWriter) { w.Item(wire.RepairInfo, o.position(0, 0, 0)) })
		}},
		{"an erasure count", false, func(g *receiverRig, o *testObject) {
			g.overhear(g.sender, g.instance, func(w *wire.RepairWriter) { w.Erasures(o.position(0, 0, 9)) })
		}},
		{"of another sender", false, func(g *receiverRig, o *testObject) { g.overhear(99, g.instance, parity(o, 8, 9)) }}, // N-4.3.1-02
		{"of another run", false, func(g *receiverRig, o *testObject) { g.overhear(g.sender, g.instance+1, parity(o, 8, 9)) }},
		{"NORM_CMD(REPAIR_ADV)", true, func(g *receiverRig, o *testObject) { // N-4.2.3.5-05
			b, err := (&wire.RepairAdv{Header: g.from(), SenderHeader: g.header()}).AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			w := wire.NewRepairWriter(b, 1400)
			parity(o, 8, 9)(&w)
			g.arrive(w.Bytes())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, o := begin()
			test.others(g, o)
			g.backoffs()
			if test.suppressed {
				g.wantNack("")
			} else {
				g.wantNack("segment 0/0/8, segment 0/0/9")
			}
			if got := g.Stats().NacksSuppressed == 1; got != test.suppressed {
				t.Errorf("counted as suppressed: %v", got)
			}
			g.data(o, 2, 0)
			g.run(g.grtt)
			g.wantNack("") // N-5.3-12: the hold-off follows either way
		})
	}
}

// TestNeedsBehindThePositionDoNotForceANack: what was lost after the cycle began is not covered by the others' NACK,
// which changes nothing.
func TestNeedsBehindThePositionDoNotForceANack(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 10)
	g.block(o, 0, 1)
	g.data(o, 1, 0)
	g.block(o, 1, 0, 3) // lost during the backoff
	g.data(o, 2, 0)
	g.overhear(g.sender, g.instance, func(w *wire.RepairWriter) { w.Item(wire.RepairSegment, o.position(0, 0, 8)) })
	g.backoffs()
	g.wantNack("") // B-3.2.1-03
}

// TestRewindSuppresses: the sender went back to before our need, so it is about to repair it.
func TestRewindSuppresses(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 10)
	g.block(o, 0)
	g.block(o, 1, 3)
	g.data(o, 2, 0)
	g.repair(o, 0, 8)
	g.backoffs()
	g.wantNack("") // N-5.3-10 B-3.2.2-04 B-3.2.2-05
	g.run(6 * g.grtt)
	g.data(o, 3, 0) // it passed our need again
	g.backoffs()
	g.wantNack("segment 0/1/8, segment 0/2/5-11")
}

func TestRepairedForOthersEndsTheCycle(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 10)
	g.block(o, 0, 3)
	g.data(o, 1, 0)
	g.repair(o, 0, 10) // B-3.2.3.1-01: any parity will do
	g.data(o, 1, 1)
	g.backoffs()
	g.wantNack("")
	if n := g.Stats().NacksSuppressed; n != 0 {
		t.Errorf("%d suppressed", n)
	}
}

func TestFirstSetOfSymbols(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 40)
	again := uint32(1)
	cycle := func(want string) {
		t.Helper()
		g.run(6 * g.grtt)
		g.block(o, again)
		again++
		g.data(o, again, 0)
		g.backoffs()
		g.wantNack(want)
	}
	g.block(o, 0, 1, 4, 6)
	cycle("segment 0/0/8-10") // N-5.3-15 B-3.2.1-01
	g.repair(o, 0, 9)
	cycle("segment 0/0/8, segment 0/0/10") // N-5.3-16
	g.repair(o, 0, 11)
	cycle("segment 0/0/8") // N-5.3-16: up to the remaining erasures
	g.repair(o, 0, 4)      // explicit
	g.block(o, again)
	for b := again + 1; b < 40; b++ {
		g.block(o, b)
	}
	g.wantReceived(o)
}

func TestErasuresBeyondParity(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := objectWith(t, 0, 20*8*16, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 8, MaxParity: 2})
	g.block(o, 0, 1, 3, 4, 6)
	g.data(o, 1, 0)
	g.backoffs()
	g.wantNack("segment 0/0/4, segment 0/0/6, segment 0/0/8, segment 0/0/9") // N-5.3-17
	g.repair(o, 0, 8)
	g.repair(o, 0, 6)
	g.run(6 * g.grtt)
	g.data(o, 2, 0)
	g.backoffs()
	g.wantNack("segment 0/0/4, segment 0/0/9, segment 0/1/3-9") // N-5.3-16
}

func TestNoCodeAsksForSourceSymbols(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := objectWith(t, 0, 20*64, fec.Params{ID: fec.NoCode, SegmentSize: 64, MaxBlockLen: 10})
	g.block(o, 0, 1, 3, 4, 5, 9)
	g.data(o, 1, 0)
	g.backoffs()
	// E-3.4-01
	g.wantNack("segment 0/0/1, segment 0/0/3-5, segment 0/0/9")
}

// TestProactiveParityIsAwaited loses as many symbols as the sender sends parity unasked.
func TestProactiveParityIsAwaited(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 3)
	g.block(o, 0, 1, 4)
	g.data(o, 0, 8, 9)
	g.data(o, 1, 0)
	g.backoffs()
	g.wantNack("") // B-3.2.1-02
	g.block(o, 1, 0, 1, 4, 5)
	g.data(o, 1, 8, 9)
	g.data(o, 2, 0)
	g.backoffs()
	g.wantNack("segment 0/1/10") // the first set is 8 to 10, of which two came
}

func TestWholeBlocksAndObjects(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	first := blocks(t, 12, 6)
	g.block(first, 0)
	last := blocks(t, 16, 1)
	g.block(last, 0)
	g.backoffs()
	g.wantNack("block 12/1-5, object 13-15") // N-5.3-18 N-4.3.1-20 N-4.3.1-21 N-4.3.1-24
	n := g.Stats().NacksSent
	if n != 1 { // N-5.3-14
		t.Errorf("%d NACKs", n)
	}
}

func TestFlushOfAnObjectNeverHeard(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 100)
	g.block(o, 0)
	g.flush(object(t, 1, 300), 1, 5)
	g.backoffs()
	g.wantNack("object 1") // N-4.2.3.1-19
}

// TestNackGoldenBytes holds messages known from a deployed implementation.
func TestNackGoldenBytes(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	g.instance = 1
	o := objectWith(t, 0, 8*4*16, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 28, MaxBlockLen: 4, MaxParity: 4})
	// v/type, hdr_len, sequence, source_id | server_id | instance, reserved | grtt_response sec, usec
	header := func(sequence string) string {
		return "1406" + sequence + "0a0b0c0d" + "01020304" + "00010000" + "0000000000000000"
	}
	encoded := func() string {
		m := g.sent[len(g.sent)-1]
		b, err := m.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		return hexOf(b)
	}
	g.block(o, 0, 2)
	g.data(o, 1, 0)
	g.backoffs()
	// form, flags, length | fec_id, reserved, object, block, symbol
	if got, want := encoded(), header("0000")+"01010008"+"05000000"+"00000004"; got != want { // N-4.3.1-05 N-4.3.1-07 N-4.3.1-14
		t.Errorf("got  %s\nwant %s", got, want)
	}
	g.repair(o, 0, 4)
	g.run(time.Second)
	g.block(o, 1, 0)
	g.data(o, 4, 0)
	g.backoffs()
	if got, want := encoded(), header("0001")+"01020010"+"05000000"+"00000200"+"05000000"+"00000300"; got != want { // N-4.1-11
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return string(s)
}

func TestNackIsTruncated(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := objectWith(t, 0, 60*8*40, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 40, MaxBlockLen: 8, MaxParity: 4})
	g.data(o, 0, 0)
	for b := uint32(0); b < 59; b++ {
		g.block(o, b, int(b%7), int(b%7)+1)
	}
	g.run(2 * time.Second)
	g.nacks()
	g.flushAll(o)
	g.backoffs()
	if len(g.sent) != 1 { // N-5.3-14
		t.Fatalf("%d messages", len(g.sent))
	}
	m := g.sent[0].(*wire.Nack)
	if len(m.Payload) > 40 { // N-4.3.1-22
		t.Errorf("%d bytes of requests, segment size 40", len(m.Payload))
	}
	g.wantNack("segment 0/0/8, segment 0/1/8, segment 0/1/9, segment 0/2/8") // B-3.2.2-07: the lowest
}

// TestMidBlockFlush names a symbol within a block, as a sender may that asks for acknowledgments while it sends.
func TestMidBlockFlush(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 2)
	g.data(o, 0, 0, 3)
	g.flush(o, 0, 4)
	g.backoffs()
	g.wantNack("segment 0/0/1, segment 0/0/2, segment 0/0/4") // parity of an unfinished block does not exist yet
	g.run(time.Second)
	g.data(o, 0, 5, 6, 7)
	g.data(o, 1, 0)
	g.backoffs()
	g.wantNack("segment 0/0/8-10") // N-4.2.3.1-12
}

func TestInactivity(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{RobustFactor: 3})
	o := blocks(t, 0, 4)
	g.block(o, 0)
	g.data(o, 1, 0, 1)
	period := max(6*g.grtt, time.Second) // N-5.3-02: at least a second
	g.run(period - time.Millisecond)
	g.wantNack("")
	g.run(time.Millisecond + 4*g.grtt)
	// Nothing tells how far the sender came. The block it was in counts as sent: six erasures, of which parity fills four.
	g.wantNack("segment 0/1/6-11") // N-4.2.3.1-17
}

func TestInactivityEndsWithSenderLost(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{RobustFactor: 6})
	g.grtt = wire.DecodeRTT(wire.EncodeRTT(500 * time.Millisecond))
	o := blocks(t, 0, 4)
	g.block(o, 0)
	g.data(o, 1, 0)
	period := 12 * g.grtt // N-5.3-02 N-5.3-24
	for round := 1; round <= 6; round++ {
		if len(g.happened(SenderLost)) != 0 {
			t.Fatalf("lost before round %d", round)
		}
		g.run(period) // N-5.3-03
	}
	if len(g.happened(SenderLost)) != 0 {
		t.Error("lost within a minute, in which an idle sender need not be heard")
	}
	g.run(4 * period)
	if len(g.happened(SenderLost)) != 1 {
		t.Error("not lost after ROBUST_FACTOR rounds and a minute")
	}
	g.run(time.Minute)
	if n := g.Stats().NacksSent; n != 6 {
		t.Errorf("%d NACKs", n)
	}
	if !g.Deadline().IsZero() {
		t.Error("a timer runs for a lost sender")
	}
	g.data(o, 1, 1)
	if n := len(g.happened(SenderSeen)); n != 2 {
		t.Errorf("%d SenderSeen", n)
	}
}

// TestProbesDoNotHideALostFlush: all FLUSHes are lost, but the idle sender goes on probing.
func TestProbesDoNotHideALostFlush(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{RobustFactor: 5})
	o := blocks(t, 0, 1)
	g.block(o, 0, 7)
	for i := range 30 {
		g.probeAt(wire.CCSequence(i), wire.Timestamp{Sec: uint32(i)}, 0)
		g.run(100 * time.Millisecond)
	}
	if got := g.nacks(); got == "" { // N-4.2.3.1-20
		t.Error("nothing was asked for")
	}
	if len(g.happened(SenderLost)) != 0 {
		t.Error("a sender that probes is lost")
	}
}

// TestGRTTRescalesInactivity raises the advertised GRTT while the timer runs.
func TestGRTTRescalesInactivity(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 1)
	g.data(o, 0, 0)
	heard := g.now
	if got, want := g.Deadline().Sub(heard), 40*g.grtt; got != want {
		t.Errorf("T_inactivity %v, want %v", got, want)
	}
	g.run(time.Second)
	g.grtt = wire.DecodeRTT(wire.EncodeRTT(time.Second))
	g.probeAt(1, wire.Timestamp{}, 0)                                 // N-4.2.3-04: a command tells it too
	if got, want := g.Deadline().Sub(heard), 40*g.grtt; got != want { // N-5.3-04
		t.Errorf("T_inactivity %v, want %v", got, want)
	}
}

// TestGRTTChangesInACycle shortens all timers while one runs.
func TestGRTTChangesInACycle(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 4)
	g.grtt = wire.DecodeRTT(wire.EncodeRTT(10 * time.Second))
	g.block(o, 0, 1)
	g.data(o, 1, 0)
	g.grtt = wire.DecodeRTT(wire.EncodeRTT(10 * time.Millisecond))
	g.data(o, 1, 1)
	if d := g.Deadline(); d.Before(g.now) { // N-5.3-21
		t.Errorf("deadline %v in the past", g.now.Sub(d))
	}
	g.run(time.Minute)
	if g.nacks() == "" {
		t.Error("nothing was asked for")
	}
}

// TestAdvertisedLimit hears a NORM_CMD(REPAIR_ADV) that did not hold all: what is beyond it waits.
func TestAdvertisedLimit(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 10)
	g.block(o, 0)
	g.block(o, 1, 1)
	g.data(o, 2, 0)
	g.backoffs()
	g.nacks()
	g.run(6 * g.grtt)
	g.block(o, 3, 2)
	g.data(o, 4, 0)
	adv := &wire.RepairAdv{Header: g.from(), SenderHeader: g.header(), Flags: wire.RepairAdvLimit}
	b, err := adv.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := wire.NewRepairWriter(b, 1400)
	w.Item(wire.RepairSegment, o.position(0, 2, 3))
	g.arrive(w.Bytes())
	g.backoffs()
	g.wantNack("segment 0/1/8, segment 0/2/5-11") // N-4.2.3.5-04 N-5.4.4-03: nothing of block 3
}

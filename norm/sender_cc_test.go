package norm

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// newControlled starts a sender under congestion control at 80 kbit/s, a segment of 100 bytes in about 13 ms.
func newControlled(t *testing.T, change func(*SenderConfig)) *rig {
	return newRig(t, func(c *SenderConfig) {
		c.Rate, c.Control = 0, &RateControl{StartRate: 80e3}
		if change != nil {
			change(c)
		}
	})
}

// report is the feedback of a node in a NORM_ACK(CC), for a probe that was sent rtt ago.
func (r *rig) report(node NodeID, rtt time.Duration, x wire.ExtCC) {
	r.t.Helper()
	r.reportTo(testGroup.Addr().String(), node, rtt, x)
}

func (r *rig) reportTo(to string, node NodeID, rtt time.Duration, x wire.ExtCC) {
	r.t.Helper()
	f := r.feedback()
	f.GRTTResponse = r.timestamp(r.now).Add(-rtt)
	address := testGroup
	if to == "sender" {
		address = testServer
	}
	x.Sequence = r.ccSequence - x.Sequence // so many probes old
	r.hear(&wire.Ack{Header: wire.Header{Source: node}, FeedbackHeader: f, AckType: wire.AckCC, Extensions: wire.AppendCC(nil, x)}, address)
}

// slow is feedback in slow start that reports a rate in bits per second.
func slow(bitsPerSecond float64) wire.ExtCC {
	return wire.ExtCC{Flags: wire.CCFlagStart, RTT: 0xff, Rate: wire.EncodeRate(bitsPerSecond / 8)}
}

// lossy is feedback that reports a loss event fraction, and that its RTT is 100 ms.
func lossy(p float64) wire.ExtCC {
	return wire.ExtCC{Flags: wire.CCFlagRTT, RTT: wire.EncodeRTT(100 * time.Millisecond), Loss: wire.EncodeLoss(p), Rate: wire.EncodeRate(1e9)}
}

func probesOf(sent []sentMessage) (probes []*wire.CC, at []time.Duration) {
	for _, m := range sent {
		if c, ok := m.msg.(*wire.CC); ok {
			probes, at = append(probes, c), append(at, m.at)
		}
	}
	return probes, at
}

func TestProbeIntervals(t *testing.T) {
	r := newControlled(t, nil)
	r.enqueue(10_000_000, nil)
	r.run(150 * time.Second)
	probes, at := probesOf(r.take())
	if at[0] != 0 { // N-5.5.2.1-01: "immediately transmitted at sender startup"
		t.Errorf("first probe at %v", at[0])
	}
	grtt := r.grtt.advertised
	for i := 1; i < len(at); i++ {
		// N-5.5.2.1-02: doubled until a CLR is identified, to 30 s at the most
		want := min(grtt<<(i-1), 30*time.Second)
		if d := at[i] - at[i-1] - want; i > 1 && (d < 0 || d > 50*time.Millisecond) {
			t.Errorf("probe %d after %v, want %v", i, at[i]-at[i-1], want)
		}
	}
	for i, p := range probes {
		rate, ok := p.Extensions.Rate()
		if !ok || math.Abs(wire.DecodeRate(rate)-10e3) > 10 { // N-4.2.3.4-09 N-5.1-04 N-5.5.2.1-05
			t.Errorf("EXT_RATE %v %.0f", ok, wire.DecodeRate(rate))
		}
		if p.Nodes.Len() != 0 { // N-5.5.2.1-06: nobody has answered
			t.Errorf("cc_node_list %x", p.Nodes)
		}
		if p.CCSequence != probes[0].CCSequence+wire.CCSequence(i) { // N-5.5.2.1-05
			t.Errorf("cc_sequence %d", p.CCSequence)
		}
	}
	// A receiver answers, and is the CLR: a probe each RTT_clr.
	for range 40 {
		r.report(9, 40*time.Millisecond, slow(80e3))
		r.run(40 * time.Millisecond)
	}
	probes, at = probesOf(r.take())
	for i := len(at) - 10; i < len(at); i++ {
		if d := at[i] - at[i-1]; d < 30*time.Millisecond || d > 55*time.Millisecond { // N-5.5.2.1-03, as the pacer lets it
			t.Errorf("probe after %v, want RTT_clr, 40 ms", d)
		}
		if n, ok := probes[i].Nodes.Find(9); !ok || n.Flags&wire.CCFlagCLR == 0 { // N-5.5.2.1-06
			t.Errorf("cc_node_list without the CLR: %x", probes[i].Nodes)
		}
	}
}

// At 8 kbit/s a segment takes 130 ms, and the CLR is 10 ms away.
func TestProbesDoNotCrowdOutData(t *testing.T) {
	r := newControlled(t, func(c *SenderConfig) {
		c.Control = &RateControl{StartRate: 8e3, MaxRate: 8e3}
	})
	r.enqueue(100_000, nil)
	r.run(time.Second)
	for range 100 {
		r.report(9, 10*time.Millisecond, slow(8e3))
		r.run(100 * time.Millisecond)
	}
	probes, data := 0, 0
	for _, m := range r.take() {
		switch m.msg.(type) {
		case *wire.CC:
			probes++
		case *wire.Data:
			data++
		}
	}
	if probes > data || probes < 20 { // N-5.5.2.1-04
		t.Errorf("%d probes, %d segments", probes, data)
	}
}

func TestRateFollowsFeedback(t *testing.T) {
	r := newControlled(t, nil)
	r.enqueue(10_000_000, nil)
	r.run(time.Second)
	if rate := r.Stats().Rate; rate != 80e3 {
		t.Fatalf("rate %.0f before any feedback", rate)
	}
	r.report(9, 100*time.Millisecond, slow(120e3))
	if st := r.Stats(); math.Abs(st.Rate-120e3) > 30e3 || st.CLR != 9 || !st.SlowStart { // less the headers
		t.Errorf("%+v, want 120 kbit/s with headers", st)
	}
	r.run(time.Second)
	r.report(9, 100*time.Millisecond, lossy(0.05))
	st := r.Stats()
	if st.SlowStart || st.CLR != 9 || math.Abs(st.Loss-0.05) > 0.001 || st.RTT != 100*time.Millisecond {
		t.Errorf("%+v", st)
	}
	// It is what the pacer lets through. B-3.1-02
	for i := range 40 {
		if i == 20 {
			r.take()
			st = r.Stats()
		}
		r.report(9, 100*time.Millisecond, lossy(0.05))
		r.run(100 * time.Millisecond)
	}
	bytes := 0
	for _, m := range r.take() {
		bytes += m.len
	}
	if got, want := float64(bytes)*8/2, st.Rate; math.Abs(got/want-1) > 0.15 {
		t.Errorf("sent %.0f bit/s, want %.0f", got, want)
	}
}

func TestListOfReceivers(t *testing.T) {
	r := newControlled(t, func(c *SenderConfig) { c.Control.Potential = []NodeID{77} })
	r.enqueue(1_000_000, nil)
	r.run(time.Second)
	probes, _ := probesOf(r.take())
	node, ok := probes[0].Nodes.Find(77)
	if !ok || node.Flags&(wire.CCFlagPLR|wire.CCFlagRTT) != wire.CCFlagPLR { // N-5.5.2.1-09: no RTT is known
		t.Errorf("%+v %v, want the PLR without an RTT", node, ok)
	}
	if node.Rate != 0 {
		t.Errorf("rate of a node never heard: %d", node.Rate)
	}
	for i := range 30 {
		r.report(NodeID(100+i), 100*time.Millisecond, slow(90e3+1e3*float64(i)))
	}
	r.run(time.Second)
	probes, _ = probesOf(r.take())
	last := probes[len(probes)-1]
	if n := last.Nodes.Len(); n < 2 || n > 100/8 { // N-5.5.2.1-11 N-4.2.3.4-13: the segment holds 12
		t.Errorf("%d items", n)
	}
	listed := slices.Collect(last.Nodes.All())
	seen := map[NodeID]bool{}
	for _, item := range listed {
		seen[item.Node] = true
	}
	if len(seen) != len(listed) { // N-4.1-14: each id is a receiver of its own
		t.Errorf("%d receivers in %d items", len(seen), len(listed))
	}
	first := listed[0]
	want := wire.CCNode{Node: 100, Flags: wire.CCFlagCLR | wire.CCFlagRTT | wire.CCFlagStart, RTT: wire.EncodeRTT(100 * time.Millisecond), Rate: wire.EncodeRate(90e3 / 8)}
	if first != want { // N-5.5.2.1-07 N-4.2.3.4-15: the CLR first; in slow start with twice its measured rate
		t.Errorf("%+v, want %+v", first, want)
	}
	r.report(100, 100*time.Millisecond, lossy(0.02))
	r.run(time.Second)
	probes, _ = probesOf(r.take())
	first = slices.Collect(probes[len(probes)-1].Nodes.All())[0]
	if first.Node != 100 || first.Flags&wire.CCFlagStart != 0 || first.Rate == want.Rate { // N-4.2.3.4-15
		t.Errorf("%+v in steady state", first)
	}
}

// A receiver that nobody has hears a byte a second and is a minute away, or so it says. It costs the session the rate down to
// the minimum for as long as it keeps saying so, and no longer. N-7-13
func TestAttackForgedSlowReceiver(t *testing.T) {
	r := newControlled(t, func(c *SenderConfig) { c.Control.MinRate = 40e3 })
	r.enqueue(100_000_000, nil)
	honest := func() { r.report(9, 100*time.Millisecond, slow(400e3)) }
	for range 50 {
		honest()
		r.run(100 * time.Millisecond)
	}
	before := r.Stats()
	if before.CLR != 9 || before.Rate < 200e3 {
		t.Fatalf("%+v", before)
	}
	r.report(66, time.Minute, wire.ExtCC{Flags: wire.CCFlagRTT, RTT: 0xff, Loss: 0xffff, Rate: wire.EncodeRate(1)})
	if st := r.Stats(); st.Rate < 40e3 || st.Rate > 41e3 {
		t.Errorf("rate %.0f, want the minimum of 40 kbit/s", st.Rate)
	}
	if st := r.Stats(); st.GRTT > 5*before.GRTT {
		t.Errorf("GRTT %v, was %v", st.GRTT, before.GRTT)
	}
	for r.Stats().CLR == 66 {
		if honest(); r.now.Sub(r.start) > 10*time.Minute {
			t.Fatal("it limits the rate for ever")
		}
		r.run(100 * time.Millisecond)
	}
	for range 100 {
		honest()
		r.run(100 * time.Millisecond)
	}
	if st := r.Stats(); st.CLR != 9 || st.Rate < 200e3 {
		t.Errorf("it is over, and the rate is %.0f, CLR %v", st.Rate, st.CLR)
	}
}

// After a break the list says START, and the rate is where slow start begins: N-5.5.2.3-19
func TestRestartAfterABreak(t *testing.T) {
	r := newControlled(t, nil)
	r.enqueue(20_000, nil)
	r.run(time.Second)
	for range 5 {
		r.report(9, 50*time.Millisecond, slow(1e6))
		r.run(50 * time.Millisecond)
	}
	r.report(9, 50*time.Millisecond, lossy(0.001))
	fast := r.Stats().Rate
	r.run(time.Minute)
	old := lossy(0.001)
	old.Sequence = 8 // of before the break: it is no new loss
	r.report(9, 50*time.Millisecond, old)
	for range 3 {
		r.report(9, 50*time.Millisecond, slow(1e6))
		r.run(10 * time.Second)
	}
	_, at := probesOf(r.take())
	if end := at[len(at)-1]; end < 60*time.Second { // N-5.5.2.3-20
		t.Errorf("no probe in the break after %v", end)
	}
	r.enqueue(20_000, nil)
	if rate := r.Stats().Rate; rate > 81e3 || fast < 300e3 {
		t.Errorf("%.0f bit/s after a minute's break, want StartRate; before it was %.0f", rate, fast)
	}
	r.run(time.Second)
	probes, _ := probesOf(r.take())
	if n, ok := probes[len(probes)-1].Nodes.Find(9); !ok || n.Flags&wire.CCFlagStart == 0 { // N-5.5.2.3-19
		t.Errorf("cc_node_list says %+v", n)
	}
}

// TestAdviceForUnicastFeedback: what some say by unicast the others learn from EXT_CC in NORM_CMD(REPAIR_ADV).
func TestAdviceForUnicastFeedback(t *testing.T) {
	rtts := func(ms time.Duration) uint8 { return wire.EncodeRTT(ms * time.Millisecond) }
	clr := wire.ExtCC{Flags: wire.CCFlagCLR | wire.CCFlagRTT, RTT: rtts(500), Loss: 60_000, Rate: wire.EncodeRate(10)}
	a := wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtts(40), Loss: 300, Rate: wire.EncodeRate(4000)}
	b := wire.ExtCC{Flags: wire.CCFlagRTT | wire.CCFlagLeave, RTT: rtts(80), Loss: 100, Rate: wire.EncodeRate(9000)}
	blind := wire.ExtCC{RTT: 0xff, Loss: 100, Rate: wire.EncodeRate(9000)}
	none := wire.ExtCC{Loss: 65_535}
	for _, test := range []struct {
		name string
		from []wire.ExtCC // the first one of node 9, the CLR; then of others
		want wire.ExtCC
	}{
		// N-4.2.3.5-14 N-4.2.3.5-16 N-4.2.3.5-17: the extremes of those that are not the CLR; N-4.2.3.5-11 N-4.2.3.5-12 N-4.2.3.5-10
		{"several", []wire.ExtCC{clr, a, b}, wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtts(80), Loss: 300, Rate: a.Rate}},
		{"one without RTT", []wire.ExtCC{clr, a, blind}, wire.ExtCC{RTT: 0xff, Loss: 300, Rate: a.Rate}}, // N-4.2.3.5-10
		{"all leave", []wire.ExtCC{{}, b, b}, wire.ExtCC{Flags: wire.CCFlagRTT | wire.CCFlagLeave, RTT: rtts(80), Loss: 100, Rate: b.Rate}},
		{"no rate", []wire.ExtCC{{}, a, none}, wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtts(40), Loss: 300, Rate: a.Rate}}, // N-4.2.3.5-20
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newControlled(t, nil)
			r.enqueue(100_000, nil)
			r.run(time.Second)
			r.reportTo("sender", 9, 100*time.Millisecond, wire.ExtCC{Flags: wire.CCFlagRTT, RTT: rtts(500), Loss: 60_000, Rate: wire.EncodeRate(10)})
			r.run(2 * time.Second)
			r.take()
			for i, x := range test.from {
				if x.Rate != 0 || x.Loss != 0 {
					r.reportTo("sender", NodeID(9+i), 100*time.Millisecond, x)
				}
			}
			r.run(time.Second)
			adverts := of[*wire.RepairAdv](r.take())
			if len(adverts) == 0 {
				t.Fatal("no NORM_CMD(REPAIR_ADV)")
			}
			adv := adverts[len(adverts)-1]
			x, ok := adv.Extensions.CC() // N-4.2.3.5-06 N-5.4.4-05
			if x.Sequence+30 < r.ccSequence || x.Sequence == 0 {
				t.Errorf("cc_sequence %d, the last probe was %d", x.Sequence, r.ccSequence)
			}
			test.want.Sequence = x.Sequence
			if !ok || x != test.want {
				t.Errorf("%+v, want %+v", x, test.want)
			}
		})
	}
}

// N-4.2.3.5-09: EXT_CC names the last probe. N-4.2.3.5-11: of the CLR alone it has the flags of the CLR.
func TestAdviceOfTheCLR(t *testing.T) {
	r := newControlled(t, nil)
	r.enqueue(100_000, nil)
	r.run(time.Second)
	r.reportTo("sender", 9, 100*time.Millisecond, lossy(0.02))
	r.run(2 * time.Second)
	r.take()
	r.reportTo("sender", 9, 100*time.Millisecond, lossy(0.02))
	r.nackTo(testServer, "0/0/1")
	probe := r.ccSequence
	for len(of[*wire.RepairAdv](r.sent)) == 0 {
		probe = r.ccSequence
		r.now = r.Deadline()
		r.Advance(r.now)
		r.drain()
	}
	x, ok := of[*wire.RepairAdv](r.take())[0].Extensions.CC()
	if !ok || x.Flags&wire.CCFlagCLR == 0 { // N-4.2.3.5-11
		t.Errorf("%+v %v", x, ok)
	}
	if x.Sequence != probe { // N-4.2.3.5-09
		t.Errorf("cc_sequence %d, the last probe was %d", x.Sequence, probe)
	}
}

// TestNRLReceivers: their NACKs have the upper half of cc_loss cut off, and after a loss their cc_sequence is ahead of ours.
func TestNRLReceivers(t *testing.T) {
	r := newControlled(t, nil)
	r.enqueue(1_000_000, nil)
	r.run(time.Second)
	f := r.feedback()
	f.GRTTResponse = r.timestamp(r.now).Add(-100 * time.Millisecond)
	x := wire.ExtCC{Sequence: r.ccSequence + 1, Flags: wire.CCFlagRTT, RTT: wire.EncodeRTT(100 * time.Millisecond), Rate: wire.EncodeRate(5000)}
	ext := wire.AppendCC(nil, x)
	ext[10], ext[11] = 0xe8, 0xba // N-4.2.3.5-19: cc_reserved
	r.hear(&wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: f, Extensions: ext}, testGroup)
	st := r.Stats()
	if st.CLR != 9 || st.Rate > 5000*8 || st.Rate < 5000*8*0.7 {
		t.Errorf("%+v, want what cc_rate says", st)
	}
}

func TestSetRateBoundsControl(t *testing.T) {
	r := newControlled(t, nil)
	r.enqueue(1_000_000, nil)
	r.run(time.Second)
	r.SetRate(r.now, 40e3)
	if rate := r.Stats().Rate; rate != 40e3 {
		t.Errorf("rate %.0f beyond the bound", rate)
	}
	r.SetRate(r.now, 0)
	r.take()
	r.report(9, 100*time.Millisecond, slow(1e6))
	r.run(time.Second)
	if n := len(r.take()); n != 0 {
		t.Errorf("%d messages while stopped", n)
	}
	r.SetRate(r.now, 20e3)
	r.run(time.Second)
	if n := len(r.take()); n == 0 || r.Stats().Rate > 20e3 {
		t.Errorf("%d messages, rate %.0f", n, r.Stats().Rate)
	}
}

func TestRateControlConfig(t *testing.T) {
	for _, test := range []struct {
		c    RateControl
		rate float64
		want string
	}{
		{RateControl{}, 1e6, "Rate"},
		{RateControl{MinRate: 10}, 0, "MinRate"},
		{RateControl{MinRate: 1e6, MaxRate: 1e5}, 0, "MinRate"},
		{RateControl{StartRate: 1e6, MaxRate: 1e5}, 0, "StartRate"},
		{RateControl{StartRate: math.NaN()}, 0, "StartRate"},
		{RateControl{MaxRate: 1e30}, 0, "MaxRate"},
		{RateControl{Potential: make([]NodeID, 17)}, 0, "Potential"},
		{RateControl{Near: 16}, 0, "Near"},
	} {
		_, err := NewSender(SenderConfig{Node: 1, Group: testGroup, Rate: test.rate, Control: &test.c}, time.Unix(1, 0))
		if err == nil || !strings.HasPrefix(err.Error(), "norm: "+test.want+" ") {
			t.Errorf("%+v: %v, want %s named", test.c, err, test.want)
		}
	}
	for _, test := range []struct{ c, want RateControl }{
		{RateControl{}, RateControl{StartRate: 1e6, MinRate: 8 * 1400, MaxRate: maxRate}},
		{RateControl{MaxRate: 1e5}, RateControl{StartRate: 1e5, MinRate: 8 * 1400, MaxRate: 1e5}},
		{RateControl{MinRate: 2e6}, RateControl{StartRate: 2e6, MinRate: 2e6, MaxRate: maxRate}},
	} {
		if got, err := test.c.resolve(0, 1400); err != nil || got.StartRate != test.want.StartRate || got.MinRate != test.want.MinRate || got.MaxRate != test.want.MaxRate {
			t.Errorf("%+v: %+v, %v", test.c, got, err)
		}
	}
}

// TestContentIsWithheld until somebody answers, and when nobody does any more.
func TestContentIsWithheld(t *testing.T) {
	r := newControlled(t, func(c *SenderConfig) {
		c.Control.Withhold, c.RobustFactor, c.ProbeInterval = true, 3, 100*time.Millisecond
	})
	r.enqueue(10_000_000, nil)
	content := func(d time.Duration) int {
		r.run(d)
		sent := r.take()
		probes, _ := probesOf(sent)
		if len(probes) == 0 {
			t.Error("no probe")
		}
		return len(of[*wire.Data](sent))
	}
	if n := content(5 * time.Second); n > 0 { // N-5.5.2.3-17
		t.Errorf("%d NORM_DATA before any feedback", n)
	}
	r.report(100, 100*time.Millisecond, slow(1e6))
	if n := content(200 * time.Millisecond); n == 0 {
		t.Error("no NORM_DATA when there was feedback")
	}
	content(5 * time.Second)
	if n := content(5 * time.Second); n > 0 { // N-5.5.2.3-17
		t.Errorf("%d NORM_DATA though nobody answers", n)
	}
	r.report(100, 100*time.Millisecond, slow(1e6))
	if n := content(5 * time.Second); n == 0 {
		t.Error("no NORM_DATA when somebody answered again")
	}
}

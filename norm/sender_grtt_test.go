package norm

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// answer sends the NORM_ACK(CC) of a receiver whose round trip time is rtt.
func (r *rig) answer(rtt time.Duration) {
	r.t.Helper()
	f := r.feedback()
	f.GRTTResponse = r.timestamp(r.now).Add(-rtt)
	r.hear(&wire.Ack{Header: wire.Header{Source: 9}, FeedbackHeader: f, AckType: wire.AckCC}, testGroup)
}

func gaps(at []time.Duration) (d []time.Duration) {
	for i := 1; i < len(at); i++ {
		d = append(d, at[i]-at[i-1])
	}
	return d
}

func TestProbeFormat(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Rate = 800_000; c.GRTT = 0 })
	r.run(10 * time.Second)
	for i, s := range r.take() {
		m := s.msg.(*wire.CC)
		if i == 0 && (s.at != 0 || m.GRTT != 0x9d) {
			t.Errorf("first probe at %v, grtt %#x", s.at, m.GRTT) // N-5.5.2.1-01 N-6-04
		}
		if code, ok := m.Extensions.Rate(); !ok || code != wire.EncodeRate(100_000) {
			t.Errorf("%v: EXT_RATE %#x, %v", m, code, ok) // N-5.1-04 N-4.2.3.4-09 N-5.5.2.1-05
		}
		if m.CCSequence != wire.CCSequence(i+1) {
			t.Errorf("probe %d has cc_sequence %d", i, m.CCSequence) // N-4.2.3.4-03
		}
		if want := wire.MakeTimestamp(r.start.Add(s.at)); m.SendTime != want {
			t.Errorf("send_time %v, want %v", m.SendTime, want) // N-4.2.3.4-05
		}
		if m.Nodes.Len() != 0 {
			t.Errorf("%v: cc_node_list is not empty", m)
		}
	}
}

// N-5.5.2.1-02: without feedback the interval doubles up to 30 s.
func TestProbeIntervalDoubles(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.GRTT = 500 * time.Millisecond })
	r.run(200 * time.Second)
	g := r.grtt.advertised // 0.5 s, quantized
	want := []time.Duration{g, 2 * g, 4 * g, 8 * g, 16 * g, 32 * g, 30 * time.Second, 30 * time.Second}
	got := gaps(times[*wire.CC](r.take()))
	for i, d := range got {
		if w := min(want[min(i, len(want)-1)], 30*time.Second); d != w {
			t.Errorf("interval %d is %v, want %v", i, d, w) // N-5.5.2.2-02
		}
	}
	if len(got) < 8 {
		t.Errorf("%d probes", len(got))
	}
}

// While receivers answer and there is data the probes go on at GRTT, and slow down when all is sent.
func TestProbeIntervalWithFeedback(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.GRTT = 200 * time.Millisecond; c.Rate = 80_000 })
	r.run(20 * time.Second)
	r.take()
	r.enqueue(20_000, nil) // 2.8 s: brings the next probe forward
	r.run(20 * time.Millisecond)
	if len(of[*wire.CC](r.take())) != 1 {
		t.Error("no probe when data came")
	}
	r.answer(200 * time.Millisecond)
	r.run(2 * time.Second)
	for _, d := range gaps(times[*wire.CC](r.take())) {
		if d < r.grtt.advertised || d > r.grtt.advertised+30*time.Millisecond {
			t.Errorf("interval %v with GRTT %v", d, r.grtt.advertised)
		}
	}
	r.run(60 * time.Second)
	if d := gaps(times[*wire.CC](r.take())); d[len(d)-1] < 10*time.Second {
		t.Errorf("idle interval %v", d[len(d)-1])
	}
}

// N-4.2.3.4-16 N-5.5.1-06: without congestion control probes may be rare.
func TestProbeIntervalFixed(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.ProbeInterval = time.Minute })
	r.run(10 * time.Minute)
	for _, d := range gaps(times[*wire.CC](r.take())) {
		if d != time.Minute {
			t.Errorf("interval %v", d)
		}
	}
}

// N-5.5.2.1-04: "no more than one NORM_CMD(CC) message is sent per NORM_DATA message". N-4.2.1-19 N-5.5.1-03 T-3.2-01:
// at such a rate the advertised GRTT is the time a packet takes.
func TestProbesAtLowRate(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) {
		c.ProbeInterval = 10 * time.Millisecond
		c.Rate = 8 * 1400
		c.SegmentSize = 1400
	})
	r.enqueue(30*1400, nil)
	r.run(20 * time.Second)
	probes := 0
	for _, s := range r.take() {
		switch s.msg.(type) {
		case *wire.CC:
			probes++
		case *wire.Data:
			probes = 0
		}
		if probes > 1 {
			t.Errorf("%d probes in a row at %v", probes, s.at)
		}
		if _, sh := s.header(); wire.DecodeRTT(sh.GRTT) < time.Second || wire.DecodeRTT(sh.GRTT) > 1200*time.Millisecond {
			t.Errorf("advertised GRTT %v at a packet per second", wire.DecodeRTT(sh.GRTT))
		}
	}
	r.SetRate(r.now, 1e9)
	if g := r.Stats().GRTT; g > 120*time.Millisecond {
		t.Errorf("GRTT %v when the rate is high again", g)
	}
}

// N-5.1-09: a busy sender probes on time, and within its rate.
func TestProbesOfBusySender(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.ProbeInterval = 200 * time.Millisecond; c.Rate = 200_000 })
	r.enqueue(200_000, nil)
	r.run(5 * time.Second)
	at := times[*wire.CC](r.take())
	for _, d := range gaps(at) {
		if d < 200*time.Millisecond || d > 215*time.Millisecond {
			t.Errorf("interval %v", d)
		}
	}
	if len(at) < 20 {
		t.Errorf("%d probes", len(at))
	}
}

func TestGRTTEstimate(t *testing.T) {
	const ms = time.Millisecond
	r := newRig(t, func(c *SenderConfig) { c.GRTT = 100 * ms; c.ProbeInterval = time.Second; c.Rate = 1e8 })
	r.run(10 * time.Second)
	r.answer(80 * ms) // N-5.5.1-02
	if r.grtt.measured != 100*ms || r.grtt.peak != 80*ms {
		t.Errorf("GRTT %v, peak %v", r.grtt.measured, r.grtt.peak)
	}
	r.answer(300 * ms)
	if r.grtt.measured != 300*ms {
		t.Errorf("GRTT %v at once after an RTT of 300 ms", r.grtt.measured) // B-3.7.1-01
	}
	r.run(time.Second)
	if r.grtt.measured != 300*ms || r.grtt.peak != 0 {
		t.Errorf("GRTT %v, peak %v", r.grtt.measured, r.grtt.peak) // the peak was the GRTT
	}
	want := 300 * ms
	for range 10 { // B-3.7.1-02
		r.answer(50 * ms)
		r.answer(200 * ms)
		r.answer(20 * ms)
		r.run(time.Second)
		if want = max(want*9/10, 200*ms); r.grtt.measured != want {
			t.Errorf("GRTT %v, want %v", r.grtt.measured, want)
		}
	}
	r.run(10 * time.Second)
	if r.grtt.measured != 200*ms {
		t.Errorf("GRTT %v in a silent group", r.grtt.measured) // B-3.7.1-03
	}
	sh := r.senderHeader()
	if sh.GRTT != wire.EncodeRTT(200*ms) || r.Stats().GRTT != wire.DecodeRTT(sh.GRTT) {
		t.Errorf("advertised %v", r.Stats().GRTT) // N-4.2.1-18
	}
	for range 60 {
		r.answer(0)
		r.run(time.Second)
	}
	if r.grtt.measured != ms { // MinGRTT, though the RTT is zero. T-3.2-01
		t.Errorf("GRTT %v on a loopback", r.grtt.measured)
	}
}

// N-5.5.1-04: feedback is not authenticated; no timestamp drives GRTT to where repair stops.
func TestGRTTOfForgedTimestamps(t *testing.T) {
	const ms = time.Millisecond
	r := newRig(t, func(c *SenderConfig) { c.GRTT = 100 * ms; c.ProbeInterval = time.Minute; c.MaxGRTT = 5 * time.Second })
	r.run(3 * time.Second)
	for _, rtt := range []time.Duration{-time.Second, -100 * time.Hour, 6 * time.Second, 1000 * time.Hour, 3001 * ms} {
		r.answer(rtt) // from the future, above MaxGRTT, from before the first probe
	}
	if r.grtt.measured != 100*ms || r.grtt.peak != 0 {
		t.Errorf("GRTT %v, peak %v", r.grtt.measured, r.grtt.peak)
	}
	if got := r.Stats().Drops.Useless; got != 5 {
		t.Errorf("%d drops", got)
	}
	for range 100 {
		r.answer(2900 * ms)
	}
	if r.grtt.measured != 400*ms {
		t.Errorf("GRTT %v within one probe interval", r.grtt.measured)
	}
	r.run(2 * time.Minute) // B-3.7.4-05
	for range 10 {
		r.answer(5 * time.Second)
		r.run(time.Minute)
	}
	if r.grtt.measured != 5*time.Second {
		t.Errorf("GRTT %v, MaxGRTT 5 s", r.grtt.measured)
	}
}

// RTT is learnt from NACKs too; a grtt_response of zero says nothing, and only feedback to us counts.
func TestGRTTFeedback(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.GRTT = 100 * time.Millisecond })
	r.run(10 * time.Second)
	f := r.feedback()
	r.hear(&wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: f}, testGroup)
	if r.grtt.peak != 0 || r.grtt.measured != 100*time.Millisecond {
		t.Error("GRTT from a grtt_response of zero") // N-4.3.1-06
	}
	f.GRTTResponse = r.timestamp(r.now).Add(-200 * time.Millisecond)
	for _, wrong := range []wire.FeedbackHeader{
		{Server: 2, Instance: 7, GRTTResponse: f.GRTTResponse},
		{Server: 1, Instance: 8, GRTTResponse: f.GRTTResponse},
	} {
		r.hear(&wire.Ack{Header: wire.Header{Source: 9}, FeedbackHeader: wrong, AckType: wire.AckCC}, testGroup) // N-4.3.2-07
		r.hear(&wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: wrong}, testGroup)
	}
	if r.grtt.peak != 0 {
		t.Error("GRTT from feedback to others") // N-4.3.1-03
	}
	r.hear(&wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: f}, testGroup)
	if r.grtt.measured != 200*time.Millisecond {
		t.Errorf("GRTT %v after a NACK with RTT 200 ms", r.grtt.measured)
	}
	if s := r.Stats(); s.Drops.Foreign != 4 || s.NacksHeard != 2 || s.Acks != 0 {
		t.Errorf("%+v", s)
	}
}

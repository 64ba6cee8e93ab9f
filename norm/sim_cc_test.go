package norm_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// blank is a file of zeros, which takes what is written without a look.
type blank struct{}

func (blank) ReadAt(b []byte, _ int64) (int, error)  { return len(b), nil }
func (blank) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// A bottleneck is a network whose receivers are all behind one line with a queue.
type bottleneck struct {
	testing.TB
	*normtest.Net
	site *normtest.Site
	rate float64
	rtt  time.Duration
}

const segment = 1400

// newBottleneck returns a line of the given rate in bits per second with a queue of the bandwidth-delay product, or of twenty
// packets if that is more.
func newBottleneck(t testing.TB, seed uint64, rate float64, rtt time.Duration) *bottleneck {
	b := &bottleneck{TB: t, Net: normtest.New(seed), rate: rate, rtt: rtt}
	b.site = b.AddSite()
	b.site.Down = normtest.Link{Rate: rate, Queue: max(int(rate/8*rtt.Seconds()), 20*(segment+32))}
	return b
}

// A flow is a session of one sender, and how many bytes arrived at the first of its receivers.
type flow struct {
	*normtest.Sender
	receivers []*normtest.Receiver
}

func (f *flow) bytes() uint64 { return f.receivers[0].Core.Stats().Bytes }

func (f *flow) sent() uint64 { return f.Core.Stats().Bytes }

// session adds a sender, and receivers behind the line that take no object: feedback is that of congestion control alone.
func (b *bottleneck) session(id norm.NodeID, receivers int, control norm.RateControl) *flow {
	b.Helper()
	s, err := b.AddSender(fmt.Sprint("s", id), nil, normtest.Link{}, normtest.Link{Delay: b.rtt / 2}, norm.SenderConfig{
		Node: id, Control: &control, GroupSize: max(receivers, 10), Seed: uint64(id),
	})
	if err != nil {
		b.Fatal(err)
	}
	f := &flow{Sender: s}
	for i := range receivers {
		f.receivers = append(f.receivers, b.receiver(b.site, id, i, normtest.Link{Delay: b.rtt / 2}))
	}
	if _, _, err := s.Send(norm.Object{Size: 1 << 40}, blank{}); err != nil {
		b.Fatal(err)
	}
	return f
}

func (b *bottleneck) receiver(site *normtest.Site, sender norm.NodeID, i int, down normtest.Link) *normtest.Receiver {
	b.Helper()
	id := norm.NodeID(1000*int(sender) + i + 1)
	r, err := b.AddReceiver(fmt.Sprint("r", id), site, normtest.Link{}, down, norm.ReceiverConfig{Node: id, Sender: sender, Seed: uint64(id)})
	if err != nil {
		b.Fatal(err)
	}
	r.Refuse = func(norm.ReceivedObject) bool { return true }
	return r
}

// reno adds a TCP flow through the line.
func (b *bottleneck) reno() *normtest.Reno {
	from := b.Add("tcp", nil, normtest.Link{}, normtest.Link{Delay: b.rtt / 2})
	to := b.Add("sink", b.site, normtest.Link{}, normtest.Link{Delay: b.rtt / 2})
	to.Start(&normtest.RenoSink{From: from})
	r := normtest.NewReno(to, segment+32)
	from.Start(r)
	return r
}

// share runs for d and returns the share of the line that what counts got, counted in bytes by f.
func (b *bottleneck) share(d time.Duration, f func() uint64) float64 {
	before := f()
	b.Run(d)
	return float64(f()-before) * 8 / d.Seconds() / b.rate
}

// shares is share for two at once.
func (b *bottleneck) shares(d time.Duration, f, g func() uint64) (x, y float64) {
	before := g()
	x = b.share(d, f)
	return x, float64(g()-before) * 8 / d.Seconds() / b.rate
}

// TestStartAndUtilisation measures how soon slow start comes to 80 % of an unshared line, and what a session gets of it then.
func TestStartAndUtilisation(t *testing.T) {
	for _, test := range []struct {
		rate    float64
		rtt     time.Duration
		start   float64
		within  time.Duration
		utilise float64
	}{
		{100e6, 20 * time.Millisecond, 1e6, 3 * time.Second, 0.85},
		{100e6, 20 * time.Millisecond, 8 * segment, 30 * time.Second, 0.85}, // the RFC's: MIN(S/GRTT, S) bytes per second
		{10e6, 50 * time.Millisecond, 1e6, 3 * time.Second, 0.85},
	} {
		b := newBottleneck(t, 1, test.rate, test.rtt)
		f := b.session(1, 1, norm.RateControl{StartRate: test.start})
		var there time.Duration
		peak := 0.0
		for there == 0 && b.Elapsed() < time.Minute {
			if b.share(50*time.Millisecond, f.bytes) >= 0.8 {
				there = b.Elapsed()
			}
			peak = max(peak, f.Core.Stats().Rate)
		}
		if peak > 2.05*test.rate { // T-3.6-01: receivers report twice what they receive
			t.Errorf("slow start came to %.1f times the rate of the line", peak/test.rate)
		}
		b.Run(10 * time.Second)
		got := b.share(20*time.Second, f.bytes)
		st := f.Core.Stats()
		t.Logf("%3.0f Mbit/s, RTT %v, from %6.0f bit/s: 80 %% after %v; then %.0f %% (p %.2g, RTT %v)",
			test.rate/1e6, test.rtt, test.start, there, 100*got, st.Loss, st.RTT)
		if there == 0 || there > test.within || got < test.utilise {
			t.Errorf("want 80 %% within %v, and %.0f %%", test.within, 100*test.utilise)
		}
	}
}

// TestSharesWithTCP: over the last 300 of 600 s a session and a TCP flow get no more than twice what the other gets.
func TestSharesWithTCP(t *testing.T) {
	const half = 300 * time.Second
	for _, rate := range []float64{1e6, 10e6, 100e6} {
		for _, rtt := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond} {
			t.Run(fmt.Sprintf("%.0fM-%v", rate/1e6, rtt), func(t *testing.T) {
				if rate > 10e6 {
					heavy(t)
				}
				// How two flows meet the same queue varies from run to run, the more the fewer packets it holds.
				var ours, theirs float64
				runs := 4 // single runs at 1 Mbit/s and 10 ms were between 1.6 and 2.1, one at 100 Mbit/s and 100 ms 0.45
				if rate == 10e6 {
					runs = 1 // for time; it varies less
				}
				for i := range runs {
					b := newBottleneck(t, 2, rate, rtt)
					f := b.session(1, 1, norm.RateControl{})
					b.Run(time.Duration(i) * 7 * time.Second)
					tcp := b.reno()
					b.Run(half)
					x, y := b.shares(half, f.bytes, func() uint64 { return tcp.Received * (segment + 32) })
					ours, theirs = ours+x/float64(runs), theirs+y/float64(runs)
				}
				t.Logf("NORM %.0f %%, TCP %.0f %%, ratio %.2f in %d runs", 100*ours, 100*theirs, ours/theirs, runs)
				// B-3.9-01 F-5-01 N-5.5.2.3-06
				if ratio := ours / theirs; ratio < 0.5 || ratio > 2 {
					t.Error("not fair")
				}
			})
		}
	}
}

func TestSessionsShare(t *testing.T) {
	const half = 200 * time.Second
	for _, rtt := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond} {
		b := newBottleneck(t, 3, 10e6, rtt)
		f := b.session(1, 1, norm.RateControl{})
		b.Run(5 * time.Second) // the second comes later
		g := b.session(2, 1, norm.RateControl{})
		b.Run(half)
		x, y := b.shares(half, f.sent, g.sent)
		t.Logf("RTT %v: %.0f %% and %.0f %%", rtt, 100*x, 100*y)
		if ratio := x / y; ratio < 0.5 || ratio > 2 || x+y < 0.85 {
			t.Error("not fair, or the line is not used")
		}
	}
}

// state logs the time, the rate and the CLR.
func (f *flow) state(b *bottleneck, what string) norm.SenderStats {
	b.Helper()
	st := f.Core.Stats()
	b.Logf("%-26s %5.1f s: %6.2f Mbit/s, CLR %d, RTT %.1f ms, p %.2g, slow start %v, GRTT %.1f ms", what, b.Elapsed().Seconds(), st.Rate/1e6,
		st.CLR, float64(st.RTT)/1e6, st.Loss, st.SlowStart, float64(st.GRTT)/1e6)
	return st
}

// average runs for d and returns the average rate.
func (f *flow) average(b *bottleneck, d time.Duration) float64 {
	before := f.sent()
	b.Run(d)
	return float64(f.sent()-before) * 8 / d.Seconds()
}

// TestSlowReceiverLimits: the group goes at the rate of a receiver behind a slower line, until that one leaves, with a word or
// without.
func TestSlowReceiverLimits(t *testing.T) {
	for _, politely := range []bool{true, false} {
		t.Run(fmt.Sprintf("politely=%v", politely), func(t *testing.T) {
			const rtt = 40 * time.Millisecond
			b := newBottleneck(t, 4, 20e6, rtt)
			f := b.session(1, 3, norm.RateControl{})
			b.Run(10 * time.Second)
			if got := f.average(b, 5*time.Second); got < 17e6 {
				t.Errorf("rate %.0f", got)
			}
			f.state(b, "three at 20 Mbit/s")
			slow := b.receiver(nil, 1, 99, normtest.Link{Delay: rtt / 2, Rate: 2e6, Queue: 30_000})
			b.Run(20 * time.Second)
			got := f.average(b, 10*time.Second)
			st := f.state(b, "one at 2 Mbit/s")
			if st.CLR != slow.Config.Node || got < 1.2e6 || got > 2.5e6 { // N-5.5.2-04
				t.Errorf("rate %.0f, CLR %v; want 2 Mbit/s for %v", got, st.CLR, slow.Config.Node)
			}
			if politely { // N-5.5.2.3-01 N-5.5.2.3-13
				slow.Host.Do(func(now time.Time) { slow.Core.Leave(now) })
				b.Run(rtt)
			}
			slow.Host.Kill()
			left := b.Elapsed()
			gone := func() bool { return f.Core.Stats().CLR != slow.Config.Node }
			if !b.RunUntil(time.Minute, gone) { // N-5.5.2.3-16
				t.Error("it is still the CLR")
			}
			f.state(b, fmt.Sprintf("another CLR, after %v", (b.Elapsed()-left).Round(time.Millisecond)))
			b.Run(20 * time.Second)
			if got := f.average(b, 10*time.Second); got < 17e6 {
				t.Errorf("rate %.0f", got)
			}
			f.state(b, "thirty seconds later")
		})
	}
}

func TestSuddenLoss(t *testing.T) {
	b := newBottleneck(t, 5, 100e6, 40*time.Millisecond)
	f := b.session(1, 1, norm.RateControl{MaxRate: 20e6})
	b.Run(10 * time.Second)
	if st := f.state(b, "no loss"); st.Rate < 19.8e6 {
		t.Errorf("rate %.0f, want MaxRate", st.Rate)
	}
	b.site.Down.Loss = normtest.Random(0.01)
	b.Run(3 * time.Second)
	got := f.average(b, 30*time.Second)
	st := f.state(b, "1 % loss")
	// S / (0.04 s * (sqrt(2p/3) + 12*sqrt(3p/8)*p*(1+32p^2))) with p = 0.01 is 402 kB/s for S = 1432. N-5.5.2-02
	if want := 3.2e6; got < want/2 || got > want*2 || st.Loss < 0.004 || st.Loss > 0.025 {
		t.Errorf("rate %.0f, want about %.0f", got, want)
	}
	b.site.Down.Loss = nil
	b.Run(30 * time.Second)
	if st := f.state(b, "no loss again"); st.Rate < 15e6 {
		t.Errorf("rate %.0f", st.Rate)
	}
}

// TestMarksInPlaceOfLoss: a line that marks packets before its queue is full is used, and loses nothing.
func TestMarksInPlaceOfLoss(t *testing.T) {
	b := newBottleneck(t, 6, 100e6, 40*time.Millisecond)
	f := b.session(1, 0, norm.RateControl{})
	r := b.receiver(nil, 1, 0, normtest.Link{Delay: 20 * time.Millisecond, Rate: 10e6, Queue: 200_000, Mark: 25_000})
	f.receivers = append(f.receivers, r)
	b.Run(20 * time.Second)
	lost := r.Core.Stats().Lost
	got := b.share(60*time.Second, f.bytes) * 10
	st := f.state(b, "marked")
	if more := r.Core.Stats().Lost - lost; more > 0 || got < 0.8 || st.Loss == 0 { // T-5.1-02
		t.Errorf("%.0f %% of the line, %d lost", 100*got, more)
	}
}

// TestCongestedTransfer sends an object through a line that is slower than the sender could be, with all that belongs to it:
// losses are repaired at the rate that is left.
func TestCongestedTransfer(t *testing.T) {
	b := newBottleneck(t, 7, 20e6, 20*time.Millisecond)
	s, err := b.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: 10 * time.Millisecond}, norm.SenderConfig{
		Node: 1, Control: new(norm.RateControl), GroupSize: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &flow{Sender: s}
	for i := range 4 {
		r, err := b.AddReceiver(fmt.Sprint("r", i), b.site, normtest.Link{}, normtest.Link{Delay: 10 * time.Millisecond}, norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		f.receivers = append(f.receivers, r)
	}
	const size = 25_000_000
	if _, _, err := s.Send(norm.Object{Size: size}, nil); err != nil {
		t.Fatal(err)
	}
	complete := func() bool {
		for _, r := range f.receivers {
			if r.Completed() == 0 {
				return false
			}
		}
		return true
	}
	done := b.RunUntil(time.Minute, complete)
	st := f.state(b, "complete")
	var lost, heard uint64
	for _, r := range f.receivers {
		lost, heard = lost+r.Core.Stats().Lost, heard+r.Core.Stats().Datagrams
	}
	t.Logf("%d datagrams, %d repairs, %d NACKs, %d ACKs; lost %.1f %%", st.Datagrams, st.Repairs, st.NacksHeard, st.Acks, 100*float64(lost)/float64(lost+heard))
	if !done || b.Elapsed().Seconds() > size*8/20e6*1.5 || float64(lost) > 0.05*float64(heard) {
		t.Errorf("complete: %v after %v", done, b.Elapsed())
	}
}

// heavy skips what takes a minute unless it is asked for.
func heavy(t *testing.T) {
	t.Helper()
	if os.Getenv("NORM_SIM_HEAVY") == "" {
		t.Skip("takes a minute; NORM_SIM_HEAVY=1 runs it")
	}
}

package cc

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const rtt = 100 * time.Millisecond

// near reports whether a is within a part in a thousand of b.
func near(a, b float64) bool { return math.Abs(a-b) <= 0.001*math.Abs(b) }

// A feed gives packets to losses: one each millisecond, in the order of their numbers unless a test has it otherwise.
type feed struct {
	losses
	now   time.Duration
	first float64 // interval to begin the history with
}

func (f *feed) packet(number int, marked bool) {
	f.now += time.Millisecond
	f.arrive(f.now, uint16(number), marked, rtt, f.first)
}

// run feeds the packets [from, to) but those lost.
func (f *feed) run(from, to int, lost ...int) {
	for i := from; i < to; i++ {
		missing := false
		for _, n := range lost {
			missing = missing || n == i
		}
		if missing {
			f.now += time.Millisecond
			continue
		}
		f.packet(i, false)
	}
}

func TestEquation(t *testing.T) {
	for _, test := range []struct {
		size float64
		rtt  time.Duration
		p    float64
		want float64
	}{
		{1400, rtt, 0.01, 157_265},     // N-5.5.2-02: by hand, from the formula
		{1400, 2 * rtt, 0.01, 78_632},  // half of it
		{2800, rtt, 0.01, 2 * 157_265}, // twice
		{1000, time.Second, 1, 1000 / (math.Sqrt(2.0/3) + 12*math.Sqrt(3.0/8)*33)},
		{1000, 0, 0.01, 1000 / 1400.0 * 100 * 157_265}, // T-3.2-01: 1 ms at the least
	} {
		if got := Rate(test.size, test.rtt, test.p); !near(got, test.want) {
			t.Errorf("%v bytes, %v, p %v: %.0f, want %.0f", test.size, test.rtt, test.p, got, test.want)
		}
	}
	// RFC 4654, Section 2.1 has 8s in place of S, and bits per second. T-2.1-01
	if bits := Rate(8*1400, rtt, 0.01); !near(bits, 8*157_265) {
		t.Errorf("%.0f bits per second", bits)
	}
	if !math.IsInf(Rate(1400, rtt, 0), 1) {
		t.Error("a limit without loss")
	}
	last := math.Inf(1)
	for p := 1e-6; p <= 1; p *= 1.1 {
		r := Rate(1400, rtt, p)
		if r >= last {
			t.Fatalf("p %v: %v, not below %v", p, r, last)
		}
		last = r
	}
}

func TestLossNeedsThreeLaterPackets(t *testing.T) {
	f := feed{first: 50}
	f.run(0, 13, 10)
	if f.loss() != 0 { // T-5.1-01: two later ones
		t.Error("lost after two packets")
	}
	f.packet(13, false)
	if f.loss() == 0 {
		t.Fatal("not lost after three")
	}
	f.packet(10, false) // late
	if f.loss() != 0 {  // T-5.1-01: "the receiver can recalculate the loss event rate"
		t.Error("still lost when it has come")
	}
	f.packet(11, false) // a duplicate
	f.run(14, 100)
	if f.loss() != 0 {
		t.Error("a duplicate counts")
	}
}

func TestLateInSecondEvent(t *testing.T) {
	f := feed{first: 50}
	f.run(0, 250, 10, 200, 201)
	before := f.loss()
	f.packet(200, false)
	if f.loss() != before {
		t.Error("one of two that are missing came, and the event is gone")
	}
	f.packet(201, false)
	g := feed{first: 50}
	g.run(0, 250, 10)
	if got, want := f.loss(), g.loss(); got != want || got >= before {
		t.Errorf("p %v, want %v as if nothing had been lost", got, want)
	}
	f.packet(10, false) // of an event before
	if f.loss() != g.loss() {
		t.Error("looked back farther than one event")
	}
}

func TestReordering(t *testing.T) {
	f := feed{first: 50}
	for i := 0; i < 1000; i += 3 { // each packet up to two late: T-5.1-01
		f.packet(i+2, false)
		f.packet(i+1, false)
		f.packet(i, false)
	}
	if f.loss() != 0 {
		t.Errorf("p %v for packets out of order", f.loss())
	}
}

func TestLossesInOneRoundTripAreOneEvent(t *testing.T) {
	f := feed{first: 1000}
	f.run(0, 2000, 1000, 1050, 1100) // the last one RTT behind the first, to the millisecond: T-5.2-01
	if n := f.events.history.n; n != 1 {
		t.Errorf("%d intervals, want that of the start only", n)
	}
	f = feed{first: 1000}
	f.run(0, 2000, 1000, 1101)
	if n := f.events.history.n; n != 2 || f.events.history.interval[0] != 101 { // T-5.3-01
		t.Errorf("%d intervals, the last %v; want 2 and 101", n, f.events.history.interval[0])
	}
}

// TestLossTimesAreInterpolated: two packets are lost in one gap, the time of which decides whether that is one event.
func TestLossTimesAreInterpolated(t *testing.T) {
	for _, test := range []struct {
		gap    time.Duration
		events int8
	}{
		{290 * time.Millisecond, 1}, // losses a third and two thirds into it, 97 ms apart
		{310 * time.Millisecond, 2}, // 103 ms: T-5.2-01
	} {
		f := feed{first: 1000}
		f.run(0, 10)
		f.now += test.gap - time.Millisecond
		f.run(12, 20)
		if n := f.events.history.n; n != test.events {
			t.Errorf("gap of %v: %d events, want %d", test.gap, n, test.events)
		}
	}
}

func TestLongOutage(t *testing.T) {
	f := feed{first: 1000}
	f.run(0, 10)
	f.now += 30 * time.Second
	f.run(10+30_000, 10+30_100) // 300 events of an RTT, about 100 packets each
	if p := f.loss(); p < 0.009 || p > 0.011 {
		t.Errorf("p %v after an outage, want a loss event each 100 packets", p)
	}
}

func TestSequenceWrap(t *testing.T) {
	a, b := feed{first: 50}, feed{first: 50}
	a.run(1000, 3000, 1500, 1900, 2400)
	b.run(65536-700, 65536+1300, 65536-200, 65536+200, 65536+700)
	if a.loss() != b.loss() || a.loss() == 0 { // T-5.2-02
		t.Errorf("p %v, and %v across the wrap", a.loss(), b.loss())
	}
	if b.events.history.interval[0] != 500 || b.events.history.interval[1] != 400 {
		t.Errorf("intervals %v", b.events.history.interval)
	}
}

func TestNumbersThatBeginAnew(t *testing.T) {
	f := feed{first: 50}
	f.run(20_000, 20_500)
	f.run(0, 500)
	if f.loss() != 0 {
		t.Errorf("p %v, though only the numbers changed", f.loss())
	}
}

func TestAverageInterval(t *testing.T) {
	var h history
	for range 12 {
		h.end(100)
	}
	if p := h.loss(1); !near(p, 0.01) { // T-5.4-01: a constant interval
		t.Errorf("p %v", p)
	}
	h = history{}
	for _, n := range []float64{10, 80, 70, 60, 50, 40, 30, 20, 10} { // the first is forgotten
		h.end(n)
	}
	// (10+20+30+40 + 0.8*50 + 0.6*60 + 0.4*70 + 0.2*80)/6 = 220/6, and I_0 = 1 would lower it: T-5.4-01
	if p := h.loss(1); !near(p, 6/220.0) {
		t.Errorf("p %v, want %v", p, 6/220.0)
	}
	// (60+10+20+30 + 0.8*40 + 0.6*50 + 0.4*60 + 0.2*70)/6 = 220/6; at 66 it is 226/6, and below twice the mean.
	if p := h.loss(66); !near(p, 6/226.0) {
		t.Errorf("p %v, want %v", p, 6/226.0)
	}
}

func TestHistoryDiscounting(t *testing.T) {
	var h history
	for range 8 {
		h.end(100)
	}
	// I_0 = 300 is more than twice 100: DF = 2*100/300. (300 + 100*(5*DF))/(1 + 5*DF), the weights w_1 to w_7 being 5.
	// T-5.5-01
	df := 2.0 / 3
	if p, want := h.loss(300), (1+5*df)/(300+500*df); !near(p, want) {
		t.Errorf("p %v, want %v", p, want)
	}
	// At 10,000 it is at the threshold of one half.
	if p, want := h.loss(10_000), 3.5/(10_000+250); !near(p, want) {
		t.Errorf("p %v, want %v", p, want)
	}
	h.end(300) // the discount goes with the intervals
	if h.discount[0] != 1 || !near(float64(h.discount[1]), df) || !near(float64(h.discount[7]), df) {
		t.Errorf("discounts %v", h.discount)
	}
}

func TestMarksAreEventsAtOnce(t *testing.T) {
	f := feed{first: 50}
	f.run(0, 100)
	f.packet(100, true)
	if f.loss() == 0 { // T-5.1-02
		t.Fatal("a mark that is no event")
	}
	f.packet(101, true) // within an RTT
	if n := f.events.history.n; n != 1 {
		t.Errorf("%d events", n)
	}
	f.run(102, 300)
	f.packet(300, true)
	if n := f.events.history.n; n != 2 || f.events.history.interval[0] != 200 {
		t.Errorf("%d events, interval %v", n, f.events.history.interval[0])
	}
}

// TestFirstLossSeedsTheHistory: the equation gives no more than what arrived.
func TestFirstLossSeedsTheHistory(t *testing.T) {
	const size, interval = 1000, 10 * time.Millisecond // 100 kB/s
	for _, own := range []bool{true, false} {
		r := NewReceiver(2*rtt, 1e5)
		if own {
			r.Measured(rtt)
		}
		now := time.Unix(0, 0)
		for i := range 100 {
			now = now.Add(interval)
			if i != 90 {
				r.Arrive(now, uint16(i), size, false)
			}
			if i < 90 && (r.Loss() != 0 || i > 60 && !near(r.Rate(), 2e5)) { // T-4.1-01
				t.Fatalf("p %v, rate %.0f before any loss", r.Loss(), r.Rate())
			}
		}
		// l_0 = (1e5 * R / (sqrt(3/2) * 1000))^2: T-5.6-01
		want := math.Pow(1e5*r.rtt.Seconds()/(math.Sqrt(1.5)*size), 2)
		if got := float64(r.losses.events.history.interval[0]); math.Abs(got/want-1) > 0.1 { // a packet fewer arrived
			t.Errorf("first interval %.1f, want %.1f", got, want)
		}
		if got := r.Rate(); got > 1e5 || got < 0.5e5 {
			t.Errorf("rate %.0f after the first loss, %.0f arrived", got, r.Received())
		}
		if !own {
			before := r.losses.events.history.interval[0]
			r.Measured(rtt)
			if got := r.losses.events.history.interval[0]; !near(float64(got), float64(before)/4) { // T-5.6-02
				t.Errorf("first interval %v with half the RTT, was %v", got, before)
			}
			r.Measured(rtt / 2)
			if got := r.losses.events.history.interval[0]; !near(float64(got), float64(before)/4) {
				t.Error("corrected twice")
			}
		}
	}
}

func TestSeedLeavesTheHistory(t *testing.T) {
	var h history
	h.begin(1000)
	for range 7 {
		h.end(10)
	}
	h.rescale(0.5)
	if h.interval[7] != 250 {
		t.Errorf("%v, want the last a fourth", h.interval)
	}
	h.end(10)
	h.rescale(0.5) // T-5.6-02: "No action needs to be taken"
	for _, n := range h.interval {
		if n != 10 {
			t.Errorf("%v, want 10 each", h.interval)
		}
	}
}

// TestReceiveRateWindow: a rate that changes is told within four rounds, and what it was two rounds ago still counts.
func TestReceiveRateWindow(t *testing.T) {
	var m meter
	now := time.Duration(0)
	feed := func(d, each time.Duration) {
		for end := now + d; now < end; {
			now += each
			m.add(now, 1000, rtt)
		}
	}
	feed(time.Second, 10*time.Millisecond)
	if !near(m.rate, 1e5) {
		t.Fatalf("rate %.0f, want 100 kB/s", m.rate)
	}
	feed(rtt, 5*time.Millisecond)
	if m.rate < 1.2e5 || m.rate > 1.51e5 { // a half to a fourth of 2 to 4 RTT: T-4.3.4-01
		t.Errorf("rate %.0f one RTT after it doubled", m.rate)
	}
	feed(3*rtt, 5*time.Millisecond)
	if !near(m.rate, 2e5) { // T-4.3.4-01
		t.Errorf("rate %.0f four RTT after it doubled", m.rate)
	}
	now += 10 * time.Second
	feed(2*rtt, 5*time.Millisecond)
	if math.Abs(m.rate/2e5-1) > 0.05 {
		t.Errorf("rate %.0f: a pause of the sender counts", m.rate)
	}
}

// TestLossIsWithinBounds holds, for packets of any kind, that p is a fraction, and that it is soon about the share of packets lost
// when they are lost at random and far apart.
func TestLossIsWithinBounds(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		f := feed{first: 1 + rng.Float64()*1000}
		number, share := rng.IntN(65536), 0.001+0.004*rng.Float64()
		for range 20_000 {
			switch {
			case rng.Float64() < 0.001:
				f.packet(rng.IntN(65536), rng.IntN(2) == 0) // anything
			case rng.Float64() >= share:
				f.packet(number, false)
			default:
				f.now += time.Millisecond
			}
			if number++; rng.Float64() < 0.0005 {
				f.now += time.Duration(rng.IntN(int(time.Second)))
			}
			if p := f.loss(); !(p >= 0 && p <= 1) {
				t.Fatalf("seed %d: p %v", seed, p)
			}
		}
	}
	sum := 0.0
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		f := feed{first: 1000}
		for i := range 60_000 {
			if rng.Float64() < 0.001 {
				f.now += time.Millisecond
			} else {
				f.packet(i, false)
			}
		}
		sum += 1 / f.loss() / 50
	}
	// An interval is 1000 packets to the next loss and 100 in which others belong to the event.
	if sum < 950 || sum > 1500 {
		t.Errorf("average interval %.0f", sum)
	}
}

func TestReceiverDoesNotAllocate(t *testing.T) {
	r, now, n := NewReceiver(rtt, 1e5), time.Unix(0, 0), uint16(0)
	step := func() {
		now = now.Add(time.Millisecond)
		if n++; n%50 != 0 {
			r.Arrive(now, n, 1400, false)
		}
		r.Rate()
	}
	for range 200 {
		step()
	}
	if got := testing.AllocsPerRun(1000, step); got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
}

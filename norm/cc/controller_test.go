package cc

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const size = 1000

// A rig drives a Controller: GRTT 100 ms, a probe each time probe is called.
type rig struct {
	*testing.T
	*Controller
	now      time.Time
	sequence uint16
}

func newRig(t *testing.T, start float64) *rig {
	return &rig{t, NewController(Config{Start: start, Min: 1000, Max: 1e9, Size: size, Robust: 20}), time.Unix(0, 0), 0}
}

func (r *rig) probe() {
	r.sequence++
	r.Probe(r.now, r.sequence, rtt, true)
}

// say is feedback of a node with the current cc_sequence and a round trip of 100 ms, but for what change changes.
func (r *rig) say(node uint32, loss, rate float64, change func(*Report)) {
	x := Report{Node: node, Sequence: r.sequence, Sample: rtt, RTT: rtt, Loss: loss, Rate: rate, Start: loss == 0}
	if change != nil {
		change(&x)
	}
	r.Report(r.now, x, rtt, true)
}

// rounds has a node answer n probes, one each RTT.
func (r *rig) rounds(n int, node uint32, loss, rate float64) {
	for range n {
		r.probe()
		r.now = r.now.Add(rtt)
		r.say(node, loss, rate, nil)
	}
}

func (r *rig) wantRate(want float64, why string) {
	r.Helper()
	if !near(r.Rate(), want) {
		r.Errorf("rate %.0f, want %.0f: %s", r.Rate(), want, why)
	}
}

func (r *rig) wantCLR(want uint32, why string) {
	r.Helper()
	if n, _ := r.Limiting(); n.ID != want {
		r.Errorf("CLR %d, want %d: %s", n.ID, want, why)
	}
}

func TestSlowStart(t *testing.T) {
	r := newRig(t, 10_000)
	r.rounds(1, 1, 0, 16_000)
	r.wantRate(16_000, "what is reported") // N-5.5.2.3-11
	r.now = r.now.Add(rtt / 2)
	r.say(1, 0, 30_000, nil)
	r.wantRate(16_000, "half a GRTT later") // N-5.5.2.3-11: once per GRTT
	r.rounds(1, 1, 0, 100_000)
	r.wantRate(32_000, "at most twice the rate")
	r.probe()
	r.now = r.now.Add(rtt)
	r.say(2, 0, 40_000, nil)
	r.say(1, 0, 100_000, nil)
	r.wantRate(40_000, "the lowest of several") // N-5.5.2.3-11
	r.wantCLR(2, "it is the lowest")
	if !r.SlowStart() { // N-5.5.2.3-10
		t.Error("not in slow start")
	}
	r.probe()
	r.now = r.now.Add(rtt)
	r.say(3, 0.02, 1e6, nil) // N-5.5.2.3-12
	if r.SlowStart() {
		t.Error("slow start goes on after a loss")
	}
}

// TestSteadyState: the rate is that of the equation on the sender's own terms, and rises by a packet per RTT.
func TestSteadyState(t *testing.T) {
	r := newRig(t, 500_000)
	r.rounds(1, 1, 0.01, 1)
	want := Rate(size, rtt, 0.01+lossStep)
	r.wantRate(want, "of the equation, and not what the receiver says") // N-5.5.2.3-05 N-5.5.2.3-06
	for i := range 50 {
		before := r.Rate()
		r.probe()
		steps := 1 + i%3
		for range steps {
			r.now = r.now.Add(rtt / time.Duration(steps))
			r.say(1, 0.0001, 1e9, nil)
		}
		if got := r.Rate() - before; !near(got, size/rtt.Seconds()) { // N-5.5.2.3-07
			t.Fatalf("round %d: %.0f B/s more, want a packet per RTT, %.0f", i, got, size/rtt.Seconds())
		}
	}
	r.now = r.now.Add(10 * rtt)
	before := r.Rate()
	r.say(1, 0.0001, 1e9, nil)
	if got := r.Rate() - before; got > 1.01*size/rtt.Seconds() {
		t.Errorf("%.0f B/s more at once after a silence", got)
	}
	before = r.Rate()
	r.now = r.now.Add(rtt)
	r.Report(r.now, Report{Node: 1, Sequence: r.sequence, Sample: rtt, RTT: rtt, Loss: 0.0001, Rate: 1e9}, rtt, false)
	r.wantRate(before, "not higher while it is not used")
}

func TestOtherCLR(t *testing.T) {
	r := newRig(t, 1e6)
	r.rounds(2, 1, 0.001, 1e9)
	high := r.Rate()
	r.probe()
	r.now = r.now.Add(rtt)
	r.say(2, 0.01, 1e9, nil)
	low := Rate(size, rtt, 0.01)
	r.wantCLR(2, "the lowest rate") // N-5.5.2-04
	r.wantRate(low, "at once")      // N-5.5.2.3-08
	r.say(1, 0.001, 1e9, nil)
	r.wantCLR(2, "the other is higher")
	// It leaves: the other one takes its place, and the rate goes there step by step.
	r.say(2, 0.01, 1e9, func(x *Report) { x.Leave = true })
	r.wantCLR(1, "the lower one has left") // N-5.5.2.3-13
	r.wantRate(low, "not at once")
	r.rounds(1, 1, 0.001, 1e9)
	r.wantRate(low, "not in the first round") // T-3.3-03
	r.rounds(1, 1, 0.001, 1e9)
	if got := r.Rate(); got > low+1.01*size/rtt.Seconds() || got <= low || got >= high { // N-5.5.2.3-08
		t.Errorf("rate %.0f after a round, was %.0f", got, low)
	}
	r.say(3, 0.5, 1e9, func(x *Report) { x.Leave = true })
	r.wantCLR(1, "one that leaves is not selected") // N-5.5.2.3-13
}

func TestTies(t *testing.T) {
	r := newRig(t, 1e6)
	r.probe()
	r.now = r.now.Add(rtt)
	report := func(node uint32, rate float64, rtt time.Duration) {
		r.say(node, 0, rate, func(x *Report) { x.Sample, x.RTT = rtt, rtt })
	}
	report(1, 100_000, rtt)
	report(2, 109_000, 2*rtt)
	r.wantCLR(2, "within 10 %, and farther") // N-5.5.2-05
	report(3, 105_000, rtt/2)
	r.wantCLR(2, "nearer")
	report(4, 112_000, 5*rtt)
	r.wantCLR(2, "not within 10 %")
}

func TestRTT(t *testing.T) {
	r := newRig(t, 1e6)
	r.probe()
	sample := func(node uint32, sample, theirs time.Duration) time.Duration {
		r.say(node, 0, 100_000+1e6*float64(node), func(x *Report) { x.Sample, x.RTT = sample, theirs })
		n, _ := r.Find(node)
		return n.RTT
	}
	for i, step := range []struct {
		node           uint32
		sample, theirs time.Duration
		want           time.Duration
	}{
		{1, 100, 0, 100},    // N-5.5.2.3-02: the first of the CLR-to-be
		{1, 200, 50, 110},   // N-5.5.2.3-04: 0.9*100 + 0.1*200, whatever it thinks
		{1, 10, 0, 100},     // 0.9*110 + 0.1*10
		{2, 80, 0, 80},      // N-5.5.2.3-02
		{2, 100, 60, 80},    // N-5.5.2.3-03: 0.5*60 + 0.5*100
		{2, 50, 0, 50},      // N-5.5.2.3-02: "simply uses this"
		{2, 300, 100, 200},  // N-5.5.2.3-03
		{9, 0, 0, 0},        // a PLR by configuration, see below
		{9, 100, 700, 400},  // before it is one
		{9, 1000, 700, 460}, // N-5.5.2.3-04: 0.9*400 + 0.1*1000, as for the CLR
	} {
		if step.sample == 0 {
			continue
		}
		if i == 9 {
			r.nodes[r.index(9)].PLR = true
		}
		got := sample(step.node, step.sample*time.Millisecond, step.theirs*time.Millisecond)
		if got != step.want*time.Millisecond {
			t.Errorf("step %d: RTT %v, want %d ms", i, got, step.want)
		}
	}
	// Promoted to CLR it goes on from there: N-5.5.2.3-04
	r.say(9, 0, 1000, func(x *Report) { x.Sample = 460 * time.Millisecond })
	r.wantCLR(9, "the lowest")
	if n, _ := r.Limiting(); n.RTT != 460*time.Millisecond {
		t.Errorf("RTT %v after the promotion", n.RTT)
	}
}

// TestRateOfAReceiver: cc_loss and the sender's RTT decide, cc_rate only where cc_loss is too coarse to tell.
func TestRateOfAReceiver(t *testing.T) {
	for _, test := range []struct {
		name string
		x    Report
		rtt  time.Duration
		want float64
	}{
		{"slow start", Report{Start: true, Rate: 12345}, rtt, 12345}, // N-5.5.2.3-05
		{"liar, low", Report{Loss: 0.01, Rate: 1, RTT: rtt}, rtt, Rate(size, rtt, 0.01+lossStep)},
		{"liar, high", Report{Loss: 0.01, Rate: 1e12, RTT: rtt}, rtt, Rate(size, rtt, 0.01)}, // N-5.5.2.3-05
		{"without RTT it took GRTT", Report{Rate: 50_000}, rtt / 2, 100_000},                 // T-3.3-01: X' = X * R_max/R_new
		{"its RTT is older than ours", Report{Rate: 50_000, RTT: rtt / 4}, rtt / 2, 25_000},
		{"less than a step of cc_loss", Report{Loss: lossStep, Rate: 7e6, RTT: rtt}, rtt, 7e6},
		{"cc_loss cut off", Report{Rate: 20_000, RTT: rtt}, rtt, 20_000},
		{"limit", Report{Loss: 0.01, Rate: 20_000, RTT: rtt, Limit: true}, rtt, 20_000},
	} {
		if got := test.x.rate(size, test.rtt, rtt); !near(got, test.want) {
			t.Errorf("%s: %.0f, want %.0f", test.name, got, test.want)
		}
	}
}

func TestSilentCLR(t *testing.T) {
	r := newRig(t, 1e6)
	r.rounds(3, 1, 0.001, 1e9)
	r.say(2, 0.0005, 1e9, nil)
	start := r.Rate()
	want := start
	for age := 1; age <= 20; age++ {
		r.probe()
		if age > 4 { // N-5.5.2.3-14
			want = max(want/2, 1000) // N-5.5.2.3-15
		}
		r.wantRate(want, "age of the feedback")
		r.wantCLR(1, "it may still answer")
		r.Probe(r.now, r.sequence, rtt, true) // once per RTT_clr
		r.wantRate(want, "in the same RTT")
		r.now = r.now.Add(rtt)
	}
	r.probe()
	r.wantCLR(2, "after NORM_ROBUST_FACTOR rounds the next takes its place") // N-5.5.2.3-16
	if !r.SlowStart() {                                                      // N-5.5.2.3-16
		t.Error("not in slow start")
	}
}

// TestOldSequence: feedback that comes, but of probes long ago, is as old as it says.
func TestOldSequence(t *testing.T) {
	r := newRig(t, 1e6)
	r.rounds(10, 1, 0.001, 1e9)
	before := r.Rate()
	old := r.sequence
	for range 5 {
		r.now = r.now.Add(rtt)
		r.say(1, 0.001, 1e9, func(x *Report) { x.Sequence = old })
		r.probe()
	}
	if r.Rate() > 0.6*before { // N-4.2.3.4-17
		t.Errorf("rate %.0f, was %.0f", r.Rate(), before)
	}
}

// TestAttackForgedFeedback: one stranger's word holds the rate down for as long as it lasts, and no longer.
func TestAttackForgedFeedback(t *testing.T) {
	r := newRig(t, 1e6)
	r.rounds(5, 1, 0.001, 1e9)
	before := r.Rate()
	r.say(666, 0, 0, nil)
	r.wantCLR(1, "no rate is no feedback")                                                  // N-5.5.2-06
	r.say(666, 1, 1, func(x *Report) { x.Sequence += 30_000; x.Sample = 10 * time.Second }) // far ahead: it would never be old
	r.wantCLR(666, "the lowest")
	if r.Rate() < 1000 { // N-5.5.2-06: the floor
		t.Errorf("rate %.0f", r.Rate())
	}
	for range 200 {
		r.rounds(1, 1, 0.001, 1e9)
	}
	if _, ok := r.Find(666); ok { // N-5.5.2-06: it expires
		t.Error("still known after 200 rounds")
	}
	if r.Rate() < before/2 {
		t.Errorf("rate %.0f, was %.0f", r.Rate(), before)
	}
	r.say(667, 1, 1, func(x *Report) { x.Sample, x.RTT = 0, 0 }) // a CLR of which no round trip time is known
	if r.wantCLR(667, "the lowest"); !(r.Rate() >= 1000) {
		t.Errorf("rate %.0f", r.Rate())
	}
	for id := range uint32(10_000) {
		r.say(1000+id, 0.5, 1, nil)
	}
	if n := len(r.nodes); n > MaxNodes { // N-5.5.2-06
		t.Errorf("%d nodes kept", n)
	}
	if _, ok := r.Find(1); ok && cap(r.nodes) > 2*MaxNodes {
		t.Error("memory grows")
	}
}

func TestPause(t *testing.T) {
	r := newRig(t, 10_000)
	r.rounds(3, 1, 0.0001, 1e9)
	r.set(800_000)
	r.Pause(r.now)
	r.now = r.now.Add(3*rtt + rtt/2)
	r.Resume(r.now, rtt)
	r.Continue()
	r.wantRate(100_000, "halved in each of three RTT") // N-5.5.2.3-18
	if r.SlowStart() {
		t.Error("slow start after a short break")
	}
	r.Pause(r.now)
	r.now = r.now.Add(time.Hour)
	r.Resume(r.now, rtt)
	r.Continue()
	r.wantRate(10_000, "not below where slow start begins")
	if !r.SlowStart() { // N-5.5.2.3-19
		t.Error("no slow start after an hour")
	}
	r.Pause(r.now)
	r.Resume(r.now, rtt)
	r.Continue()
	r.wantRate(10_000, "no time has passed")
}

func TestListOrder(t *testing.T) {
	r := newRig(t, 1e6)
	r.Potential(50)
	r.probe()
	r.now = r.now.Add(rtt)
	r.say(1, 0.01, 1e9, nil)
	r.say(2, 0.001, 1e9, nil)
	r.say(3, 0.002, 1e9, nil)
	list := func(n int) (ids []uint32) {
		r.List(n, func(n Node, _ bool) { ids = append(ids, n.ID) })
		return ids
	}
	want := func(got []uint32, want ...uint32) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%v, want %v", got, want)
			}
		}
	}
	want(list(9), 1, 50, 3, 2) // N-5.5.2.1-07 N-5.5.2.1-08: the CLR, the PLR, then the greatest loss of those without RTT
	r.say(4, 0.0001, 1e9, nil)
	r.say(5, 0.0005, 1e9, nil)
	want(list(4), 1, 50, 5, 4) // N-5.5.2.1-08: new ones go first
	want(list(9), 1, 50, 3, 2, 5, 4)
	want(list(2), 1, 50) // N-5.5.2.1-11
}

// TestRateNeverRisesFaster holds the limits in any sequence of calls.
func TestRateNeverRisesFaster(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		r := newRig(t, 20_000)
		for range 300 {
			before, slow := r.Rate(), r.SlowStart()
			again := r.again
			switch rng.IntN(8) {
			case 0, 1:
				r.probe()
			case 2:
				r.now = r.now.Add(time.Duration(rng.IntN(int(rtt))))
			case 3:
				r.Pause(r.now)
				r.now = r.now.Add(time.Duration(rng.IntN(int(5 * rtt))))
				r.Resume(r.now, rtt)
				r.Continue()
			default:
				loss := 0.0
				if rng.IntN(3) > 0 {
					loss = math.Pow(rng.Float64(), 6)
				}
				r.say(uint32(1+rng.IntN(50)), loss, math.Exp(20*rng.Float64()), func(x *Report) {
					x.Sequence -= uint16(rng.IntN(10))
					x.Leave, x.Limit = rng.IntN(20) == 0, rng.IntN(20) == 0
					x.Sample = time.Duration(rng.IntN(int(4 * rtt)))
				})
			}
			after := r.Rate()
			if !(after >= 1000 && after <= 1e9) || len(r.nodes) > MaxNodes {
				t.Fatalf("seed %d: rate %v, %d nodes", seed, after, len(r.nodes))
			}
			if slow && !again && after > 2.01*before {
				t.Fatalf("seed %d: from %.0f to %.0f in slow start", seed, before, after)
			}
		}
	}
}

func TestControllerDoesNotAllocate(t *testing.T) {
	r := newRig(t, 1e6)
	for i := range uint32(MaxNodes) {
		r.say(i+1, 0.01, 1e5, nil)
	}
	if n := testing.AllocsPerRun(100, func() {
		r.probe()
		r.now = r.now.Add(rtt)
		r.Report(r.now, Report{Node: 1, Sequence: r.sequence, Sample: rtt, RTT: rtt, Loss: 0.01, Rate: 1e5}, rtt, true)
		r.List(16, func(Node, bool) {})
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

// N-5.5.2-03
func TestSizeIsAnAverage(t *testing.T) {
	r := newRig(t, 1e6)
	for range 200 {
		r.Sent(1400)
		r.Sent(600)
	}
	if s := r.Size(); s < 950 || s > 1050 {
		t.Errorf("S = %.0f of packets of 1400 and 600 bytes", s)
	}
}

// TestNearReceiversArePLRs: those that bear hardly more than the CLR are asked at each probe, as many as configured.
func TestNearReceiversArePLRs(t *testing.T) {
	for near, want := range [][]uint32{{}, {2}, {2, 3}, {2, 3}} {
		r := &rig{t, NewController(Config{Start: 1e6, Min: 1000, Max: 1e9, Size: size, Robust: 20, Near: near}), time.Unix(0, 0), 0}
		r.Potential(9)
		plrs := func() (ids []uint32) {
			r.List(MaxNodes, func(n Node, clr bool) {
				if n.PLR && n.ID != 9 {
					ids = append(ids, n.ID)
				}
				if clr && n.PLR {
					t.Errorf("the CLR is its own PLR: %+v", n)
				}
			})
			return ids
		}
		if got := plrs(); len(got) > 0 {
			t.Errorf("%v in slow start", got)
		}
		r.probe()
		r.now = r.now.Add(rtt)
		// By the equation the rate goes with one over the square root of the loss: 1.1, 1.2 and 2 times that of the CLR.
		for id, share := range map[uint32]float64{1: 1, 2: 1.1, 3: 1.2, 4: 2} {
			r.say(id, 0.01/share/share, 1e9, nil)
		}
		r.wantCLR(1, "the lowest rate")
		if got := plrs(); !slices.Equal(got, want) { // N-5.5.2-08
			t.Errorf("Near %d: PLRs %v, want %v", near, got, want)
		}
		r.say(2, 0.0001, 1e9, nil)
		if got := plrs(); slices.Contains(got, 2) {
			t.Errorf("%v: 2 is not near any more", got)
		}
	}
}

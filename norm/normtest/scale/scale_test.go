package scale

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

func mustRun(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Run(c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Complete != r.Config.Receivers {
		t.Fatalf("%d of %d receivers are complete", r.Complete, r.Config.Receivers)
	}
	return r
}

// TestRunRepeats holds that a run is a function of its configuration, on however many processors.
func TestRunRepeats(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	run := func(processors int, seed uint64) Row {
		runtime.GOMAXPROCS(processors)
		c := base(2100, 4, 2100, Loss{LossIndependent, 0.02}, false)
		c.Size, c.Seed = 100_000, seed
		row := mustRun(t, c).Row("")
		row.Idle, row.Active, row.System, row.Elapsed, row.Seed = 0, 0, 0, 0, 0
		return row
	}
	one := run(1, 1)
	if two := run(4, 1); !reflect.DeepEqual(one, two) {
		t.Errorf("on one processor\n%von four\n%v", one, two)
	}
	if other := run(4, 2); reflect.DeepEqual(one, other) {
		t.Errorf("two seeds, one run:\n%v", one)
	}
}

// TestLossModels holds that each model loses what it says, and to whom.
func TestLossModels(t *testing.T) {
	for _, loss := range []Loss{{LossIndependent, 0.05}, {LossBurst, 0.05}, {LossTree, 0.05}, {LossGroup, 0.05}} {
		c := base(200, 4, 200, loss, false)
		r := mustRun(t, c)
		var share float64 // of the segments sent once, lost to the average receiver
		sent := float64(r.Sender.Datagrams)
		switch loss.Kind {
		case LossIndependent, LossBurst:
			share = float64(r.Lost) / float64(r.Lost+r.Deliveries)
		default:
			feedback := float64(r.Nacks+r.Acks) * float64(c.Receivers-1)
			if loss.Kind == LossTree { // the members of other subtrees lose it, too
				sent += feedback / float64(c.Receivers)
				feedback = 0
			}
			share = 1 - (float64(r.Deliveries)-feedback)/(sent*float64(c.Receivers))
			if r.Lost != 0 {
				t.Errorf("%v: the members' own links lost %d packets", loss, r.Lost)
			}
		}
		if share < 0.025 || share > 0.075 {
			t.Errorf("%v: %.4f of the packets were lost", loss, share)
		}
	}
	r := mustRun(t, eventConfig(50, 1))
	if events := int(r.Sender.RepairCycles); events != 16 || r.Lost != 0 {
		t.Errorf("%d repair events, want one for every fourth of 61 blocks; %d packets lost elsewhere", events, r.Lost)
	}
}

// TestSuppressionTargets holds what docs/scale.md says of the case that RFC 5401's prediction is for. B-3.2.2-02
func TestSuppressionTargets(t *testing.T) {
	for _, test := range []struct {
		receivers int
		most      float64
	}{{1000, 4}, {10_000, 4.6}} {
		if testing.Short() && test.receivers > 1000 {
			continue
		}
		var means []float64
		for seed := range uint64(5) {
			means = append(means, mustRun(t, eventConfig(test.receivers, seed+1)).PerEventMean())
		}
		t.Logf("%d receivers: %.2f NACKs per repair event in the median of %.2f", test.receivers, median(means), means)
		if got := median(means); got < 1 || got > test.most {
			t.Errorf("%d receivers: %.2f NACKs per repair event, want at most %.1f", test.receivers, got, test.most)
		}
	}
}

// TestSenderIsFlat holds that a session costs its sender the same whatever the group's size, where the need for repair is
// the same: its steps, its allocations and what it holds.
func TestSenderIsFlat(t *testing.T) {
	large := 5000
	if testing.Short() {
		large = 1000
	}
	work := func(receivers int) Work {
		c := base(receivers, 4, receivers, Loss{Kind: LossEvent}, false)
		c.Record = true
		w, err := mustRun(t, c).Replay()
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	few, many := work(10), work(large)
	t.Logf("%d receivers: %+v; %d receivers: %+v", 10, few, large, many)
	within := func(what string, a, b float64) {
		if b > 1.2*a {
			t.Errorf("%s: %.1f with 10 receivers, %.1f with %d", what, a, b, large)
		}
	}
	within("calls a second", float64(few.Calls)/few.Seconds, float64(many.Calls)/many.Seconds)
	within("datagrams sent a second", float64(few.Sent)/few.Seconds, float64(many.Sent)/many.Seconds)
	within("bytes held", float64(few.Heap), float64(many.Heap))
	within("allocations", float64(few.Mallocs), float64(many.Mallocs))
}

// TestReceiversAreSmall holds the budget of a receiver in a transfer with loss, what the simulator needs for it included.
func TestReceiversAreSmall(t *testing.T) {
	c := base(4000, 4, 4000, Loss{LossIndependent, 0.01}, false)
	r := mustRun(t, c)
	t.Logf("%d bytes for each receiver before the transfer, at most %d in it", r.HeapIdle, r.HeapActive)
	if r.HeapIdle > 2500 || r.HeapActive > 8<<10 {
		t.Errorf("%d bytes for each receiver before the transfer, %d in it: want at most 2500 and 8192", r.HeapIdle, r.HeapActive)
	}
}

func TestUnicastFeedback(t *testing.T) {
	r := mustRun(t, base(300, 6, 300, Loss{Kind: LossEvent}, true))
	t.Logf("%.1f NACKs per repair event, %d NORM_ACK(CC), %d NORM_CMD(REPAIR_ADV)", r.PerEventMean(), r.Acks, r.Adverts)
	if r.Adverts == 0 || r.PerEventMean() > 30 {
		t.Error("want some NORM_CMD(REPAIR_ADV), and at most 30 NACKs per repair event")
	}
}

// TestPrediction compares the formulas with RFC 5401's examples and with many draws of its algorithm.
func TestPrediction(t *testing.T) {
	for _, test := range []struct {
		size float64
		want float64
	}{{1000, 3.27}, {10_000, 4.63}, {100_000, 6.53}} {
		if got := Predicted(4, test.size); math.Abs(got-test.want) > 0.01 {
			t.Errorf("Predicted(4, %g) = %.3f, want %.2f", test.size, got, test.want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, test := range []struct {
		n, k  int
		size  float64
		delay float64
	}{{100, 4, 100, 0.5}, {100, 4, 1, 0.5}, {100, 2, 10_000, 0.5}, {1000, 4, 1000, 1}, {1, 4, 10, 0.5}} {
		const rounds = 4000
		heard := 0
		times := make([]float64, test.n)
		for range rounds {
			l := math.Log(test.size) + 1
			for i := range times {
				times[i] = float64(test.k) / l * math.Log1p(rng.Float64()*math.Expm1(l))
			}
			first := slices.Min(times)
			for _, at := range times {
				if at <= first+test.delay {
					heard++
				}
			}
		}
		want := float64(heard) / rounds
		if got := Expected(test.n, test.k, test.size, test.delay); math.Abs(got-want) > 0.05*want {
			t.Errorf("Expected(%d, %d, %g, %g) = %.3f, drawn %.3f", test.n, test.k, test.size, test.delay, got, want)
		}
	}
}

func TestConfigRefusesWhatCannotWork(t *testing.T) {
	for _, c := range []Config{
		{}, {Size: -1}, {Size: 1, Receivers: -1}, {Size: 1, Receivers: 2 << 20}, {Size: 1, Delay: -1}, {Size: 1, Loss: Loss{LossGroup, 0.6}},
		{Size: 1, Loss: Loss{Kind: 99}}, {Size: 1, Sender: norm.SenderConfig{BackoffFactor: 99}}, {Size: 1, Receiver: norm.ReceiverConfig{Join: 99}},
	} {
		if _, err := Run(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := RunSuite("none", 0, nil); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	c := base(10, 4, 10, Loss{LossIndependent, 0.2}, false)
	c.Limit = time.Millisecond
	if r, err := Run(c); err != nil || r.Complete == 10 {
		t.Errorf("complete in no time: %v", err)
	}
}

func TestParseLoss(t *testing.T) {
	for text, want := range map[string]Loss{
		"none": {}, "event": {Kind: LossEvent}, "independent:1%": {LossIndependent, 0.01}, "burst:20": {LossBurst, 0.2},
		"tree:0.1%": {LossTree, 0.001}, "group:5%": {LossGroup, 0.05},
	} {
		var got Loss
		if err := got.UnmarshalText([]byte(text)); err != nil || math.Abs(got.Share-want.Share) > 1e-12 || got.Kind != want.Kind {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := ParseLoss(got.String()); err != nil || again.Kind != got.Kind {
			t.Errorf("%q is written %v: %v", text, got, err)
		}
	}
	for _, text := range []string{"", "independent", "none:1", "independent:", "independent:x", "independent:-1", "burst:51", "rain:1"} {
		if l, err := ParseLoss(text); err == nil {
			t.Errorf("%q: %v", text, l)
		}
	}
}

// TestSink holds that what differs from what was sent is found, and what is spilled can be read back.
func TestSink(t *testing.T) {
	cfg := Config{Size: 10*100 + 5, Seed: 1, Sender: norm.SenderConfig{SegmentSize: 100}}
	c := newContent(cfg)
	write := func(s *sink, first int, b []byte) {
		if err := s.perform(c, &norm.IO{Op: norm.Write, Offset: int64(first) * 100, B: slices.Clone(b)}); err != nil {
			t.Fatal(err)
		}
	}
	var s sink
	write(&s, 0, c.heads[:5*keep])
	odd := slices.Clone(c.heads[5*keep : 7*keep])
	odd[keep] ^= 1 // the second of two symbols
	write(&s, 5, odd)
	write(&s, 7, c.heads[7*keep:])
	if s.whole(c) {
		t.Error("a wrong byte was not found")
	}
	back := make([]byte, 3*keep)
	if err := s.perform(c, &norm.IO{Op: norm.Read, Offset: 500, B: back}); err != nil || !slices.Equal(back[:2*keep], odd) ||
		!slices.Equal(back[2*keep:], c.heads[7*keep:8*keep]) {
		t.Errorf("read %x, %v; wrote %x", back, err, odd)
	}
	write(&s, 6, c.heads[6*keep:7*keep])
	if !s.whole(c) {
		t.Errorf("%+v is not whole", s)
	}
	for _, io := range []norm.IO{{Op: norm.Write, Offset: 50, B: back}, {Op: norm.Write, Offset: 1000, B: back}} {
		if err := s.perform(c, &io); err == nil {
			t.Errorf("%d bytes at %d were accepted", len(io.B), io.Offset)
		}
	}
}

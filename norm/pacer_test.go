package norm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// T-3.7-01: under a jittery timer the average rate is kept, for send times are nominal.
func TestPacerKeepsRateUnderJitter(t *testing.T) {
	const (
		rate     = 8e6 // a megabyte per second
		datagram = 1000
	)
	now := time.Unix(0, 0)
	p := newPacer(now, rate, 5*datagram, datagram)
	rng := rand.New(rand.NewPCG(1, 2))
	start, sent := now, -5*datagram // what the first burst may hold
	for now.Sub(start) < 10*time.Second {
		for p.ready(now) {
			p.spend(datagram)
			sent += datagram
		}
		next := p.next()
		if !next.After(now) {
			t.Fatalf("next %v is not after now %v", next, now)
		}
		now = next.Add(time.Duration(rng.Int64N(int64(3 * time.Millisecond))))
	}
	want := rate / 8 * now.Sub(start).Seconds()
	if off := math.Abs(float64(sent)/want - 1); off > 0.01 {
		t.Errorf("sent %d bytes, want %.0f: off by %.2f %%", sent, want, 100*off)
	}
}

// In no stretch of time does more leave than the rate gives, plus one burst.
func TestPacerNeverExceedsRate(t *testing.T) {
	const rate, burst, largest = 1e6, 4000, 1500
	rng := rand.New(rand.NewPCG(3, 4))
	now := time.Unix(0, 0)
	p := newPacer(now, rate, burst, largest)
	type event struct {
		at    time.Time
		total int
	}
	history := []event{{now, 0}}
	total := 0
	for range 3000 {
		now = now.Add(time.Duration(rng.Int64N(int64(40 * time.Millisecond))))
		for p.ready(now) {
			n := 1 + rng.IntN(largest)
			p.spend(n)
			total += n
		}
		history = append(history, event{now, total})
	}
	for i, from := range history {
		for _, to := range history[i+1 : min(i+50, len(history))] {
			if limit := rate/8*to.at.Sub(from.at).Seconds() + burst; float64(to.total-from.total) > limit+0.001 {
				t.Fatalf("%d bytes in %v, limit %.0f", to.total-from.total, to.at.Sub(from.at), limit)
			}
		}
	}
}

func TestPacerPause(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPacer(now, 1e6, 3000, 1000)
	p.set(now, 0, 3000, 1000)
	if p.ready(now) || !p.next().IsZero() || p.interval(1000) != 0 {
		t.Error("a rate of zero does not stop the pacer")
	}
	p.set(now.Add(time.Hour), 8000, 3000, 1000)
	for range 3 { // the burst: what the pause built up is no more
		if !p.ready(now.Add(time.Hour)) {
			t.Fatal("not ready after the pause")
		}
		p.spend(1000)
	}
	if p.ready(now.Add(time.Hour)) {
		t.Error("more than a burst after the pause")
	}
	if got := p.next().Sub(now.Add(time.Hour)); got < time.Second || got > time.Second+time.Microsecond {
		t.Errorf("next datagram after %v, want 1 s", got)
	}
}

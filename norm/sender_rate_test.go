package norm

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// excess is how many bytes may leave, in any stretch of time, above what the rate gives: a burst, or what late wake-ups
// left behind and the datagram that uses it up.
func (s *Sender) excess() float64 {
	return max(float64(s.cfg.Burst), s.cfg.Rate/8*excess)
}

// TestRateIsKeptInEverySecond is for a driver that is woken up late: what leaves in any second is what the rate gives, to
// 2 %, and no more at one time than a burst holds.
func TestRateIsKeptInEverySecond(t *testing.T) {
	for _, test := range []struct {
		rate  float64
		burst int // Config.Burst
		late  time.Duration
		least uint64 // the largest burst must have between so many datagrams
		most  uint64 // and so many
	}{
		{1e6, 0, 3 * time.Millisecond, 1, 1},
		{10e6, 0, time.Millisecond, 2, 2},
		{100e6, 0, time.Millisecond, 10, 18}, // a command among them
		{100e6, 1432 * 4, 100 * time.Microsecond, 2, 4},
		{800e6, 0, time.Millisecond, 100, 140},
	} {
		r := newRig(t, func(c *SenderConfig) { c.Rate, c.SegmentSize, c.Burst = test.rate, 1400, test.burst })
		rng := rand.New(rand.NewPCG(5, uint64(test.rate)))
		r.enqueue(int(test.rate), nil) // for 8 s
		for r.now.Sub(r.start) < 3*time.Second {
			r.now = r.Deadline().Add(time.Duration(rng.Int64N(int64(test.late))))
			r.Advance(r.now)
			r.drain()
		}
		sent := r.take()
		bytes, from := 0, 0
		for _, s := range sent {
			for ; sent[from].at <= s.at-time.Second; from++ {
				bytes -= sent[from].len // what is left came in less than the second behind it
				if float64(bytes)*8 < 0.98*test.rate {
					t.Fatalf("%.0f bit/s: %d bytes in the second behind %v", test.rate, bytes, sent[from].at)
				}
			}
			if bytes += s.len; float64(bytes)*8 > 1.02*test.rate {
				t.Fatalf("%.0f bit/s: %d bytes in the second before %v", test.rate, bytes, s.at)
			}
		}
		if n := r.Stats().LargestBurst; n < test.least || n > test.most {
			t.Errorf("%.0f bit/s: %d datagrams at one time, want %d to %d", test.rate, n, test.least, test.most)
		}
	}
}

// N-2.1-02 N-4-01 N-5.1-08: messages of all types share one rate, whatever wakes the sender and however late.
func TestEverythingIsPaced(t *testing.T) {
	for _, rate := range []float64{64e3, 1e6, 8e6} {
		r := newRig(t, func(c *SenderConfig) {
			c.Rate = rate
			c.ProbeInterval = 20 * time.Millisecond
			c.SegmentSize = 500
			c.AutoParity = 1
		})
		rng := rand.New(rand.NewPCG(1, uint64(rate)))
		for range 20 {
			r.enqueue(int(rate/16), func(o *Object) { o.Info = []byte("name") }) // 10 s in all
		}
		r.Cancel(r.now, r.enqueue(100, nil)) // object 20
		for r.now.Sub(r.start) < 8*time.Second {
			if rng.IntN(20) == 0 {
				r.nackTo(testServer, "0/0/4 0/b1 o20 1/0/4-7")
			}
			r.now = r.Deadline().Add(time.Duration(rng.Int64N(int64(time.Millisecond))))
			r.Advance(r.now)
			r.drain()
		}
		total, kinds := 0, map[string]int{}
		for _, s := range r.take() {
			total += s.len
			kind, _, _ := strings.Cut(s.msg.String(), " ")
			kinds[kind]++
		}
		for _, kind := range []string{"DATA", "INFO", "CMD(CC)", "CMD(SQUELCH)", "CMD(REPAIR_ADV)"} {
			if kinds[kind] == 0 {
				t.Errorf("%.0f bit/s: no %s: %v", rate, kind, kinds)
			}
		}
		want := rate / 8 * r.now.Sub(r.start).Seconds()
		if off := float64(total)/want - 1; off > 0.01+r.excess()/want || off < -0.02 {
			t.Errorf("%.0f bit/s: sent %d bytes, want %.0f (%+.1f %%): %v", rate, total, want, 100*off, kinds)
		}
	}
}

// Nothing leaves while the rate is zero, and there is nothing to wake up for but NACK timers.
func TestPausedSender(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(4000, nil)
	r.run(5 * time.Millisecond)
	r.SetRate(r.now, math.NaN())
	r.take()
	r.run(time.Hour)
	if sent := r.take(); len(sent) != 0 || !r.Deadline().IsZero() {
		t.Errorf("%d messages at rate zero, deadline %v", len(sent), r.Deadline())
	}
	r.SetRate(r.now, 1e6)
	r.run(time.Second)
	if n := len(of[*wire.Data](r.take())); n < 30 {
		t.Errorf("%d segments after the pause", n)
	}
}

// A segment costs no memory, be it new data, proactive parity or a repair, and so does a NACK.
func TestSenderDoesNotAllocate(t *testing.T) {
	now := time.Unix(1000, 0)
	s, err := NewSender(SenderConfig{Node: 1, Group: testGroup, Rate: 1e9, AutoParity: 2, Buffer: 2 << 20}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = s.Enqueue(now, Object{Size: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 2000)
	sent := 0
	step := func() {
		now = now.Add(100 * time.Microsecond)
		s.Advance(now)
		for {
			for io := range s.Requests() {
				s.Complete(now, io)
			}
			if _, _, ok := s.Poll(now, buf); !ok {
				break
			}
			sent++
			for range s.Events() {
			}
		}
		s.Deadline()
	}
	for range 1000 {
		step()
	}
	nack := &wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: wire.FeedbackHeader{Server: 1}}
	nack.Payload = nackPayload(t, s.cfg.FEC, "0/5/64-67 0/6/64-90 0/b9-10 0/90/64")
	datagram, _ := nack.AppendBinary(nil)
	for range 3 { // the first ones make room for repair state
		s.Handle(now, Datagram{From: testReceiver, To: testGroup, B: datagram})
		now = now.Add(3 * time.Second)
		step()
	}
	before := sent
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for %d segments", n, (sent-before)/1000)
	}
	if n := testing.AllocsPerRun(20, func() {
		s.Handle(now, Datagram{From: testReceiver, To: testGroup, B: datagram})
		now = now.Add(3 * time.Second)
		for range 50 {
			step()
		}
	}); n != 0 {
		t.Errorf("%v allocations for a NACK and its repairs", n)
	}
	if s.Stats().Repairs == 0 || sent < 5000 {
		t.Errorf("%d sent, %d repairs: the test proves nothing", sent, s.Stats().Repairs)
	}
}

func BenchmarkSenderPoll(b *testing.B) {
	now := time.Unix(1000, 0)
	s, err := NewSender(SenderConfig{Node: 1, Group: testGroup, Rate: 1e12, Burst: 1 << 30}, now)
	if err != nil {
		b.Fatal(err)
	}
	s.Enqueue(now, Object{Size: 1 << 40})
	buf := make([]byte, 0, 2000)
	b.SetBytes(1400)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		for io := range s.Requests() {
			s.Complete(now, io)
		}
		s.Poll(now, buf)
	}
}

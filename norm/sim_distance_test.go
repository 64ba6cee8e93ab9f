package norm_test

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// TestDistances transfers an object with losses over every distance: timers are multiples of what the sender measures
// and advertises. It starts with the default estimate of half a second. B-3.1-05
func TestDistances(t *testing.T) {
	for _, delay := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond, 300 * time.Millisecond, 2500 * time.Millisecond} {
		net := normtest.New(1)
		s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: delay}, norm.SenderConfig{Node: 1, GroupSize: 10})
		if err != nil {
			t.Fatal(err)
		}
		link := normtest.Link{Delay: delay, Loss: normtest.Random(0.1)}
		r, err := net.AddReceiver("r", nil, normtest.Link{}, link, norm.ReceiverConfig{Node: 2})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Send(norm.Object{Size: 10 << 20}, nil); err != nil {
			t.Fatal(err)
		}
		done := net.RunUntil(10*time.Minute, func() bool { return r.Completed() == 1 })
		stats := s.Core.Stats()
		t.Logf("round trip %v: complete after %v, GRTT %v", 2*delay, net.Elapsed(), stats.GRTT)
		// It rises to the round trip with the first answer, and falls by a tenth for each probe that is answered.
		if !done || stats.GRTT < 2*delay {
			t.Errorf("round trip %v: complete %v, GRTT %v", 2*delay, done, stats.GRTT)
		}
	}
}

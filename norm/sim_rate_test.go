package norm_test

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// TestRateIsKept: as long as Burst makes up for how late the driver wakes up, the rate is what is configured.
func TestRateIsKept(t *testing.T) {
	const rate, size = 10e6, 10 << 20
	for _, test := range []struct {
		lag   time.Duration
		burst int
	}{
		{0, 0},
		{time.Millisecond, 0},
		{10 * time.Millisecond, rate / 8 / 50}, // what 20 ms give
	} {
		net := normtest.New(1)
		cfg := norm.SenderConfig{Node: 1, Rate: rate, Burst: test.burst}
		s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.Host.Lag = test.lag
		if _, _, err := s.Send(norm.Object{Size: size}, nil); err != nil {
			t.Fatal(err)
		}
		sent := func() bool { return len(s.Log) > 0 && s.Log[len(s.Log)-1].Kind == norm.ObjectSent }
		if !net.RunUntil(time.Minute, sent) {
			t.Fatalf("not sent after %v", net.Elapsed())
		}
		// T-3.7-01
		if got := float64(s.Core.Stats().Bytes) * 8 / net.Elapsed().Seconds(); got < 0.99*rate || got > 1.01*rate {
			t.Errorf("woken up to %v late: %.0f bits per second, want %.0f", test.lag, got, rate)
		}
	}
}

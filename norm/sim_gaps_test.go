package norm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// TestGapsAreLosses: over three turns of the sequence numbers a receiver counts the messages that it lost.
func TestGapsAreLosses(t *testing.T) {
	const receivers, p, segments = 4, 0.05, 200_000
	if testing.Short() {
		t.Skip("200,000 segments")
	}
	net := normtest.New(1)
	cfg := norm.SenderConfig{Node: 1, Rate: 20e6, GRTT: 10 * time.Millisecond, GroupSize: 10, SegmentSize: 100}
	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: 5 * time.Millisecond}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	group := make([]*normtest.Receiver, receivers)
	for i := range group {
		link := normtest.Link{Delay: 5 * time.Millisecond, Loss: normtest.Random(p)}
		cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i)}
		if group[i], err = net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, cfg); err != nil {
			t.Fatal(err)
		}
	}
	lost := make(map[*normtest.Host]uint64)
	net.OnLose = func(p *normtest.Packet, to *normtest.Host) {
		if p.From == s.Host {
			lost[to]++
		}
	}
	all := group
	if _, _, err := s.Send(norm.Object{Size: segments * 100}, nil); err != nil {
		t.Fatal(err)
	}
	done := net.RunUntil(10*time.Minute, func() bool {
		for len(group) > 0 && group[0].Completed() == 1 {
			group = group[1:]
		}
		return len(group) == 0
	})
	if !done {
		t.Fatalf("%d receivers are not complete", len(group))
	}
	for _, r := range all {
		// What the last messages lost does not show yet. N-4.1-16
		if got, want := r.Core.Stats().Lost, lost[r.Host]; got > want || got+5 < want {
			t.Errorf("%s: %d gaps in the sequence numbers, want %d", r.Host.Name, got, want)
		}
	}
}

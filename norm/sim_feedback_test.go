package norm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestUnicastFeedback: receivers hear the sender by multicast and answer it by unicast, so none hears another. The sender
// tells the group what it was asked for, in NORM_CMD(REPAIR_ADV), and that suppresses as the NACKs would (RFC 5740,
// Section 5.4.4).
func TestUnicastFeedback(t *testing.T) {
	const receivers = 200
	const grtt = 100 * time.Millisecond
	net := normtest.New(1)
	link := normtest.Link{Delay: grtt / 2}
	s, err := net.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{
		Node: 1, Rate: 1e6, GRTT: grtt, SegmentSize: 64, BackoffFactor: 6, GroupSize: receivers,
	})
	if err != nil {
		t.Fatal(err)
	}
	group := make([]*normtest.Receiver, receivers)
	for i := range group {
		cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Feedback: norm.FeedbackUnicast, Seed: uint64(i)}
		if group[i], err = net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, cfg); err != nil {
			t.Fatal(err)
		}
	}
	net.Drop(&normtest.Rule{Count: 1, Match: func(p *normtest.Packet) bool { return p.String() == "DATA 0/0/17" }})
	nacks, advertised := 0, 0
	net.OnSend = func(p *normtest.Packet) {
		switch p.Message().(type) {
		case *wire.Nack:
			if nacks++; p.To != s.Host.Addr { // N-5.3-22
				t.Errorf("NACK to %v, want it at %v", p.To, s.Host.Addr)
			}
		case *wire.RepairAdv:
			advertised++
		}
	}
	if _, _, err := s.Send(norm.Object{Size: 4 * 64 * 64}, nil); err != nil {
		t.Fatal(err)
	}
	done := net.RunUntil(time.Minute, func() bool {
		for len(group) > 0 && group[0].Completed() == 1 {
			group = group[1:]
		}
		return len(group) == 0
	})
	t.Logf("%d receivers: %d NACKs, %d NORM_CMD(REPAIR_ADV), complete after %v", receivers, nacks, advertised, net.Elapsed())
	// Multicast one way scales too. N-1.4-02 N-5.4.4-04 N-5.3-22
	if !done || advertised == 0 || nacks > receivers/4 {
		t.Errorf("complete: %v, want few NACKs and some NORM_CMD(REPAIR_ADV)", done)
	}
}

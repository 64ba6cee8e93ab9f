package norm_test

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestUnicastSession is a session of one sender and one receiver, by unicast both ways. N-1.2-04
func TestUnicastSession(t *testing.T) {
	net := normtest.New(1)
	link := normtest.Link{Delay: 10 * time.Millisecond, Loss: normtest.Random(0.1)}
	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: 10 * time.Millisecond}, norm.SenderConfig{
		Node: 1, Group: normtest.Address(1), GRTT: 20 * time.Millisecond, SegmentSize: 100, Rate: 1e6,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := net.AddReceiver("r", nil, normtest.Link{}, link, norm.ReceiverConfig{Node: 2, Group: normtest.Address(1)})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := net.AddReceiver("x", nil, normtest.Link{}, link, norm.ReceiverConfig{Node: 3, Group: normtest.Address(2)})
	if err != nil {
		t.Fatal(err)
	}
	nacks := 0
	net.OnSend = func(p *normtest.Packet) {
		switch m := p.Message().(type) {
		case *wire.Data:
			// "the K_sender value SHOULD be set to ZERO for NORM unicast sessions": RFC 5740, Section 5.4.1. N-5.4.1-01
			if m.Backoff != 0 {
				t.Errorf("K_sender is %d, want 0", m.Backoff)
			}
		case *wire.Nack:
			if nacks++; p.To != s.Host.Addr {
				t.Errorf("NACK to %v, want it at the sender, %v", p.To, s.Host.Addr)
			}
		case *wire.RepairAdv:
			t.Error("NORM_CMD(REPAIR_ADV), although there is nobody to suppress")
		}
	}
	if _, _, err := s.Send(norm.Object{Size: 100_000}, nil); err != nil {
		t.Fatal(err)
	}
	if !net.RunUntil(time.Minute, func() bool { return r.Completed() == 1 }) || nacks == 0 {
		t.Errorf("%v after %v and %d NACKs: %+v", r.Objects, net.Elapsed(), nacks, r.Core.Stats())
	}
	if got := stranger.Core.Stats().Datagrams; got != 0 {
		t.Errorf("another host heard %d datagrams", got)
	}
}

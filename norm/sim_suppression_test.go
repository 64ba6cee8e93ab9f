package norm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// crowd is a sender and receivers GRTT/2 from each other, as RFC 5401, Section 3.2.2 supposes.
func crowd(t testing.TB, seed uint64, receivers, gsize int, down normtest.Link) (*normtest.Net, *normtest.Sender, []*normtest.Receiver) {
	const grtt = 100 * time.Millisecond
	net := normtest.New(seed)
	down.Delay = grtt / 2
	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: grtt / 2}, norm.SenderConfig{
		Node: 1, Rate: 1e6, GRTT: grtt, SegmentSize: 64, BackoffFactor: 4, GroupSize: gsize, Seed: seed,
	})
	if err != nil {
		t.Fatal(err)
	}
	group := make([]*normtest.Receiver, receivers)
	for i := range group {
		cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: seed<<32 | uint64(i)}
		if group[i], err = net.AddReceiver(fmt.Sprintf("r%d", i), nil, normtest.Link{}, down, cfg); err != nil {
			t.Fatal(err)
		}
	}
	return net, s, group
}

// nacksPerEvent sends blocks of 64 segments and returns how many NACKs there were, and how many repair events: cycles
// in which the sender aggregated NACKs and then repaired.
func nacksPerEvent(t testing.TB, seed uint64, receivers, gsize, blocks int, down normtest.Link, rule *normtest.Rule) (nacks, events uint64) {
	net, s, group := crowd(t, seed, receivers, gsize, down)
	if rule != nil {
		net.Drop(rule)
	}
	net.OnSend = func(p *normtest.Packet) {
		if _, ok := p.Message().(*wire.Nack); ok {
			nacks++
		}
	}
	if _, _, err := s.Send(norm.Object{Size: int64(blocks) * 64 * 64}, nil); err != nil {
		t.Fatal(err)
	}
	complete := func() bool { // asked after every event: look at the first that lacks it only
		for len(group) > 0 && group[0].Completed() == 1 {
			group = group[1:]
		}
		return len(group) == 0
	}
	if !net.RunUntil(10*time.Minute, complete) {
		t.Fatalf("seed %d: %d receivers are not complete after %v", seed, len(group), net.Elapsed())
	}
	return nacks, s.Core.Stats().RepairCycles
}

// TestSuppression measures what the random backoff of RFC 5401, Section 3.2.2 is for: few NACKs from many receivers.
// "The number of expected NACK messages generated ("N") within the first round-trip time for a single feedback event is
// approximately: N = exp(1.2 * L / (2*T_maxBackoff/GRTT))", which is 3.3 for K = 4 and a group size of 1,000.
func TestSuppression(t *testing.T) {
	const receivers = 1000
	for _, test := range []struct {
		gsize int
		seeds uint64
		most  float64
	}{
		{receivers, 20, 4.5}, // B-3.2.2-02
		// It "works reasonably well if the estimate is within an order of magnitude of the actual group size": RFC 5740,
		// Section 5.5.4. N-5.5.4-03
		{receivers / 10, 5, 12},
		{receivers * 10, 5, 4.5},
	} {
		var nacks, events uint64
		for seed := range test.seeds {
			shared := &normtest.Rule{Count: 1, Match: func(p *normtest.Packet) bool { return p.String() == "DATA 0/0/17" }}
			n, e := nacksPerEvent(t, seed, receivers, test.gsize, 4, normtest.Link{}, shared)
			nacks, events = nacks+n, events+e
		}
		mean := float64(nacks) / float64(events)
		t.Logf("loss shared by %d receivers, gsize %d: %.2f NACKs per repair event (%d in %d)", receivers, test.gsize, mean, nacks, events)
		if events != test.seeds || mean > test.most {
			t.Errorf("want at most %.1f in %d", test.most, test.seeds)
		}
	}

	n, e := nacksPerEvent(t, 1, receivers, receivers, 20, normtest.Link{Loss: normtest.Random(0.01)}, nil)
	t.Logf("1 %% independent loss at %d receivers: %.1f NACKs per repair event (%d in %d)", receivers, float64(n)/float64(e), n, e)
}

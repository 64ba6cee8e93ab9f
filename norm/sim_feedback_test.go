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
// Section 5.4.4). In each of a number of networks all receivers lose the same segment.
func TestUnicastFeedback(t *testing.T) {
	const receivers, seeds = 200, 20
	var nacks, advertised, events uint64
	for seed := range uint64(seeds) {
		n, a, e := unicastFeedback(t, seed, receivers)
		nacks, advertised, events = nacks+n, advertised+a, events+e
	}
	t.Logf("loss shared by %d receivers: %.1f NACKs and %.1f NORM_CMD(REPAIR_ADV) per repair event (%d and %d in %d)",
		receivers, float64(nacks)/float64(events), float64(advertised)/float64(events), nacks, advertised, events)
	// Multicast one way scales too. N-1.4-02 N-5.4.4-04
	if events != seeds || advertised == 0 || nacks > events*receivers/20 {
		t.Errorf("want at most %d NACKs per repair event, and some NORM_CMD(REPAIR_ADV)", receivers/20)
	}
}

func unicastFeedback(t *testing.T, seed uint64, receivers int) (nacks, advertised, events uint64) {
	const grtt = 100 * time.Millisecond
	net := normtest.New(seed)
	link := normtest.Link{Delay: grtt / 2}
	s, err := net.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{
		Node: 1, Rate: 1e6, GRTT: grtt, SegmentSize: 64, BackoffFactor: 6, GroupSize: receivers, Seed: seed,
	})
	if err != nil {
		t.Fatal(err)
	}
	group := make([]*normtest.Receiver, receivers)
	for i := range group {
		cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Feedback: norm.FeedbackUnicast, Seed: seed<<32 | uint64(i)}
		if group[i], err = net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, cfg); err != nil {
			t.Fatal(err)
		}
	}
	net.Drop(&normtest.Rule{Count: 1, Match: func(p *normtest.Packet) bool { return p.String() == "DATA 0/0/17" }})
	net.OnSend = func(p *normtest.Packet) {
		switch p.Message().(type) {
		case *wire.Nack:
			if nacks++; p.To != s.Host.Addr { // N-5.3-22
				t.Errorf("NACK to %v, want it at %v", p.To, s.Host.Addr)
			}
		case *wire.Ack:
			if p.To != s.Host.Addr { // N-5.3-22
				t.Errorf("ACK to %v, want it at %v", p.To, s.Host.Addr)
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
	if !done {
		t.Errorf("seed %d: %d receivers are not complete", seed, len(group))
	}
	return nacks, advertised, s.Core.Stats().RepairCycles
}

// TestTwoUnicastFeedbacks: one receiver answers two senders, and numbers what it sends to each by itself.
func TestTwoUnicastFeedbacks(t *testing.T) {
	net := normtest.New(3)
	link := normtest.Link{Delay: 20 * time.Millisecond, Loss: normtest.Random(0.1)}
	for id := range norm.NodeID(2) {
		s, err := net.AddSender(fmt.Sprint("s", id+1), nil, normtest.Link{}, normtest.Link{}, norm.SenderConfig{
			Node: id + 1, Rate: 1e6, GRTT: 50 * time.Millisecond, SegmentSize: 64, GroupSize: 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Send(norm.Object{Size: 40_000}, nil); err != nil {
			t.Fatal(err)
		}
	}
	r, err := net.AddReceiver("r", nil, normtest.Link{}, link, norm.ReceiverConfig{Node: 9, Feedback: norm.FeedbackUnicast, Join: norm.JoinAll})
	if err != nil {
		t.Fatal(err)
	}
	next := make(map[string]wire.Sequence)
	net.OnSend = func(p *normtest.Packet) {
		if p.From != r.Host {
			return
		}
		h, _ := wire.Peek(p.B)
		if to := p.To.String(); h.Sequence != next[to] { // N-4.1-12
			t.Errorf("number %d to %s, want %d", h.Sequence, to, next[to])
		} else {
			next[to]++
		}
	}
	if !net.RunUntil(time.Minute, func() bool { return r.Completed() == 2 }) {
		t.Errorf("%v", r.Objects)
	}
	for to, n := range next {
		if n < 2 {
			t.Errorf("%d messages to %s", n, to)
		}
	}
	if len(next) != 2 {
		t.Errorf("feedback to %v", next)
	}
}

// TestLoneReceiver: one receiver alone in a source-specific session of which the sender thinks that it has 10,000. It measures
// what the guard of RFC 5740, Section 5.3 costs it.
func TestLoneReceiver(t *testing.T) {
	took := make(map[norm.GuardPolicy]time.Duration)
	for _, guard := range []norm.GuardPolicy{norm.GuardSilence, norm.GuardAlways, norm.GuardNever} {
		for seed := range uint64(10) {
			net := normtest.New(seed)
			s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{}, norm.SenderConfig{
				Node: 1, Rate: 1e6, GRTT: 50 * time.Millisecond, SegmentSize: 64, BackoffFactor: 6, Seed: seed,
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := net.AddReceiver("r", nil, normtest.Link{}, normtest.Link{Delay: 20 * time.Millisecond, Loss: normtest.Random(0.05)},
				norm.ReceiverConfig{Node: 2, Feedback: norm.FeedbackUnicast, Guard: guard, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Send(norm.Object{Size: 100_000}, nil); err != nil {
				t.Fatal(err)
			}
			if !net.RunUntil(10*time.Minute, func() bool { return r.Completed() == 1 }) { // N-5.3-08
				t.Errorf("guard %d, seed %d: not complete: %+v", guard, seed, r.Core.Stats())
			}
			took[guard] += net.Elapsed() / 10
		}
	}
	t.Logf("complete after %v; by the letter %v; without the guard %v", took[norm.GuardSilence], took[norm.GuardAlways], took[norm.GuardNever])
	if took[norm.GuardSilence] > took[norm.GuardNever]*3/2 { // N-5.3-08
		t.Error("the guard holds back the receiver of a sender that is heard")
	}
}

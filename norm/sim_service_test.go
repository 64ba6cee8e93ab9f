package norm_test

import (
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// An abuser asks for everything there is, again and again.
type abuser struct {
	every time.Duration
	ids   int // how many node ids it uses in turn
	to    netip.AddrPort
	ask   []byte // nack_payload
	next  time.Time
	n     int
}

func (a *abuser) Poll(now time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	if now.Before(a.next) {
		return b, netip.AddrPort{}, false
	}
	a.next = now.Add(a.every)
	m := wire.Nack{Header: wire.Header{Source: norm.NodeID(10_000 + a.n%a.ids)}, Payload: a.ask}
	m.Server = 1
	a.n++
	b, err := m.AppendBinary(b)
	return b, a.to, err == nil
}

func (a *abuser) Deadline() time.Time           { return a.next }
func (*abuser) Advance(time.Time)               {}
func (*abuser) Handle(time.Time, norm.Datagram) {}
func (*abuser) Complete(time.Time, *norm.IO)    {}
func (*abuser) Requests() iter.Seq[*norm.IO]    { return func(func(*norm.IO) bool) {} }
func (*abuser) Events() iter.Seq[norm.Event]    { return func(func(norm.Event) bool) {} }

// abused sends ten objects to an honest group that loses 5 %, next to an abuser (nil: none), and returns how long it takes
// until all have all, or gives up after an hour.
func abused(t *testing.T, service norm.ServicePolicy, a *abuser) (time.Duration, norm.SenderStats) {
	t.Helper()
	const objects = 10
	net := normtest.New(1)
	link := normtest.Link{Delay: 20 * time.Millisecond, Loss: normtest.Random(0.05)}
	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: 20 * time.Millisecond}, norm.SenderConfig{
		Node: 1, Rate: 1e6, GRTT: 50 * time.Millisecond, SegmentSize: 500, GroupSize: 20, Service: service,
	})
	if err != nil {
		t.Fatal(err)
	}
	group := make([]*normtest.Receiver, 20)
	for i := range group {
		cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i), Join: norm.JoinAll}
		if group[i], err = net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, cfg); err != nil {
			t.Fatal(err)
		}
	}
	for range objects {
		if _, _, err := s.Send(norm.Object{Size: 100_000}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if a != nil {
		w := wire.NewRepairWriter(nil, 500)
		at := func(id norm.TransportID) wire.Position {
			p, err := wire.NewPosition(wire.RS8, 0, id, wire.PayloadID{})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		w.Range(wire.RepairObject, at(0), at(objects-1))
		a.ask, a.to = w.Bytes(), s.Host.Addr // by unicast: the honest do not hear it
		net.Add("abuser", nil, normtest.Link{}, link).Start(a)
	}
	done := func() bool {
		for _, r := range group {
			if r.Completed() < objects {
				return false
			}
		}
		return true
	}
	if !net.RunUntil(20*time.Minute, done) {
		return time.Hour, s.Core.Stats()
	}
	return net.Elapsed(), s.Core.Stats()
}

// TestServicePolicy: an honest group next to one that asks for everything all the time, with one node id or with many.
func TestServicePolicy(t *testing.T) {
	alone, _ := abused(t, norm.ServicePolicy{RepairShare: 1}, nil)
	for _, test := range []struct {
		name    string
		service norm.ServicePolicy
		abuser  *abuser
		most    time.Duration
	}{
		{"honest, defaults", norm.ServicePolicy{}, nil, alone},
		{"honest, a share for each node", norm.ServicePolicy{NodeShare: 0.25}, nil, alone},
		{"flood", norm.ServicePolicy{}, &abuser{every: 100 * time.Millisecond, ids: 1000}, 40 * alone},                                         // N-7-12
		{"flood, bounded", norm.ServicePolicy{RepairShare: 0.5, MaxRepeats: 4}, &abuser{every: 100 * time.Millisecond, ids: 1000}, 10 * alone}, // N-7-12
		{"needy", norm.ServicePolicy{NodeShare: 0.1}, &abuser{every: 100 * time.Millisecond, ids: 1}, 3 * alone},                               // N-5.2-07 B-5-01
	} {
		took, stats := abused(t, test.service, test.abuser)
		t.Logf("%s: %v for what takes %v alone, %d repairs, %d NACKs refused", test.name, took, alone, stats.Repairs, stats.NacksRefused)
		if took > test.most {
			t.Errorf("%s: want at most %v", test.name, test.most)
		}
		if test.abuser == nil && stats.NacksRefused > 0 {
			t.Errorf("%s: %d NACKs of the honest were refused", test.name, stats.NacksRefused)
		}
	}
}

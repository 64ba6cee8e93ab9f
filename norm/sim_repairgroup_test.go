package norm_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A split is a group of which some receivers lose nothing, each behind a line of its own, with or without a repair group.
type split struct {
	*normtest.Net
	sender       *normtest.Sender
	clean, lossy []*normtest.Receiver
	carried      map[*normtest.Host]int // bytes that came to a host
	repairs      int                    // NORM_DATA and NORM_INFO that did to clean ones, by repair
}

func newSplit(t *testing.T, cfg norm.SenderConfig, group netip.AddrPort, clean, lossy int, loss float64) *split {
	t.Helper()
	n := &split{Net: normtest.New(7), carried: make(map[*normtest.Host]int)}
	n.JoinLatency, n.LeaveLatency = 20*time.Millisecond, 2*time.Second
	cfg.Node, cfg.RepairGroup, cfg.GroupSize, cfg.GRTT = 1, group, 10, 50*time.Millisecond
	var err error
	if n.sender, err = n.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: 10 * time.Millisecond}, cfg); err != nil {
		t.Fatal(err)
	}
	for i := range clean + lossy {
		site, link := n.AddSite(), normtest.Link{Delay: 10 * time.Millisecond}
		if i >= clean {
			site.Down.Loss = normtest.Random(loss)
		}
		id := norm.NodeID(100 + i)
		r, err := n.AddReceiver(fmt.Sprint("r", i), site, normtest.Link{}, link,
			norm.ReceiverConfig{Node: id, RepairGroup: group, Seed: uint64(id)})
		if err != nil {
			t.Fatal(err)
		}
		if i < clean {
			n.clean = append(n.clean, r)
		} else {
			n.lossy = append(n.lossy, r)
		}
	}
	n.OnDeliver = func(p *normtest.Packet, to *normtest.Host) {
		n.carried[to] += len(p.B)
		if m, ok := p.Message().(*wire.Data); ok && m.Flags&wire.FlagRepair != 0 {
			for _, r := range n.clean {
				if to == r.Host {
					n.repairs++
				}
			}
		}
	}
	return n
}

// deliver sends an object and lets time pass until all have it. It returns how long that took.
func (n *split) deliver(t *testing.T, size int64) time.Duration {
	t.Helper()
	before := n.Elapsed()
	if _, _, err := n.sender.Send(norm.Object{Size: size}, nil); err != nil {
		t.Fatal(err)
	}
	want := n.lossy[0].Completed() + 1
	done := func() bool {
		for _, r := range append(n.clean, n.lossy...) {
			if r.Completed() < want {
				return false
			}
		}
		return true
	}
	if !n.RunUntil(5*time.Minute, done) {
		t.Fatal("not complete after 5 min")
	}
	return n.Elapsed() - before
}

// TestRepairGroupSparesCleanLinks: clean receivers carry no repair and no NACK, nor count a loss, and all complete; of
// what went to the group before, they are spared all repairs.
func TestRepairGroupSparesCleanLinks(t *testing.T) {
	carried := map[bool]int{}
	for _, with := range []bool{false, true} {
		group := netip.AddrPort{}
		if with {
			group = normtest.RepairGroup
		}
		n := newSplit(t, norm.SenderConfig{Rate: 10e6}, group, 3, 5, 0.05)
		next := map[netip.AddrPort]wire.Sequence{}
		n.OnSend = func(p *normtest.Packet) {
			h, err := wire.Peek(p.B)
			if err != nil || h.Source != 1 {
				return
			}
			if h.Sequence != next[p.To] && p.Sent.After(normtest.Epoch) { // the first is sent while OnSend is not set yet
				t.Fatalf("%v to %v has sequence %d, want %d", p, p.To, h.Sequence, next[p.To])
			}
			next[p.To] = h.Sequence + 1
		}
		took := n.deliver(t, 4<<20)
		st := n.sender.Core.Stats()
		carried[with] = n.carried[n.clean[0].Host]
		t.Logf("repair group %v: %v, %d repairs, %d bytes of %d to a clean link", with, took, st.Repairs, carried[with], st.Bytes)
		for _, r := range n.clean {
			if st := r.Core.Stats(); with && (st.Elsewhere+st.NacksHeard+st.Lost+st.Repairs+st.RepairJoins+st.Duplicates != 0) {
				t.Errorf("%s: %+v", r.Host.Name, st)
			}
		}
		switch {
		case with && (st.Elsewhere.Datagrams != st.Repairs || n.repairs != 0):
			t.Errorf("%d repairs, %d datagrams to the repair group; clean receivers got %d", st.Repairs, st.Elsewhere.Datagrams, n.repairs)
		case !with && (st.Elsewhere.Datagrams != 0 || n.repairs < 3*int(st.Repairs)*9/10):
			t.Errorf("%d repairs, of which clean receivers got %d", st.Repairs, n.repairs)
		}
		// They leave when all is repaired, and what comes until the network has noticed is not counted as a loss either.
		n.Run(10 * time.Second)
		for _, r := range n.lossy {
			if r.Core.HearsRepairs() {
				t.Errorf("%s still listens", r.Host.Name)
			}
		}
	}
	if carried[true] > carried[false]*93/100 {
		t.Errorf("a clean link carries %d bytes, and %d without a repair group", carried[true], carried[false])
	}
}

// TestRepairGroupLossesAreCounted: whoever hears both groups finds the losses of both and no others, though it joins and
// leaves again and again. What is lost ahead of the first repair heard since it joined it cannot know of.
func TestRepairGroupLossesAreCounted(t *testing.T) {
	n := newSplit(t, norm.SenderConfig{Rate: 5e6}, normtest.RepairGroup, 1, 3, 0)
	lost := map[*normtest.Host]uint64{}
	dice := uint32(1)
	for _, r := range n.lossy {
		n.Drop(&normtest.Rule{At: []*normtest.Host{r.Host}, Match: func(p *normtest.Packet) bool {
			_, ok := p.Message().(*wire.Data)
			dice = dice*1664525 + 1013904223
			return ok && dice>>16%150 == 0
		}})
	}
	n.OnLose = func(_ *normtest.Packet, h *normtest.Host) { lost[h]++ }
	for range 5 {
		n.deliver(t, 1<<20)
		n.Run(5 * time.Second)
	}
	for _, r := range n.lossy {
		st := r.Core.Stats()
		if st.Lost > lost[r.Host] || st.Lost+min(st.RepairJoins, 2) < lost[r.Host] || st.RepairJoins < 2 || st.Elsewhere == 0 {
			t.Errorf("%s counts %d of %d lost; joined %d times, heard %d there", r.Host.Name, st.Lost, lost[r.Host], st.RepairJoins, st.Elsewhere)
		}
	}
}

// TestRepairGroupAndCongestionControl: neither those who do not hear the repairs nor those who do take what they do not
// hear for loss, or for what their path bears. A late receiver gets all by repair while three hear nothing but commands.
func TestRepairGroupAndCongestionControl(t *testing.T) {
	took := map[bool]time.Duration{}
	for _, with := range []bool{false, true} {
		group := netip.AddrPort{}
		if with {
			group = normtest.RepairGroup
		}
		n := newSplit(t, norm.SenderConfig{Control: &norm.RateControl{StartRate: 1e6, MaxRate: 20e6}}, group, 3, 1, 0)
		n.deliver(t, 4<<20)
		for _, r := range n.clean {
			if st := r.Core.Stats(); st.Lost != 0 {
				t.Errorf("%s counts %d lost", r.Host.Name, st.Lost)
			}
		}
		late, err := n.AddReceiver("late", nil, normtest.Link{}, normtest.Link{Delay: 10 * time.Millisecond},
			norm.ReceiverConfig{Node: 200, RepairGroup: group, Join: norm.JoinAll})
		if err != nil {
			t.Fatal(err)
		}
		before := n.Elapsed()
		if !n.RunUntil(time.Minute, func() bool { return late.Completed() == 1 }) {
			t.Fatalf("the late receiver is not complete after a minute: %+v", n.sender.Core.Stats())
		}
		took[with] = n.Elapsed() - before
		st := n.sender.Core.Stats()
		t.Logf("repair group %v: %v for the late receiver, rate %.1f Mbit/s", with, took[with], st.Rate/1e6)
		if with && (n.repairs > 0 || !st.SlowStart) {
			t.Errorf("%d repairs came to clean receivers; slow start %v", n.repairs, st.SlowStart)
		}
	}
	if took[true] > 2*took[false] {
		t.Errorf("the late receiver took %v, and %v without a repair group", took[true], took[false])
	}
}

func TestRepairGroupIsChecked(t *testing.T) {
	for name, test := range map[string]struct{ group, repairs string }{
		"a host":           {"239.1.2.3:6003", "10.0.0.1:6003"},
		"unicast session":  {"10.0.0.1:6003", "239.1.2.4:6003"},
		"no port":          {"239.1.2.3:6003", "239.1.2.4:0"},
		"the same address": {"239.1.2.3:6003", "239.1.2.3:6004"},
		"other IP version": {"239.1.2.3:6003", "[ff15::1]:6003"},
		"source-specific":  {"239.1.2.3:6003", "232.1.2.3:6003"},
		"zone":             {"[ff15::1]:6003", "[ff15::2%lo]:6003"},
	} {
		group, repairs := netip.MustParseAddrPort(test.group), netip.MustParseAddrPort(test.repairs)
		if _, err := norm.NewSender(norm.SenderConfig{Node: 1, Group: group, RepairGroup: repairs}, normtest.Epoch); err == nil {
			t.Errorf("%s: a sender takes it", name)
		}
		if _, err := norm.NewReceiver(norm.ReceiverConfig{Node: 2, Group: group, RepairGroup: repairs}); err == nil {
			t.Errorf("%s: a receiver takes it", name)
		}
	}
}

// TestRepairGroupShowsWhereTheSenderIs: while a late receiver is repaired for seconds, in many cycles, those who lost nothing
// do not take the sender for silent, and ask for nothing that it has not sent yet.
func TestRepairGroupShowsWhereTheSenderIs(t *testing.T) {
	n := newSplit(t, norm.SenderConfig{Rate: 10e6, MaxGRTT: 4 * time.Millisecond}, normtest.RepairGroup, 2, 2, 0.02)
	if _, _, err := n.sender.Send(norm.Object{Size: 6 << 20}, nil); err != nil {
		t.Fatal(err)
	}
	n.Run(4 * time.Second)
	late, err := n.AddReceiver("late", nil, normtest.Link{}, normtest.Link{Delay: 10 * time.Millisecond, Loss: normtest.Random(0.02)},
		norm.ReceiverConfig{Node: 200, RepairGroup: normtest.RepairGroup, Join: norm.JoinAll})
	if err != nil {
		t.Fatal(err)
	}
	if !n.RunUntil(time.Minute, func() bool { return late.Completed()+n.clean[0].Completed()+n.clean[1].Completed() == 3 }) {
		t.Fatal("not complete after a minute")
	}
	for _, r := range n.clean {
		if st := r.Core.Stats(); st.NacksSent+st.RepairJoins+st.Lost != 0 {
			t.Errorf("%s: %+v", r.Host.Name, st)
		}
	}
	if st := n.sender.Core.Stats(); st.Elsewhere.Datagrams < 3000 || st.RepairCycles < 10 {
		t.Errorf("%d datagrams to the repair group in %d cycles: that is too little to tell", st.Elsewhere.Datagrams, st.RepairCycles)
	}
}

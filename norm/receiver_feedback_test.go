package norm

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestFeedbackPolicy: where feedback goes depends on the group and on what the application wants. N-5.3-22
func TestFeedbackPolicy(t *testing.T) {
	for _, test := range []struct {
		group  string
		policy FeedbackPolicy
		want   bool // unicast
	}{
		{"239.1.2.3:6003", FeedbackAuto, false},
		{"239.1.2.3:6003", FeedbackUnicast, true},
		{"232.1.2.3:6003", FeedbackAuto, true},
		{"232.1.2.3:6003", FeedbackGroup, false},
		{"[ff15::1]:6003", FeedbackAuto, false},
		{"[ff35::1]:6003", FeedbackAuto, true},
		{"192.0.2.7:6003", FeedbackAuto, true},
		{"[2001:db8::7]:6003", FeedbackAuto, true},
	} {
		group := netip.MustParseAddrPort(test.group)
		r, err := NewReceiver(ReceiverConfig{Node: 1, Group: group, Feedback: test.policy})
		if err != nil {
			t.Fatal(err)
		}
		s := &remote{}
		if to := r.destination(s); to != group {
			t.Errorf("%s: feedback to %v before the sender is known", test.group, to)
		}
		s.at.addr = rigSource
		if unicast := r.destination(s) == rigSource; unicast != test.want {
			t.Errorf("%s, policy %d: feedback to %v", test.group, test.policy, r.destination(s))
		}
	}
	for want, c := range map[string]ReceiverConfig{
		"is no policy": {Feedback: FeedbackUnicast + 1, Group: rigGroup},
		"is none":      {Feedback: FeedbackGroup, Group: rigSource},
	} {
		c.Node = 1
		if _, err := NewReceiver(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one with %q", err, want)
		}
	}
}

// TestFeedbackNumbering: each destination has numbers of its own, and what is remembered of them is bounded.
func TestFeedbackNumbering(t *testing.T) {
	var f feedbackNumbering
	host := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 6003)
	}
	send := func(i int) wire.Sequence {
		n := f.next(host(i))
		f.sent(host(i))
		return n
	}
	var got []wire.Sequence
	for _, i := range []int{0, 1, 0, 0, 1} {
		got = append(got, send(i))
	}
	if want := []wire.Sequence{0, 0, 1, 2, 1}; !slices.Equal(got, want) { // N-4.1-12
		t.Errorf("numbers %v, want %v", got, want)
	}
	if !f.used(host(0), 2) || f.used(host(0), 3) || !f.used(host(1), 1) || f.used(host(1), 2) || f.used(host(2), 0) {
		t.Error("another message than was sent counts as ours")
	}
	for i := range 1000 {
		send(100 + i)
	}
	if len(f.spaces) != maxFeedbackSpaces {
		t.Errorf("%d destinations are remembered", len(f.spaces))
	}
	if n := send(0); n < 3 { // "monotonically increasing", though it was forgotten
		t.Errorf("number %d after 2", n)
	}
	for range 1 << 16 {
		send(0)
	}
	if !f.used(host(0), 1) {
		t.Error("all numbers were used")
	}
}

// TestSenderMoves: a sender that comes from another address is the same, and feedback follows it. B-3.4-01 N-1.4-03
func TestSenderMoves(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Feedback: FeedbackUnicast})
	o := blocks(t, 0, 4)
	g.block(o, 0, 1)
	home, elsewhere := g.source, netip.MustParseAddrPort("198.51.100.9:7777")
	s := g.senders[rigSender]
	from := func(a netip.AddrPort, n int, every time.Duration) {
		g.source = a
		for range n {
			g.data(o, 1, 0)
			g.run(every)
		}
	}
	wantAt := func(want netip.AddrPort, events int) {
		t.Helper()
		if got := g.destination(s); got != want || len(g.happened(SenderMoved)) != events {
			t.Errorf("feedback to %v after %d moves, want %v after %d", got, len(g.happened(SenderMoved)), want, events)
		}
	}
	wantAt(home, 0)
	// One who forges messages of a sender that is heard changes nothing, however many there are.
	for range 100 {
		from(elsewhere, 3, 300*time.Millisecond)
		from(home, 1, 100*time.Millisecond)
	}
	wantAt(home, 0)
	from(elsewhere, 3, time.Second)
	wantAt(home, 0)
	from(elsewhere, 1, 0)
	wantAt(elsewhere, 1)
	if e := g.happened(SenderMoved)[0]; e.Sender != rigSender || e.From != elsewhere || e.Instance != rigInstance {
		t.Errorf("%+v", e)
	}
	if len(g.happened(SenderSeen)) != 1 || len(g.happened(ObjectAborted)) != 0 {
		t.Errorf("its state was lost: %v", g.events)
	}
	// One who forged them while the sender was idle loses the feedback with the first true message.
	from(home, 1, 0)
	wantAt(home, 2)
	// A true move is for good.
	from(elsewhere, 8, time.Second)
	wantAt(elsewhere, 3)
	from(elsewhere, 70, time.Second)
	from(home, 3, time.Millisecond)
	wantAt(elsewhere, 3)
}

// TestSenderIsBound: where the application binds a sender to an address, it is not heard from another one. B-3.4-01
func TestSenderIsBound(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{SenderAddr: rigSource.Addr()})
	o := blocks(t, 0, 2)
	g.data(o, 0, 0)
	g.source = rigPeer
	for range 10 {
		g.data(o, 0, 1)
		g.run(time.Second)
	}
	if len(g.happened(SenderMoved)) != 0 || g.Stats().Drops.Foreign != 10 {
		t.Errorf("%v, %+v", g.events, g.Stats().Drops)
	}
}

// TestGuard: whether a NACK with a long backoff is withheld in a source-specific session.
func TestGuard(t *testing.T) {
	group := netip.MustParseAddrPort("232.1.2.3:6003")
	for _, test := range []struct {
		policy      GuardPolicy
		group       netip.AddrPort
		alive       bool // the sender is heard while the backoff runs
		short, long bool // whether NACKs with a backoff up to (K-1)*GRTT, or above it, are sent
	}{
		{GuardAlways, group, true, true, false}, // by the letter. N-5.3-07
		{GuardSilence, group, true, true, true}, // N-5.3-08
		{GuardSilence, group, false, true, false},
		{GuardNever, group, false, true, true},
		{GuardAlways, rigGroup, false, true, true}, // "during SSM operation"
	} {
		short, long := 0, 0
		for seed := range uint64(40) {
			g := newReceiverRig(t, ReceiverConfig{Group: test.group, Guard: test.policy, Seed: seed})
			o := blocks(t, 0, 2)
			g.block(o, 0, 1)
			g.data(o, 1, 0) // the boundary at which the procedure begins
			began := g.now
			limit := time.Duration(g.backoff-1) * g.grtt
			s := g.senders[rigSender]
			isLong := s.nack.until.Sub(began) > limit // T_backoff, or, by the letter, already T_rcvrHoldoff
			g.run(time.Millisecond)
			if test.alive {
				g.data(o, 1, 1)
			}
			g.backoffs()
			sent := g.nacks() != ""
			want := test.short
			if isLong {
				long++
				want = test.long
			} else {
				short++
			}
			if sent != want {
				t.Errorf("%+v: backoff above %v: %v, NACK sent: %v", test, limit, isLong, sent)
			}
			if !sent && (s.nack.state != nackHoldoff || g.Stats().NacksSuppressed != 1) { // N-5.3-07
				t.Errorf("%+v: withheld, but not in the hold-off: %+v", test, g.Stats())
			}
		}
		if short == 0 || long == 0 {
			t.Errorf("%d short and %d long backoffs: want some of each", short, long)
		}
	}
}

// TestAttackSuppression: somebody asks for all a receiver lacks, in each cycle, and nothing comes of it. N-7-14
func TestAttackSuppression(t *testing.T) {
	forge := func(g *receiverRig, o *testObject) {
		g.overhear(rigSender, rigInstance, func(w *wire.RepairWriter) {
			w.Item(wire.RepairObject, o.position(o.id, 0, 0))
		})
	}
	advertise := func(g *receiverRig, o *testObject) {
		w := wire.NewRepairWriter(nil, 1400)
		w.Item(wire.RepairInfo, o.position(o.id, 0, 0)) // all that is beyond it is suppressed
		g.arrive(g.message(&wire.RepairAdv{
			Header: g.from(), SenderHeader: g.header(), Flags: wire.RepairAdvLimit, Payload: w.Bytes(),
		}))
	}
	for name, forge := range map[string]func(*receiverRig, *testObject){"NACK": forge, "REPAIR_ADV": advertise} {
		for _, most := range []int{0, 5, -1} {
			g := newReceiverRig(t, ReceiverConfig{MaxSuppressed: most})
			o := blocks(t, 0, 40)
			g.block(o, 0, 1)
			cycles := 0
			for b := uint32(1); b < 30; b++ {
				g.data(o, b, 0)
				if g.senders[rigSender].nack.state == nackBackoff {
					cycles++
				}
				forge(g, o)
				g.backoffs()
				if asked := g.nacks(); asked != "" {
					break
				}
				g.run(time.Duration(g.backoff+2) * g.grtt)
			}
			want := map[int]int{0: 4, 5: 6, -1: 29}[most]
			if cycles != want {
				t.Errorf("forged %s, MaxSuppressed %d: asked in cycle %d, want %d", name, most, cycles, want)
			}
		}
	}
}

// TestHonestSuppression: while the repairs that others ask for come, they go on suppressing.
func TestHonestSuppression(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 40)
	g.block(o, 0, 1)
	for b := uint32(1); b < 20; b++ {
		g.block(o, b, 1)
		g.data(o, b+1, 0)
		g.overhear(rigSender, rigInstance, func(w *wire.RepairWriter) {
			w.Range(wire.RepairBlock, o.position(o.id, 0, 0), o.position(o.id, b, 0))
		})
		g.backoffs()
		g.repair(o, b-1, 8)
		g.run(time.Duration(g.backoff+2) * g.grtt)
	}
	g.wantNack("")
}

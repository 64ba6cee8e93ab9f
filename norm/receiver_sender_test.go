package norm

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestRestartOfTheSender(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	preset := blocks(t, 0, 3)
	hp, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 0, Size: int64(preset.L), FEC: preset.params})
	if err != nil {
		t.Fatal(err)
	}
	g.block(preset, 0)
	g.data(preset, 1, 0, 1)
	old := blocks(t, 1, 3)
	g.block(old, 0)
	late := g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: old.position(1, 1, 0), Extensions: old.extensions(), Payload: old.symbol(1, 0)})

	g.instance++
	g.sequence = 500
	g.block(preset, 1, 0, 1) // N-4.2.1-17 N-4.2.1-75
	if e := g.happened(SenderRestarted); len(e) != 1 || e[0].Instance != g.instance {
		t.Errorf("%v", e)
	}
	if e := g.happened(ObjectAborted); len(e) != 1 || e[0].Err != ErrSenderRestarted {
		t.Errorf("%v", e)
	}
	g.arrive(late)
	if n := len(g.happened(SenderRestarted)); n != 1 { // N-4.2.1-75: no flapping
		t.Errorf("%d restarts", n)
	}
	if s := g.Stats(); s.Drops.Foreign != 1 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
	g.block(preset, 2)
	g.wantReceived(preset) // with the symbols of both runs
	if info, _ := g.Object(hp); info.Instance != g.instance {
		t.Errorf("instance %v", info.Instance)
	}
	again := blocks(t, 1, 3)
	g.block(again, 0)
	g.block(again, 1)
	g.block(again, 2)
	g.wantReceived(again)
}

// TestSenderMayMove keeps the state of a sender whose address changes: "source_id" identifies it.
func TestSenderMayMove(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 2)
	g.block(o, 0)
	g.source = netip.MustParseAddrPort("[2001:db8::1]:9")
	g.block(o, 1)
	g.wantReceived(o) // B-3.4-01
}

func TestManySenders(t *testing.T) {
	t.Run("with equal objects", func(t *testing.T) { // N-1.2-02 N-1.2-03 N-2-03
		g := newReceiverRig(t, ReceiverConfig{})
		a, b := blocks(t, 1, 3), objectWith(t, 1, 900, blocks(t, 1, 3).params)
		for n := range uint32(3) {
			for esi := range 8 {
				g.sender = rigSender
				g.data(a, n, esi)
				if n < uint32(b.N) && esi < b.BlockLen(n) {
					g.sender = rigSender + 1
					g.data(b, n, esi)
				}
			}
		}
		done := g.happened(ObjectComplete)
		if len(done) != 2 {
			t.Fatalf("%v", g.events)
		}
		for _, e := range done {
			want := a.content
			if e.Sender == rigSender+1 {
				want = b.content
			}
			if string(g.sinks[e.Object]) != string(want) {
				t.Errorf("content of sender %v differs", e.Sender)
			}
		}
	})
	t.Run("are bounded", func(t *testing.T) { // N-5.2-11
		g := newReceiverRig(t, ReceiverConfig{MaxSenders: 4})
		expected := blocks(t, 0, 1)
		if _, err := g.Expect(g.now, Preset{Sender: 1, Size: int64(expected.L), FEC: expected.params}); err != nil {
			t.Fatal(err)
		}
		o := blocks(t, 0, 2)
		for id := range NodeID(10_000) {
			g.sender = 1000 + id
			g.data(o, 0, 0)
			g.now = g.now.Add(time.Millisecond)
		}
		if len(g.senders) != 4 || len(g.order) != 4 || g.senders[1] == nil {
			t.Errorf("%d senders", len(g.senders))
		}
		if len(g.objects) != 4 {
			t.Errorf("%d objects", len(g.objects))
		}
		if e := g.happened(ObjectAborted); len(e) != 10_000-3 || e[0].Err != ErrEvicted {
			t.Errorf("%d aborted", len(e))
		}
	})
	t.Run("only one", func(t *testing.T) { // N-7.1.2.4-01
		g := newReceiverRig(t, ReceiverConfig{Sender: rigSender, SenderAddr: rigSource.Addr()})
		o := blocks(t, 0, 2)
		g.sender++
		g.data(o, 0, 0)
		g.sender--
		g.source = netip.MustParseAddrPort("192.0.2.66:40000")
		g.data(o, 0, 0)
		if s := g.Stats(); s.Drops.Foreign != 2 || len(g.senders) != 0 {
			t.Errorf("%+v", s)
		}
		g.source = rigSource
		g.data(o, 0, 0)
		if len(g.senders) != 1 {
			t.Error("its own sender is not heard")
		}
	})
}

func TestVersionsAndGarbage(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 1)
	good := g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: o.position(0, 0, 0), Extensions: o.extensions(), Payload: o.symbol(0, 0)})
	for _, first := range []byte{0x02, 0x22, 0x92} { // N-4.1-03
		b := append([]byte(nil), good...)
		b[0] = first
		g.arrive(b)
	}
	for n := range 32 {
		g.arrive(append([]byte(nil), good[:n]...)) // N-4.1-07
	}
	if len(g.senders) != 0 {
		t.Error("garbage made a sender")
	}
	if s := g.Stats(); s.Drops.Malformed != 35 {
		t.Errorf("%+v", s.Drops)
	}
	for _, first := range []byte{0x10, 0x17, 0x1f, 0x16} { // N-4.1-04 N-4.4.1-01
		b := append([]byte(nil), good...)
		b[0] = first
		g.arrive(b)
	}
	if s := g.Stats(); s.Drops.Useless != 3 || s.Reports != 1 || len(g.senders) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestUnknownCommand: its sender is followed all the same.
func TestUnknownCommand(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	b := g.message(&wire.EOT{Header: g.from(), SenderHeader: g.header()})
	b[12] = 99
	g.arrive(b)
	if s := g.senders[rigSender]; s == nil || s.grtt != g.grtt || s.backoff != 4 { // N-8.1.3-01 N-4.2.3-02
		t.Errorf("%+v", s)
	}
	g.run(time.Minute)
	g.wantNack("")
}

// TestUnknownFECID announces an object of a code that nobody knows.
func TestUnknownFECID(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 2)
	b := g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: o.position(0, 0, 0), Extensions: o.extensions(), Payload: o.symbol(0, 0)})
	b[13] = 77
	g.arrive(b) // N-4.2.1-35
	if s := g.Stats(); s.Drops.Useless != 1 || s.Data != 0 {
		t.Errorf("%+v", s)
	}
	g.block(o, 0)
	g.block(o, 1)
	g.wantReceived(o)
}

func TestSequenceNumbersCountLoss(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 1)
	g.sequence = 65534
	g.data(o, 0, 0, 1, 2, 3) // N-4.1-16: wraps without loss
	if n := g.Stats().Lost; n != 0 {
		t.Errorf("lost %d", n)
	}
	g.sequence += 2
	g.data(o, 0, 4)
	if n := g.Stats().Lost; n != 2 {
		t.Errorf("lost %d, want 2", n)
	}
	g.sequence -= 2 // one comes late
	g.data(o, 0, 5)
	if n := g.Stats().Lost; n != 1 {
		t.Errorf("lost %d, want 1", n)
	}
	g.sequence += 30_000 // N-4.1-16: not a loss of thousands
	g.data(o, 0, 6)
	if n := g.Stats().Lost; n != 1 {
		t.Errorf("lost %d, want 1", n)
	}
	g.sequence += 3 // a command that was lost
	g.data(o, 0, 7)
	g.flushAll(o)
	g.backoffs()
	g.wantNack("") // N-4.1-10
}

func TestOwnMessages(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 2)
	g.block(o, 0, 1)
	g.data(o, 1, 0)
	g.backoffs()
	echo, err := g.sent[0].AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	own := netip.MustParseAddrPort("192.0.2.99:1234")
	g.Handle(g.now, Datagram{From: own, B: echo}) // N-4-04
	g.drain()
	if s := g.Stats(); s.Drops.Foreign != 1 || s.NacksHeard != 0 || len(g.happened(NodeCollision)) != 0 {
		t.Errorf("%+v, %v", s, g.events)
	}
	g.Handle(g.now, Datagram{From: rigPeer, B: echo}) // another node with our id
	g.Handle(g.now, Datagram{From: rigPeer, B: echo})
	g.drain()
	if e := g.happened(NodeCollision); len(e) != 1 || e[0].Node != rigReceiver { // N-2-01 N-4.1-15
		t.Errorf("%v", e)
	}
}

func TestOwnIDWithoutEcho(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	b, err := (&wire.Ack{Header: wire.Header{Source: rigReceiver}, AckType: wire.AckCC}).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Handle(g.now, Datagram{From: rigPeer, B: b})
	g.drain()
	if len(g.happened(NodeCollision)) != 1 { // we never sent feedback
		t.Errorf("%v", g.events)
	}
}

func TestReceiverConfigIsChecked(t *testing.T) {
	good := ReceiverConfig{Node: 1, Group: rigGroup}
	r, err := NewReceiver(good)
	if err != nil {
		t.Fatal(err)
	}
	if r.cfg.RobustFactor != 20 { // N-6-06
		t.Errorf("ROBUST_FACTOR %d", r.cfg.RobustFactor)
	}
	for field, change := range map[string]func(*ReceiverConfig){
		"Node":          func(c *ReceiverConfig) { c.Node = wire.NodeAny }, // N-6-07
		"Node 0x0":      func(c *ReceiverConfig) { c.Node = 0 },            // N-6-07 N-6-08
		"Group":         func(c *ReceiverConfig) { c.Group = netip.AddrPort{} },
		"RobustFactor":  func(c *ReceiverConfig) { c.RobustFactor = -1 },
		"MinGRTT":       func(c *ReceiverConfig) { c.MinGRTT = time.Hour },
		"MaxSenders":    func(c *ReceiverConfig) { c.MaxSenders = -1 },
		"MaxObjects":    func(c *ReceiverConfig) { c.MaxObjects = 1 << 15 },
		"MaxObjectSize": func(c *ReceiverConfig) { c.MaxObjectSize = -1 },
		"Buffer":        func(c *ReceiverConfig) { c.Buffer = -1 },
		"Join":          func(c *ReceiverConfig) { c.Join = JoinAll + 1 },
		"Dialect":       func(c *ReceiverConfig) { c.Dialect = DialectMDP + 1 },
	} {
		c := good
		change(&c)
		if _, err := NewReceiver(c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
	}
}

package norm

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestJoinCurrent(t *testing.T) {
	t.Run("in the middle of an object", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{})
		o := blocks(t, 5, 10)
		g.block(o, 7, 2) // N-5.2-04
		g.data(o, 8, 0)
		g.backoffs()
		g.wantNack("segment 5/7/8") // N-5.2-05: nothing of blocks 0 to 6
		g.repair(o, 7, 8)
		g.block(o, 8)
		g.block(o, 9)
		g.flushAll(o)
		g.run(2 * time.Second)
		g.wantNack("")
		if len(g.happened(ObjectData)) != 3 {
			t.Errorf("%v", g.events)
		}
		for b := range uint32(7) { // for the sake of others
			g.block(o, b)
		}
		g.wantReceived(o)
	})
	t.Run("by NORM_INFO", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{})
		o := blocks(t, 5, 3)
		g.infoMessage(o, 0) // N-4.2.2-06 N-5.2-02
		g.block(o, 1)
		g.backoffs()
		g.wantNack("block 5/0")
	})
	t.Run("not by repairs and commands", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{})
		o := blocks(t, 5, 10)
		g.repair(o, 2, 1, 8)
		g.infoMessage(o, wire.FlagRepair)
		g.probeAt(1, wire.Timestamp{}, 0)
		g.flushAll(o)
		g.backoffs()
		g.wantNack("") // N-5.2-09 N-4.2.1-27 N-4.2.3.1-19
		if len(g.happened(ObjectOffered)) != 0 {
			t.Error("joined by a repair")
		}
		g.data(o, 4, 0)
		g.data(o, 6, 0)
		g.run(2 * time.Second)
		g.wantNack("segment 5/4/5-11, block 5/5")
	})
}

func TestJoinObject(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Join: JoinObject})
	running := blocks(t, 5, 10)
	g.block(running, 7, 2)
	g.data(running, 8, 0)
	g.backoffs()
	g.wantNack("") // N-5.2-06
	if len(g.happened(ObjectOffered)) != 0 {
		t.Error("offered an object in progress")
	}
	next := blocks(t, 6, 2)
	g.data(next, 1, 0)
	g.backoffs()
	g.wantNack("block 6/0")

	g = newReceiverRig(t, ReceiverConfig{Join: JoinObject})
	g.data(running, 0, 3) // B-3.3-01
	g.data(running, 1, 0)
	g.backoffs()
	g.wantNack("segment 5/0/5-11")
}

func TestJoinAll(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Join: JoinAll})
	o := blocks(t, 3, 4)
	g.repair(o, 2, 0)
	g.backoffs()
	g.wantNack("object 0-2, block 3/0, block 3/1") // N-5.2-06 N-5.2-08
	g = newReceiverRig(t, ReceiverConfig{Join: JoinAll, MaxObjects: 10})
	o = blocks(t, 300, 4)
	g.flushAll(o)
	g.backoffs()
	g.wantNack("object 291-300")
}

func TestPatience(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Join: JoinAll, Patience: true})
	o := blocks(t, 1, 10)
	g.data(o, 4, 0)
	g.block(o, 5)
	g.data(o, 6, 0)
	g.backoffs()
	g.wantNack("segment 1/4/5-11") // nothing before block 4
	g.run(time.Second)
	g.flush(o, 6, 7)
	g.backoffs()
	g.wantNack("object 0, block 1/0-3, segment 1/4/5-11, segment 1/6/5") // as much as a segment holds
}

func TestInactivityEndsPatience(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Join: JoinAll, Patience: true})
	g.block(blocks(t, 0, 10), 4)
	g.run(time.Minute)
	if got := g.nacks(); len(got) < 11 || got[:11] != "block 0/0-3" {
		t.Errorf("asked for %q", got)
	}
}

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

// TestPresetIsAskedForUnheard expects objects of which nothing is ever heard but the FLUSH behind them.
func TestPresetIsAskedForUnheard(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	var presets []*testObject
	for id := range TransportID(3) {
		o := blocks(t, id+65535, 2)
		presets = append(presets, o)
		if _, err := g.Expect(g.now, Preset{Sender: g.sender, ID: o.id, Size: int64(o.L), FEC: o.params}); err != nil {
			t.Fatal(err)
		}
	}
	g.flush(presets[1], 1, 7)
	g.backoffs()
	g.wantNack("block 65535/0, block 65535/1, block 0/0, block 0/1") // not object 1, ahead of the position
	for _, o := range presets {
		g.repair(o, 0, 0, 1, 2, 3, 4, 5, 6, 7)
		g.repair(o, 1, 0, 1, 2, 3, 4, 5, 6, 7)
		g.wantReceived(o)
	}
}

func TestPresent(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 5)
	h, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 0, Size: int64(o.L), FEC: o.params})
	if err != nil {
		t.Fatal(err)
	}
	g.sinks[h] = append([]byte(nil), o.content...)
	clear(g.sinks[h][:100])
	clear(g.sinks[h][1500:]) // block 2 is from 1024 to 1536
	if err := g.Present(g.now, h, Range{100, 1400}); err != nil {
		t.Fatal(err)
	}
	// Symbols 0 and 1 of block 0 and symbol 7 of block 2 are missing.
	if info, _ := g.Object(h); info.Received != 1472-128 {
		t.Errorf("received %d", info.Received)
	}
	g.flushAll(o)
	g.backoffs()
	g.wantNack("segment 0/0/8, segment 0/0/9, segment 0/2/8, block 0/3, block 0/4")
	g.repair(o, 0, 9, 11)
	g.repair(o, 2, 8)
	g.block(o, 3)
	g.block(o, 4)
	if len(g.happened(ObjectComplete)) != 1 {
		t.Fatal("not complete")
	}
	if string(g.sinks[h]) != string(o.content) {
		t.Error("content differs")
	}
	var reported []Range
	for _, e := range g.happened(ObjectData) {
		reported = append(reported, e.Range)
	}
	if len(reported) != 4 || reported[0] != (Range{0, 128}) || reported[1] != (Range{1472, 64}) {
		t.Errorf("reported %v", reported)
	}
	if err := g.Present(g.now, h, Range{0, int64(o.L) + 1}); err == nil {
		t.Error("Present beyond the object")
	}
	if err := g.Present(g.now, 99, Range{}); !errors.Is(err, ErrUnknownObject) {
		t.Error(err)
	}
}

func TestPresentWhole(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 1000)
	h, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 0, Size: 1000, FEC: o.params})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []Range{{0, 500}, {500, 500}} {
		if err := g.Present(g.now, h, at); err != nil {
			t.Fatal(err)
		}
	}
	g.drain()
	// The symbol that holds byte 500 was declared in two parts.
	g.flushAll(o)
	g.backoffs()
	g.wantNack("segment 0/3/8")
	g.repair(o, 3, 8)
	if len(g.happened(ObjectComplete)) != 1 {
		t.Error("not complete")
	}
}

func TestRejectRange(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 4, 5)
	for b := range uint32(5) {
		g.block(o, b)
	}
	g.wantReceived(o)
	h := g.happened(ObjectComplete)[0].Object
	later := blocks(t, 5, 1)
	g.block(later, 0)
	if err := g.RejectRange(g.now, h, Range{600, 500}); err != nil { // of blocks 1 and 2
		t.Fatal(err)
	}
	g.drain()
	if info, _ := g.Object(h); info.Received != 3*512 || info.Complete {
		t.Errorf("%+v", info)
	}
	clear(g.sinks[h][512:1536])
	g.events = nil
	g.flushAll(later)
	g.backoffs()
	g.wantNack("block 4/1, block 4/2")
	g.repair(o, 1, 0, 1, 2, 3, 8, 9, 10, 11)
	g.repair(o, 2, 0, 1, 2, 3, 4, 5, 6, 7)
	if len(g.happened(ObjectData)) != 2 || len(g.happened(ObjectComplete)) != 1 {
		t.Errorf("%v", g.events)
	}
	if string(g.sinks[h]) != string(o.content) {
		t.Error("content differs")
	}
	g.flushAll(later)
	g.run(2 * time.Second)
	g.wantNack("")
	if len(g.happened(ObjectOffered)) != 0 {
		t.Error("offered again")
	}
}

// TestRejectRangeInProgress rejects blocks in every phase.
func TestRejectRangeInProgress(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 4)
	g.block(o, 0)
	g.data(o, 1, 0, 1)
	h := g.happened(ObjectOffered)[0].Object
	g.stall = true
	g.block(o, 2)
	if err := g.RejectRange(g.now, h, Range{0, 1536}); err != nil {
		t.Fatal(err)
	}
	g.drain()
	g.perform()
	g.stall = false
	g.drain()
	if info, _ := g.Object(h); info.Received != 0 {
		t.Errorf("received %d", info.Received)
	}
	if free := g.pool.available(); free != g.cfg.Buffer || g.parting != 0 {
		t.Errorf("%d bytes of %d free, %d parting", free, g.cfg.Buffer, g.parting)
	}
	for b := range uint32(4) {
		g.block(o, b)
	}
	if len(g.happened(ObjectComplete)) != 1 || string(g.sinks[h]) != string(o.content) {
		t.Errorf("%v", g.events)
	}
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
	t.Run("only one", func(t *testing.T) {
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

func TestObjectIdsWrap(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	for id := TransportID(65530); id != 8; id++ { // N-4.2.1-39 N-4.2.1-76
		o := blocks(t, id, 1)
		g.block(o, 0)
		g.wantReceived(o)
	}
	g.block(blocks(t, 65533, 1), 0) // N-4.2.1-74: an old duplicate
	g.data(blocks(t, 11, 1), 0, 0)
	g.backoffs()
	g.wantNack("object 8-10") // N-4.2.1-36
	if n := len(g.happened(ObjectOffered)); n != 15 {
		t.Errorf("%d objects offered", n)
	}
	if len(g.happened(ObjectAborted)) != 0 {
		t.Error("aborted by the wrap")
	}
}

func TestWindowOfObjects(t *testing.T) {
	t.Run("slides", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{MaxObjects: 4})
		for id := range TransportID(6) {
			g.data(blocks(t, id, 1), 0, 0)
		}
		if e := g.happened(ObjectAborted); len(e) != 2 || e[0].Err != ErrEvicted { // N-5.2-10
			t.Errorf("%v", e)
		}
		g.block(blocks(t, 0, 1), 0)
		if len(g.happened(ObjectComplete)) != 0 {
			t.Error("an object behind the window was received")
		}
	})
	t.Run("jumps", func(t *testing.T) { // N-4.2.1-37
		g := newReceiverRig(t, ReceiverConfig{})
		g.data(blocks(t, 0, 2), 0, 0)
		g.data(blocks(t, 2, 2), 0, 0)
		far := blocks(t, 20_000, 1)
		g.block(far, 0)
		g.wantReceived(far)
		if len(g.happened(ObjectAborted)) != 2 {
			t.Errorf("%v", g.events)
		}
		g.run(2 * time.Second)
		g.nacks()
		g.flushAll(far)
		g.backoffs()
		g.wantNack("")
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
	if s := g.Stats(); s.Drops.Useless != 4 || len(g.senders) != 0 {
		t.Errorf("%+v", s.Drops)
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

func TestExpectRefuses(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{MaxSenders: 1, MaxObjectSize: 1 << 20})
	p := Preset{Sender: 1, Size: 100, FEC: blocks(t, 0, 1).params}
	if _, err := g.Expect(g.now, p); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Preset){
		"twice":          func(*Preset) {},
		"another sender": func(p *Preset) { p.Sender = 2 },
		"no sender":      func(p *Preset) { p.Sender = 0 },
		"size":           func(p *Preset) { p.ID, p.Size = 1, 1<<20+1 },
		"negative size":  func(p *Preset) { p.ID, p.Size = 1, -1 },
		"code":           func(p *Preset) { p.ID, p.FEC.MaxBlockLen = 1, 0 },
	} {
		q := p
		change(&q)
		if _, err := g.Expect(g.now, q); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

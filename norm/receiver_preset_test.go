package norm

import (
	"errors"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

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

// TestPresetIsAskedForWhenAllIsOver comes when the sender has ended its FLUSHes and only probes.
func TestPresetIsAskedForWhenAllIsOver(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Patience: true})
	for id := range TransportID(2) {
		o := blocks(t, id, 2)
		if _, err := g.Expect(g.now, Preset{Sender: g.sender, ID: o.id, Size: int64(o.L), FEC: o.params}); err != nil {
			t.Fatal(err)
		}
	}
	if !g.Deadline().IsZero() {
		t.Error("a timer runs for a sender never heard")
	}
	for i := range wire.CCSequence(40) {
		g.probeAt(i, wire.Timestamp{Sec: uint32(i)}, 0)
		if g.now.Sub(rigStart) < 40*g.grtt-200*time.Millisecond && g.nacks() != "" {
			t.Fatal("asked at once")
		}
		g.run(200 * time.Millisecond)
	}
	if got, want := g.nacks(), "block 0/0, block 0/1, block 1/0, block 1/1"; got != want {
		t.Errorf("asked for %q, want %q", got, want)
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

// TestRejectRangeOfAnotherRun: what nobody sends any more cannot be asked for again.
func TestRejectRangeOfAnotherRun(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 4, 1)
	g.block(o, 0)
	h := g.happened(ObjectComplete)[0].Object
	g.instance++
	g.block(blocks(t, 9, 1), 0)
	if err := g.RejectRange(g.now, h, Range{0, 1}); !errors.Is(err, ErrUnknownObject) {
		t.Errorf("RejectRange: %v", err)
	}
	if info, ok := g.Object(h); !ok || !info.Complete {
		t.Errorf("%+v", info)
	}
}

// TestRestartAbortsRejectedObjects: what was complete, then rejected, goes with the run; what is expected stays.
func TestRestartAbortsRejectedObjects(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	preset := blocks(t, 9, 1)
	hp, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 9, Size: int64(preset.L), FEC: preset.params})
	if err != nil {
		t.Fatal(err)
	}
	var handles []Handle
	for id := range TransportID(3) {
		g.block(blocks(t, id, 1), 0)
		handles = append(handles, g.happened(ObjectComplete)[id].Object)
	}
	g.data(blocks(t, 4, 1), 0, 0)
	for _, h := range handles {
		if err := g.RejectRange(g.now, h, Range{3, 1}); err != nil {
			t.Fatal(err)
		}
	}
	g.instance++
	g.data(blocks(t, 0, 1), 0, 0)
	if e := g.happened(ObjectAborted); len(e) != 4 {
		t.Errorf("%v", e)
	}
	if _, ok := g.Object(hp); !ok || len(g.senders[g.sender].presets) != 1 {
		t.Error("the preset object is gone")
	}
}

// TestCompleteObjectsAreForgotten keeps the last MaxObjects only, and preset ones.
func TestCompleteObjectsAreForgotten(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{MaxObjects: 3})
	preset := blocks(t, 0, 1)
	if _, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 0, Size: int64(preset.L), FEC: preset.params}); err != nil {
		t.Fatal(err)
	}
	for id := range TransportID(10) {
		g.block(blocks(t, id, 1), 0)
	}
	for i, e := range g.happened(ObjectComplete) {
		if _, ok := g.Object(e.Object); ok != (i == 0 || i >= 7) {
			t.Errorf("object %d known: %v", i, ok)
		}
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

// TestPresetsAndTheWindow: presets lie before, within and behind what is heard, and are asked for in their order.
func TestPresetsAndTheWindow(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{MaxObjects: 8})
	expect := func(id TransportID) *testObject {
		o := blocks(t, id, 1)
		if _, err := g.Expect(g.now, Preset{Sender: g.sender, ID: id, Size: int64(o.L), FEC: o.params}); err != nil {
			t.Fatal(err)
		}
		return o
	}
	early, within := expect(2), expect(12)
	g.data(blocks(t, 10, 1), 0, 0)
	g.data(blocks(t, 14, 1), 0, 0)
	g.backoffs()
	g.wantNack("block 2/0, segment 10/0/5-11, object 11, block 12/0")
	g.run(time.Second)
	g.block(early, 0)
	g.wantReceived(early)
	g.squelch(blocks(t, 11, 1), 0, 12, 13) // of 12 nothing comes, for now
	g.flushAll(blocks(t, 14, 1))
	g.backoffs()
	g.wantNack("object 11, segment 14/0/5-11")
	g.run(time.Second)
	g.repair(within, 0, 0)
	g.block(blocks(t, 11, 1), 0)
	g.backoffs()
	g.flushAll(blocks(t, 14, 1))
	g.backoffs()
	g.wantNack("segment 12/0/5-11, segment 14/0/5-11")
	g.block(within, 0)
	g.wantReceived(within)
	for id := TransportID(14); id < 40; id++ {
		g.block(blocks(t, id, 1), 0)
	}
	if n := len(g.senders[g.sender].window.objects); n != 0 {
		t.Errorf("%d objects still open", n)
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

package norm

import (
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
		g.data(o, 2, 9) // sent unasked, but parity
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

package norm

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestSquelchDropsNeeds(t *testing.T) {
	begin := func() *receiverRig {
		g := newReceiverRig(t, ReceiverConfig{})
		g.data(blocks(t, 10, 3), 0, 0)
		g.data(blocks(t, 12, 3), 0, 0) // 11 was never heard of
		g.data(blocks(t, 13, 3), 2, 0)
		g.data(blocks(t, 14, 3), 0, 0)
		g.run(2 * time.Second)
		g.nacks()
		return g
	}
	t.Run("before the window", func(t *testing.T) {
		g := begin()
		g.squelch(blocks(t, 13, 3), 0)
		if e := g.happened(ObjectAborted); len(e) != 2 || e[0].Err != ErrSquelched || e[1].Err != ErrSquelched { // N-4.2.3.3-11
			t.Errorf("%v", e)
		}
		g.flush(blocks(t, 14, 3), 0, 7)
		g.backoffs()
		g.wantNack("block 13/0, block 13/1, segment 13/2/5-11, segment 14/0/5-11") // N-4.2.3.3-10
	})
	t.Run("listed", func(t *testing.T) {
		g := begin()
		g.squelch(blocks(t, 10, 3), 0, 11, 13)
		if e := g.happened(ObjectAborted); len(e) != 1 {
			t.Errorf("%v", e)
		}
		g.flush(blocks(t, 14, 3), 0, 7)
		g.backoffs()
		g.wantNack("segment 10/0/5-11, block 10/1, block 10/2, segment 12/0/5-11") // N-4.2.3.3-10
		g.run(time.Second)
		g.squelch(blocks(t, 10, 3), 0, 11, 13) // more than once is nothing new
		if e := g.happened(ObjectAborted); len(e) != 1 {
			t.Errorf("%v", e)
		}
	})
	t.Run("within an object", func(t *testing.T) {
		g := begin()
		g.squelch(blocks(t, 13, 3), 1) // block 0 of it was never received
		if e := g.happened(ObjectAborted); len(e) != 3 {
			t.Errorf("%v", e)
		}
	})
	t.Run("ahead of all", func(t *testing.T) { // N-5.2-10
		g := begin()
		g.squelch(blocks(t, 500, 3), 0)
		if e := g.happened(ObjectAborted); len(e) != 4 {
			t.Errorf("%v", e)
		}
		g.flush(blocks(t, 502, 3), 2, 7)
		g.backoffs()
		g.wantNack("object 500-502")
	})
	t.Run("an unreliable object", func(t *testing.T) { // N-4.2.1-32
		g := newReceiverRig(t, ReceiverConfig{})
		g.block(blocks(t, 0, 1), 0)
		g.data(blocks(t, 2, 1), 0, 0)
		g.backoffs()
		g.wantNack("object 1")
		g.squelch(blocks(t, 0, 1), 0, 1)
		g.run(2 * time.Second)
		g.flushAll(blocks(t, 2, 1))
		g.backoffs()
		g.wantNack("segment 2/0/5-11")
	})
}

func TestSquelchedPreset(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 3, 2)
	h, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 3, Size: int64(o.L), FEC: o.params})
	if err != nil {
		t.Fatal(err)
	}
	last := blocks(t, 9, 1)
	g.squelch(last, 0)
	g.flushAll(last)
	g.backoffs()
	g.wantNack("")
	if _, ok := g.Object(h); !ok || len(g.happened(ObjectAborted)) != 0 {
		t.Error("a preset object was aborted")
	}
	g.repair(o, 0, 0) // heard again
	g.flushAll(last)
	g.backoffs()
	g.wantNack("segment 3/0/5-11, block 3/1")
	g.squelch(last, 0)
	g.instance++ // another run may have it
	g.run(time.Second)
	g.flushAll(last)
	g.backoffs()
	g.wantNack("segment 3/0/5-11, block 3/1")
}

func TestSenderEndsTheSession(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	preset := blocks(t, 0, 1)
	if _, err := g.Expect(g.now, Preset{Sender: g.sender, Size: int64(preset.L), FEC: preset.params}); err != nil {
		t.Fatal(err)
	}
	done, open := blocks(t, 1, 1), blocks(t, 2, 2)
	g.block(done, 0)
	g.data(open, 1, 0)
	g.run(100 * time.Millisecond)

	eot := func(instance InstanceID) {
		h := g.header()
		h.Instance = instance
		b := g.message(&wire.EOT{Header: g.from(), SenderHeader: h})
		b[13], b[14] = 0xff, 0xff // N-4.2.3.2-02
		g.arrive(b)
	}
	eot(g.instance + 1)
	if len(g.happened(SenderEnded)) != 0 { // N-4.2.3.2-06
		t.Fatal("ended by another run")
	}
	for range 3 {
		eot(g.instance)
	}
	if len(g.happened(SenderEnded)) != 1 {
		t.Errorf("%v", g.events)
	}
	if e := g.happened(ObjectAborted); len(e) != 1 || e[0].Err != ErrSenderEnded { // N-4.2.3.2-05
		t.Errorf("%v", e)
	}
	if !g.Deadline().IsZero() {
		t.Error("a timer runs for a sender that ended")
	}
	g.data(open, 1, 1) // late
	g.run(time.Minute)
	g.wantNack("")
	if d := g.Stats().Drops.Foreign; d != 4 {
		t.Errorf("%d foreign", d)
	}
	g.instance++ // it comes back
	g.block(preset, 0)
	g.wantReceived(preset)
}

package norm

import (
	"errors"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestNackModes: what is asked for can be limited, for all objects or for one.
func TestNackModes(t *testing.T) {
	for _, test := range []struct {
		mode NackMode
		want string
	}{
		{NackAll, "object 1, info 2, segment 2/0/8"},
		{NackInfo, "info 2"},
		{NackNone, ""},
	} {
		g := newReceiverRig(t, ReceiverConfig{Nack: test.mode})
		first, o := object(t, 0, 0), blocks(t, 2, 1)
		first.info, o.info, o.flags = "a", "b", wire.FlagInfo
		g.infoMessage(first, 0)
		g.block(o, 0, 3)
		g.flushAll(o)
		g.backoffs()
		g.wantNack(test.want)
		if test.mode != NackNone {
			continue
		}
		h := g.happened(ObjectOffered)[1].Object
		for _, mode := range []NackMode{NackInfo, NackAll} {
			if err := g.SetNack(g.now, h, mode); err != nil {
				t.Fatal(err)
			}
			g.run(2 * time.Second)
		}
		g.wantNack("info 2\ninfo 2, segment 2/0/8")
		if g.SetNack(g.now, h, NackNone+1) == nil || !errors.Is(g.SetNack(g.now, 99, NackAll), ErrUnknownObject) {
			t.Error("no error")
		}
	}
}

// TestObjectBoundary: with BoundaryObject, the end of a block initiates nothing. N-5.3-19
func TestObjectBoundary(t *testing.T) {
	for boundary, want := range map[Boundary]string{BoundaryBlock: "segment 0/0/8", BoundaryObject: ""} {
		g := newReceiverRig(t, ReceiverConfig{Boundary: boundary})
		o, next := blocks(t, 0, 3), blocks(t, 1, 1)
		g.block(o, 0, 1)
		g.block(o, 1)
		g.backoffs()
		g.wantNack(want) // N-5.3-19
		g.block(o, 2, 4)
		g.run(time.Second)
		g.nacks()
		g.data(next, 0, 0)
		g.backoffs()
		g.wantNack("segment 0/0/8, segment 0/2/8") // N-5.3-19
	}
}

// TestSilent: a silent receiver says nothing, and takes what comes.
func TestSilent(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Silent: true, MaxDelay: 10 * time.Second})
	mended, torn, last := blocks(t, 0, 2), blocks(t, 1, 2), blocks(t, 2, 1)
	g.probeAt(1, wire.MakeTimestamp(g.now), 1e6, wire.CCNode{Node: rigReceiver, Flags: wire.CCFlagCLR})
	g.block(mended, 0, 1)
	g.data(mended, 0, 8)
	g.block(mended, 1)
	g.wantReceived(mended)
	g.block(torn, 0, 1)
	g.block(torn, 1)
	g.run(20 * time.Second) // silence is no end of it: the sender may go on
	g.block(last, 0, 2)
	if len(g.happened(ObjectAborted)) != 1 { // B-2.5-01: the delay is bounded
		t.Fatalf("%v", g.happened(ObjectAborted))
	}
	if e := g.happened(ObjectAborted)[0]; !errors.Is(e.Err, ErrOverdue) {
		t.Errorf("%+v", e)
	}
	g.flushAll(last)
	g.run(9 * time.Second)
	if n := len(g.happened(ObjectAborted)); n != 1 {
		t.Errorf("%d aborted before MaxDelay", n)
	}
	g.run(time.Second)
	if n := len(g.happened(ObjectAborted)); n != 2 { // B-2.5-01
		t.Errorf("%d aborted after MaxDelay", n)
	}
	if len(g.sent) != 0 {
		t.Errorf("sent %v", g.sent)
	}
}

// TestMaxDelayKeepsPresets: what the application expects is waited for.
func TestMaxDelayKeepsPresets(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{MaxDelay: time.Second})
	o := blocks(t, 0, 1)
	if _, err := g.Expect(g.now, Preset{Sender: rigSender, Size: int64(len(o.content)), FEC: o.params}); err != nil {
		t.Fatal(err)
	}
	g.block(o, 0, 2)
	g.flushAll(o)
	g.run(5 * time.Second)
	if len(g.happened(ObjectAborted)) != 0 {
		t.Errorf("%v", g.events)
	}
}

// TestPurge: a sender that is gone is forgotten after a time, and with it what it did not finish.
func TestPurge(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{PurgeAfter: 5 * time.Minute})
	o := blocks(t, 0, 2)
	g.block(o, 0, 1)
	g.run(4 * time.Minute)
	if len(g.happened(SenderLost)) != 1 || len(g.happened(ObjectAborted)) != 0 || len(g.order) != 1 {
		t.Fatalf("%v", g.events)
	}
	g.run(2 * time.Minute)
	if e := g.happened(ObjectAborted); len(e) != 1 || !errors.Is(e[0].Err, ErrSenderLost) {
		t.Errorf("%v", e)
	}
	inUse := g.pool.taken - g.pool.idle
	if len(g.order)+len(g.senders)+len(g.objects)+inUse != 0 || g.held.oldest != nil {
		t.Errorf("%d senders, %d objects, %d bytes are left", len(g.senders), len(g.objects), inUse)
	}
	if d := g.Deadline(); !d.IsZero() {
		t.Errorf("a timer runs: %v", d)
	}
}

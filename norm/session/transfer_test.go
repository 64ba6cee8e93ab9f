package session_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
)

func TestObjectReachesThreeReceiversOverLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.1), content(1<<20, 1)
		var receivers []*session.Session
		var sinks []memory
		for i := range byte(3) {
			sink := make(memory, len(image))
			receivers = append(receivers, openReceiver(t, net.open(10+i), receiving(norm.NodeID(10+i)), sink))
			sinks = append(sinks, sink)
		}
		s := openSender(t, net.open(1))
		send(t, s, image)
		for i, r := range receivers {
			e := await(t, r, norm.ObjectComplete)
			info, err := r.Object(t.Context(), e.Object)
			if err != nil || string(info.Info) != "image" || info.Size != int64(len(image)) || !bytes.Equal(sinks[i], image) {
				t.Errorf("receiver %d: %+v, %v; content equal: %v", i, info, err, bytes.Equal(sinks[i], image))
			}
		}
		if err := s.End(t.Context()); err != nil {
			t.Error(err)
		}
		await(t, s, norm.Ended)
		await(t, receivers[0], norm.SenderEnded)
	})
}

func TestLateJoinerGetsTheWholeObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.05), content(2<<20, 1)
		first, late := make(memory, len(image)), make(memory, len(image))
		r1 := openReceiver(t, net.open(10), receiving(10), first)
		s := openSender(t, net.open(1))
		send(t, s, image)
		time.Sleep(80 * time.Millisecond) // of the 168 ms that it takes
		if n := stats(t, s).Sender.Data; n < 300 || n > 1400 {
			t.Fatalf("%d segments sent: that is not about half", n)
		}
		cfg := receiving(11)
		cfg.Join, cfg.Patience = norm.JoinAll, true
		r2 := openReceiver(t, net.open(11), cfg, late)
		await(t, r1, norm.ObjectComplete)
		await(t, r2, norm.ObjectComplete)
		if !bytes.Equal(first, image) || !bytes.Equal(late, image) {
			t.Error("content differs")
		}
	})
}

// preset is the object that send sends, as a receiver may know it beforehand.
func preset(b []byte) norm.Preset {
	return norm.Preset{Sender: 1, Kind: norm.File, Size: int64(len(b)), Info: true,
		FEC: fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 64, MaxParity: 32}}
}

// An expected object outlives the sender's process: what is there stays, and the rest comes from the next run.
func TestSenderRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.05), content(2<<20, 1)
		sink := &countingSink{memory: make(memory, len(image))}
		r := open(t, session.Config{Conn: net.open(10), Receive: receiving(10)})
		h, err := r.Expect(t.Context(), preset(image), sink)
		if err != nil {
			t.Fatal(err)
		}
		s := openSender(t, net.open(1))
		send(t, s, image)
		time.Sleep(100 * time.Millisecond)
		s.Close() // as a crash: nothing is said
		before := sink.written()
		if before == 0 || before == int64(len(image)) {
			t.Fatalf("%d bytes before the restart", before)
		}
		time.Sleep(time.Second)
		cfg := sending(1)
		cfg.Instance = 2
		s = open(t, session.Config{Conn: net.open(2), Send: cfg})
		send(t, s, image)
		await(t, r, norm.SenderRestarted)
		if e := await(t, r, norm.ObjectComplete); e.Object != h {
			t.Errorf("object %d complete, want %d", e.Object, h)
		}
		if !bytes.Equal(sink.memory, image) {
			t.Error("content differs")
		}
		if n := sink.written(); n > int64(len(image))+200_000 { // what was spilled or half there may come again
			t.Errorf("%d bytes written in all for %d: the first run was for nothing", n, len(image))
		}
	})
}

// What is declared present is neither asked for nor written, and what is rejected comes again.
func TestPresentAndRejectRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.05), content(2<<20, 1)
		sink := &countingSink{memory: make(memory, len(image))}
		half := norm.Range{Length: 1 << 20}
		copy(sink.memory, image[:half.Length])
		r := open(t, session.Config{Conn: net.open(10), Receive: receiving(10)})
		h, err := r.Expect(t.Context(), preset(image), sink)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Present(t.Context(), h, norm.Range{Length: 1 << 19}, norm.Range{Offset: 1 << 19, Length: 1 << 19}); err != nil {
			t.Fatal(err)
		}
		if err := r.Present(t.Context(), h, half, norm.Range{Offset: 1, Length: int64(len(image))}); err == nil {
			t.Error("a range beyond the object is present")
		}
		s := openSender(t, net.open(1))
		send(t, s, image)
		await(t, r, norm.ObjectComplete)
		if n := sink.written(); n < 1<<20 || n > 1<<20+1400*2 { // segments that a range cuts are received whole
			t.Errorf("%d bytes written; 1 MiB was missing", n)
		}

		bad := norm.Range{Offset: 700_000, Length: 70_000}
		clear(sink.memory[bad.Offset:bad.End()])
		if err := r.RejectRange(t.Context(), h, bad); err != nil {
			t.Fatal(err)
		}
		if e := await(t, r, norm.ObjectComplete); e.Object != h || !bytes.Equal(sink.memory, image) {
			t.Errorf("object %d complete again; content equal: %v", e.Object, bytes.Equal(sink.memory, image))
		}
	})
}

func TestOffersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &hub{}
		offered := 0
		picky := open(t, session.Config{Conn: net.open(10), Receive: receiving(10), Offer: func(_ norm.Handle, o norm.ReceivedObject) session.Sink {
			if offered++; o.Size > 100_000 {
				return nil
			}
			return make(memory, o.Size)
		}})
		deaf := open(t, session.Config{Conn: net.open(11), Receive: receiving(11)})
		s := openSender(t, net.open(1))
		send(t, s, content(100_001, 1))
		send(t, s, content(100_000, 2))
		refused := await(t, picky, norm.ObjectOffered)
		if _, err := picky.Object(t.Context(), refused.Object); !errors.Is(err, norm.ErrUnknownObject) {
			t.Errorf("a refused object is known: %v", err)
		}
		if e := await(t, picky, norm.ObjectComplete); e.Object == refused.Object {
			t.Error("a refused object became complete")
		}
		await(t, s, norm.Flushed)
		for name, r := range map[string]*session.Session{"picky": picky, "deaf": deaf} {
			if st := stats(t, r).Receiver; st.NacksSent != 0 {
				t.Errorf("%s asked for what it refused: %+v", name, st)
			}
		}
		if offered != 2 {
			t.Errorf("asked %d times about two objects", offered)
		}
	})
}

func TestCancelAndAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.05), content(4<<20, 1)
		r := openReceiver(t, net.open(10), receiving(10), make(memory, len(image)))
		r2 := openReceiver(t, net.open(11), receiving(11), make(memory, len(image)))
		s := openSender(t, net.open(1))
		h := send(t, s, image)
		time.Sleep(100 * time.Millisecond)

		e := await(t, r2, norm.ObjectOffered)
		if err := r2.Abort(t.Context(), e.Object); err != nil {
			t.Fatal(err)
		}
		if got := nextOf(t, r2, norm.ObjectAborted); got.Object != e.Object || !errors.Is(got.Err, norm.ErrCancelled) {
			t.Errorf("given up: %+v", got)
		}
		if err := s.Cancel(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		if e := await(t, s, norm.ObjectPurged); e.Object != h || !errors.Is(e.Err, norm.ErrCancelled) {
			t.Errorf("cancelled: %+v", e)
		}
		if err := s.Cancel(t.Context(), h); !errors.Is(err, norm.ErrUnknownObject) {
			t.Errorf("cancelled again: %v", err)
		}
		next := content(1000, 2)
		send(t, s, next) // behind which the receiver sees what it lacks, asks, and is told by SQUELCH
		if got := nextOf(t, r, norm.ObjectAborted); !errors.Is(got.Err, norm.ErrSquelched) {
			t.Errorf("the receiver gave up with %v", got.Err)
		}
	})
}

// nextOf is await for events that await takes for failures.
func nextOf(t testing.TB, s *session.Session, kind norm.EventKind) norm.Event {
	t.Helper()
	for {
		e, err := s.Next(t.Context())
		if err != nil {
			t.Fatalf("waiting for %v: %v", kind, err)
		}
		if e.Kind == kind {
			return e
		}
	}
}

// Many objects pass through a session, and nothing of those that are done with is kept for ever.
func TestManyObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		net := lossy(0.05)
		cfg := receiving(10)
		cfg.MaxObjects = 40
		var got sync.Map // norm.Handle -> memory
		r := open(t, session.Config{Conn: net.open(10), Receive: cfg, Offer: func(h norm.Handle, o norm.ReceivedObject) session.Sink {
			sink := make(memory, o.Size)
			got.Store(h, sink)
			return sink
		}})
		s := openSender(t, net.open(1))
		for range n / 20 {
			for range 20 {
				send(t, s, content(3000, 1))
			}
			for range 20 {
				e := await(t, r, norm.ObjectComplete)
				if sink, _ := got.LoadAndDelete(e.Object); !bytes.Equal(sink.(memory), content(3000, 1)) {
					t.Fatalf("object %d differs", e.Object)
				}
			}
		}
		sources, _ := s.Held(t.Context())
		_, sinks := r.Held(t.Context())
		if sources > 256 || sinks > 2*64 {
			t.Errorf("after %d objects %d sources and %d sinks are held", n, sources, sinks)
		}
	})
}

func TestTwoSendersOneReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := lossy(0.05)
		images := map[norm.NodeID][]byte{1: content(1<<20, 1), 2: content(1<<20, 2)}
		sinks := map[norm.NodeID]memory{1: make(memory, 1<<20), 2: make(memory, 1<<20)}
		r := open(t, session.Config{Conn: net.open(10), Receive: receiving(10), Offer: func(_ norm.Handle, o norm.ReceivedObject) session.Sink {
			return sinks[o.Sender]
		}})
		for node, image := range images {
			s := open(t, session.Config{Conn: net.open(byte(node)), Send: sending(node)})
			send(t, s, image)
		}
		for range images {
			e := await(t, r, norm.ObjectComplete)
			if !bytes.Equal(sinks[e.Sender], images[e.Sender]) {
				t.Errorf("what sender %d sent differs", e.Sender)
			}
		}
	})
}

// A node may send and receive in one session; its own echo is no datagram of another sender.
func TestTwoNodesSendToEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := lossy(0.05)
		var nodes []*session.Session
		var sinks []memory
		for i := range norm.NodeID(2) {
			sink := make(memory, 1<<20)
			nodes = append(nodes, open(t, session.Config{Conn: net.open(byte(i)), Send: sending(i + 1), Receive: receiving(i + 1),
				Offer: func(norm.Handle, norm.ReceivedObject) session.Sink { return sink }}))
			sinks = append(sinks, sink)
		}
		for i, s := range nodes {
			send(t, s, content(1<<20, byte(i)))
		}
		for i, s := range nodes {
			await(t, s, norm.ObjectComplete)
			if !bytes.Equal(sinks[i], content(1<<20, byte(1-i))) {
				t.Errorf("what node %d received differs", i+1)
			}
		}
	})
}

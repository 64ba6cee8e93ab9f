package norm

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// acknowledge lets the NORM_ACK of a node arrive.
func (r *rig) acknowledge(node NodeID, m wire.Ack) {
	r.t.Helper()
	m.Source, m.Server, m.Instance = node, r.cfg.Node, r.cfg.Instance
	b, err := m.AppendBinary(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Handle(r.now, Datagram{From: testReceiver, To: testServer, B: b})
	r.drain()
}

// acknowledgeFlush lets a node acknowledge what a NORM_CMD(FLUSH) named.
func (r *rig) acknowledgeFlush(node NodeID, at wire.Position) {
	payload, err := at.AppendItem(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.acknowledge(node, wire.Ack{AckType: wire.AckFlush, Payload: payload})
}

// nodeIDs returns n ids from first on.
func nodeIDs(first NodeID, n int) (ids []NodeID) {
	for i := range n {
		ids = append(ids, first+NodeID(i))
	}
	return ids
}

// kinds returns the events of a kind.
func (r *rig) kinds(kind EventKind) (found []Event) {
	for _, e := range r.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// A list of the largest size that a caller may think of, of which nobody is there but every hundredth: the messages keep
// to 2*GRTT and the segment size, and each node is asked RobustFactor times at the most.
func TestAckRoundsAreBounded(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) {
		c.SegmentSize = 1400
		c.RobustFactor = 3
		c.Rate = 1e9
		c.GRTT = 10 * time.Millisecond
	})
	r.enqueue(1000, nil)
	const n = 65535
	name, err := r.SetWatermark(r.now, Watermark{Nodes: nodeIDs(1, n)})
	if err != nil {
		t.Fatal(err)
	}
	asked := make([]int, n+1)
	var last time.Duration
	for range 1000 {
		r.take()
		r.run(r.grtts(2))
		for _, m := range r.take() {
			f, ok := m.msg.(*wire.Flush)
			if !ok || f.AckingNodes.Len() == 0 {
				continue
			}
			if last > 0 && m.at-last < r.grtts(2) { // N-5.5.3-03 N-5.5.3-02 N-5.3-24
				t.Fatalf("asked after %v, twice GRTT is %v", m.at-last, r.grtts(2))
			}
			last = m.at
			if len(f.AckingNodes) > 1400 { // N-5.5.3-04 N-4.2.3-03
				t.Fatalf("a list of %d bytes", len(f.AckingNodes))
			}
			for id := range f.AckingNodes.All() {
				if asked[id]++; asked[id] > 3 { // N-5.5.3-06
					t.Fatalf("node %d asked for the %dth time", id, asked[id])
				}
				if id%100 == 0 {
					r.acknowledgeFlush(id, f.Position)
				}
			}
		}
	}
	done := r.kinds(AcksDone)
	if len(done) != 1 || done[0].Request != name || done[0].Err != nil { // N-5.5.3-07
		t.Fatalf("%v", done)
	}
	if a, s := len(r.kinds(NodeAcknowledged)), len(r.kinds(NodeSilent)); a != n/100 || s != n-n/100 {
		t.Errorf("%d acknowledged, %d did not", a, s)
	}
	for id := 1; id <= n; id++ {
		if answers := id%100 == 0; answers && asked[id] > 2 || !answers && asked[id] != 3 { // N-5.5.3-05; two lists may be under way
			t.Fatalf("node %d was asked %d times", id, asked[id])
		}
	}
}

// N-4.3.2-07 N-4.3.2-04: the watermark is what was asked for, in each of its bytes.
func TestAckMustMatch(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(850, nil)
	r.SetWatermark(r.now, Watermark{Nodes: []NodeID{7}})
	r.run(100 * time.Millisecond)
	at := of[*wire.Flush](r.take())[0].Position
	good, _ := at.AppendItem(nil)
	for i := range good {
		if i == 1 {
			continue // reserved
		}
		bad := slices.Clone(good)
		bad[i] ^= 1
		r.acknowledge(7, wire.Ack{AckType: wire.AckApplication, Payload: bad})
		if b, err := (&wire.Ack{AckType: wire.AckFlush, Payload: bad}).AppendBinary(nil); err == nil && len(b) > 0 {
			r.acknowledge(7, wire.Ack{AckType: wire.AckFlush, Payload: bad})
		}
	}
	r.acknowledge(8, wire.Ack{AckType: wire.AckFlush, Payload: good})
	if r.Stats().Acks != 0 || r.Stats().Drops.Useless == 0 || len(r.kinds(NodeAcknowledged)) != 0 {
		t.Errorf("%+v, events %v", r.Stats(), r.events)
	}
	r.acknowledge(7, wire.Ack{AckType: wire.AckFlush, Payload: good})
	r.acknowledge(7, wire.Ack{AckType: wire.AckFlush, Payload: good}) // once is enough
	if got := r.kinds(NodeAcknowledged); len(got) != 1 || got[0].Node != 7 || len(r.kinds(AcksDone)) != 1 || r.Stats().Acks != 1 {
		t.Errorf("%+v, events %v", r.Stats(), r.events)
	}
}

// N-4.3.2-05 N-4.2.3.6-05: the content of an acknowledgment, and what is too long to be one.
func TestApplicationAcks(t *testing.T) {
	r := newRig(t, nil)
	name, err := r.RequestAcks(r.now, 200, []NodeID{7, 7, 8})
	if err != nil {
		t.Fatal(err)
	}
	r.run(time.Millisecond)
	first := of[*wire.AckReq](r.take())[0]
	if first.AckType != 200 || first.AckingNodes.Len() != 2 { // N-4.2.3.6-02; named twice is asked once
		t.Errorf("%v", first)
	}
	r.acknowledge(7, wire.Ack{AckType: 200, AckID: first.AckID, Payload: make([]byte, 101)})
	r.acknowledge(7, wire.Ack{AckType: 200, AckID: first.AckID + 1})
	if len(r.kinds(NodeAcknowledged)) != 0 || r.Stats().Drops.Malformed != 1 || r.Stats().Drops.Useless != 1 {
		t.Errorf("%+v", r.Stats())
	}
	r.acknowledge(7, wire.Ack{AckType: 200, AckID: first.AckID, Payload: []byte("seven")})
	if got := r.kinds(NodeAcknowledged); len(got) != 1 || got[0].Content != "seven" || got[0].Node != 7 { // N-4.3.2-08
		t.Errorf("%v", r.events)
	}
	r.CancelAcks(r.now, name)
	r.take()
	if name, err = r.RequestAcks(r.now, 16, nodeIDs(1, 60)); err != nil {
		t.Fatal(err)
	}
	r.run(r.grtts(3))
	if m := of[*wire.AckReq](r.take())[0]; len(m.AckingNodes) != 100 { // N-4.2.3.6-06: 25 nodes in a segment of 100 bytes
		t.Errorf("%v", m)
	}
	r.CancelAcks(r.now, name)
	// ack_id counts on, and wraps.
	ids := map[uint8]bool{}
	for range 256 {
		name, err := r.RequestAcks(r.now, 200, []NodeID{9})
		if err != nil {
			t.Fatal(err)
		}
		r.run(r.grtts(5))
		ids[of[*wire.AckReq](r.take())[0].AckID] = true
		if err := r.CancelAcks(r.now, name); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 256 {
		t.Errorf("%d different ack_ids in 256 requests", len(ids))
	}
}

func TestAckRequestsAreLimited(t *testing.T) {
	r := newRig(t, nil)
	h := r.enqueue(100, nil)
	for range maxAckRequests {
		if _, err := r.SetWatermark(r.now, Watermark{Nodes: []NodeID{7}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.RequestAcks(r.now, 16, []NodeID{7}); !errors.Is(err, ErrTooManyRequests) {
		t.Error(err)
	}
	// One answer is one for all that ask for the same.
	r.run(100 * time.Millisecond)
	r.acknowledgeFlush(7, of[*wire.Flush](r.take())[0].Position)
	if n := len(r.kinds(AcksDone)); n != maxAckRequests {
		t.Errorf("%d of %d requests are done", n, maxAckRequests)
	}
	// An object that is cancelled is not asked for any more, and neither is anything after End.
	r.events = nil
	r.SetWatermark(r.now, Watermark{Object: h, Nodes: []NodeID{7}})
	r.RequestAcks(r.now, 16, []NodeID{7})
	r.Cancel(r.now, h)
	r.End(r.now)
	r.drain()
	if done := r.kinds(AcksDone); len(done) != 2 || done[0].Err != ErrCancelled || done[1].Err != ErrEnding {
		t.Errorf("%v", done)
	}
	if _, err := r.RequestAcks(r.now, 16, []NodeID{7}); !errors.Is(err, ErrEnding) {
		t.Error(err)
	}
	if err := r.CancelAcks(r.now, 1); !errors.Is(err, ErrUnknownRequest) {
		t.Error(err)
	}
}

// NACKs without end keep no request open without end.
func TestNacksDoNotKeepAckRequestsOpen(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.RobustFactor = 2 })
	r.enqueue(850, nil)
	r.run(20 * time.Millisecond) // it is sent
	r.SetWatermark(r.now, Watermark{Nodes: []NodeID{7}})
	for range 100 {
		r.nackRequest("0/1/1")
		r.run(8 * r.grtt.advertised) // repairs take 5 to 6 of them, and two rounds 4
	}
	if n := len(r.kinds(NodeSilent)); n != 1 || len(r.acks.requests) != 0 {
		t.Errorf("%d silent, %d requests open", n, len(r.acks.requests))
	}
}

// TestTracking floods the tracker with forged nodes.
func TestTracking(t *testing.T) {
	for _, tt := range []struct {
		policy TrackPolicy
		want   []NodeID
	}{
		{TrackNone, nil}, {TrackReceivers, []NodeID{5}}, {TrackAll, []NodeID{6, 5}},
	} {
		r := newRig(t, func(c *SenderConfig) { c.Track = tt.policy; c.MaxTracked = 3 })
		r.acknowledge(6, wire.Ack{AckType: wire.AckCC})
		r.RequestAcks(r.now, 16, []NodeID{5})
		r.run(time.Millisecond)
		r.acknowledge(5, wire.Ack{AckType: 16, AckID: 0})
		r.acknowledge(9, wire.Ack{AckType: 16, AckID: 0}) // was not asked
		r.acknowledge(6, wire.Ack{AckType: wire.AckCC})
		if got := r.Tracked(); !slices.Equal(got, tt.want) {
			t.Errorf("policy %d: %v, want %v", tt.policy, got, tt.want)
		}
		for id := range NodeID(1000) {
			r.acknowledge(1000+id, wire.Ack{AckType: wire.AckCC})
		}
		if got := r.Tracked(); len(got) > 3 || tt.policy == TrackAll && got[0] != 1999 {
			t.Errorf("policy %d: %v after a flood", tt.policy, got)
		}
	}
}

// N-4.2.3.7-02 N-4.2.3.7-03
func TestCommands(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Rate = 80_000 })
	r.enqueue(10_000, nil)
	if err := r.Command(r.now, make([]byte, 101), true); err == nil {
		t.Error("a command of more than a segment")
	}
	if err := r.Command(r.now, make([]byte, 100), true); err != nil {
		t.Fatal(err)
	}
	for range maxCommands - 1 {
		if err := r.Command(r.now, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Command(r.now, nil, false); !errors.Is(err, ErrTooManyRequests) {
		t.Error(err)
	}
	r.drain()
	r.run(50 * r.grtt.advertised)
	sent := r.take()
	var robust []time.Duration
	bytes, data := 0, 0
	for _, m := range sent {
		bytes += m.len
		if c, ok := m.msg.(*wire.Application); ok && len(c.Payload) == 100 {
			robust = append(robust, m.at)
		}
		if _, ok := m.msg.(*wire.Data); ok && len(robust) > 0 && len(robust) < 20 {
			data++ // in between
		}
	}
	if len(robust) != 20 || data == 0 {
		t.Errorf("%d copies, %d NORM_DATA between", len(robust), data)
	}
	for _, d := range gaps(robust) {
		if d < 2*r.grtt.advertised || d > 2*r.grtt.advertised+30*time.Millisecond { // N-5.3-24; what is on the line at 80 kbit/s
			t.Errorf("%v between copies", d)
		}
	}
	if limit := 80_000/8*r.now.Sub(r.start).Seconds() + 1000; float64(bytes) > limit { // N-8.1.3-02
		t.Errorf("%d bytes in %v", bytes, r.now.Sub(r.start))
	}
	if n := len(r.kinds(CommandSent)); n != maxCommands || r.Stats().Commands != 20+maxCommands-1 {
		t.Errorf("%d CommandSent, %d sent", n, r.Stats().Commands)
	}
}

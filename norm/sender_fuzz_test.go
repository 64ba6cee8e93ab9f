package norm

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// FuzzSender feeds a sender any datagrams at any times. Whatever they are, it must not panic, its state stays bounded, the
// rate is kept, and all it sends is well-formed and names what exists.
//
// The input begins with a byte that chooses the kind of session; then it is a sequence of a pause (8 bits, in units of 5 ms),
// a length (8 bits) and a datagram, which came to the group if its length is even, and to the sender if it is odd.
func FuzzSender(f *testing.F) {
	p := fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 4, MaxParity: 4, SegmentSize: 100}
	seed := func(steps ...[]byte) {
		for mode := range byte(32) {
			in := []byte{mode}
			for i, s := range steps {
				in = append(append(in, byte(20*i), byte(len(s))), s...)
			}
			f.Add(in)
		}
	}
	nack := func(payload []byte) []byte {
		m := &wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 7}, Payload: payload}
		b, _ := m.AppendBinary(nil)
		return b
	}
	for _, short := range []string{"0/0/4-6", "0/b0-2 i1", "o0-1", "o60000", "0/1/e3", "1/0/4 1/0/7"} {
		for _, p.ID = range []uint8{fec.ReedSolomonGF8, fec.SmallBlockSystematic} {
			seed(nack(nackPayload(f, p, short)), nack(nackPayload(f, p, "0/0/4-7")))
		}
	}
	ack := &wire.Ack{Header: wire.Header{Source: 9}, AckType: wire.AckCC}
	ack.FeedbackHeader = wire.FeedbackHeader{Server: 1, Instance: 7, GRTTResponse: wire.Timestamp{Sec: 1_000_000}}
	b, _ := ack.AppendBinary(nil)
	seed(b, nack(nil))
	seed([]byte{}, []byte("not a NORM message"))
	for _, m := range []wire.Ack{
		{AckType: wire.AckApplication, Payload: []byte("yes")}, {AckType: wire.AckFlush, Payload: []byte{5, 0, 0, 4, 0, 0, 1, 0}},
		{AckType: wire.AckFlush, Payload: []byte{129, 0, 0, 4, 0, 0, 0, 1, 0, 2, 0, 1}},
	} {
		m.Source, m.FeedbackHeader = 9, ack.FeedbackHeader
		b, _ := m.AppendBinary(nil)
		seed(b, b)
	}

	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		mode := in[0]
		in = in[1:]
		r := newRig(t, func(c *SenderConfig) {
			c.Buffer, c.MaxObjects = 5*400, 5
			if mode&1 != 0 {
				c.Group = testReceiver
			}
			if mode&2 != 0 {
				c.AutoParity = 2
			}
			if mode&4 != 0 {
				c.FEC.ID = fec.SmallBlockSystematic
			}
			if mode&16 != 0 {
				c.Service = ServicePolicy{AddressShare: 0.5, AddressMessages: 5}
				c.Rate, c.Control = 0, &RateControl{StartRate: 200e3, MinRate: 200e3, MaxRate: 200e3, Patience: time.Second}
			}
		})
		r.enqueue(1200, nil)
		r.enqueue(350, func(o *Object) { o.Info = []byte("info") })
		r.enqueue(0, nil)
		r.Cancel(r.now, r.enqueue(100, nil))
		r.enqueue(500, func(o *Object) { o.Unreliable = true })
		if mode&8 != 0 {
			r.SetWatermark(r.now, Watermark{Nodes: nodeIDs(1, 60), OverridesFlush: true})
			r.RequestAcks(r.now, 16, nodeIDs(9, 2))
			r.Command(r.now, []byte("go"), true)
		}
		r.events = nil
		for steps := 0; len(in) >= 2 && steps < 50; steps++ {
			r.run(time.Duration(in[0]) * 5 * time.Millisecond)
			n := min(int(in[1]), len(in)-2)
			d := Datagram{From: testReceiver, To: testGroup, B: in[2 : 2+n]}
			if n%2 == 1 {
				d.To = testServer
			}
			r.Handle(r.now, d)
			r.drain()
			in = in[2+n:]
			checkSender(t, r)
		}
		r.run(10 * time.Second)
		checkSender(t, r)
		if r.Stats().GRTT > r.cfg.MaxGRTT*11/10 {
			t.Errorf("GRTT %v", r.Stats().GRTT)
		}
	})
}

// checkSender checks the invariants of a sender and of what it has sent since the last check.
func checkSender(t *testing.T, r *rig) {
	entries := 0
	for _, o := range r.Sender.objects {
		entries += len(o.asked.blocks) + len(o.plan.blocks)
		if len(o.asked.whole)+len(o.plan.whole) > 2*int(o.N) {
			t.Fatalf("%d ranges for %d blocks", len(o.asked.whole)+len(o.plan.whole), o.N)
		}
	}
	if len(r.acks.requests) > 2 || len(r.tracked.nodes) > r.cfg.MaxTracked || r.tracked.heard.Len() != len(r.tracked.nodes) {
		t.Fatalf("%d requests, %d nodes tracked", len(r.acks.requests), len(r.tracked.nodes))
	}
	for _, q := range r.acks.requests {
		if len(q.asked) == 0 || len(q.asked) > len(q.order) || len(q.order) > 60 {
			t.Fatalf("%d of %d nodes are asked", len(q.asked), len(q.order))
		}
	}
	if entries > 2*6 || len(r.cache.buffers) > 5 || len(r.Sender.events) > 0 {
		t.Fatalf("%d repair entries, %d buffers, %d events", entries, len(r.cache.buffers), len(r.Sender.events))
	}
	total := 0
	var from time.Duration
	for i, s := range r.sent {
		if i == 0 {
			from = s.at
		}
		total += s.len
		if limit := r.cfg.Rate/8*(s.at-from).Seconds() + r.excess(); float64(total) > limit+1 {
			t.Fatalf("%d bytes in %v", total, s.at-from)
		}
		if m, ok := s.msg.(*wire.Data); ok {
			i, held := r.index(m.Object)
			if !held {
				t.Fatalf("%v: no such object", m)
			}
			o := r.Sender.objects[i]
			b, symbol := o.locate(m.Position)
			if symbol >= o.symbols(b) || len(m.Payload) > o.E || len(m.Payload) == 0 {
				t.Fatalf("%v: %d bytes", m, len(m.Payload))
			}
			if m.Flags&wire.FlagRepair != 0 && o.flags&wire.FlagUnreliable != 0 {
				t.Fatalf("%v: repair of an unreliable object", m)
			}
		}
	}
	r.take()
}

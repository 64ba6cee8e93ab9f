package norm

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// heap returns how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// floodMemory is what a receiver with the default limits keeps at the most, in bytes, of what strangers say, beside its
// Buffer. If each of their datagrams left something behind, it would be several times as much.
const floodMemory = 1 << 20

// TestAttackReceiverMemory lets strangers say what they like in the middle of a transfer, which is then completed.
func TestAttackReceiverMemory(t *testing.T) {
	o := blocks(t, 7, 40)
	small := objectWith(t, 0, 16, o.params)
	// say appends a datagram of a sender.
	say := func(b []byte, m wire.Message) []byte {
		b, err := m.AppendBinary(b[:0])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	from := func(id NodeID, n int) (wire.Header, wire.SenderHeader) {
		return wire.Header{Source: id, Sequence: wire.Sequence(n)}, wire.SenderHeader{Instance: 1, GRTT: 100, Backoff: 4, GroupSize: 3}
	}
	for name, tt := range map[string]struct {
		n       int
		message func(n int) wire.Message
	}{
		// Each sender that gets a place has one object, offered and accepted: MaxSenders = 16 places.
		"10,000 senders": {10_000, func(n int) wire.Message {
			m := &wire.Data{Position: small.position(0, 0, 0), Extensions: small.extensions(), Payload: small.symbol(0, 0)}
			m.Header, m.SenderHeader = from(NodeID(1_000_000+n), 0)
			return m
		}},
		// MaxObjects = 256 of one sender, and as many complete ones that may still be rejected.
		"65,536 objects": {65_536, func(n int) wire.Message {
			m := &wire.Data{Position: small.position(TransportID(n), 0, 0), Extensions: small.extensions(), Payload: small.symbol(0, 0)}
			m.Header, m.SenderHeader = from(99, n)
			return m
		}},
		// Nothing is kept of an object that is refused: what it claims to be counts before memory is taken.
		"objects of any size": {65_536, func(n int) wire.Message {
			p := fec.Params{ID: fec.SmallBlockSystematic, SegmentSize: 1 + n%65_535, MaxBlockLen: 1 + n%200, MaxParity: n % 50}
			m := &wire.Data{Position: small.position(TransportID(n), 0, 0), Payload: []byte{1}}
			m.FECID = wire.SmallBlock
			m.Extensions, _ = wire.AppendFTI(nil, wire.SmallBlock, wire.FTI{ObjectSize: 1<<48 - 1 - uint64(n), SegmentSize: uint16(p.SegmentSize),
				MaxBlockLen: uint32(p.MaxBlockLen), NumParity: uint16(p.MaxParity)})
			m.Header, m.SenderHeader = from(99, n)
			return m
		}},
		// What others ask for is merged while we are about to ask ourselves, into at most maxSpans spans.
		"NACKs of unknown nodes": {100_000, func(n int) wire.Message {
			w := wire.NewRepairWriter(nil, 1400)
			for i := range uint32(50) {
				w.Item(wire.RepairSegment, o.position(TransportID(n), (uint32(n)*50+i*2)%(1<<24), int(i%8)))
			}
			return &wire.Nack{Header: wire.Header{Source: NodeID(2_000_000 + n)}, FeedbackHeader: wire.FeedbackHeader{Server: rigSender, Instance: rigInstance},
				Payload: w.Bytes()}
		}},
		"a REPAIR_ADV of all there could be": {10_000, func(n int) wire.Message {
			w := wire.NewRepairWriter(nil, 60_000)
			for i := range uint32(500) {
				w.Range(wire.RepairBlock, o.position(TransportID(n), i*1000, 0), o.position(TransportID(n+100), 1<<24-1, 0))
			}
			m := &wire.RepairAdv{Flags: wire.RepairAdvLimit, Payload: w.Bytes()}
			m.Header, m.SenderHeader = from(rigSender, n)
			m.SenderHeader.Instance = rigInstance
			return m
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newReceiverRig(t, ReceiverConfig{})
			g.data(o, 0, 0)
			g.block(o, 1, 3)
			g.block(o, 2) // so that there is something to ask for, and the backoff runs
			before := heap()
			var b []byte
			for n := range tt.n {
				b = say(b, tt.message(n))
				g.Receiver.Handle(g.now, Datagram{From: netip.AddrPortFrom(rigPeer.Addr(), uint16(n)), To: rigGroup, B: b})
				for e := range g.Events() {
					if e.Kind == ObjectOffered {
						g.Receiver.Accept(g.now, e.Object)
					}
				}
				for io := range g.Requests() {
					g.Complete(g.now, io)
				}
				g.now = g.now.Add(time.Second / 65_536)
			}
			kept := heap() - before
			if kept > floodMemory {
				t.Errorf("%d bytes kept after %d datagrams, want at most %d", kept, tt.n, floodMemory)
			}
			t.Logf("%d bytes kept", kept)
			for n := range uint32(o.N) {
				g.block(o, n)
			}
			g.wantReceived(o)
		})
	}
}

// TestAttackSenderMemory lets a hundred thousand nodes that do not exist ask a sender for what never was, and for
// what was, while it sends.
func TestAttackSenderMemory(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(100*4*50, nil)
	r.run(time.Second)
	before := heap()
	for n := range 100_000 {
		w := wire.NewRepairWriter(nil, r.cfg.SegmentSize)
		for i := range uint32(4) {
			w.Item(wire.RepairSegment, wire.Position{FECID: wire.FECID(r.cfg.FEC.ID), Object: TransportID(n), Raw: wire.RawPayloadID(uint32(n)<<8 + i)})
		}
		m := &wire.Nack{Header: wire.Header{Source: NodeID(3_000_000 + n)}, FeedbackHeader: r.feedback(), Payload: w.Bytes()}
		b, err := m.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Handle(r.now, Datagram{From: testReceiver, To: testGroup, B: b})
	}
	// repairMemory, and squelching, which remembers one id.
	if kept := heap() - before; kept > 2*repairMemory {
		t.Errorf("%d bytes kept, want at most %d", kept, 2*repairMemory)
	} else {
		t.Logf("%d bytes kept", kept)
	}
	sent := r.Stats().Squelches
	r.run(time.Minute)
	if s := r.Stats(); s.Squelches > sent+1 {
		t.Errorf("%d NORM_CMD(SQUELCH) for one flood", s.Squelches-sent)
	}
}

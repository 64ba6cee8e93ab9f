package norm

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

var fuzzParams = []fec.Params{
	{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4},
	{ID: fec.ReedSolomonGF8, SegmentSize: 30, MaxBlockLen: 8, MaxParity: 2, Dialect: fec.NRL},
	{ID: fec.SmallBlockSystematic, SegmentSize: 16, MaxBlockLen: 4, MaxParity: 4, Dialect: fec.NRL},
	{ID: fec.NoCode, SegmentSize: 16, MaxBlockLen: 8},
}

// A fuzzer is a receiver to which a byte stream happens.
type fuzzer struct {
	t       *testing.T
	r       *Receiver
	now     time.Time
	in      []byte
	objects [4]*testObject
	handles []Handle
	pending []*IO
	sinks   map[Handle][]byte
	sent    int
}

// FuzzReceiver reads a byte stream as events: messages well formed and not, time, and what an application may do. None
// must break the invariants that check and the methods below hold the receiver to.
func FuzzReceiver(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01\x00\x00\x01\x02\x07\x01\x06"), uint64(1))
	f.Add([]byte("\x04\x01\x00\x01\x00\x00\x02\x01\x07\x07\x07\x05\x00\x06\x08\x09\x0a\x0b\x0c\x0d"), uint64(2))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		cfg := ReceiverConfig{
			Node: rigReceiver, Group: rigGroup, Join: JoinPolicy(seed % 3), Patience: seed&8 != 0,
			MaxSenders: 2, MaxObjects: 3, Buffer: 600, MaxObjectSize: 4000, Seed: seed, Locate: seed&16 != 0,
			Evidence: map[bool]*EvidencePolicy{true: {Trial: time.Second}}[seed&64 != 0],
		}
		if seed&32 != 0 { // somebody knows something of symbols
			cfg.Check = func(_ Handle, at int64, symbol []byte) Verdict {
				return Verdict((at + int64(seed>>7) + int64(len(symbol))) % 3)
			}
		}
		r, err := NewReceiver(cfg)
		if err != nil {
			t.Fatal(err)
		}
		z := &fuzzer{t: t, r: r, now: rigStart, in: in, sinks: map[Handle][]byte{}}
		for i, p := range fuzzParams {
			z.objects[i] = objectWith(t, 0, 20+90*i, p)
		}
		for len(z.in) > 0 {
			z.step()
			z.drain()
			z.check()
		}
	})
}

// next takes a number below n from the stream.
func (z *fuzzer) next(n int) int {
	if len(z.in) == 0 {
		return 0
	}
	v := int(z.in[0])
	z.in = z.in[1:]
	return v % n
}

// step makes one thing happen.
func (z *fuzzer) step() {
	from := wire.Header{Source: NodeID(1 + max(z.next(12)-9, 0)), Sequence: wire.Sequence(z.next(256))}
	header := wire.SenderHeader{Instance: InstanceID(z.next(16) / 15), GRTT: uint8(100 + z.next(100)), Backoff: uint8(z.next(5)), GroupSize: 1}
	o := z.objects[z.next(4)]
	id := TransportID(z.next(6) - 2)
	block, symbol := uint32(z.next(6)), z.next(13)
	position := o.position(id, block, symbol)
	switch z.next(14) {
	case 0, 1, 2, 3:
		payload := make([]byte, z.next(40))
		few := wire.Flags(z.next(64))
		few &= wire.Flags(z.next(64)) // each flag in one of four
		if int(block) < int(o.N) && symbol < o.symbols(block) {
			payload = o.symbol(block, symbol)
		}
		z.send(&wire.Data{Header: from, SenderHeader: header, Flags: few, Position: position,
			Extensions: o.extensions(), Payload: payload})
	case 4:
		z.send(&wire.Info{Header: from, SenderHeader: header, FECID: o.fecID(), Object: id, Extensions: o.extensions(), Payload: make([]byte, z.next(20))})
	case 5:
		m := &wire.Flush{Header: from, SenderHeader: header, Position: position}
		if block%2 == 1 {
			m.AckingNodes = wire.AppendNode(m.AckingNodes, rigReceiver)
		}
		z.send(m)
	case 6:
		m := &wire.Squelch{Header: from, SenderHeader: header, Position: position}
		for range z.next(3) {
			m.Invalid = wire.AppendObject(m.Invalid, TransportID(z.next(6)))
		}
		z.send(m)
	case 7:
		z.now = z.now.Add(time.Duration(z.next(256)) * 20 * time.Millisecond)
		z.r.Advance(z.now)
	case 8:
		switch symbol {
		case 10, 11:
			z.send(&wire.AckReq{Header: from, SenderHeader: header, AckType: wire.AckType(16 + 5*symbol + int(block)), AckID: uint8(z.next(256)),
				AckingNodes: wire.AppendNode(nil, rigReceiver)})
		case 12:
			_ = z.r.Answer(uint8(16+z.next(240)), make([]byte, z.next(64)))
		}
		z.send(&wire.CC{Header: from, SenderHeader: header, CCSequence: wire.CCSequence(z.next(256)), Extensions: wire.AppendRate(nil, 0x4003)})
	case 9:
		b, _ := (&wire.Nack{Header: wire.Header{Source: 77}, FeedbackHeader: wire.FeedbackHeader{Server: from.Source, Instance: header.Instance}}).AppendBinary(nil)
		w := wire.NewRepairWriter(b, 1400)
		w.Range(wire.RepairFlags(1<<z.next(4)), position, o.position(id, block+1, symbol))
		z.r.Handle(z.now, Datagram{From: rigPeer, B: w.Bytes()})
	case 10:
		z.send(&wire.EOT{Header: from, SenderHeader: header})
	case 11: // anything
		n := min(z.next(64), len(z.in))
		z.r.Handle(z.now, Datagram{From: rigSource, B: z.in[:n]})
		z.in = z.in[n:]
	case 12:
		_, _ = z.r.Expect(z.now, Preset{Sender: from.Source, ID: id, Size: int64(o.L), FEC: o.params, Info: symbol == 1})
	case 13:
		z.application()
	}
}

// application does something with one of the objects.
func (z *fuzzer) application() {
	if len(z.handles) == 0 {
		return
	}
	h := z.handles[z.next(len(z.handles))]
	at := Range{int64(z.next(256)), int64(z.next(256))}
	switch z.next(7) {
	case 6:
		_ = z.r.Vouch(z.now, h)
	case 0:
		_ = z.r.Accept(z.now, h)
	case 1:
		_ = z.r.Reject(z.now, h)
	case 2:
		_ = z.r.Abort(z.now, h)
	case 3:
		_ = z.r.Present(z.now, h, at)
	case 4:
		_ = z.r.RejectRange(z.now, h, at)
	case 5: // requests are done in any order, and may fail
		for len(z.pending) > 0 {
			i := z.next(len(z.pending))
			io := z.pending[i]
			z.pending = append(z.pending[:i], z.pending[i+1:]...)
			if z.next(16) == 1 {
				io.Err = errors.New("broken")
			}
			z.r.Complete(z.now, io)
		}
	}
}

func (z *fuzzer) send(m wire.Message) {
	b, err := m.AppendBinary(nil)
	if err != nil {
		return // a block or symbol that this code cannot name
	}
	z.r.Handle(z.now, Datagram{From: []netip.AddrPort{rigSource, rigSource, rigSource, rigPeer}[z.next(4)], B: b})
}

// drain takes what the receiver wants done. Requests stay pending.
func (z *fuzzer) drain() {
	for e := range z.r.Events() {
		if e.Kind == ObjectOffered {
			z.handles = append(z.handles, e.Object)
			if z.next(4) != 3 {
				_ = z.r.Accept(z.now, e.Object)
			}
		}
		if e.Kind == ObjectData && (e.Range.Offset < 0 || e.Range.Length <= 0 || e.Range.End() > 4000) {
			z.t.Fatalf("reported %v", e)
		}
	}
	for io := range z.r.Requests() {
		if info, ok := z.r.Object(io.Object); ok && (io.Offset < 0 || len(io.B) == 0 || io.Offset+int64(len(io.B)) > info.Size) {
			z.t.Fatalf("request for %d bytes at %d of an object of %d", len(io.B), io.Offset, info.Size)
		}
		z.pending = append(z.pending, io)
	}
	for {
		b, _, ok := z.r.Poll(z.now, nil)
		if !ok {
			break
		}
		if z.sent++; b[0]&15 == byte(wire.TypeNack) {
			z.checkNack(b)
		}
	}
	for h := range z.r.objects { // those expected, too
		if len(z.handles) < 20 {
			z.handles = append(z.handles, h)
		}
		break
	}
}

// checkNack fails if content is asked for that the sender has not sent yet.
func (z *fuzzer) checkNack(b []byte) {
	var m wire.Nack
	if err := m.Parse(b); err != nil || m.Malformed > 0 || len(m.Payload) == 0 {
		z.t.Fatalf("NACK %x: %v, %d malformed", b, err, m.Malformed)
	}
	s := z.r.senders[m.Server]
	if len(m.Payload) > max(s.segmentSize, leastSegment) {
		z.t.Fatalf("%d bytes of requests", len(m.Payload))
	}
	p := s.position
	for r := range m.Requests() {
		for _, last := range r.All() {
			id := last.PayloadID(0)
			ahead := p.object.Before(last.Object)
			if last.Object == p.object {
				switch {
				case r.Flags&wire.RepairObject != 0:
					ahead = !p.whole
				case r.Flags&wire.RepairBlock != 0:
					ahead = id.Block >= p.block
				case r.Flags&wire.RepairSegment != 0:
					ahead = id.Block > p.block || id.Block == p.block && int(id.Symbol) >= p.part
				}
			}
			if ahead { // N-5-03
				z.t.Fatalf("asked for %v %v, the sender is at %+v", r.Flags, last, p)
			}
		}
	}
}

// check fails if the receiver's state contradicts itself or exceeds its bounds.
func (z *fuzzer) check() {
	r := z.r
	if len(r.senders) > 2 || len(r.order) != len(r.senders) {
		z.t.Fatalf("%d senders", len(r.senders))
	}
	buffers, listed, extra := 0, 0, 0
	seen := map[*incoming]bool{}
	visit := func(o *incoming) {
		if o == nil || o == settled || seen[o] {
			return
		}
		seen[o] = true
		for n, b := range o.blocks {
			buffers += cap(b.buf)
			if x := b.suspect; x != nil {
				buffers += cap(x.buf)
				extra += cap(x.buf)
				if len(x.extra) > x.want || b.held < b.k && len(x.extra) > 0 || b.k+x.want > o.layout.symbols(n) {
					z.t.Fatalf("block %d: %d of %d symbols held, %d of %d extra", n, b.held, b.k, len(x.extra), x.want)
				}
			}
			if b.object != o || o.layout.number(b.number) != n || b.held != b.source.count(b.k)+len(b.parity) || b.held > b.k ||
				b.repair.count(1<<16) != len(b.parity) || b.lent.count(b.k) != len(b.parity) {
				z.t.Fatalf("block %+v", b)
			}
			if b.phase == collecting && b.buf != nil && o.stream == nil {
				listed++
			}
			if o.stream == nil && o.isDone(n) != (b.phase == fetching || b.phase == writing) && b.suspect == nil && !b.rejected && o.state == accepted {
				z.t.Fatalf("block %d done %v, phase %d", n, o.isDone(n), b.phase)
			}
		}
	}
	for _, s := range r.order {
		if a := s.acks; a != nil && (len(a.owed) > maxOwed || len(a.lost) > maxLost) {
			z.t.Fatalf("%d acknowledgments owed, %d objects lost", len(a.owed), len(a.lost))
		}
		if len(s.window.objects) > 3 {
			z.t.Fatalf("%d objects in the window", len(s.window.objects))
		}
		for _, o := range s.window.objects {
			visit(o)
		}
		for _, o := range s.presets {
			visit(o)
		}
	}
	for _, o := range r.objects { // complete streams that were not read
		visit(o)
	}
	for o := range seen {
		if o.stream != nil {
			continue // counts what was read
		}
		if received := receivedBytes(o); o.known && o.state != released && o.received != received {
			z.t.Fatalf("object %d: %d bytes received, want %d", o.id, o.received, received)
		}
	}
	for _, io := range z.pending { // blocks of objects that are released
		if b := io.tag.(*block); !seen[b.object] {
			visit(b.object)
		}
	}
	if r.pool.taken > r.cfg.Buffer || r.pool.taken-r.pool.idle != buffers {
		z.t.Fatalf("%d bytes taken, %d idle, %d in blocks", r.pool.taken, r.pool.idle, buffers)
	}
	if r.extra != extra {
		z.t.Fatalf("%d bytes counted as extra, %d in blocks", r.extra, extra)
	}
	for b := r.held.oldest; b != nil; b = b.newer {
		listed--
	}
	if listed != 0 {
		z.t.Fatalf("list of blocks off by %d", listed)
	}
	if len(z.pending) == 0 && r.parting != 0 {
		z.t.Fatalf("%d bytes parting", r.parting)
	}
	if len(r.objects) > 3*2+len(r.kept)+200 {
		z.t.Fatalf("%d objects", len(r.objects))
	}
}

// receivedBytes counts anew what [ReceivedObject].Received counts.
func receivedBytes(o *incoming) (sum int64) {
	if o.state == complete {
		return o.size()
	}
	for n := range uint32(o.layout.N) {
		b := o.blocks[n]
		for i := range o.layout.BlockLen(n) {
			if b == nil && o.isDone(n) || b != nil && !b.rejected && b.told.has(i) {
				sum += int64(o.layout.SymbolLen(n, i))
			}
		}
	}
	return sum
}

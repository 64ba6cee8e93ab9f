package norm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

const (
	rigSender   NodeID     = 0x01020304
	rigReceiver NodeID     = 0x0a0b0c0d
	rigInstance InstanceID = 0x1234
)

var (
	rigGroup  = netip.MustParseAddrPort("239.1.2.3:6003")
	rigSource = netip.MustParseAddrPort("192.0.2.1:40000")
	rigPeer   = netip.MustParseAddrPort("192.0.2.2:40000")
	rigStart  = time.Unix(1_000_000, 0)
)

// A receiverRig drives a Receiver in virtual time with the messages of a sender that a test composes.
type receiverRig struct {
	testing.TB
	*Receiver
	now    time.Time
	events []Event
	sent   []wire.Message // what the receiver sent, in order
	sinks  map[Handle][]byte
	orders map[Handle]int // writes to each

	// The sender's part.
	sender    NodeID
	source    netip.AddrPort
	instance  InstanceID
	sequence  wire.Sequence
	grtt      time.Duration
	backoff   uint8
	groupSize float64

	ignore  bool  // do not answer ObjectOffered
	stall   bool  // leave requests in pending
	broken  error // what requests fail with
	pending []*IO
}

// newReceiverRig returns a rig with GRTT 100 ms as near as it is quantized, K = 4 and a group of ten.
func newReceiverRig(t testing.TB, cfg ReceiverConfig) *receiverRig {
	t.Helper()
	if cfg.Node = rigReceiver; !cfg.Group.IsValid() {
		cfg.Group = rigGroup
	}
	r, err := NewReceiver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &receiverRig{
		TB: t, Receiver: r, now: rigStart, sinks: map[Handle][]byte{}, orders: map[Handle]int{},
		sender: rigSender, source: rigSource, instance: rigInstance,
		grtt: wire.DecodeRTT(wire.EncodeRTT(100 * time.Millisecond)), backoff: 4, groupSize: 10,
	}
}

// A testObject is an object as its sender has it.
type testObject struct {
	layout
	id      TransportID
	content []byte
	flags   wire.Flags
	info    string
	noFTI   bool
}

// object returns an object of the given size with random content: RS8, E = 16, B = 8, 4 parity symbols.
func object(t testing.TB, id TransportID, size int) *testObject {
	return objectWith(t, id, size, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4})
}

// blocks returns an object of n blocks of 8 symbols of 64 bytes, with 4 parity symbols each.
func blocks(t testing.TB, id TransportID, n int) *testObject {
	return objectWith(t, id, n*8*64, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 8, MaxParity: 4})
}

func objectWith(t testing.TB, id TransportID, size int, p fec.Params) *testObject {
	t.Helper()
	l, err := newLayout(p, uint64(size))
	if err != nil {
		t.Fatal(err)
	}
	o := &testObject{layout: l, id: id, content: make([]byte, size)}
	random := rand.New(rand.NewPCG(uint64(id), uint64(size)))
	for i := range o.content {
		o.content[i] = byte(random.Uint32())
	}
	return o
}

func (o *testObject) extensions() wire.Extensions {
	if o.noFTI {
		return nil
	}
	ext, err := wire.AppendFTI(nil, o.fecID(), o.fti())
	if err != nil {
		panic(err)
	}
	return ext
}

// symbol returns a symbol of a block.
func (o *testObject) symbol(b uint32, esi int) []byte {
	source := make([][]byte, o.BlockLen(b))
	for i := range source {
		at := o.Offset(b, i)
		source[i] = o.content[at : at+uint64(o.SymbolLen(b, i))]
	}
	if esi < len(source) {
		return source[esi]
	}
	parity := make([]byte, o.E)
	if err := o.scheme.Parity(parity, source, esi); err != nil {
		panic(err)
	}
	return parity
}

func (g *receiverRig) header() wire.SenderHeader {
	return wire.SenderHeader{
		Instance: g.instance, GRTT: wire.EncodeRTT(g.grtt), Backoff: g.backoff,
		GroupSize: wire.EncodeGroupSize(g.groupSize),
	}
}

// message returns a datagram of the sender.
func (g *receiverRig) message(m wire.Message) []byte {
	b, err := m.AppendBinary(nil)
	if err != nil {
		g.Fatal(err)
	}
	wire.SetSequence(b, g.sequence)
	g.sequence++
	return b
}

func (g *receiverRig) from() wire.Header { return wire.Header{Source: g.sender} }

// data lets symbols of a block arrive.
func (g *receiverRig) data(o *testObject, block uint32, symbols ...int) {
	g.dataFlagged(o, 0, block, symbols...)
}

func (g *receiverRig) repair(o *testObject, block uint32, symbols ...int) {
	g.dataFlagged(o, wire.FlagRepair, block, symbols...)
}

func (g *receiverRig) dataFlagged(o *testObject, flags wire.Flags, block uint32, symbols ...int) {
	for _, esi := range symbols {
		g.arrive(g.message(&wire.Data{
			Header: g.from(), SenderHeader: g.header(), Flags: o.flags | flags, Position: o.position(o.id, block, esi),
			Extensions: o.extensions(), Payload: o.symbol(block, esi),
		}))
	}
}

// block lets all source symbols of a block arrive, except some.
func (g *receiverRig) block(o *testObject, block uint32, except ...int) {
	for esi := range o.BlockLen(block) {
		if !slices.Contains(except, esi) {
			g.data(o, block, esi)
		}
	}
}

func (g *receiverRig) infoMessage(o *testObject, flags wire.Flags) {
	g.arrive(g.message(&wire.Info{
		Header: g.from(), SenderHeader: g.header(), Flags: o.flags | wire.FlagInfo | flags, FECID: o.fecID(), Object: o.id,
		Extensions: o.extensions(), Payload: []byte(o.info),
	}))
}

// flush lets a FLUSH arrive that names a symbol.
func (g *receiverRig) flush(o *testObject, block uint32, symbol int) {
	g.arrive(g.message(&wire.Flush{Header: g.from(), SenderHeader: g.header(), Position: o.position(o.id, block, symbol)}))
}

// flushAll lets a FLUSH arrive that names the last source symbol of an object.
func (g *receiverRig) flushAll(o *testObject) {
	last := uint32(max(o.N, 1) - 1)
	g.flush(o, last, max(o.BlockLen(last), 1)-1)
}

func (g *receiverRig) squelch(o *testObject, block uint32, invalid ...TransportID) {
	m := &wire.Squelch{Header: g.from(), SenderHeader: g.header(), Position: o.position(o.id, block, 0)}
	for _, id := range invalid {
		m.Invalid = wire.AppendObject(m.Invalid, id)
	}
	g.arrive(g.message(m))
}

// probe lets a CMD(CC) arrive, with EXT_RATE unless rate is zero.
func (g *receiverRig) probeAt(sequence wire.CCSequence, sent wire.Timestamp, rate float64, nodes ...wire.CCNode) {
	m := &wire.CC{Header: g.from(), SenderHeader: g.header(), CCSequence: sequence, SendTime: sent}
	if rate > 0 {
		m.Extensions = wire.AppendRate(nil, wire.EncodeRate(rate))
	}
	for _, n := range nodes {
		m.Nodes = wire.AppendCCNode(m.Nodes, n)
	}
	g.arrive(g.message(m))
}

// overhear lets the NORM_NACK of another receiver arrive.
func (g *receiverRig) overhear(server NodeID, instance InstanceID, write func(w *wire.RepairWriter)) {
	m := &wire.Nack{Header: wire.Header{Source: 77}, FeedbackHeader: wire.FeedbackHeader{Server: server, Instance: instance}}
	b, err := m.AppendBinary(nil)
	if err != nil {
		g.Fatal(err)
	}
	w := wire.NewRepairWriter(b, 1400)
	write(&w)
	g.Handle(g.now, Datagram{From: rigPeer, To: rigGroup, B: w.Bytes()})
	g.drain()
}

// arrive hands a datagram of the sender to the receiver, and does what it wants done.
func (g *receiverRig) arrive(b []byte) {
	g.Handle(g.now, Datagram{From: g.source, To: rigGroup, B: b})
	clear(b) // "valid during the call of Handle only"
	g.drain()
}

// drain does what the driver has to do after each call.
func (g *receiverRig) drain() {
	g.Helper()
	for again := true; again; {
		again = false
		for e := range g.Events() {
			again = true
			g.events = append(g.events, e)
			if e.Kind == ObjectOffered && !g.ignore {
				if err := g.Accept(g.now, e.Object); err != nil {
					g.Fatal(err)
				}
			}
		}
		for io := range g.Requests() {
			again = true
			g.pending = append(g.pending, io)
		}
		if !g.stall {
			g.perform()
		}
		for {
			b, to, ok := g.Poll(g.now, nil)
			if !ok {
				break
			}
			if unicast := g.cfg.Feedback.unicast(g.cfg.Group.Addr()); unicast == (to == rigGroup) {
				g.Fatalf("sent to %v", to)
			}
			again = true
			m, err := new(wire.Decoder).Parse(slices.Clone(b))
			if err != nil {
				g.Fatalf("sent %x: %v", b, err)
			}
			g.sent = append(g.sent, m)
		}
	}
}

// perform does the reads and writes that are pending.
func (g *receiverRig) perform() {
	g.Helper()
	for len(g.pending) > 0 {
		io := g.pending[0]
		g.pending = g.pending[1:]
		info, ok := g.Object(io.Object)
		end := io.Offset + int64(len(io.B))
		if io.Offset < 0 || ok && end > info.Size {
			g.Fatalf("request for bytes %d to %d of an object of %d", io.Offset, end, info.Size)
		}
		sink := g.sinks[io.Object]
		if int64(len(sink)) < end {
			sink = append(sink, make([]byte, end-int64(len(sink)))...)
			g.sinks[io.Object] = sink
		}
		if io.Err = g.broken; g.broken == nil {
			if io.Op == Write {
				copy(sink[io.Offset:], io.B)
				g.orders[io.Object]++
			} else {
				copy(io.B, sink[io.Offset:])
			}
		}
		g.Complete(g.now, io)
	}
}

// run lets time pass, stopping at each deadline.
func (g *receiverRig) run(d time.Duration) {
	g.Helper()
	end := g.now.Add(d)
	for {
		next := g.Deadline()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(g.now) {
			g.now = next
		}
		g.Advance(g.now)
		g.drain()
	}
	g.now = end
	g.Advance(end)
	g.drain()
}

// backoffs lets the longest backoff pass.
func (g *receiverRig) backoffs() { g.run(time.Duration(g.backoff) * g.grtt) }

// nacks returns the requests of the NORM_NACKs sent since the last call, as text, one line each.
func (g *receiverRig) nacks() string {
	var lines []string
	for _, m := range g.sent {
		if n, ok := m.(*wire.Nack); ok {
			for r := range n.Requests() {
				if r.Form == wire.RepairErasures { // N-4.3.1-26
					g.Errorf("erasure counts in %v", n)
				}
			}
			lines = append(lines, requests(n.Payload))
		}
	}
	g.sent = nil
	return strings.Join(lines, "\n")
}

// requests prints repair requests as "object 1-3, info 4, block 4/0-2, segment 4/3/8-9".
func requests(payload []byte) string {
	var parts []string
	for r := range wire.Requests(payload) {
		for first, last := range r.All() {
			a, b := first.PayloadID(0), last.PayloadID(0)
			span := func(prefix string, from, to uint32) string {
				if from == to {
					return fmt.Sprintf("%s%d", prefix, from)
				}
				return fmt.Sprintf("%s%d-%d", prefix, from, to)
			}
			switch {
			case r.Flags&wire.RepairObject != 0:
				parts = append(parts, span("object ", uint32(first.Object), uint32(last.Object)))
			case r.Flags&wire.RepairInfo != 0:
				parts = append(parts, fmt.Sprintf("info %d", first.Object))
			case r.Flags&wire.RepairBlock != 0:
				parts = append(parts, span(fmt.Sprintf("block %d/", first.Object), a.Block, b.Block))
			default:
				parts = append(parts, span(fmt.Sprintf("segment %d/%d/", first.Object, a.Block), a.Symbol, b.Symbol))
			}
		}
	}
	return strings.Join(parts, ", ")
}

// wantNack fails unless exactly this was asked for since the last call.
func (g *receiverRig) wantNack(want string) {
	g.Helper()
	if got := g.nacks(); got != want {
		g.Errorf("asked for %q, want %q", got, want)
	}
}

// happened returns the events of a kind.
func (g *receiverRig) happened(kind EventKind) []Event {
	var found []Event
	for _, e := range g.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// wantReceived fails unless an object was received once, with the right content.
func (g *receiverRig) wantReceived(o *testObject) {
	g.Helper()
	for _, e := range g.happened(ObjectComplete) {
		if info, ok := g.Object(e.Object); ok && info.ID == o.id {
			if !bytes.Equal(g.sinks[e.Object], o.content) {
				g.Errorf("object %d: content differs", o.id)
			}
			if !info.Complete || info.Received != int64(len(o.content)) {
				g.Errorf("object %d: %d of %d bytes, complete %v", o.id, info.Received, len(o.content), info.Complete)
			}
			g.wantReported(e.Object, int64(len(o.content)))
			return
		}
	}
	g.Errorf("object %d is not complete; events %v", o.id, g.events)
}

// wantReported fails unless each byte of an object was reported once.
func (g *receiverRig) wantReported(h Handle, size int64) {
	g.Helper()
	var ranges []Range
	for _, e := range g.happened(ObjectData) {
		if e.Object == h {
			ranges = append(ranges, e.Range)
		}
	}
	slices.SortFunc(ranges, func(a, b Range) int { return int(a.Offset - b.Offset) })
	at := int64(0)
	for _, r := range ranges {
		if r.Offset != at {
			g.Errorf("reported %v, want each byte once", ranges)
			return
		}
		at = r.End()
	}
	if at != size {
		g.Errorf("reported %d bytes of %d", at, size)
	}
}

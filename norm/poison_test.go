package norm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

var rigLiar = netip.MustParseAddrPort("192.0.2.66:40000")

// A poisoned is a receiver that is sent forged symbols, and an application that knows what each leaf of the object should
// be, as one with a Merkle tree does: it rejects wrong leaves, and declares right ones present.
type poisoned struct {
	*receiverRig
	o        *testObject
	leaf     int
	have     []bool // bytes reported and not rejected
	seen     int    // events
	rejected int    // leaves
	reasked  int    // symbols asked for
	asked    string // in the last NACK
}

// poison makes a receiver that knows its object beforehand.
func poison(t testing.TB, cfg ReceiverConfig, o *testObject, leaf int) *poisoned {
	t.Helper()
	p := &poisoned{receiverRig: newReceiverRig(t, cfg), o: o, leaf: leaf, have: make([]bool, len(o.content))}
	if _, err := p.Expect(p.now, Preset{Sender: p.sender, ID: o.id, Kind: File, Size: int64(len(o.content)), FEC: o.params}); err != nil {
		t.Fatal(err)
	}
	return p
}

// checked returns a ReceiverConfig whose Check knows an object.
func checked(o *testObject) ReceiverConfig {
	return ReceiverConfig{Locate: true, Check: func(_ Handle, at int64, symbol []byte) Verdict {
		if bytes.Equal(symbol, o.content[at:at+int64(len(symbol))]) {
			return Good
		}
		return Forged
	}}
}

// forge lets symbols of a block arrive from an address that nobody but the attacker knows to be wrong.
func (p *poisoned) forge(from netip.AddrPort, block uint32, symbols ...int) {
	p.Helper()
	source := p.source
	defer func() { p.source = source }()
	p.source = from
	for _, esi := range symbols {
		payload := bytes.Clone(p.o.symbol(block, esi))
		for i := range payload {
			payload[i] ^= byte(17*i + esi + int(p.sequence) + 1)
		}
		payload[0] ^= 0x55
		p.arrive(p.message(&wire.Data{Header: p.from(), SenderHeader: p.header(), Position: p.o.position(p.o.id, block, esi),
			Extensions: p.o.extensions(), Payload: payload}))
	}
	p.look()
}

// honest lets the true source symbols of a block arrive.
func (p *poisoned) honest(block uint32, except ...int) {
	p.block(p.o, block, except...)
	p.look()
}

// look is what the application does with what was reported.
func (p *poisoned) look() {
	p.Helper()
	for again := true; again; {
		again = false
		for ; p.seen < len(p.events); p.seen++ {
			if e := p.events[p.seen]; e.Kind == ObjectData {
				again = true
				for i := e.Range.Offset; i < e.Range.End(); i++ {
					p.have[i] = true
				}
			}
		}
		for from := 0; from < len(p.have) && again; from += p.leaf {
			to := min(from+p.leaf, len(p.have))
			at := Range{int64(from), int64(to - from)}
			switch whole := !slices.Contains(p.have[from:to], false); {
			case !whole:
			case bytes.Equal(p.sinks[1][from:to], p.o.content[from:to]):
				p.Present(p.now, 1, at)
			default:
				p.rejected++
				clear(p.have[from:to])
				if err := p.RejectRange(p.now, 1, at); err != nil {
					p.Fatal(err)
				}
			}
		}
		p.drain()
	}
}

// answer lets a sender send what is asked for when all backoff and hold-off is over; it reports false if that is nothing.
func (p *poisoned) answer() bool {
	p.Helper()
	p.flushAll(p.o)
	p.run(time.Duration(p.backoff+3) * p.grtt)
	p.flushAll(p.o)
	p.run(time.Duration(p.backoff+3) * p.grtt)
	asked := false
	for _, m := range p.sent {
		n, ok := m.(*wire.Nack)
		if !ok {
			continue
		}
		p.asked = requests(n.Payload)
		for q := range n.Requests() {
			for first, last := range q.All() {
				a, b := first.PayloadID(0), last.PayloadID(0)
				from, to := int(a.Symbol), int(b.Symbol)
				if q.Flags&wire.RepairBlock != 0 {
					from, to = 0, p.o.BlockLen(a.Block)-1
				}
				for n := a.Block; n <= b.Block; n++ {
					for esi := from; esi <= to; esi++ {
						asked = true
						p.reasked++
						p.repair(p.o, n, esi)
					}
				}
			}
		}
		break // the rest was answered with it
	}
	p.sent = nil
	p.look()
	return asked
}

// finish answers until all is there, and fails unless it is right, at a cost of so many symbols.
func (p *poisoned) finish(cost int) {
	p.Helper()
	for i := 0; p.answer(); i++ {
		if i > 50 {
			p.Fatalf("still asks for %s", p.asked)
		}
	}
	if !bytes.Equal(p.sinks[1], p.o.content) || slices.Contains(p.have, false) {
		p.Error("the content is not right, or not complete")
	}
	if o, ok := p.Object(1); !ok || o.Received != o.Size {
		p.Errorf("%d of %d bytes are counted as received", o.Received, o.Size)
	}
	if p.reasked != cost {
		p.Errorf("%d symbols were asked for, want %d; the last were %s", p.reasked, cost, p.asked)
	}
	if len(p.objects[1].blocks) != 0 {
		p.Errorf("%d blocks are left", len(p.objects[1].blocks))
	}
	if used := p.pool.taken - p.pool.idle; used != 0 {
		p.Errorf("%d bytes of buffers are left behind", used)
	}
}

func (p *poisoned) wantLiars(want ...Liar) {
	p.Helper()
	if got := p.Liars(); !slices.Equal(got, want) {
		p.Errorf("liars %+v, want %+v", got, want)
	}
}

// TestAttackForgedSourceSegment puts a forged source symbol in the place of one that comes later. The block costs two
// parity symbols, not eight symbols, and the liar is named.
func TestAttackForgedSourceSegment(t *testing.T) {
	for name, leaf := range map[string]int{"leaves smaller than blocks": 100, "larger": 1200} {
		t.Run(name, func(t *testing.T) {
			o := blocks(t, 7, 4)
			p := poison(t, ReceiverConfig{Locate: true}, o, leaf)
			p.honest(0)
			p.forge(rigLiar, 1, 3)
			for n := range uint32(3) {
				p.honest(n + 1)
			}
			cost := 2
			if leaf > 512 { // one leaf: block 0 to 2, of which two turn out to be right
				cost = 6
			}
			p.finish(cost)
			if p.rejected == 0 {
				t.Error("the forged symbol was not in any leaf")
			}
			p.wantLiars(Liar{Sender: rigSender, From: rigLiar, Forged: 1})
			if e := p.happened(SymbolForged); len(e) != 1 || e[0].From != rigLiar {
				t.Errorf("told %v", e)
			}
		})
	}
}

// TestAttackForgedParitySegment lets a block be rebuilt of a forged parity symbol. What was rebuilt is forgotten, and costs its
// repair and two symbols more, that prove the rest right.
func TestAttackForgedParitySegment(t *testing.T) {
	o := blocks(t, 7, 3)
	p := poison(t, ReceiverConfig{Locate: true}, o, 100)
	p.honest(0)
	p.honest(1, 3)
	p.forge(rigLiar, 1, 8)
	p.honest(2)
	if p.rejected == 0 {
		t.Fatal("nothing wrong was rebuilt")
	}
	p.finish(3)
	if s := p.Stats(); s.Suspected != 1 || s.Located != 1 || s.Forsaken != 0 {
		t.Errorf("%+v", s)
	}
}

// TestAttackForgedParitySegmentOfCheckedBlock lets the same happen to who knows what source symbols are: nothing wrong is ever
// written, and the forged parity is found by two symbols more.
func TestAttackForgedParitySegmentOfCheckedBlock(t *testing.T) {
	o := blocks(t, 7, 3)
	p := poison(t, checked(o), o, 100)
	p.honest(0)
	p.honest(1, 3)
	p.forge(rigLiar, 1, 8)
	p.honest(2)
	p.finish(2)
	if p.rejected != 0 {
		t.Error("something wrong was written")
	}
	p.wantLiars(Liar{Sender: rigSender, From: rigLiar, Forged: 1})
}

// TestAttackForgedSourceSegmentIsRefused checks source symbols on arrival: a forged one costs nothing, and its address is
// ignored after four.
func TestAttackForgedSourceSegmentIsRefused(t *testing.T) {
	o := blocks(t, 7, 4)
	p := poison(t, checked(o), o, 100)
	p.honest(0)
	p.forge(rigLiar, 1, 0, 1, 2, 3, 4, 5)
	if s := p.Stats(); s.Drops.Forged != ignoreAfter || s.Drops.Ignored != 2 {
		t.Errorf("%d refused, %d ignored", s.Drops.Forged, s.Drops.Ignored)
	}
	p.wantLiars(Liar{Sender: rigSender, From: rigLiar, Forged: ignoreAfter, Ignored: p.now.Add(ignoreFor)})
	for n := range uint32(3) {
		p.honest(n + 1)
	}
	p.finish(0)
	p.run(ignoreFor)
	p.forge(rigLiar, 1, 0)
	if s := p.Stats(); s.Drops.Ignored != 2 {
		t.Error("it is ignored for longer than it should")
	}
}

// TestAttackForgedFromTheSendersAddress forges the source address, too. The sender must not be ignored for that, nor
// when it was heard from another address before.
func TestAttackForgedFromTheSendersAddress(t *testing.T) {
	for name, check := range map[string]bool{"located": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			o := blocks(t, 7, 12)
			cfg := ReceiverConfig{Locate: true}
			if check {
				cfg = checked(o)
			}
			p := poison(t, cfg, o, 128)
			p.honest(0)
			for n := uint32(1); n < 12; n++ {
				p.forge(p.source, n, 1)
				p.honest(n)
			}
			cost := 0
			if !check {
				cost = 11 * 2
			}
			p.finish(cost)
			if s := p.Stats(); s.Drops.Ignored != 0 || s.Forged != 11 {
				t.Errorf("%d datagrams of the sender ignored, %d forged", s.Drops.Ignored, s.Forged)
			}
			p.wantLiars(Liar{Sender: rigSender, From: rigSource, Forged: 11})
		})
	}
	t.Run("who is heard first is not believed more", func(t *testing.T) {
		o := blocks(t, 7, 12)
		p := poison(t, ReceiverConfig{Locate: true}, o, 100)
		p.forge(rigLiar, 11, 7) // the first address of the sender, as it seems
		for n := range uint32(12) {
			p.forge(rigSource, n, 1)
			p.honest(n)
		}
		for p.answer() {
		}
		if s := p.Stats(); s.Drops.Ignored != 0 {
			t.Errorf("%d datagrams of the sender ignored", s.Drops.Ignored)
		}
	})
}

// TestAttackForgedSegmentsInEveryBlock forges one or two symbols of each block, any of them, from many addresses, while others
// are lost.
func TestAttackForgedSegmentsInEveryBlock(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 0))
		o := blocks(t, 7, 20)
		p := poison(t, ReceiverConfig{Locate: true, Buffer: 8 * 64 * (2 + random.IntN(30))}, o, 50+random.IntN(2000))
		for n := range uint32(20) {
			for range 1 + random.IntN(2) {
				p.forge(netip.AddrPortFrom(rigLiar.Addr(), uint16(1+random.IntN(40))), n, random.IntN(10))
			}
			p.honest(n, random.IntN(9))
		}
		for i := 0; p.answer(); i++ {
			if i > 200 {
				t.Fatalf("seed %d: still asks for %s", seed, p.asked)
			}
		}
		if p.reasked += p.rejected; !bytes.Equal(p.sinks[1], o.content) {
			t.Errorf("seed %d: the content is wrong", seed)
		}
		if used := p.pool.taken - p.pool.idle; used != 0 || len(p.objects[1].blocks) != 0 {
			t.Errorf("seed %d: %d bytes, %d blocks are left behind", seed, used, len(p.objects[1].blocks))
		}
	}
}

// TestAttackLiarFloodsOneBlock forges all of a block before the sender comes to it. No parity can tell that; the block is
// dropped when all parity was tried, and comes anew.
func TestAttackLiarFloodsOneBlock(t *testing.T) {
	o := blocks(t, 7, 3)
	p := poison(t, ReceiverConfig{Locate: true}, o, 128)
	p.honest(0)
	p.forge(rigLiar, 1, 0, 1, 2, 3, 4, 5, 6, 7)
	p.honest(1)
	p.honest(2)
	p.finish(4 + 8) // all parity, then all source symbols
	if s := p.Stats(); s.Suspected != 1 || s.Forsaken != 1 {
		t.Errorf("%d blocks suspected, %d forsaken", s.Suspected, s.Forsaken)
	}

	// Who knows the symbols is not impressed.
	p = poison(t, checked(o), o, 128)
	p.honest(0)
	p.forge(rigLiar, 1, 0, 1, 2, 3, 4, 5, 6, 7)
	p.honest(1)
	p.honest(2)
	p.finish(0)
}

// TestAttackWorkIsBounded lets a liar spoil all blocks over and over. Wrong symbols are searched with so much work in a
// second and no more, and what is kept of blocks is bounded.
func TestAttackWorkIsBounded(t *testing.T) {
	o := blocks(t, 7, 1500) // of 10 symbols two are spare: 20 additions
	p := poison(t, ReceiverConfig{Locate: true}, o, 512)
	const searches = 200
	p.vigil.since, p.vigil.work = p.now, maxSearch-searches*(8+2)*2
	for n := range uint32(o.N) {
		p.forge(netip.AddrPortFrom(rigLiar.Addr(), uint16(n)), n, 3)
		p.honest(n)
		p.repair(o, n, 8, 9, 10, 11)
	}
	if s := p.Stats(); s.Located != searches || s.Suspected <= searches {
		t.Errorf("%d of %d blocks were searched within a second, want %d", s.Located, s.Suspected, searches)
	}
	r := p.senders[rigSender]
	if n := len(p.objects[1].suspected); n > maxRemembered || len(r.origins.list) > maxOrigins {
		t.Errorf("%d blocks, %d addresses are remembered", n, len(r.origins.list))
	}
}

// TestAttackForgedInfo forges the NORM_INFO of an object whose name is known beforehand: it says nothing to anybody.
func TestAttackForgedInfo(t *testing.T) {
	o := blocks(t, 7, 2)
	p := poison(t, ReceiverConfig{Locate: true}, o, 100)
	o.info = "../../etc/passwd"
	p.infoMessage(o, 0)
	p.honest(0)
	p.honest(1)
	p.finish(0)
}

// TestCheckTakesNoMemory holds that checking symbols allocates nothing.
func TestCheckTakesNoMemory(t *testing.T) {
	o := blocks(t, 7, 2000)
	cfg := checked(o)
	p := poison(t, cfg, o, 100)
	var packets [][]byte
	for n := range uint32(o.N) {
		for esi := range 7 {
			packets = append(packets, p.message(&wire.Data{Header: p.from(), SenderHeader: p.header(),
				Position: o.position(o.id, n%4, esi), Extensions: o.extensions(), Payload: o.symbol(n%4, esi)}))
		}
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		p.Handle(p.now, Datagram{From: p.source, To: rigGroup, B: packets[i]})
		i++
	}); n != 0 {
		t.Error(fmt.Sprint(n, " allocations for a symbol"))
	}
}

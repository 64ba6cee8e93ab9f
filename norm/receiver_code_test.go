package norm

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// lossy lets all of an object arrive but for two source symbols of each block, with as much parity instead.
func (g *receiverRig) lossy(o *testObject) {
	for b := range uint32(o.N) {
		k := o.BlockLen(b)
		g.block(o, b, 1, k-1)
		g.repair(o, b, k, k+1)
	}
}

// delivered returns the content of the object that was reported complete, or nil.
func (g *receiverRig) delivered() []byte {
	if done := g.happened(ObjectComplete); len(done) == 1 {
		return g.sinks[done[0].Object]
	}
	return nil
}

// TestDialectTrap shows the trap and that it is closed. The parity of one dialect, read in the other, gives wrong content
// that nothing in NORM tells from the right one; DialectAuto reads senders by NRL as they are meant.
func TestDialectTrap(t *testing.T) {
	for _, code := range []fec.Params{
		{ID: fec.ReedSolomonGF8}, {ID: fec.ReedSolomon, M: 8}, {ID: fec.ReedSolomon, M: 16}, {ID: fec.SmallBlockSystematic},
	} {
		code.SegmentSize, code.MaxBlockLen, code.MaxParity, code.Dialect = 16, 8, 4, fec.NRL
		for name, size := range map[string]int{"full blocks": 3 * 8 * 16, "short blocks": 2*5*16 - 3} {
			t.Run(fmt.Sprintf("id %d m %d, %s", code.ID, code.M, name), func(t *testing.T) {
				o := objectWith(t, 0, size, code)

				// Told to read it by RFC 5510: by a session description, as the EXT_FTI of ids 2 and 5 contradicts it.
				g := newReceiverRig(t, ReceiverConfig{Dialect: DialectRFC})
				wrong, silent := code, *o
				wrong.Dialect, silent.noFTI = fec.RFC, true
				if _, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 0, Size: int64(size), FEC: wrong}); err != nil {
					t.Fatal(err)
				}
				g.lossy(&silent)
				if got := g.delivered(); got == nil || bytes.Equal(got, o.content) {
					t.Fatal("the trap is none: parity of NRL decodes by RFC 5510's matrix")
				}

				g = newReceiverRig(t, ReceiverConfig{})
				g.lossy(o)
				g.wantReceived(o)
				if info, _ := g.Object(g.happened(ObjectOffered)[0].Object); info.FEC.Dialect != fec.NRL {
					t.Errorf("read in dialect %v", info.FEC.Dialect)
				}
				for s := range g.Senders() {
					if s.ID != rigSender || s.Instance != rigInstance || s.FEC != code.ID || s.Dialect != "nrl" {
						t.Errorf("%+v", s)
					}
				}
			})
		}
	}
}

// TestRFCIsNotTakenForNRL is the other side of the trap: a sender by RFC 5510 has max_n of B or more.
func TestRFCIsNotTakenForNRL(t *testing.T) {
	for _, code := range []fec.Params{{ID: fec.ReedSolomonGF8}, {ID: fec.ReedSolomon}, {ID: fec.ReedSolomon, M: 16}} {
		code.SegmentSize, code.MaxBlockLen, code.MaxParity = 16, 8, 4
		g := newReceiverRig(t, ReceiverConfig{})
		o := objectWith(t, 0, 2*5*16-3, code)
		g.lossy(o)
		g.wantReceived(o)
	}
}

// TestAmbiguousDialect is what EXT_FTI cannot tell: a sender by NRL with at least as much parity as source symbols, whose
// parity count might be a max_n. DialectAuto reads it by RFC 5510, and delivers what is wrong. DialectNRL cures that, and
// so does an earlier object that gives the sender away.
func TestAmbiguousDialect(t *testing.T) {
	ambiguous := fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 4, MaxParity: 6, Dialect: fec.NRL}
	o := objectWith(t, 1, 3*4*16, ambiguous)

	g := newReceiverRig(t, ReceiverConfig{})
	g.lossy(o)
	if got := g.delivered(); got == nil || bytes.Equal(got, o.content) {
		t.Error("DialectAuto is not misled any more: mend its description")
	}

	g = newReceiverRig(t, ReceiverConfig{Dialect: DialectNRL})
	g.lossy(o)
	g.wantReceived(o)

	telling := objectWith(t, 0, 8*16, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4, Dialect: fec.NRL})
	g = newReceiverRig(t, ReceiverConfig{})
	g.lossy(telling)
	g.lossy(o)
	g.wantReceived(telling)
	g.wantReceived(o)

	// Another run of the sender may be another implementation.
	g.instance++
	late := objectWith(t, 2, 4*16, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 4, MaxParity: 6})
	g.lossy(late)
	g.wantReceived(late)
}

// TestDialectIsDecidedOnce: what contradicts the first EXT_FTI of a run is refused, not guessed.
func TestDialectIsDecidedOnce(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	first := object(t, 0, 8*16) // max_n = 12
	g.lossy(first)
	other := objectWith(t, 1, 8*16, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4, Dialect: fec.NRL})
	g.lossy(other)
	if got := g.delivered(); !bytes.Equal(got, first.content) {
		t.Error("the first object is wrong")
	}
	if s := g.Stats(); s.Drops.Refused == 0 || len(g.happened(ObjectOffered)) != 1 {
		t.Errorf("%+v", s.Drops)
	}
}

// TestMDP: nothing on the wire tells the code of MDP, so it is read only if the configuration says so.
func TestMDP(t *testing.T) {
	code := fec.Params{ID: fec.SmallBlockSystematic, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4, Dialect: fec.MDP}
	for _, size := range []int{3 * 8 * 16, 2*5*16 - 3} {
		o := objectWith(t, 0, size, code)
		g := newReceiverRig(t, ReceiverConfig{Dialect: DialectMDP})
		g.lossy(o)
		g.wantReceived(o)
		g = newReceiverRig(t, ReceiverConfig{})
		g.lossy(o)
		if got := g.delivered(); got == nil || bytes.Equal(got, o.content) {
			t.Error("read as NRL's, it comes out right")
		}
	}
	// Other ids are read as by DialectAuto.
	g := newReceiverRig(t, ReceiverConfig{Dialect: DialectMDP})
	o := objectWith(t, 0, 200, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4, Dialect: fec.NRL})
	g.lossy(o)
	g.wantReceived(o)
}

// TestPayloadIDOfUnknownFieldSize: with FEC Encoding ID 2, only the FTI tells which bits of the fec_payload_id are the block.
// A receiver that joins without it takes the lower of the two candidates for the block it begins with.
func TestPayloadIDOfUnknownFieldSize(t *testing.T) {
	for _, c := range []struct {
		m    uint8
		join uint32 // by m = 16
	}{{16, 300}, {8, 300 >> 8}} {
		p := fec.Params{ID: fec.ReedSolomon, M: c.m, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4}
		g := newReceiverRig(t, ReceiverConfig{})
		o := objectWith(t, 7, 400*8*16, p)
		o.flags, o.noFTI = wire.FlagInfo, true
		g.data(o, 300, 5)
		if in := g.senders[g.sender].find(7); in.known || in.join != c.join {
			t.Errorf("m = %d: joined at block %d, want %d", c.m, in.join, c.join)
		}
		g.backoffs()
		if got := g.nacks(); got != "info 7" { // N-6-01: nothing but the FTI is of use now
			t.Errorf("m = %d: asked for %q", c.m, got)
		}
		told := *o
		told.noFTI = false
		g.infoMessage(&told, wire.FlagRepair)
		g.data(o, 301, 2) // R-4.1-01: by m of the object, known now
		if b := g.senders[g.sender].find(7).block(301); b == nil || !b.has(2) {
			t.Errorf("m = %d: symbol 2 of block 301 is not where it belongs", c.m)
		}
		// An object unknown so far is read by m of the ones before.
		next := objectWith(t, 8, 400*8*16, p)
		next.noFTI = true
		if id := g.senders[g.sender].payloadID(next.position(8, 300, 5), nil); id != (wire.PayloadID{Block: 300, Symbol: 5}) { // R-4.1-01
			t.Errorf("m = %d: the next object's %+v", c.m, id)
		}
	}
}

// TestPartialParity: NRL's senders make parity over GF(2^16) of the even part of symbols of odd length only, so a symbol
// rebuilt from it would be wrong in its last byte. It is not taken, nor asked for.
func TestPartialParity(t *testing.T) {
	for name, c := range map[string]struct{ segment, size int }{
		"odd segment size":   {17, 3 * 17},
		"one odd symbol":     {64, 33},
		"odd, one even rest": {17, 16},
	} {
		t.Run(name, func(t *testing.T) {
			o := objectWith(t, 0, c.size, fec.Params{
				ID: fec.ReedSolomon, M: 16, SegmentSize: c.segment, MaxBlockLen: 4, MaxParity: 2, Dialect: fec.NRL,
			})
			k := o.BlockLen(0)
			source := make([][]byte, k)
			longest := o.SymbolLen(0, 0)
			for i := range source {
				source[i] = o.symbol(0, i)[:longest/2*2] // as NRL's encoder sees it
			}
			parity := make([]byte, longest)
			if err := o.scheme.Parity(parity[:longest/2*2], source, k); err != nil {
				t.Fatal(err)
			}
			g := newReceiverRig(t, ReceiverConfig{Join: JoinAll})
			g.block(o, 0, 0)
			g.arrive(g.message(&wire.Data{
				Header: g.from(), SenderHeader: g.header(), Position: o.position(0, 0, k), Extensions: o.extensions(), Payload: parity,
			}))
			if g.delivered() != nil {
				t.Fatal("rebuilt") // R-8.4-04
			}
			if s := g.Stats(); s.Drops.Useless != 1 {
				t.Errorf("%+v", s.Drops)
			}
			g.flushAll(o)
			g.backoffs()
			want := "segment 0/0/0"
			if k == 1 {
				want = "block 0/0"
			}
			g.wantNack(want)
			g.repair(o, 0, 0)
			g.wantReceived(o)
		})
	}
}

// TestLargeBlock is a block of GF(2^16), with losses beyond what GF(2^8) could number, out of order and with duplicates.
func TestLargeBlock(t *testing.T) {
	for _, d := range []fec.Dialect{fec.RFC, fec.NRL} {
		o := objectWith(t, 0, 2*900*16-5, fec.Params{ID: fec.ReedSolomon, M: 16, SegmentSize: 16, MaxBlockLen: 1000, MaxParity: 700, Dialect: d})
		if o.N != 2 || o.BlockLen(1) != 900 {
			t.Fatalf("%+v", o.Partition)
		}
		g := newReceiverRig(t, ReceiverConfig{})
		for b := range uint32(2) {
			var lost []int
			for i := 0; i < 900; i += 2 {
				lost = append(lost, i)
			}
			g.data(o, b, 1)
			for i := range 100 {
				g.repair(o, b, 900+i) // in the slots of source symbols, some of which come
			}
			g.block(o, b, append(lost, 1)...)
			g.data(o, b, 3, 5)
			for i := range 350 {
				g.repair(o, b, 1599-i)
			}
		}
		g.wantReceived(o)
		if s := g.Stats(); s.Decoded != 900 || s.Duplicates != 4 {
			t.Errorf("%v: %d decoded, %d duplicates", d, s.Decoded, s.Duplicates)
		}
	}
}

// TestNumbersOfWords: 65,536 blocks and as many symbols but one are what the fec_payload_id of m = 16 can name.
func TestNumbersOfWords(t *testing.T) {
	p := fec.Params{ID: fec.ReedSolomon, M: 16, SegmentSize: 16, MaxBlockLen: 2, MaxParity: 2}
	o, err := newLayout(p, 65536*2*16)
	if err != nil || o.N != 65536 {
		t.Fatalf("%+v, %v", o.Partition, err)
	}
	for _, b := range []uint32{0, 255, 256, 65535} {
		if gotB, symbol := o.locate(o.position(3, b, 3)); gotB != b || symbol != 3 { // R-4.1-01
			t.Errorf("symbol 3 of block %d became %d of %d", b, symbol, gotB)
		}
	}
	if _, err := newLayout(p, 65536*2*16+1); err == nil { // R-4.2.2-01
		t.Error("65,537 blocks")
	}
	g := newReceiverRig(t, ReceiverConfig{})
	fti := o.fti()
	fti.ObjectSize++
	ext, err := wire.AppendFTI(nil, wire.RS, fti)
	if err != nil {
		t.Fatal(err)
	}
	g.arrive(g.message(&wire.Data{
		Header: g.from(), SenderHeader: g.header(), Position: o.position(0, 0, 0), Extensions: ext, Payload: make([]byte, 16),
	}))
	if s := g.Stats(); s.Drops.Refused != 1 || slices.ContainsFunc(g.events, func(e Event) bool { return e.Kind == ObjectOffered }) {
		t.Errorf("%+v", s.Drops)
	}
}

package norm

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestReceiveWithoutLoss(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 7, 1000) // 63 symbols in 8 blocks, the last of 8 bytes
	o.flags, o.info = wire.FlagFile, "firmware"
	g.infoMessage(o, 0)
	for b := range uint32(o.N) {
		g.block(o, b)
	}
	g.wantReceived(o)
	h := g.happened(ObjectComplete)[0].Object
	if info, _ := g.Object(h); string(info.Info) != "firmware" || !info.HasInfo || info.Kind != File { // N-4.2.1-33
		t.Errorf("%+v", info)
	}
	if g.orders[h] != int(o.N) {
		t.Errorf("%d writes for %d blocks", g.orders[h], o.N)
	}
	if s := g.Stats(); s.Decoded != 0 || s.Data != 63 || s.Lost != 0 {
		t.Errorf("%+v", s) // N-4.2.1-51
	}
	g.data(o, 3, 1, 2)
	if info, _ := g.Object(h); info.Received != 1000 || len(g.happened(ObjectData)) != 8 {
		t.Errorf("received %d bytes after duplicates", info.Received)
	}
	if s := g.Stats(); s.Data != 63 {
		t.Errorf("%d symbols counted after duplicates", s.Data)
	}
}

// TestDuplicates sends symbols again, of a block in progress and of one that is decoded.
func TestDuplicates(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 3)
	g.block(o, 0, 3)
	g.repair(o, 0, 9)
	g.data(o, 1, 0, 1)
	before := g.Stats()
	g.data(o, 0, 0, 3, 10) // decoded: its source symbols and any parity
	g.data(o, 1, 0, 1)
	after := g.Stats()
	if after.Data != before.Data || after.Duplicates != before.Duplicates+5 { // N-4.2.1-53
		t.Errorf("%d symbols taken, %d duplicates", after.Data-before.Data, after.Duplicates-before.Duplicates)
	}
	if info, _ := g.Object(g.happened(ObjectOffered)[0].Object); info.Received != 512 || len(g.happened(ObjectData)) != 1 {
		t.Errorf("%d bytes received, %d times reported", info.Received, len(g.happened(ObjectData)))
	}
	g.block(o, 1)
	g.block(o, 2)
	g.wantReceived(o)
}

func TestEverySurvivorPatternOfABlock(t *testing.T) {
	for _, dialect := range []fec.Dialect{fec.RFC, fec.NRL} {
		for pattern := range 1 << 7 { // of 4 source and 3 parity symbols
			g := newReceiverRig(t, ReceiverConfig{Join: JoinAll, Dialect: map[fec.Dialect]DialectPolicy{fec.RFC: DialectRFC, fec.NRL: DialectNRL}[dialect]})
			o := objectWith(t, 0, 4*16-5, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 4, MaxParity: 3, Dialect: dialect})
			order := rand.New(rand.NewPCG(1, uint64(pattern))).Perm(7)
			n := 0
			for _, esi := range order {
				if pattern&(1<<esi) != 0 {
					g.data(o, 0, esi)
					n++
				}
			}
			if done := len(g.happened(ObjectComplete)) == 1; done != (n >= 4) { // R-8.3-01 N-4.2.1-50
				t.Fatalf("dialect %v, symbols %07b in order %v: complete %v", dialect, pattern, order, done)
			}
			if n >= 4 {
				g.wantReceived(o)
			}
		}
	}
}

func TestFTIMayComeInDifferentWays(t *testing.T) {
	t.Run("on NORM_INFO only", func(t *testing.T) { // N-4.2.1-01 N-6-01
		g := newReceiverRig(t, ReceiverConfig{})
		o := blocks(t, 0, 2)
		o.flags, o.noFTI = wire.FlagInfo, true
		g.block(o, 0) // cannot be used, and must not break anything
		g.block(o, 1)
		if len(g.happened(ObjectOffered)) != 0 {
			t.Fatal("offered without FTI")
		}
		g.backoffs()
		g.wantNack("info 0")
		withFTI := *o
		withFTI.noFTI = false
		g.infoMessage(&withFTI, wire.FlagRepair)
		g.run(time.Second)
		g.flushAll(o)
		g.backoffs()
		g.wantNack("block 0/0, block 0/1")
		g.block(o, 0)
		g.block(o, 1)
		g.wantReceived(o)
	})
	t.Run("preset", func(t *testing.T) { // N-4.2.1-01 N-4.2.1-78
		g := newReceiverRig(t, ReceiverConfig{})
		o := object(t, 9, 200)
		o.noFTI = true
		h, err := g.Expect(g.now, Preset{Sender: g.sender, ID: 9, Kind: File, Size: 200, FEC: o.params})
		if err != nil {
			t.Fatal(err)
		}
		g.block(o, 0, 3)
		g.block(o, 1)
		g.repair(o, 0, 8)
		g.wantReceived(o)
		if info, _ := g.Object(h); info.Kind != File || info.Instance != rigInstance {
			t.Errorf("%+v", info)
		}
		if len(g.happened(ObjectOffered)) != 0 {
			t.Error("a preset object was offered")
		}
	})
}

// TestAbsurdFTI announces what cannot be received. It costs a counter, and nothing is asked for.
func TestAbsurdFTI(t *testing.T) {
	rs8 := wire.FTI{ObjectSize: 100, SegmentSize: 16, MaxBlockLen: 8, MaxN: 12}
	tests := []struct {
		name string
		id   wire.FECID
		fti  func(f *wire.FTI)
	}{
		{"2^48 bytes", wire.RS8, func(f *wire.FTI) { f.ObjectSize = wire.MaxObjectSize }},
		{"beyond MaxObjectSize", wire.RS8, func(f *wire.FTI) { f.ObjectSize = 1<<20 + 1 }}, // N-4.2.1-05
		{"no segment", wire.RS8, func(f *wire.FTI) { f.SegmentSize = 0 }},
		{"no block", wire.RS8, func(f *wire.FTI) { f.MaxBlockLen = 0 }},
		{"too much parity", wire.SmallBlock, func(f *wire.FTI) { f.MaxBlockLen, f.NumParity = 200, 56 }},
		{"another field", wire.RS, func(f *wire.FTI) { f.M, f.G = 4, 1 }},
		{"half elements", wire.RS, func(f *wire.FTI) { f.M, f.G, f.SegmentSize = 16, 1, 15 }}, // R-8.4-04
		{"words beyond Buffer", wire.RS, func(f *wire.FTI) {
			f.M, f.G, f.ObjectSize, f.SegmentSize, f.MaxBlockLen, f.MaxN = 16, 1, 1<<20, 1400, 65535, 65535
		}},
		{"blocks beyond Buffer", wire.NoCode, func(f *wire.FTI) { f.ObjectSize, f.SegmentSize, f.MaxBlockLen = 1<<20, 1000, 60000 }},
		{"too many blocks", wire.SmallBlock, func(f *wire.FTI) { f.ObjectSize, f.SegmentSize, f.MaxBlockLen = 1<<20, 1, 1 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := ReceiverConfig{MaxObjectSize: 1 << 20, Buffer: 1 << 16}
			if test.name == "too many blocks" {
				cfg.MaxObjectSize = 1 << 40
			}
			g := newReceiverRig(t, cfg)
			f := rs8
			test.fti(&f)
			if test.name == "too many blocks" {
				f.ObjectSize = 1<<24 + 1
			}
			ext, err := wire.AppendFTI(nil, test.id, f)
			if err != nil {
				t.Fatal(err)
			}
			for object := range TransportID(2) {
				g.arrive(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Flags: wire.FlagInfo,
					Position: wire.Position{FECID: test.id, Object: object}, Extensions: ext, Payload: make([]byte, 16)}))
			}
			g.run(10 * time.Second)
			if len(g.happened(ObjectOffered)) != 0 {
				t.Error("offered") // N-4.2.1-10
			}
			if s := g.Stats(); s.Drops.Refused != 2 {
				t.Errorf("%+v", s.Drops)
			}
			g.wantNack("")
			next := object(t, 2, 200)
			g.block(next, 0)
			g.block(next, 1)
			g.wantReceived(next)
		})
	}
}

// TestRefusedFTIMayHaveBeenForged: the true one makes up for it.
func TestRefusedFTIMayHaveBeenForged(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := blocks(t, 0, 2)
	forged := o.fti()
	forged.ObjectSize = wire.MaxObjectSize
	ext, err := wire.AppendFTI(nil, o.fecID(), forged)
	if err != nil {
		t.Fatal(err)
	}
	g.arrive(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: o.position(0, 0, 0), Extensions: ext, Payload: o.symbol(0, 0)}))
	g.block(o, 0)
	g.block(o, 1)
	g.wantReceived(o)
}

func TestFTIMustNotChange(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 200)
	g.data(o, 0, 0)
	other := object(t, 0, 201)
	g.data(other, 0, 1) // N-4.2.1-10
	mixed := objectWith(t, 0, 200, fec.Params{ID: fec.NoCode, SegmentSize: 16, MaxBlockLen: 8})
	g.data(mixed, 0, 1) // F-6.1-01
	if s := g.Stats(); s.Drops.Refused != 2 || s.Data != 1 {
		t.Errorf("%+v", s)
	}
	g.block(o, 0)
	g.block(o, 1)
	g.wantReceived(o)
}

// TestObjectsMayDiffer receives objects of different codes and segment sizes from one sender.
func TestObjectsMayDiffer(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	for i, p := range []fec.Params{
		{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4},
		{ID: fec.ReedSolomonGF8, SegmentSize: 100, MaxBlockLen: 20, MaxParity: 4}, // N-4.2.1-11
		{ID: fec.SmallBlockSystematic, SegmentSize: 33, MaxBlockLen: 5, MaxParity: 2, Dialect: fec.NRL},
		{ID: fec.ReedSolomon, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4},
		{ID: fec.NoCode, SegmentSize: 64, MaxBlockLen: 70},
	} {
		o := objectWith(t, TransportID(i), 3000, p)
		for b := range uint32(o.N) {
			g.block(o, b, 0)
			if p.ID == fec.NoCode {
				g.repair(o, b, 0)
			} else {
				g.repair(o, b, o.BlockLen(b)+1)
			}
		}
		g.wantReceived(o)
	}
}

// TestAutoDialect recognises a sender of the NRL by a parity count below the block length.
func TestAutoDialect(t *testing.T) {
	for _, dialect := range []fec.Dialect{fec.RFC, fec.NRL} {
		g := newReceiverRig(t, ReceiverConfig{})
		o := objectWith(t, 0, 300, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 16, MaxParity: 4, Dialect: dialect})
		for b := range uint32(o.N) { // both short: 19 symbols in blocks of 10 and 9
			g.block(o, b, 2, 4)
			g.repair(o, b, o.BlockLen(b), o.BlockLen(b)+3)
		}
		g.wantReceived(o)
	}
}

func TestHostileData(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 200) // 13 symbols in blocks of 7 and 6
	g.data(o, 0, 0)
	send := func(p wire.Position, payload int) {
		g.arrive(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: p, Extensions: o.extensions(), Payload: make([]byte, payload)}))
	}
	position := func(b, esi uint32) wire.Position {
		p, err := wire.NewPosition(wire.RS8, 8, 0, wire.PayloadID{Block: b, Symbol: esi})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	send(position(2, 0), 16) // N-4.2.1-54: beyond the last block
	send(position(1<<24-1, 0), 16)
	send(position(0, 12), 16)  // beyond max_n
	send(position(0, 255), 16) // N-4.2.1-53 R-6.2-02
	if d := g.Stats().Drops; d.Useless != 4 {
		t.Errorf("%+v", d)
	}
	send(position(0, 1), 17) // N-4.2.1-07 N-4.2.1-48
	send(position(0, 1), 15)
	send(position(0, 1), 0)
	if d := g.Stats().Drops; d.Malformed != 3 {
		t.Errorf("%+v", d)
	}
	if s := g.Stats(); s.Data != 1 {
		t.Errorf("%d symbols taken", s.Data)
	}
	g.run(time.Second)
	g.wantNack("")
	g.block(o, 0)
	g.block(o, 1)
	g.wantReceived(o)
}

// TestParityLengths takes parity as long as the longest source symbol of its block, as the NRL implementation sends it,
// and a last source symbol that was padded.
func TestParityLengths(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Join: JoinAll})
	o := objectWith(t, 0, 5, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 4, MaxParity: 2, Dialect: fec.NRL})
	g.arrive(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: o.position(0, 0, 2),
		Extensions: o.extensions(), Payload: o.symbol(0, 2)[:5]}))
	g.wantReceived(o)
	padded := objectWith(t, 1, 5, o.params)
	g.arrive(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Position: padded.position(1, 0, 0),
		Extensions: padded.extensions(), Payload: append(padded.symbol(0, 0)[:5:5], make([]byte, 11)...)}))
	g.wantReceived(padded)
}

func TestEmptyObject(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 3, 0)
	o.info = "nothing but this"
	g.infoMessage(o, 0)
	g.wantReceived(o) // F-9.1-06
	g.flush(o, 0, 0)
	g.backoffs()
	g.wantNack("")
}

func TestInfo(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 100)
	o.flags, o.info = wire.FlagInfo, "name"
	g.block(o, 0)
	if len(g.happened(ObjectComplete)) != 0 {
		t.Error("complete without NORM_INFO")
	}
	g.flushAll(o)
	g.backoffs()
	g.wantNack("info 0") // N-4.2.2-05 N-5.3-18
	g.infoMessage(o, wire.FlagRepair)
	g.wantReceived(o)
	o.info = "another"
	g.infoMessage(o, wire.FlagRepair)
	if n := len(g.happened(ObjectInfo)); n != 1 { // N-4.2.2-07
		t.Errorf("%d ObjectInfo", n)
	}
	if info, _ := g.Object(g.happened(ObjectInfo)[0].Object); string(info.Info) != "name" { // N-4.2.2-07
		t.Errorf("info %q", info.Info)
	}

	plain := object(t, 1, 100)
	g.block(plain, 0)
	g.flushAll(plain)
	g.run(time.Second)
	g.wantNack("") // N-4.2.1-29
	g.wantReceived(plain)

	long := object(t, 2, 100)
	long.info = "seventeen bytes.."
	g.infoMessage(long, 0)
	if d := g.Stats().Drops; d.Malformed != 1 {
		t.Errorf("%+v", d)
	}
}

// TestUndefinedFlags sets bits that mean nothing, which a deployed implementation does.
func TestUndefinedFlags(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 100)
	o.flags = 0xc0 // N-4.2.1-24
	g.block(o, 0)
	g.wantReceived(o)
}

func TestUnreliableObject(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 500)
	o.flags = wire.FlagUnreliable
	g.block(o, 0, 1, 2)
	g.block(o, 2)
	g.flushAll(o)
	g.run(time.Second)
	g.wantNack("") // N-4.2.1-31
}

func TestApplicationAnswers(t *testing.T) {
	t.Run("Reject", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{})
		g.ignore = true
		o := object(t, 0, 300)
		g.data(o, 0, 0)
		h := g.happened(ObjectOffered)[0].Object
		if err := g.Reject(g.now, h); err != nil {
			t.Fatal(err)
		}
		g.block(o, 1)
		g.flushAll(o)
		g.run(time.Second)
		g.wantNack("")
		if _, ok := g.Object(h); ok || len(g.sinks) != 0 {
			t.Error("a rejected object is still known")
		}
		if err := g.Accept(g.now, h); !errors.Is(err, ErrUnknownObject) {
			t.Errorf("Accept: %v", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{})
		g.ignore = true
		o := object(t, 0, 300)
		g.block(o, 0)
		g.block(o, 1)
		g.flushAll(o)
		g.run(time.Second)
		g.wantNack("")
		if g.Stats().Data != 1 {
			t.Errorf("%d symbols kept of an object that was not accepted", g.Stats().Data)
		}
	})
	t.Run("Abort", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{})
		o := object(t, 0, 300)
		g.stall = true
		g.block(o, 0)
		g.data(o, 1, 0)
		h := g.happened(ObjectOffered)[0].Object
		if err := g.Abort(g.now, h); err != nil {
			t.Fatal(err)
		}
		g.drain()
		g.perform() // the write that was in flight
		if e := g.happened(ObjectAborted); len(e) != 1 || e[0].Err != ErrCancelled {
			t.Errorf("%v", e)
		}
		if free := g.pool.available(); free != g.cfg.Buffer {
			t.Errorf("%d bytes of %d free", free, g.cfg.Buffer)
		}
		g.stall = false
		g.flushAll(o)
		g.run(time.Second)
		g.wantNack("")
	})
	t.Run("broken sink", func(t *testing.T) {
		g := newReceiverRig(t, ReceiverConfig{})
		g.broken = errors.New("disk full")
		o := object(t, 0, 300)
		g.block(o, 0)
		if e := g.happened(ObjectAborted); len(e) != 1 || e[0].Err != g.broken {
			t.Errorf("%v", e)
		}
		g.block(o, 1)
		if free := g.pool.available(); free != g.cfg.Buffer {
			t.Errorf("%d bytes of %d free", free, g.cfg.Buffer)
		}
	})
}

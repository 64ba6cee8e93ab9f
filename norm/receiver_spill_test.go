package norm

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
)

// TestMemoryStaysWithinBuffer receives 40 blocks of which each lacks something, with memory for four.
func TestMemoryStaysWithinBuffer(t *testing.T) {
	for _, late := range []bool{false, true} { // whether the sink is slow
		g := newReceiverRig(t, ReceiverConfig{Buffer: 4 * 8 * 64})
		o := blocks(t, 0, 40)
		o.content = o.content[:len(o.content)-13] // the last symbol is short
		o = objectContent(t, o)
		g.stall = late
		for b := range uint32(40) {
			g.block(o, b, 2, 5)
			g.repair(o, b, 8)
			if late && b%2 == 1 {
				g.perform()
				g.drain()
			}
		}
		g.stall = false
		g.drain()
		if g.pool.taken > g.cfg.Buffer {
			t.Errorf("%d bytes of buffers, want at most %d", g.pool.taken, g.cfg.Buffer)
		}
		s := g.Stats()
		if s.Spilled < 20 || !late && s.NoBuffer > 0 {
			t.Errorf("late %v: %d blocks spilled, %d symbols without buffer", late, s.Spilled, s.NoBuffer)
		}
		for round := 0; len(g.happened(ObjectComplete)) == 0; round++ { // what was lost is asked for and sent
			if round == 100 {
				t.Fatalf("late %v: not complete", late)
			}
			g.run(time.Second)
			g.nacks()
			for b := range uint32(40) {
				g.repair(o, b, (round*3)%8, 9+round%3)
			}
			g.flushAll(o)
		}
		h := g.happened(ObjectComplete)[0].Object
		if !bytes.Equal(g.sinks[h], o.content) {
			t.Errorf("late %v: content differs", late)
		}
		g.wantReported(h, int64(len(o.content)))
		if free := g.pool.available(); free != g.cfg.Buffer || g.parting != 0 || g.held.oldest != nil { // N-2.3-01
			t.Errorf("%d bytes of %d free, %d parting", free, g.cfg.Buffer, g.parting)
		}
	}
}

// objectContent returns an object with the content and code of o, laid out anew.
func objectContent(t testing.TB, o *testObject) *testObject {
	n := objectWith(t, o.id, len(o.content), o.params)
	n.content = o.content
	return n
}

// TestSpilledBlocks lets symbols of few blocks arrive in random order with memory for one block, so that each is
// written out, read back, and has its parity displaced, many times.
func TestSpilledBlocks(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		g := newReceiverRig(t, ReceiverConfig{Buffer: 8 * 16})
		o := objectWith(t, 0, 3*8*16-random.IntN(20), fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4,
			Dialect: fec.NRL})
		for step := 0; len(g.happened(ObjectComplete)) == 0; step++ {
			if step == 2000 {
				t.Fatalf("seed %d: not complete", seed)
			}
			b := uint32(random.IntN(int(o.N)))
			g.data(o, b, random.IntN(o.BlockLen(b)+4))
		}
		if h := g.happened(ObjectComplete)[0].Object; !bytes.Equal(g.sinks[h], o.content) {
			t.Fatalf("seed %d: content differs", seed)
		} else {
			g.wantReported(h, int64(len(o.content)))
		}
	}
}

// TestNoBufferIsNoReception: what found no memory is asked for like what was lost.
func TestNoBufferIsNoReception(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{Buffer: 8 * 64})
	o := blocks(t, 0, 3)
	g.data(o, 0, 0)
	g.stall = true // the memory of block 0 does not come back
	g.data(o, 1, 0)
	if n := g.Stats().NoBuffer; n != 1 || !g.Pressed() {
		t.Errorf("%d symbols without buffer, pressed %v", n, g.Pressed())
	}
	g.stall = false
	g.drain()
	if g.Pressed() {
		t.Error("pressed by no request")
	}
	g.run(2 * time.Second)
	g.wantNack("segment 0/0/5-11")
	g.flush(o, 1, 7)
	g.backoffs()
	g.wantNack("segment 0/0/5-11, block 0/1")
	for b := range uint32(3) {
		g.block(o, b)
	}
	g.wantReceived(o)
}

// TestPresentCompletesASpilledBlock declares symbols present of a block whose others were spilled, with memory to read
// them back and without.
func TestPresentCompletesASpilledBlock(t *testing.T) {
	for _, memory := range []bool{true, false} {
		g := newReceiverRig(t, ReceiverConfig{Buffer: 8 * 64})
		o := blocks(t, 0, 2)
		g.data(o, 0, 0, 1, 2, 3, 8, 9)
		h := g.happened(ObjectOffered)[0].Object
		g.data(o, 1, 0) // has block 0 spilled, and finds no memory itself
		if g.Stats().Spilled != 1 {
			t.Fatal("not spilled")
		}
		if !memory {
			g.data(o, 1, 0) // which it does now
			g.stall = true
		}
		g.sinks[h] = append(g.sinks[h][:6*64], o.content[6*64:8*64]...) // the rest of block 0, from an earlier run
		if err := g.Present(g.now, h, Range{6 * 64, 2 * 64}); err != nil {
			t.Fatal(err)
		}
		g.drain()
		g.stall = false
		g.drain()
		if done := len(g.happened(ObjectData)) > 0; done != memory {
			t.Errorf("memory %v: block reported %v", memory, done)
		}
		g.block(o, 1)
		g.repair(o, 0, 9, 10)
		if len(g.happened(ObjectComplete)) != 1 || !bytes.Equal(g.sinks[h], o.content) {
			t.Errorf("memory %v: %v", memory, g.events)
		}
	}
}

// TestBufferOfOtherSizes gives memory for one object's blocks to another's.
func TestBufferOfOtherSizes(t *testing.T) {
	var p bufferPool
	p.limit = 1000
	a, b := p.get(300), p.get(300)
	p.put(a)
	p.put(b)
	if c := p.get(900); len(c) != 900 || p.available() != 100 {
		t.Errorf("%d bytes, %d available", len(c), p.available())
	}
	if p.get(200) != nil {
		t.Error("beyond the limit")
	}
}

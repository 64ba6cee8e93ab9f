package norm

import (
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// doubting returns a rig whose receiver expects an object of 40 blocks, and that object.
func doubting(t *testing.T) (*receiverRig, *testObject) {
	t.Helper()
	g := newReceiverRig(t, ReceiverConfig{Join: JoinAll, Evidence: &EvidencePolicy{Trial: 10 * time.Second, LastObject: 3}})
	o := blocks(t, 0, 40)
	g.expect(o)
	return g, o
}

// expect presets an object.
func (g *receiverRig) expect(o *testObject) {
	g.Helper()
	h, err := g.Expect(g.now, Preset{Sender: g.sender, ID: o.id, Kind: Data, Size: int64(len(o.content)), FEC: o.params})
	if err != nil {
		g.Fatal(err)
	}
	g.sinks[h] = make([]byte, len(o.content))
}

// vouch verifies what came of the object.
func (g *receiverRig) vouch() {
	g.Helper()
	for h := range g.sinks {
		if err := g.Vouch(g.now, h); err != nil {
			g.Fatal(err)
		}
	}
}

// disbelieved returns how many messages were since the last call.
func (g *receiverRig) disbelieved() (n uint64) {
	n = g.stats.Drops.Disbelieved
	g.stats.Drops.Disbelieved = 0
	return n
}

// news returns the events of a kind since the last call.
func (g *receiverRig) news(kind EventKind) []Event {
	found := g.happened(kind)
	g.events = nil
	return found
}

func TestRivalsForASender(t *testing.T) {
	home, away := rigSource, netip.MustParseAddrPort("192.0.2.66:40000")
	begin := func(t *testing.T) (*receiverRig, *testObject) {
		g, o := doubting(t)
		g.block(o, 0)
		g.vouch()
		return g, o
	}
	t.Run("another address is not heard", func(t *testing.T) {
		g, o := begin(t)
		for n := range 50 {
			g.source = away
			g.data(o, 20, 0)
			if g.run(100 * time.Millisecond); g.disbelieved() != 1 {
				t.Fatalf("believed after %d", n)
			}
			g.source = home
			g.data(o, uint32(n)/8+1, n%8)
		}
		if e := g.news(SenderMoved); len(e) != 0 {
			t.Errorf("%v", e)
		}
	})
	t.Run("until the first is silent", func(t *testing.T) {
		g, o := begin(t)
		g.run(2 * time.Second)
		g.source = away
		g.data(o, 1, 0)
		if e := g.news(SenderMoved); len(e) != 1 || e[0].From != away {
			t.Errorf("%v", e)
		}
		g.source = home // it is back at once, for what came from there was right
		g.data(o, 1, 1)
		if e := g.news(SenderMoved); len(e) != 1 || e[0].From != home || g.disbelieved() != 0 {
			t.Errorf("%v", e)
		}
		g.source = away // which the other one is not
		if g.data(o, 1, 2); g.disbelieved() != 1 {
			t.Error("believed")
		}
	})
	t.Run("or nothing of it was verified for long", func(t *testing.T) {
		g, o := begin(t)
		for n := range 110 { // both speak all the time
			g.source = home
			g.data(o, 1, 0)
			g.source = away
			g.data(o, 1, 1)
			g.run(100 * time.Millisecond)
			if moved := len(g.news(SenderMoved)) > 0; moved != (n == 100) {
				t.Fatalf("moved after %d", n)
			}
		}
		g.vouch() // for away
		g.disbelieved()
		for range 95 {
			g.source = home
			g.data(o, 1, 0)
			g.source = away
			g.data(o, 1, 1)
			g.run(100 * time.Millisecond)
		}
		if n := g.disbelieved(); n != 95 {
			t.Errorf("%d of 95 disbelieved", n)
		}
	})
	t.Run("a new run", func(t *testing.T) {
		g, o := begin(t)
		g.instance++
		g.data(o, 1, 0)
		if e := g.news(SenderRestarted); len(e) != 0 || g.disbelieved() != 1 {
			t.Errorf("%v while the one before speaks", e)
		}
		g.run(2 * time.Second)
		g.data(o, 1, 0)
		if e := g.news(SenderRestarted); len(e) != 1 {
			t.Errorf("%v when it is silent", e)
		}
		g.run(2 * time.Second)
		g.instance-- // a replay has it back once, and not for long
		g.data(o, 1, 1)
		if e := g.news(SenderRestarted); len(e) != 1 {
			t.Errorf("%v", e)
		}
		took := 0
		for ; len(g.news(SenderRestarted)) == 0 && took < 200; took++ {
			g.data(o, 1, 1)
			g.instance++
			g.data(o, 1, 2)
			g.instance--
			g.run(100 * time.Millisecond)
		}
		if took < 100 || took > 102 {
			t.Errorf("the new run is believed after %d tenths of a second, want those of Trial", took)
		}
	})
}

// TestDoubtfulEOT: nothing follows one that is genuine.
func TestDoubtfulEOT(t *testing.T) {
	g, o := doubting(t)
	g.block(o, 0)
	eot := func() { g.arrive(g.message(&wire.EOT{Header: g.from(), SenderHeader: g.header()})) }
	eot()
	g.run(30 * time.Second)
	g.data(o, 1, 0)
	g.run(70 * time.Second)
	if len(g.news(SenderEnded)) != 0 || g.disbelieved() != 1 {
		t.Error("believed although content follows")
	}
	g.data(o, 1, 1)
	for range 5 {
		eot()
		g.run(time.Second)
	}
	if g.run(54 * time.Second); len(g.news(SenderEnded)) != 0 {
		t.Error("believed too early")
	}
	if g.run(2 * time.Second); len(g.news(SenderEnded)) != 1 {
		t.Error("not believed although nothing follows")
	}
}

func TestDoubtfulFlush(t *testing.T) {
	g, o := doubting(t)
	g.block(o, 0, 1)
	g.flush(o, 1, 7) // the next block
	g.backoffs()
	if g.nacks() == "" {
		t.Error("not believed of the next block")
	}
	g.run(5 * time.Second)
	g.nacks()
	g.flush(o, 30, 7)
	if g.backoffs(); g.disbelieved() != 1 {
		t.Error("believed at once")
	}
	g.data(o, 2, 0)
	g.run(time.Second)
	if g.flush(o, 30, 7); g.disbelieved() != 1 {
		t.Error("believed although content came that is before it")
	}
	g.run(time.Second)
	g.nacks()
	g.flush(o, 30, 7)
	if g.backoffs(); g.disbelieved() != 0 || g.nacks() == "" {
		t.Error("not believed when it was repeated")
	}
	g.flush(blocks(t, 4, 3), 0, 7)
	if g.disbelieved() != 1 {
		t.Error("believed of an object that there is not")
	}
}

func TestDoubtfulSquelch(t *testing.T) {
	g, o := doubting(t)
	g.block(o, 0, 1)
	later := blocks(t, 3, 3)
	g.squelch(later, 0)
	if g.disbelieved() != 1 {
		t.Error("believed unasked")
	}
	ask := func() string {
		g.run(2 * time.Second)
		g.nacks()
		g.flush(o, 0, 7)
		g.backoffs()
		return g.nacks()
	}
	for n := range 2 {
		if ask() == "" {
			t.Fatalf("nothing is asked for before answer %d", n)
		}
		if g.squelch(later, 0); g.disbelieved() != uint64(1-n) {
			t.Errorf("answer %d: want the second believed", n)
		}
	}
	if got := ask(); got != "" {
		t.Errorf("%q after two answers", got)
	}
	g.data(o, 1, 0) // it was wrong
	if ask() == "" {
		t.Error("nothing is asked for of an object that is being sent")
	}
}

func TestDoubtfulParameters(t *testing.T) {
	g, o := doubting(t)
	say := func(grtt time.Duration, backoff uint8, size float64, f func()) {
		a, b, c := g.grtt, g.backoff, g.groupSize
		g.grtt, g.backoff, g.groupSize = grtt, backoff, size
		f()
		g.grtt, g.backoff, g.groupSize = a, b, c
	}
	s := func() *remote { return g.senders[rigSender] }
	g.block(o, 0)
	g.vouch()
	for range 100 {
		g.run(10 * time.Millisecond)
		say(10*time.Second, 15, 1e6, func() { g.probeAt(1, wire.Timestamp{}, 0) })
		g.run(10 * time.Millisecond)
		g.data(o, 1, 0)
	}
	if got := s(); got.grtt > g.grtt*11/10 || got.backoff != 4 || got.groupSize > 11 {
		t.Errorf("GRTT %v, K %d, group size %.0f, with as many genuine messages", got.grtt, got.backoff, got.groupSize)
	}
	for range 100 {
		g.run(10 * time.Millisecond)
		say(10*time.Second, 15, 1e6, func() { g.probeAt(1, wire.Timestamp{}, 0) })
	}
	if got := s(); got.grtt != 2*g.grtt || got.backoff != 4 || got.groupSize != 20 {
		t.Errorf("GRTT %v, K %d, group size %.0f, with none, want twice what was verified", got.grtt, got.backoff, got.groupSize)
	}
	say(50*time.Millisecond, 6, 100, func() { g.block(o, 2) })
	g.vouch()
	if got := s(); got.grtt < 45*time.Millisecond || got.grtt > 55*time.Millisecond || got.backoff != 6 || got.groupSize != 100 {
		t.Errorf("GRTT %v, K %d, group size %.0f, want what came with content", got.grtt, got.backoff, got.groupSize)
	}
}

func TestEvidenceIsChecked(t *testing.T) {
	for _, p := range []EvidencePolicy{{Trial: -1}, {MinBackoff: 5, MaxBackoff: 4}, {MaxBackoff: 16}, {MinBackoff: -1}} {
		if _, err := NewReceiver(ReceiverConfig{Node: 1, Group: rigGroup, Evidence: &p}); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}

package norm_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// poisonLeaf is how many bytes the receivers of poisonRun check at a time.
const poisonLeaf = 64 << 10

// A poisonRun is a group of four receivers that check leaves of an object of 2 MB, and somebody who forges a datagram for each
// ten of the sender's: any symbol of any block, every second from the sender's address.
type poisonRun struct {
	bytes  uint64        // that the sender sent
	whole  bool          // all receivers had the object within 5 s, of which sending it takes 0.9
	took   time.Duration // until then
	forged int
	stats  norm.ReceiverStats // of the first receiver
}

func runPoison(t *testing.T, seed uint64, inject bool, cfg norm.ReceiverConfig) (run poisonRun) {
	t.Helper()
	const size = 2_000_000
	content := make(normtest.Memory, size)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(content)
	code := fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 128, MaxParity: 127}
	n, link := normtest.New(seed), normtest.Link{Delay: 5 * time.Millisecond, Loss: normtest.Random(0.01)}
	s, err := n.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{Node: 1, Instance: 1, Rate: 20e6, GRTT: 20 * time.Millisecond, GroupSize: 10, FEC: code})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Check != nil {
		cfg.Check = func(_ norm.Handle, at int64, symbol []byte) norm.Verdict {
			if bytes.Equal(symbol, content[at:at+int64(len(symbol))]) {
				return norm.Good
			}
			return norm.Forged
		}
	}
	var receivers []*leafChecker
	for i := range 4 {
		cfg.Node, cfg.Seed = norm.NodeID(i+2), seed+uint64(i)
		r, err := n.AddReceiver(fmt.Sprint("r", i+1), nil, normtest.Link{}, link, cfg)
		if err != nil {
			t.Fatal(err)
		}
		receivers = append(receivers, checkLeaves(t, n, r, content, code))
	}
	x := &attacker{host: n.Add("attacker", nil, normtest.Link{}, normtest.Link{})}
	x.host.Start(x)
	random, heard := rand.New(rand.NewPCG(seed, 9)), 0
	n.OnSend = func(p *normtest.Packet) {
		switch m, ok := p.Message().(*wire.Data); {
		case p.From == x.host:
			if run.forged++; run.forged%2 == 0 {
				p.Source = s.Host.Addr
			}
		case inject && ok:
			if heard++; heard%10 == 0 {
				forged := *m
				forged.Position, _ = wire.NewPosition(m.FECID, 8, m.Object, wire.PayloadID{Block: random.Uint32N(12), Symbol: random.Uint32N(140)})
				forged.Payload = make([]byte, len(m.Payload))
				for i := range forged.Payload {
					forged.Payload[i] = byte(random.Uint32())
				}
				b, err := forged.AppendBinary(nil)
				if err != nil {
					t.Fatal(err)
				}
				n.At(0, func() { x.say(b) })
			}
		}
	}
	if _, _, err := s.Send(norm.Object{Kind: norm.File, Size: size}, content); err != nil {
		t.Fatal(err)
	}
	all := func() bool {
		for _, r := range receivers {
			if !r.done() {
				return false
			}
		}
		return true
	}
	run.whole = n.RunUntil(5*time.Second, all)
	run.bytes, run.took, run.stats = s.Core.Stats().Bytes, n.Elapsed(), receivers[0].Core.Stats()
	return run
}

// A leafChecker is an application that knows what each leaf of an object should be.
type leafChecker struct {
	*normtest.Receiver
	have  []bool // bytes
	right []bool // leaves
	file  normtest.Memory
}

func checkLeaves(t *testing.T, n *normtest.Net, r *normtest.Receiver, content normtest.Memory, code fec.Params) *leafChecker {
	t.Helper()
	c := &leafChecker{Receiver: r, have: make([]bool, len(content)), right: make([]bool, (len(content)+poisonLeaf-1)/poisonLeaf), file: make(normtest.Memory, len(content))}
	note := r.Host.OnEvent
	r.Host.OnEvent = func(e norm.Event) {
		if note(e); e.Kind != norm.ObjectData {
			return
		}
		for i := e.Range.Offset; i < e.Range.End(); i++ {
			c.have[i] = true
		}
		for leaf := int(e.Range.Offset) / poisonLeaf; leaf <= int(e.Range.End()-1)/poisonLeaf; leaf++ {
			from, to := leaf*poisonLeaf, min((leaf+1)*poisonLeaf, len(content))
			at := norm.Range{Offset: int64(from), Length: int64(to - from)}
			switch whole := !bytes.Contains(flags(c.have[from:to]), []byte{0}); {
			case c.right[leaf] || !whole:
			case bytes.Equal(c.file[from:to], content[from:to]):
				c.right[leaf] = true
				c.Core.Present(n.Now(), e.Object, at)
			default:
				clear(c.have[from:to])
				if err := c.Core.RejectRange(n.Now(), e.Object, at); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if _, err := r.Expect(norm.Preset{Sender: 1, ID: 0, Kind: norm.File, Size: int64(len(content)), FEC: code}, keeper{c}); err != nil {
		t.Fatal(err)
	}
	return c
}

func flags(have []bool) []byte {
	b := make([]byte, len(have))
	for i, h := range have {
		if h {
			b[i] = 1
		}
	}
	return b
}

func (c *leafChecker) done() bool {
	for _, right := range c.right {
		if !right {
			return false
		}
	}
	return true
}

// A keeper is the file of a leafChecker, in which right leaves are not written to any more.
type keeper struct{ c *leafChecker }

func (k keeper) ReadAt(p []byte, off int64) (int, error) { return k.c.file.ReadAt(p, off) }

func (k keeper) WriteAt(p []byte, off int64) (int, error) {
	for i := range p {
		if at := int(off) + i; !k.c.right[at/poisonLeaf] {
			k.c.file[at] = p[i]
		}
	}
	return len(p), nil
}

// TestAttackTenPercentForged compares what the sender sends, and how long it takes, with and without somebody who forges a
// tenth of all datagrams: with receivers that drop blocks, that find what is wrong in them, and that know each segment.
func TestAttackTenPercentForged(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		alone := runPoison(t, seed, false, norm.ReceiverConfig{Locate: true})
		for _, test := range []struct {
			name        string
			cfg         norm.ReceiverConfig
			whole       bool
			least, most float64 // times the bytes
		}{
			{"blocks are dropped", norm.ReceiverConfig{}, false, 2, 10},
			{"what is wrong is found", norm.ReceiverConfig{Locate: true}, true, 1, 1.3},
			{"segments are known", norm.ReceiverConfig{Locate: true, Check: func(norm.Handle, int64, []byte) norm.Verdict { return norm.Unknown }}, true, 0.9, 1.1},
		} {
			run := runPoison(t, seed, true, test.cfg)
			sent, took := float64(run.bytes)/float64(alone.bytes), run.took.Seconds()/alone.took.Seconds()
			t.Logf("seed %d, %s: %d forged; whole %v; %.3f times the bytes in %.3f times the %v; %d forged symbols found, %d blocks suspected, %d forsaken, %d ignored",
				seed, test.name, run.forged, run.whole, sent, took, alone.took, run.stats.Forged, run.stats.Suspected, run.stats.Forsaken, run.stats.Drops.Ignored)
			if run.whole != test.whole || sent < test.least || sent > test.most || test.whole && took > 2 {
				t.Errorf("want %g to %g times the bytes, in at most twice the time", test.least, test.most)
			}
		}
	}
}

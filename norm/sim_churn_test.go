package norm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// TestGroupsSurviveChurn lets the sender and receivers of expected objects crash and cables come out, at any instant.
// Receivers come back with what their files hold, the sender with objects that it only repairs. In the end everybody
// has everything, and every byte is right: the files check it.
func TestGroupsSurviveChurn(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newChurn(t, seed)
			for range 1 + c.rng.IntN(8) {
				c.net.Run(time.Duration(c.rng.ExpFloat64() * float64(time.Second)))
				c.trouble()
			}
			c.calm()
		})
	}
}

type churn struct {
	t         *testing.T
	rng       *rand.Rand
	net       *normtest.Net
	sender    *normtest.Sender
	receivers []*normtest.Receiver
	files     [][]*normtest.Pattern // of each receiver, by object
	sizes     []int64
}

func newChurn(t *testing.T, seed uint64) *churn {
	c := &churn{t: t, rng: rand.New(rand.NewPCG(seed, 2)), net: normtest.New(seed)}
	link := normtest.Link{Delay: 10 * time.Millisecond, Loss: normtest.Random(0.2 * c.rng.Float64())}
	var err error
	c.sender, err = c.net.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{
		Node: 1, Rate: 500e3, GRTT: 50 * time.Millisecond, SegmentSize: 100, GroupSize: 10, Seed: seed,
		FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 2 + c.rng.IntN(20), MaxParity: c.rng.IntN(10)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 1 + c.rng.IntN(3) {
		c.sizes = append(c.sizes, 1+c.rng.Int64N(40_000))
	}
	for i := range 1 + c.rng.IntN(8) {
		r, err := c.net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, norm.ReceiverConfig{
			Node: norm.NodeID(10 + i), Seed: seed<<8 | uint64(i), Patience: c.rng.IntN(2) == 0,
		})
		if err != nil {
			t.Fatal(err)
		}
		files := make([]*normtest.Pattern, len(c.sizes))
		for id, size := range c.sizes {
			files[id] = normtest.Content(1, norm.TransportID(id), size)
		}
		c.receivers, c.files = append(c.receivers, r), append(c.files, files)
		c.expect(i)
	}
	c.send(false)
	return c
}

// send enqueues all objects.
func (c *churn) send(repairOnly bool) {
	for _, size := range c.sizes {
		if _, _, err := c.sender.Send(norm.Object{Size: size, RepairOnly: repairOnly}, nil); err != nil {
			c.t.Fatal(err)
		}
	}
}

// expect presets all objects at receiver i, with what its files hold.
func (c *churn) expect(i int) {
	r := c.receivers[i]
	for id, size := range c.sizes {
		code := c.sender.Config.FEC
		code.SegmentSize = c.sender.Config.SegmentSize
		h, err := r.Expect(norm.Preset{Sender: 1, ID: norm.TransportID(id), Size: size, FEC: code}, c.files[i][id])
		if err != nil {
			c.t.Fatal(err)
		}
		for _, has := range c.files[i][id].Written() {
			r.Host.Do(func(now time.Time) { err = r.Core.Present(now, h, has) })
			if err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// trouble does one bad thing.
func (c *churn) trouble() {
	i := c.rng.IntN(len(c.receivers))
	switch c.rng.IntN(6) {
	case 5:
		c.reject(i)
	case 0:
		c.restartSender()
	case 1:
		c.sender.Host.Kill()
		c.net.Run(time.Duration(c.rng.Int64N(int64(10 * time.Second))))
		c.restartSender()
	case 2:
		c.restart(i)
	case 3:
		c.receivers[i].Host.Kill()
		c.net.Run(time.Duration(c.rng.Int64N(int64(10 * time.Second))))
		c.restart(i)
	case 4:
		hosts := c.net.Hosts()
		h := hosts[c.rng.IntN(len(hosts))]
		h.Detached = true
		c.net.At(time.Duration(c.rng.Int64N(int64(10*time.Second))), func() { h.Detached = false })
	}
}

// reject finds that some bytes of an object are wrong, as a failed hash would tell.
func (c *churn) reject(i int) {
	r := c.receivers[i]
	if r.Host.Node() == nil {
		return
	}
	o := r.Objects[c.rng.IntN(len(r.Objects))]
	from := c.rng.Int64N(o.Info.Size)
	if err := r.RejectRange(o, norm.Range{Offset: from, Length: 1 + c.rng.Int64N(o.Info.Size-from)}); err != nil {
		c.t.Errorf("RejectRange: %v", err)
	}
}

func (c *churn) restartSender() {
	cfg := c.sender.Config
	cfg.Instance++
	if err := c.sender.Restart(cfg); err != nil {
		c.t.Fatal(err)
	}
	c.send(c.rng.IntN(2) == 0)
}

func (c *churn) restart(i int) {
	if err := c.receivers[i].Restart(c.receivers[i].Config); err != nil {
		c.t.Fatal(err)
	}
	c.expect(i)
}

// calm waits until everybody has everything.
func (c *churn) calm() {
	complete := func() bool {
		for i, r := range c.receivers {
			if r.Completed() < len(c.sizes) {
				return false
			}
			for _, f := range c.files[i] {
				if !f.Whole() {
					c.t.Fatalf("%s completed objects with gaps: %v", r.Host.Name, r.Objects)
				}
			}
		}
		return true
	}
	if c.net.RunUntil(5*time.Minute, complete) {
		return
	}
	for _, r := range c.receivers {
		if r.Completed() < len(c.sizes) {
			c.t.Errorf("%s after %v: %v %+v", r.Host.Name, c.net.Elapsed(), r.Objects, r.Core.Stats())
		}
	}
	c.t.Errorf("sender: %+v", c.sender.Core.Stats())
}

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

// A scene is a group drawn from a seed: every kind of network that a session has to get through.
type scene struct {
	receivers int
	objects   int
	link      normtest.Link // to each receiver
	site      normtest.Link // to all receivers but the first
	io        time.Duration
	late      time.Duration // a fourth of the receivers come late, by up to that
	sender    norm.SenderConfig
	receiver  norm.ReceiverConfig
}

func drawScene(seed uint64) scene {
	rng := rand.New(rand.NewPCG(seed, 0))
	share := func(most float64) float64 { return rng.Float64() * most }
	upTo := func(most time.Duration) time.Duration { return time.Duration(share(float64(most))) }
	maybe := func(p float64) bool { return rng.Float64() < p }
	grtt := 10*time.Millisecond + upTo(200*time.Millisecond)
	sc := scene{
		receivers: 1 + rng.IntN(50),
		objects:   1 + rng.IntN(4),
		link:      normtest.Link{Delay: upTo(grtt / 2), Loss: normtest.Random(share(0.3))},
		sender: norm.SenderConfig{
			Node: 1, Rate: 2e6, GRTT: grtt, MinGRTT: grtt, MaxGRTT: grtt, SegmentSize: 100, BackoffFactor: 2 + rng.IntN(5),
			FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 2 + rng.IntN(30), MaxParity: rng.IntN(20)}, Seed: seed,
		},
		receiver: norm.ReceiverConfig{Join: norm.JoinAll},
	}
	sc.sender.GroupSize = sc.receivers
	sc.sender.FirstObject = norm.TransportID(rng.Uint32()) // N-4.2.1-76
	if maybe(0.5) {
		sc.link.Jitter = upTo(20 * time.Millisecond)
	}
	if maybe(0.3) {
		sc.link.Duplicate = share(0.2)
	}
	if maybe(0.3) {
		sc.link.Reorder, sc.link.Late = share(0.1), upTo(100*time.Millisecond)
	}
	if maybe(0.3) {
		sc.site.Loss = &normtest.Bursts{Begin: share(0.02), End: 0.1 + share(0.5)}
	}
	if maybe(0.3) {
		sc.late = upTo(300 * time.Millisecond) // while the sender sends, or flushes
	}
	if maybe(0.3) {
		sc.io = upTo(20 * time.Millisecond)
	}
	if maybe(0.3) {
		sc.sender.AutoParity = rng.IntN(sc.sender.FEC.MaxParity + 1)
	}
	if maybe(0.2) {
		sc.receiver.Buffer = 3 * 100 * sc.sender.FEC.MaxBlockLen // three blocks: others are spilled
	}
	return sc
}

// TestGroupsComplete sends objects through networks of every kind, and holds what must be true in all of them.
func TestGroupsComplete(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { drawScene(seed).play(t, seed) })
	}
}

func (sc scene) play(t *testing.T, seed uint64) {
	net := normtest.New(seed)
	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: sc.link.Delay, Loss: sc.link.Loss}, sc.sender)
	if err != nil {
		t.Fatal(err)
	}
	s.Host.IODelay, s.Host.IOShuffle = sc.io, true
	site := net.AddSite()
	site.Down = sc.site
	receivers := make([]*normtest.Receiver, sc.receivers)
	for i := range receivers {
		cfg := sc.receiver
		cfg.Group, cfg.Node, cfg.Seed = normtest.Group, norm.NodeID(i+2), uint64(i)
		place := site
		if i == 0 {
			place = nil
		}
		if receivers[i], err = net.AddReceiver(fmt.Sprintf("r%d", i), place, normtest.Link{}, sc.link, cfg); err != nil {
			t.Fatal(err)
		}
		receivers[i].Create = func(o norm.ReceivedObject) normtest.File { return make(normtest.Memory, o.Size) }
		receivers[i].Host.IODelay, receivers[i].Host.IOShuffle = sc.io, true
		if sc.late > 0 && i%4 == 3 {
			receivers[i].Host.Kill()
			net.At(time.Duration(i)*sc.late/time.Duration(sc.receivers), func() {
				if err := receivers[i].Restart(cfg); err != nil {
					t.Error(err)
				}
			})
		}
	}
	watch(t, net, sc)

	rng := rand.New(rand.NewPCG(seed, 1))
	content := make(map[norm.TransportID]normtest.Memory)
	for i := range sc.objects {
		file := make(normtest.Memory, rng.IntN(8000))
		for i := range file {
			file[i] = byte(rng.Uint32())
		}
		o := norm.Object{Kind: norm.File, Size: int64(len(file)), Info: []byte(fmt.Sprint("object ", i))}
		if i%2 == 1 && len(file) > 0 {
			o.Info = nil
		}
		_, id, err := s.Send(o, file)
		if err != nil {
			t.Fatal(err)
		}
		content[id] = file
		net.Run(time.Duration(rng.IntN(int(time.Second))))
	}
	complete := func() bool {
		for _, r := range receivers {
			if r.Completed() < sc.objects {
				return false
			}
		}
		return true
	}
	// Nothing but the plain multicast links between them. N-1.4-01 B-2.7-01
	if !net.RunUntil(10*time.Minute, complete) {
		for _, r := range receivers {
			if r.Completed() < sc.objects {
				t.Errorf("%s: %d of %d objects after %v: %v; %+v", r.Host.Name, r.Completed(), sc.objects, net.Elapsed(), r.Objects, r.Core.Stats())
				break
			}
		}
		t.Fatalf("sender: %+v\nscene: %+v", s.Core.Stats(), sc)
	}
	for _, r := range receivers {
		for id, want := range content {
			o := r.Object(1, id)
			if got := o.File.(normtest.Memory); !bytes.Equal(got, want) {
				i := 0
				for i < len(want) && got[i] == want[i] {
					i++
				}
				t.Errorf("%s: object %d of %d bytes differs from what was sent at byte %d: %+v\n%+v", r.Host.Name, id, len(want), i, o.Info, sc)
			}
		}
	}
}

// watch fails the test when a message of the network breaks a rule of the RFC.
func watch(t *testing.T, net *normtest.Net, sc scene) {
	type place struct {
		object norm.TransportID
		block  uint32
	}
	before := func(a, b place) bool { return a.object.Before(b.object) || a.object == b.object && a.block < b.block }
	heard := make(map[*normtest.Host]place)     // the sender's transmit position, as far as a receiver can know
	asked := make(map[*normtest.Host]time.Time) // when a receiver sent its last NACK
	numbered := make(map[*normtest.Host]wire.Sequence)
	grtt := wire.DecodeRTT(wire.EncodeRTT(sc.sender.GRTT))
	level, last := 0.0, net.Now()     // of the bucket that drains at the sender's rate
	late := sc.sender.Rate / 8 * 0.02 // what the sender makes up for when it is woken up late

	net.OnDeliver = func(p *normtest.Packet, to *normtest.Host) {
		var at place
		switch m := p.Message().(type) {
		case *wire.Data:
			at = place{m.Object, m.PayloadID(0).Block}
		case *wire.Flush:
			at = place{m.Object, m.PayloadID(0).Block}
		case *wire.Info:
			at = place{object: m.Object}
		default:
			return
		}
		if old, ok := heard[to]; !ok || before(old, at) {
			heard[to] = at
		}
	}
	net.OnSend = func(p *normtest.Packet) {
		// Each node numbers all it sends, repairs included: "monotonically increasing". N-4.1-08 N-4.1-09 N-4.1-11
		h, err := wire.Peek(p.B)
		if last, ok := numbered[p.From]; err != nil || ok && h.Sequence != last+1 {
			t.Errorf("+%v %s: sequence %d after %d (%v)", net.Elapsed(), p.From.Name, h.Sequence, last, err)
		}
		numbered[p.From] = h.Sequence
		if p.From.Name == "s" {
			// "All sender transmissions are subject to rate control governed by a peak transmission rate": RFC 5740, Section
			// 2.1. N-2.1-02 N-4-01
			level = max(0, level-p.Sent.Sub(last).Seconds()*sc.sender.Rate/8) + float64(len(p.B))
			last = p.Sent
			if level > late+float64(sc.sender.SegmentSize)+100 {
				t.Fatalf("+%v: sent %.0f bytes more than the rate allows", net.Elapsed(), level)
			}
			return
		}
		m, ok := p.Message().(*wire.Nack)
		if !ok {
			return
		}
		if p.To != normtest.Group { // N-5.3-22
			t.Errorf("NACK to %v, want it for the group", p.To)
		}
		// "a "holdoff" period during which it constrains itself to not re-initiate the NACKing process": RFC 5740, Section
		// 5.3. N-5.3-12 B-3.2.2-06
		hold := time.Duration(sc.sender.BackoffFactor+2) * grtt
		if then, ok := asked[p.From]; ok && p.Sent.Sub(then) < hold {
			t.Errorf("+%v %s: NACK %v after the last, within the holdoff of %v", net.Elapsed(), p.From.Name, p.Sent.Sub(then), hold)
		}
		asked[p.From] = p.Sent
		// No NACK is longer than a segment: RFC 5740, Sections 4.3.1 and 5.3. N-4.3.1-22 N-5.3-14
		if len(m.Payload) > sc.sender.SegmentSize {
			t.Errorf("NACK with %d bytes of payload, want at most %d", len(m.Payload), sc.sender.SegmentSize)
		}
		var previous wire.Position
		first := true
		for request := range m.Requests() {
			for from, to := range request.All() {
				end := place{to.Object, to.PayloadID(0).Block}
				if request.Flags&(wire.RepairObject|wire.RepairInfo) != 0 && request.Flags&(wire.RepairBlock|wire.RepairSegment) == 0 {
					end.block = 0
				}
				// Nothing ahead of the sender's position is asked for. N-5-03
				if at := heard[p.From]; before(at, end) {
					t.Errorf("+%v %s: %v asks for %v, the sender was heard at %v", net.Elapsed(), p.From.Name, p, end, at)
				}
				// Requests are in ordinal order. N-4.3.1-21
				if !first && (from.Object.Before(previous.Object) ||
					from.Object == previous.Object && from.PayloadID(0).Block < previous.PayloadID(0).Block) {
					t.Errorf("+%v %s: %v is out of order", net.Elapsed(), p.From.Name, p)
				}
				previous, first = to, false
			}
		}
	}
}

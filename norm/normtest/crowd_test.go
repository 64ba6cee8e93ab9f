package normtest_test

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestCrowd sends an object to two crowds behind lossy links, on one processor and on several: the same datagrams are sent
// either way, and no member hears itself.
func TestCrowd(t *testing.T) {
	const receivers, size, segment, loss = 3000, 20_000, 100, 0.02
	run := func(processors int) (digest [32]byte) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		net := normtest.New(3)
		s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: 20 * time.Millisecond}, norm.SenderConfig{
			Node: 1, Rate: 1e6, GRTT: 40 * time.Millisecond, SegmentSize: segment, GroupSize: receivers,
		})
		if err != nil {
			t.Fatal(err)
		}
		var complete, written atomic.Int64
		var crowds []*normtest.Crowd
		for i := range 2 {
			crowd, err := net.AddCrowd(fmt.Sprint("crowd", i), net.AddSite(), normtest.CrowdConfig{
				Size: receivers / 2, Delay: 20 * time.Millisecond, Loss: func() normtest.Loss { return normtest.Random(loss) },
				Make: func(j int) norm.ReceiverConfig {
					return norm.ReceiverConfig{Node: norm.NodeID(2 + i*receivers/2 + j), Seed: uint64(i)<<32 | uint64(j)}
				},
				Perform: func(_ int, io *norm.IO) error { written.Add(int64(len(io.B))); return nil },
				OnEvent: func(_ int, r *norm.Receiver, e norm.Event) {
					switch e.Kind {
					case norm.ObjectOffered:
						_ = r.Accept(net.Now(), e.Object)
					case norm.ObjectComplete:
						complete.Add(1)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			crowds = append(crowds, crowd)
		}
		hash, nacks := sha256.New(), 0
		net.OnSend = func(p *normtest.Packet) {
			fmt.Fprint(hash, net.Elapsed(), p.From.Name)
			hash.Write(p.B)
			if _, ok := p.Message().(*wire.Nack); ok {
				nacks++
			}
		}
		if _, _, err := s.Send(norm.Object{Size: size}, nil); err != nil {
			t.Fatal(err)
		}
		done := net.RunUntil(time.Minute, func() bool { return complete.Load() == receivers })
		if !done || written.Load() != receivers*size {
			t.Errorf("%d of %d receivers are complete, %d bytes written", complete.Load(), receivers, written.Load())
		}
		var heard, handled, sent uint64
		for _, c := range crowds {
			for i, r := range c.Members() {
				stats := r.Stats()
				heard, handled, sent = heard+stats.NacksHeard, handled+stats.Datagrams, sent+stats.NacksSent
				if stats.Drops != (norm.Drops{}) {
					t.Fatalf("member %d: %+v", i, stats.Drops)
				}
			}
		}
		lost := crowds[0].Lost() + crowds[1].Lost()
		if share := float64(lost) / float64(lost+handled); share < 0.9*loss || share > 1.1*loss {
			t.Errorf("%.4f of the packets lost, want %.4f", share, loss)
		}
		if sent == 0 || int(sent) != nacks || heard > uint64(nacks)*(receivers-1) || heard < uint64(float64(nacks)*receivers*0.97) {
			t.Errorf("%d NACKs sent, %d seen, heard %d times by %d receivers", sent, nacks, heard, receivers)
		}
		return [32]byte(hash.Sum(nil))
	}
	if one, two := run(1), run(4); one != two {
		t.Errorf("the run depends on the number of processors: %x, %x", one, two)
	}
}

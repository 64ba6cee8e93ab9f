package norm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// BenchmarkObject carries one object through the simulator: the work of a sender and its receivers, and little beside.
func BenchmarkObject(b *testing.B) {
	for _, bench := range []struct {
		size      int64
		receivers int
		loss      float64
	}{
		{1 << 20, 1, 0}, {1 << 20, 1, 0.05}, {1 << 20, 4, 0.05}, {1 << 20, 4, 0.2}, {16 << 20, 1, 0.05},
	} {
		b.Run(fmt.Sprintf("size=%dMiB/receivers=%d/loss=%g%%", bench.size>>20, bench.receivers, 100*bench.loss), func(b *testing.B) {
			b.SetBytes(bench.size)
			for seed := uint64(0); b.Loop(); seed++ {
				net := normtest.New(seed)
				s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: time.Millisecond}, norm.SenderConfig{
					Node: 1, Rate: 1e9, GRTT: 10 * time.Millisecond, GroupSize: bench.receivers, Seed: seed,
				})
				if err != nil {
					b.Fatal(err)
				}
				file := make(normtest.Memory, bench.size)
				receivers := make([]*normtest.Receiver, bench.receivers)
				for i := range receivers {
					down := normtest.Link{Delay: time.Millisecond, Loss: normtest.Random(bench.loss)}
					cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i)}
					if receivers[i], err = net.AddReceiver(fmt.Sprint(i), nil, normtest.Link{}, down, cfg); err != nil {
						b.Fatal(err)
					}
					receivers[i].Create = func(o norm.ReceivedObject) normtest.File { return make(normtest.Memory, o.Size) }
				}
				if _, _, err := s.Send(norm.Object{Size: bench.size}, file); err != nil {
					b.Fatal(err)
				}
				done := net.RunUntil(time.Minute, func() bool {
					for len(receivers) > 0 && receivers[0].Completed() == 1 {
						receivers = receivers[1:]
					}
					return len(receivers) == 0
				})
				if !done {
					b.Fatalf("not complete after %v", net.Elapsed())
				}
			}
		})
	}
}

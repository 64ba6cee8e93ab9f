package norm_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// TestRepairOverhead compares the segments sent with those that the receiver of a block with the most losses needs: no
// code repairs independent losses with less.
func TestRepairOverhead(t *testing.T) {
	const receivers, p = 4, 0.05
	if testing.Short() {
		t.Skip("400,000 segments")
	}
	for _, k := range []int{64, 128} {
		net := normtest.New(1)
		cfg := norm.SenderConfig{
			Node: 1, Rate: 20e6, GRTT: 10 * time.Millisecond, GroupSize: 10, SegmentSize: 100,
			FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: k, MaxParity: k / 2},
		}
		s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: 5 * time.Millisecond}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		group := make([]*normtest.Receiver, receivers)
		for i := range group {
			link := normtest.Link{Delay: 5 * time.Millisecond, Loss: normtest.Random(p)}
			cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i)}
			if group[i], err = net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, cfg); err != nil {
				t.Fatal(err)
			}
		}
		lost := make(map[*normtest.Host]uint64)
		net.OnLose = func(p *normtest.Packet, to *normtest.Host) {
			if p.From == s.Host {
				lost[to]++
			}
		}
		all := group
		blocks := 200_000 / k
		if _, _, err := s.Send(norm.Object{Size: int64(blocks * k * 100)}, nil); err != nil {
			t.Fatal(err)
		}
		done := net.RunUntil(10*time.Minute, func() bool {
			for len(group) > 0 && group[0].Completed() == 1 {
				group = group[1:]
			}
			return len(group) == 0
		})
		for _, r := range all {
			// 200,000 messages wrap "sequence" three times; what the last ones lost does not show yet. N-4.1-16
			if got, want := r.Core.Stats().Lost, lost[r.Host]; got > want || got+5 < want {
				t.Errorf("%s: %d gaps in the sequence numbers, want %d", r.Host.Name, got, want)
			}
		}
		stats := s.Core.Stats()
		got := float64(stats.Data+stats.Repairs) / float64(stats.Data)
		least := leastSent(k, receivers, p) / float64(k)
		t.Logf("blocks of %d, %d receivers, %.0f %% loss: %.4f segments sent for one, the least is %.4f", k, receivers, 100*p, got, least)
		// "leverage transmission of FEC parity content for repair to the greatest extent possible". N-5.4.2-01
		if !done || got > 1.01*least || stats.Explicit > 0 {
			t.Errorf("complete: %v, %d explicit; want at most 1.01 times the least, none explicit", done, stats.Explicit)
		}
	}
}

// leastSent returns the expected number of segments until each of n receivers, who lose each with probability p, has k:
// the sum over m of the probability that m were not enough for somebody.
func leastSent(k, n int, p float64) (mean float64) {
	mean = float64(k)
	enough, term := 0.0, math.Pow(1-p, float64(k)) // P(k-th arrives with the m-th sent), negative binomial
	for m := k; ; m++ {
		enough += term
		all := math.Pow(enough, float64(n))
		if 1-all < 1e-12 {
			return mean
		}
		mean += 1 - all
		term *= p * float64(m) / float64(m-k+1)
	}
}

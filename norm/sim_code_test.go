package norm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// TestCodesThroughLosses sends objects in every code and dialect, with EXT_FTI everywhere, in NORM_INFO only, and not at
// all, through a lossy network to receivers one of which comes late. Every byte that arrives is checked. N-4.2.1-01
func TestCodesThroughLosses(t *testing.T) {
	for _, code := range []fec.Params{
		{ID: fec.ReedSolomonGF8, MaxBlockLen: 8, MaxParity: 6},
		{ID: fec.ReedSolomonGF8, MaxBlockLen: 8, MaxParity: 6, Dialect: fec.NRL},
		{ID: fec.ReedSolomon, MaxBlockLen: 8, MaxParity: 6, Dialect: fec.NRL},
		{ID: fec.ReedSolomon, M: 16, MaxBlockLen: 200, MaxParity: 180},
		{ID: fec.ReedSolomon, M: 16, MaxBlockLen: 200, MaxParity: 180, Dialect: fec.NRL},
		{ID: fec.SmallBlockSystematic, MaxBlockLen: 8, MaxParity: 6, Dialect: fec.NRL},
		{ID: fec.SmallBlockSystematic, MaxBlockLen: 8, MaxParity: 6, Dialect: fec.MDP},
	} {
		for _, policy := range []norm.FTIPolicy{norm.FTIAlways, norm.FTIInfo, norm.FTINone} {
			t.Run(fmt.Sprintf("%v/%v/FTI%d", code, code.Dialect, policy), func(t *testing.T) {
				t.Parallel()
				codeThroughLosses(t, code, policy)
			})
		}
	}
}

func codeThroughLosses(t *testing.T, code fec.Params, policy norm.FTIPolicy) {
	const size = 30_011 // 301 segments: whole blocks, and shorter ones
	net := normtest.New(7)
	delay := 10 * time.Millisecond
	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: delay}, norm.SenderConfig{
		Node: 1, GRTT: 20 * time.Millisecond, SegmentSize: 100, Rate: 1e6, GroupSize: 10, FEC: code, FTI: policy,
	})
	if err != nil {
		t.Fatal(err)
	}
	var receivers []*normtest.Receiver
	join := func() {
		i := len(receivers)
		link := normtest.Link{Delay: delay, Loss: normtest.Random(0.15)}
		cfg := norm.ReceiverConfig{Node: norm.NodeID(10 + i), Seed: uint64(i), Join: norm.JoinAll}
		if code.Dialect == fec.MDP {
			cfg.Dialect = norm.DialectMDP
		}
		r, err := net.AddReceiver(fmt.Sprintf("r%d", i), nil, normtest.Link{}, link, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if policy == norm.FTINone {
			p := norm.Preset{Sender: 1, Size: size, FEC: code}
			p.FEC.SegmentSize = 100
			if _, err := r.Expect(p, nil); err != nil {
				t.Fatal(err)
			}
		}
		receivers = append(receivers, r)
	}
	join()
	join()
	if _, _, err := s.Send(norm.Object{Size: size}, nil); err != nil {
		t.Fatal(err)
	}
	net.Run(100 * time.Millisecond)
	join() // late
	done := func() bool {
		for _, r := range receivers {
			if r.Completed() != 1 {
				return false
			}
		}
		return true
	}
	if !net.RunUntil(time.Minute, done) {
		for _, r := range receivers {
			t.Errorf("%v: %+v", r.Objects, r.Core.Stats())
		}
	}
	for _, r := range receivers {
		if r.Core.Stats().Decoded == 0 {
			t.Errorf("%s decoded nothing", r.Host.Name)
		}
	}
}

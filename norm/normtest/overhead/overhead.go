// Package overhead measures what repair costs a NORM sender in bytes, and computes the least that it could cost.
//
// A [Case] is one transfer to a group of real receivers in the virtual time of package normtest, each of which loses segments
// on its own. [Least] is what it is measured against. A [Report] is the tables of docs/overhead.md.
package overhead

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// Least returns how many segments a sender sends of a block of k source segments on average, at the least, until each of n
// receivers has k of them, if each loses each segment with probability p on its own and parity never ends: with M segments
// a receiver has enough with probability P(M) = sum over i ≤ M-k of C(M,i) p^i (1-p)^(M-i), and
//
//	E = k + sum over M ≥ k of 1 - P(M)^n.
//
// No code does with less, and no sender that is told nothing while it sends the block; parity that is lost counts.
func Least(k, n int, p float64) float64 {
	mean := float64(k)
	enough, term := 0.0, math.Pow(1-p, float64(k)) // the probability that the k-th arrives with the M-th sent, negative binomial
	for m := k; ; m++ {
		enough += term
		short := -math.Expm1(float64(n) * math.Log(min(enough, 1)))
		if short < 1e-9 {
			return mean
		}
		mean += short
		term *= p * float64(m) / float64(m-k+1)
	}
}

// A Case is a transfer of full blocks to a group of which each receiver loses segments on its own.
type Case struct {
	Code       fec.Params // the segment size is filled in
	AutoParity int        // as in norm.SenderConfig
	Receivers  int
	Loss       float64 // share of the segments
	Blocks     int
	Seed       uint64
}

// A Result is what came of it until all receivers were complete.
type Result struct {
	Case
	Sender  norm.SenderStats
	Nacks   uint64 // that receivers sent
	Elapsed time.Duration
}

const (
	segmentSize = 1400
	rate        = 20e6                 // bits per second
	delay       = 5 * time.Millisecond // between any two nodes
	limit       = time.Hour
)

// Measure makes the transfer. The same case gives the same result.
func (c Case) Measure() (Result, error) {
	net := normtest.New(c.Seed)
	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: delay}, norm.SenderConfig{
		Node: 1, Rate: rate, GRTT: 2 * delay, GroupSize: c.Receivers, Seed: c.Seed,
		FEC: c.Code, SegmentSize: segmentSize, AutoParity: c.AutoParity,
	})
	if err != nil {
		return Result{}, err
	}
	var complete, nacks atomic.Int64 // members are called on several processors
	_, err = net.AddCrowd("group", nil, normtest.CrowdConfig{
		Size: c.Receivers, Delay: delay, Keep: 2,
		Loss: func() normtest.Loss { return normtest.Random(c.Loss) },
		Make: func(i int) norm.ReceiverConfig {
			return norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: c.Seed<<32 | uint64(i)}
		},
		Perform: func(int, *norm.IO) error { return nil }, // nothing is read back as long as memory suffices
		OnEvent: func(_ int, r *norm.Receiver, e norm.Event) {
			switch e.Kind {
			case norm.ObjectOffered:
				_ = r.Accept(net.Now(), e.Object) // it has just been offered
			case norm.ObjectComplete:
				complete.Add(1)
				nacks.Add(int64(r.Stats().NacksSent)) // a complete receiver asks for nothing
			}
		},
	})
	if err != nil {
		return Result{}, err
	}
	if _, _, err := s.Send(norm.Object{Size: int64(c.Blocks) * int64(c.Code.MaxBlockLen) * segmentSize}, nil); err != nil {
		return Result{}, err
	}
	if !net.RunUntil(limit, func() bool { return complete.Load() == int64(c.Receivers) }) {
		return Result{}, fmt.Errorf("overhead: %d of %d receivers are complete after %v", complete.Load(), c.Receivers, limit)
	}
	return Result{Case: c, Sender: s.Core.Stats(), Nacks: uint64(nacks.Load()), Elapsed: net.Elapsed()}, nil
}

// Segments returns how many segments were sent for each one of content.
func (r Result) Segments() float64 {
	return float64(r.Sender.Data+r.Sender.Parity+r.Sender.Repairs) / float64(r.Sender.Data)
}

// Least returns how many it takes at the least: with a code [Least], without one each segment is a block of its own.
func (r Result) Least() float64 {
	if r.Code.MaxParity == 0 {
		return Least(1, r.Receivers, r.Loss)
	}
	k := r.Code.MaxBlockLen
	return Least(k, r.Receivers, r.Loss) / float64(k)
}

// NacksPerCycle returns how many NACKs there were for each repair event.
func (r Result) NacksPerCycle() float64 {
	return float64(r.Nacks) / max(float64(r.Sender.RepairCycles), 1)
}

// Package scale measures how NORM's cost grows with the group: one [norm.Sender] and up to 100,000 [norm.Receiver]s in
// virtual time, with all their code. What is elided is content: of each symbol a receiver keeps the first bytes only
// ([norm.NewMemory]), which it decodes, writes and has verified as it would all of them.
//
// A [Run] is one transfer of one object. The same configuration gives the same run, to the last datagram, on however many
// processors it is computed.
package scale

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A Config is a session to be simulated. Every field is right at zero, but Size.
type Config struct {
	Receivers int   // if zero, 1,000
	Size      int64 // of the object, in bytes
	Loss      Loss
	Unicast   bool // feedback by unicast, which NORM_CMD(REPAIR_ADV) repeats

	// Sender is the sender's; Node and Group are filled in, GroupSize with Receivers. Unless given its rate is 10 Mbit/s, its
	// GRTT 100 ms, its BackoffFactor 4, and its code has 64 source symbols and 32 parity symbols a block.
	Sender norm.SenderConfig
	// Receiver is each receiver's; Node, Group, Memory and Seed are filled in.
	Receiver norm.ReceiverConfig
	// Delay is the time from any node to any other. If zero, GRTT/2, which RFC 5401, Section 3.2.2 supposes.
	Delay time.Duration
	// Limit is how long the transfer may take in virtual time. If zero, an hour.
	Limit time.Duration
	// Record keeps what the sender was told, for [Result].Replay.
	Record bool

	Seed uint64
}

// ErrConfig is what the error of a configuration that cannot work wraps.
var ErrConfig = errors.New("scale: this cannot be simulated")

// resolve returns a copy of c with the defaults filled in, or says what cannot work.
func (c Config) resolve() (Config, error) {
	c.Receivers = cmp.Or(c.Receivers, 1000)
	c.Limit = cmp.Or(c.Limit, time.Hour)
	c.Sender.GRTT = cmp.Or(c.Sender.GRTT, 100*time.Millisecond)
	c.Sender.SegmentSize = cmp.Or(c.Sender.SegmentSize, 1400)
	c.Sender.GroupSize = cmp.Or(c.Sender.GroupSize, c.Receivers)
	c.Delay = cmp.Or(c.Delay, c.Sender.GRTT/2)
	c.Sender.Node, c.Sender.Group, c.Sender.Seed = 1, normtest.Group, c.Seed
	c.Sender.BackoffFactor = cmp.Or(c.Sender.BackoffFactor, 4)
	if c.Sender.FEC.MaxBlockLen == 0 {
		c.Sender.FEC = fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 64, MaxParity: 32}
	}
	if c.Unicast {
		c.Receiver.Feedback = norm.FeedbackUnicast
	}
	switch {
	case c.Receivers < 1 || c.Receivers > 1<<20:
		return c, fmt.Errorf("%w: %d receivers: want 1 to %d", ErrConfig, c.Receivers, 1<<20)
	case c.Size < 1 || c.Size > 1<<32:
		return c, fmt.Errorf("%w: an object of %d bytes: want 1 byte to 4 GiB", ErrConfig, c.Size)
	case c.Delay < 0 || c.Limit < 0:
		return c, fmt.Errorf("%w: delay %v, limit %v: want times", ErrConfig, c.Delay, c.Limit)
	}
	if err := c.Loss.check(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, nil
}

// warmup is the time before the object is sent, in which probes find the round trip time.
const warmup = 2 * time.Second

// A Result is what a run came to. Times are virtual unless it is said that they are not.
type Result struct {
	Config Config
	Sender norm.SenderStats

	Nacks, Acks, Adverts int   // NORM_NACK and NORM_ACK that receivers sent, NORM_CMD(REPAIR_ADV)
	PerEvent             []int // NORM_NACKs of each repair event, one aggregation of the sender
	FeedbackBytes        int   // of NORM_NACK and NORM_ACK

	Complete         int             // receivers that have the object, each symbol verified
	Sent             time.Duration   // from the beginning of the transfer until all was sent once
	Done             []time.Duration // until it was complete at each receiver, ascending
	Deliveries, Lost uint64          // datagrams at receivers
	Suppressed       uint64          // NACK cycles that ended without a NORM_NACK

	HeapIdle, HeapActive int64 // bytes for each receiver: before the transfer, and the most that was seen during it
	System               uint64
	Elapsed              time.Duration // on a clock

	recording recording
}

// PerEventMean returns how many NORM_NACKs a repair event took on average.
func (r *Result) PerEventMean() float64 {
	return float64(r.Nacks) / float64(max(r.Sender.RepairCycles, 1))
}

// Overhead returns how many segments were sent for each of the object, 1 if none was sent again.
func (r *Result) Overhead() float64 {
	return float64(r.Sender.Data+r.Sender.Parity+r.Sender.Repairs) / float64(r.Sender.Data)
}

// Tail returns when a share of the receivers was complete.
func (r *Result) Tail(share float64) time.Duration {
	if len(r.Done) == 0 {
		return 0
	}
	return r.Done[min(int(share*float64(len(r.Done))), len(r.Done)-1)]
}

// A run is a session that is being simulated.
type run struct {
	Result
	net     *normtest.Net
	sender  *recorder
	host    *normtest.Host
	crowds  []*normtest.Crowd
	content *content
	sinks   []sink
	started time.Duration
	done    []time.Duration // by receiver; zero: not yet
	missing atomic.Int64    // receivers that lack something
	heap    uint64          // without receivers
	failed  atomic.Pointer[error]
}

// Run simulates a session until every receiver has the object, or the time is over. The error says which number of cfg cannot
// work ([ErrConfig]), or what a receiver has that was not sent.
func Run(cfg Config) (*Result, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	r := &run{Result: Result{Config: cfg}, net: normtest.New(cfg.Seed), heap: heap()}
	if err := r.addSender(); err != nil {
		return nil, err
	}
	if err := r.addReceivers(); err != nil {
		return nil, err
	}
	r.net.OnSend = r.count
	r.net.Run(warmup)
	r.HeapIdle = r.perReceiver()
	r.start()
	for !r.net.RunUntil(r.step(), func() bool { return r.missing.Load() == 0 || r.failed.Load() != nil }) {
		r.HeapActive = max(r.HeapActive, r.perReceiver())
		if r.net.Elapsed() > cfg.Limit {
			break
		}
	}
	r.finish()
	r.Elapsed = time.Since(begun)
	if failed := r.failed.Load(); failed != nil {
		return nil, *failed
	}
	return &r.Result, nil
}

func (r *run) addSender() error {
	core, err := norm.NewSender(r.Config.Sender, r.net.Now())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	r.content = newContent(r.Config)
	r.host = r.net.Add("s", nil, r.Config.Loss.up(), normtest.Link{Delay: r.Config.Delay})
	r.host.Open = func(norm.Handle) normtest.File { return r.content }
	r.host.OnEvent = func(e norm.Event) {
		if e.Kind == norm.ObjectSent {
			r.Sent = r.net.Elapsed() - r.started
		}
	}
	r.sender = &recorder{Sender: core, on: r.Config.Record}
	r.host.Start(r.sender)
	return nil
}

// addReceivers adds them in the subtrees that the loss model asks for.
func (r *run) addReceivers() error {
	n, trees := r.Config.Receivers, r.Config.Loss.trees(r.Config.Receivers)
	r.sinks, r.done = make([]sink, n), make([]time.Duration, n)
	r.missing.Store(int64(n))
	for t := range trees {
		first := t * n / trees
		site := r.net.AddSite()
		site.Down = r.Config.Loss.tree()
		crowd, err := r.net.AddCrowd(fmt.Sprint("tree", t), site, normtest.CrowdConfig{
			Size: (t+1)*n/trees - first, Delay: r.Config.Delay, Keep: keep, Loss: r.Config.Loss.member(),
			Make: func(i int) norm.ReceiverConfig {
				cfg := r.Config.Receiver
				cfg.Node, cfg.Seed = norm.NodeID(first+i+2), r.Config.Seed<<32|uint64(first+i)
				return cfg
			},
			Perform: func(i int, io *norm.IO) error { return r.sinks[first+i].perform(r.content, io) },
			OnEvent: func(i int, core *norm.Receiver, e norm.Event) { r.note(first+i, core, e) },
		})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
		r.crowds = append(r.crowds, crowd)
	}
	r.Config.Loss.rule(r.net)
	return nil
}

// note is the application of a receiver, called for many at a time.
func (r *run) note(i int, core *norm.Receiver, e norm.Event) {
	switch e.Kind {
	case norm.ObjectOffered:
		_ = core.Accept(r.net.Now(), e.Object)
	case norm.ObjectComplete:
		if !r.sinks[i].whole(r.content) {
			r.fail(fmt.Errorf("scale: receiver %d has an object that differs from what was sent", i))
		}
		r.done[i] = r.net.Elapsed()
		r.missing.Add(-1)
	case norm.ObjectAborted:
		r.fail(fmt.Errorf("scale: receiver %d lost the object: %w", i, e.Err))
	}
}

func (r *run) fail(err error) { r.failed.CompareAndSwap(nil, &err) }

// count is told of each datagram that is sent.
func (r *run) count(p *normtest.Packet) {
	if p.From == r.host {
		if _, ok := p.Message().(*wire.RepairAdv); ok {
			r.Adverts++
		}
		return
	}
	r.FeedbackBytes += len(p.B)
	switch p.Message().(type) {
	case *wire.Ack:
		r.Acks++
	case *wire.Nack:
		r.Nacks++
		event := int(r.sender.Stats().RepairCycles)
		for len(r.PerEvent) <= event {
			r.PerEvent = append(r.PerEvent, 0)
		}
		r.PerEvent[event]++
	}
}

// start begins the transfer.
func (r *run) start() {
	r.started = r.net.Elapsed()
	r.host.Do(func(now time.Time) {
		if _, _, err := r.sender.enqueue(now, norm.Object{Kind: norm.File, Size: r.Config.Size}); err != nil {
			r.fail(err)
		}
	})
}

// step returns the time between looks at the memory: a few in the time the object takes.
func (r *run) step() time.Duration {
	nominal := time.Duration(float64(r.Config.Size*8) / r.sender.Stats().Rate * float64(time.Second))
	return max(nominal/3, 10*time.Millisecond)
}

func (r *run) finish() {
	r.Sender = r.sender.Stats()
	r.recording = r.sender.recording
	for _, c := range r.crowds {
		r.Lost += c.Lost()
		for _, core := range c.Members() {
			stats := core.Stats()
			r.Deliveries += stats.Datagrams
			r.Suppressed += stats.NacksSuppressed
		}
	}
	for _, at := range r.done {
		if at > 0 {
			r.Done = append(r.Done, at-r.started)
		}
	}
	slices.Sort(r.Done)
	r.Complete = len(r.Done)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.System = m.Sys
}

// heap returns the bytes in use, after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// perReceiver returns the bytes in use for each receiver, what the simulator itself has for it included.
func (r *run) perReceiver() int64 {
	return (int64(heap()) - int64(r.heap)) / int64(r.Config.Receivers)
}

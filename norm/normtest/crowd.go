package normtest

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A CrowdConfig says of what a [Crowd] is made.
type CrowdConfig struct {
	Size  int
	Delay time.Duration                   // of the link to each member
	Loss  func() Loss                     // makes what each member's link loses; nil: nothing
	Up    Link                            // from the members towards the others
	Make  func(i int) norm.ReceiverConfig // of member i; its Group and Memory are filled in

	// Keep is how many bytes of each symbol the members keep ([norm.NewMemory]); 0: all.
	Keep int
	// Perform does what member i asks of its storage.
	Perform func(i int, io *norm.IO) error
	// OnEvent is the application of member i. It may call methods of the receiver.
	OnEvent func(i int, r *norm.Receiver, e norm.Event)
}

// A Crowd is a place where many [norm.Receiver]s run behind links of the same delay: tens of thousands of them cost little
// beside their own state. A packet to them is one event, and all members handle it at once, on several processors. What
// members send comes from the one address of Host, which no sender minds.
//
// Functions of the configuration are called for several members at a time, for one member never twice at once. The order in
// which members are heard does not depend on it, nor does their chance: each shard of the crowd has its own.
type Crowd struct {
	Host   *Host // stands for all; rules and traces see it alone
	cfg    CrowdConfig
	shards []*shard
}

// shardSize is how many members are handled one after the other, with one generator and one memory.
const shardSize = 1024

// A shard is some members of a crowd.
type shard struct {
	crowd   *Crowd
	first   int
	members []member
	rng     *rand.Rand
	lost    uint64

	// What members said and when they want to be woken, until the network takes it.
	said   []saying
	b      []byte
	buf    []byte
	alarms []event
}

// A member is a receiver of a crowd.
type member struct {
	core  *norm.Receiver
	loss  Loss
	alarm time.Duration // when the earliest event of its own comes; none: negative
}

// A saying is a datagram in shard.b up to end.
type saying struct {
	member, end int
	to          netip.AddrPort
}

// crowdMemory is what the members of a shard may use together, in bytes: a megabyte each.
const crowdMemory = shardSize << 20

// AddCrowd adds a crowd to the site (nil: directly at the core).
func (n *Net) AddCrowd(name string, site *Site, cfg CrowdConfig) (*Crowd, error) {
	c := &Crowd{Host: n.Add(name, site, cfg.Up, Link{Delay: cfg.Delay}), cfg: cfg}
	c.Host.crowd = c
	for first := 0; first < cfg.Size; first += shardSize {
		s := &shard{crowd: c, first: first, rng: rand.New(rand.NewPCG(n.seed, uint64(len(n.hosts))<<32|uint64(first+1)))}
		memory, err := norm.NewMemory(crowdMemory, cfg.Keep)
		if err != nil {
			return nil, fmt.Errorf("normtest: crowd: %w", err)
		}
		s.members = make([]member, min(shardSize, cfg.Size-first))
		for i := range s.members {
			rc := cfg.Make(first + i)
			rc.Group, rc.Memory = Group, memory
			core, err := norm.NewReceiver(rc)
			if err != nil {
				return nil, err
			}
			s.members[i] = member{core: core, alarm: -1}
			if cfg.Loss != nil {
				s.members[i].loss = cfg.Loss()
			}
		}
		c.shards = append(c.shards, s)
	}
	return c, nil
}

// Members returns the receivers with their numbers.
func (c *Crowd) Members() iter.Seq2[int, *norm.Receiver] {
	return func(yield func(int, *norm.Receiver) bool) {
		for _, s := range c.shards {
			for i := range s.members {
				if !yield(s.first+i, s.members[i].core) {
					return
				}
			}
		}
	}
}

// Lost returns how many packets the members' links lost, counted for each member.
func (c *Crowd) Lost() (n uint64) {
	for _, s := range c.shards {
		n += s.lost
	}
	return n
}

// arrive hands a packet to all members but the one who sent it.
func (c *Crowd) arrive(p *Packet) {
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(c.shards); i = int(next.Add(1)) - 1 {
			c.shards[i].arrive(p)
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(c.shards)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	for _, s := range c.shards {
		s.flush()
	}
}

func (s *shard) arrive(p *Packet) {
	net := s.crowd.Host.net
	now := net.Now()
	d := norm.Datagram{From: p.Source, To: p.To, ECN: ect0, B: p.B}
	for i := range s.members {
		m := &s.members[i]
		switch {
		case p.From == s.crowd.Host && p.member == s.first+i:
		case m.loss != nil && m.loss.lost(s.rng):
			s.lost++
		default:
			m.core.Handle(now, d)
			s.settle(now, i)
		}
	}
}

// settle drains member i until it has nothing more to say.
func (s *shard) settle(now time.Time, i int) {
	m, cfg := &s.members[i], &s.crowd.cfg
	for busy := true; busy; {
		busy = false
		for io := range m.core.Requests() {
			io.Err = cfg.Perform(s.first+i, io)
			m.core.Complete(now, io)
			busy = true
		}
		for {
			pkt, to, ok := m.core.Poll(now, s.buf[:0])
			if !ok {
				break
			}
			s.buf = pkt
			s.b = append(s.b, pkt...)
			s.said = append(s.said, saying{s.first + i, len(s.b), to})
		}
		for e := range m.core.Events() {
			cfg.OnEvent(s.first+i, m.core, e)
			busy = true
		}
	}
	if d := m.core.Deadline(); !d.IsZero() {
		s.setAlarm(i, max(d.Sub(Epoch), now.Sub(Epoch)))
	}
}

// setAlarm is as [Host.setAlarm].
func (s *shard) setAlarm(i int, at time.Duration) {
	if m := &s.members[i]; m.alarm < 0 || at < m.alarm {
		m.alarm = at
		s.alarms = append(s.alarms, event{at: at, shard: s, member: int32(i)})
	}
}

// flush gives the network what the members said, and their alarms.
func (s *shard) flush() {
	host, start := s.crowd.Host, 0
	for _, said := range s.said {
		host.net.send(host, said.member, s.b[start:said.end], said.to)
		start = said.end
	}
	for _, e := range s.alarms {
		host.net.queue.push(e)
	}
	s.said, s.b, s.alarms = s.said[:0], s.b[:0], s.alarms[:0]
}

// wake is called when an alarm of member i that was set for at rings.
func (s *shard) wake(at time.Duration, i int) {
	m := &s.members[i]
	if at != m.alarm {
		return // an earlier one replaced it
	}
	m.alarm = -1
	d := m.core.Deadline()
	if d.IsZero() {
		return
	}
	if due := d.Sub(Epoch); due > at {
		s.setAlarm(i, due)
	} else {
		now := s.crowd.Host.net.Now()
		m.core.Advance(now)
		s.settle(now, i)
		if m.alarm == at {
			s.crowd.Host.net.fault("%s: member %d has a deadline that Advance does not move", s.crowd.Host.Name, s.first+i)
		}
	}
	s.flush()
}

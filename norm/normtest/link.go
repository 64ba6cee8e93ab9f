package normtest

import (
	"math/rand/v2"
	"time"
)

// A Link is one direction of a line: what it does to the packets that enter it, one after the other. The zero Link
// delivers everything at once.
type Link struct {
	Delay  time.Duration // how long a packet is under way
	Jitter time.Duration // up to that much longer, drawn uniformly for each packet: packets overtake each other
	Loss   Loss          // which packets vanish; nil: none

	Duplicate float64 // share of the packets that arrive twice, in [0, 1]
	Reorder   float64 // share of the packets that come late by Late, in [0, 1]
	Late      time.Duration

	Rate  float64 // bits per second; zero: no limit
	Queue int     // how many bytes wait for the line, beyond that the packet is lost; zero: 64 KiB
	Mark  int     // beyond how many a packet gets the ECN codepoint CE (RFC 3168); zero: never. At the link to a host only

	free time.Duration // when the line has sent what waits
}

const defaultQueue = 64 << 10

// Burst is how the copies of one packet leave a link: none, one or two of them.
type burst struct {
	at     [2]time.Duration
	n      int
	marked bool
}

// steady reports whether packets spend the same time on the link, so that those who share the delay can share an event.
func (l *Link) steady() bool {
	return l.Jitter == 0 && l.Duplicate == 0 && l.Reorder == 0 && l.Rate == 0
}

// pass sends a packet of size bytes that enters at the given instant, and returns when its copies leave. The line
// serves packets in the order of the calls.
func (l *Link) pass(rng *rand.Rand, at time.Duration, size int) (out burst) {
	if l.Loss != nil && l.Loss.lost(rng) {
		return out
	}
	if l.Rate > 0 {
		limit := l.Queue
		if limit == 0 {
			limit = defaultQueue
		}
		wait := max(0, l.free-at)
		if wait.Seconds()*l.Rate/8+float64(size) > float64(max(limit, size)) {
			return out
		}
		out.marked = l.Mark > 0 && wait.Seconds()*l.Rate/8 > float64(l.Mark)
		l.free = at + wait + time.Duration(float64(size)*8/l.Rate*float64(time.Second))
		at = l.free
	}
	out.at[0], out.n = l.arrival(rng, at), 1
	if l.Duplicate > 0 && rng.Float64() < l.Duplicate {
		out.at[1], out.n = l.arrival(rng, at), 2
	}
	return out
}

func (l *Link) arrival(rng *rand.Rand, at time.Duration) time.Duration {
	at += l.Delay
	if l.Jitter > 0 {
		at += time.Duration(rng.Float64() * float64(l.Jitter))
	}
	if l.Reorder > 0 && rng.Float64() < l.Reorder {
		at += l.Late
	}
	return at
}

// A Loss decides which packets a link loses. A Loss with a memory belongs to one link.
type Loss interface{ lost(rng *rand.Rand) bool }

// Random is independent loss: the share of packets lost, in [0, 1].
type Random float64

func (p Random) lost(rng *rand.Rand) bool { return p > 0 && rng.Float64() < float64(p) }

// Bursts is Gilbert's model: a link is good or bad, and loses everything while it is bad.
type Bursts struct {
	Begin float64 // probability that a good link turns bad, for each packet
	End   float64 // probability that a bad link turns good, for each packet: bursts are 1/End packets long on average

	bad bool
}

func (g *Bursts) lost(rng *rand.Rand) bool {
	turn := g.Begin
	if g.bad {
		turn = g.End
	}
	if rng.Float64() < turn {
		g.bad = !g.bad
	}
	return g.bad
}

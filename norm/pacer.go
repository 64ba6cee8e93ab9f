package norm

import (
	"math"
	"time"
)

const (
	// excess is the share of a second by which its datagrams may exceed the rate, in which late wake-ups are made up for: up to
	// 19 ms of lateness at 100 Mbit/s and 8 ms at 1 Mbit/s do not lower the average rate.
	excess = 0.02

	// peak is how many times the rate is while a late wake-up is made up for.
	peak = 2
)

// A pacer spreads what is sent over time. It keeps nominal send times, t(i+1) = t(i) + s/X of RFC 4654, Section 3.7, in
// the form of a credit in bytes: late wake-ups do not lower the average rate, as long as they are not later than excess allows or
// the burst holds, and nothing is ever sent ahead of time. A second credit grows faster and holds no more than a burst,
// so that what is late does not leave all at once: a burst is for switches to buffer, and catching up is not.
type pacer struct {
	rate  float64 // bytes per second
	mean  credit
	burst credit
	at    time.Time // when the credits were what they are
	idle  bool      // there has been nothing to send: time that passes does not make anything late

	spent   time.Time // when a datagram left last
	run     uint64    // how many have then
	largest uint64    // and at most so far
}

// A credit is how many bytes may be sent: a datagram may leave unless it is negative.
type credit struct {
	rate  float64 // bytes per second
	limit float64 // most that a pause can build up, in bytes
	bytes float64
}

func (c *credit) grow(elapsed time.Duration, limit float64) {
	c.bytes = min(c.bytes+elapsed.Seconds()*c.rate, max(limit, c.bytes))
}

// wait returns in how many seconds it is not negative.
func (c *credit) wait() float64 { return max(-c.bytes, 0) / c.rate }

// newPacer returns a pacer that lets at most burst bytes go at once, of which one datagram has at most largest.
func newPacer(now time.Time, bitsPerSecond float64, burst, largest int) pacer {
	p := pacer{at: now}
	p.set(now, bitsPerSecond, burst, largest)
	p.mean.bytes, p.burst.bytes = p.burst.limit, p.burst.limit
	return p
}

func (p *pacer) set(now time.Time, bitsPerSecond float64, burst, largest int) {
	p.update(now)
	p.rate = max(bitsPerSecond, 0) / 8
	// The datagram that uses up the credit may exceed it by its length.
	limit := max(float64(burst-largest), 0)
	p.burst = credit{peak * p.rate, limit, min(p.burst.bytes, limit)}
	limit = max(limit, p.rate*excess-float64(largest))
	p.mean = credit{p.rate, limit, min(p.mean.bytes, limit)}
}

// update returns how many bytes could have been sent since the last time.
func (p *pacer) update(now time.Time) (bytes float64) {
	if elapsed := now.Sub(p.at); elapsed > 0 {
		bytes = elapsed.Seconds() * p.rate
		limit := p.mean.limit
		if p.idle {
			limit = p.burst.limit
		}
		p.mean.grow(elapsed, limit)
		p.burst.grow(elapsed, p.burst.limit)
		p.at = now
	}
	return bytes
}

// ready reports whether a datagram may leave now.
func (p *pacer) ready(now time.Time) bool {
	p.update(now)
	return p.rate > 0 && p.mean.bytes >= 0 && p.burst.bytes >= 0
}

// spend takes account of a datagram of n bytes that leaves when ready was asked.
func (p *pacer) spend(n int) {
	p.mean.bytes -= float64(n)
	p.burst.bytes -= float64(n)
	if !p.at.Equal(p.spent) {
		p.spent, p.run = p.at, 0
	}
	p.run++
	p.largest = max(p.largest, p.run)
}

// next returns when the next datagram may leave, or zero if none may because the rate is zero.
func (p *pacer) next() time.Time {
	if p.rate <= 0 {
		return time.Time{}
	}
	wait := max(p.mean.wait(), p.burst.wait())
	if wait == 0 {
		return p.at
	}
	return p.at.Add(time.Duration(min(math.Ceil(wait*float64(time.Second))+1, math.MaxInt64/2)))
}

// interval returns the nominal time between datagrams of n bytes.
func (p *pacer) interval(n int) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	return time.Duration(min(float64(n)/p.rate*float64(time.Second), math.MaxInt64/2))
}

package norm

import (
	"math"
	"time"
)

// A pacer spreads what is sent over time. It keeps nominal send times, t(i+1) = t(i) + s/X of RFC 4654, Section 3.7, in
// the form of a credit in bytes: late wake-ups do not lower the average rate, as long as they are not later than what
// the burst holds, and nothing is ever sent ahead of time.
type pacer struct {
	rate   float64 // bytes per second
	limit  float64 // most credit that a pause can build up, in bytes
	credit float64 // in bytes, at the time `at`; a datagram may leave unless it is negative
	at     time.Time
}

// newPacer returns a pacer that lets at most burst bytes go at once, of which one datagram has at most largest.
func newPacer(now time.Time, bitsPerSecond float64, burst, largest int) pacer {
	p := pacer{at: now}
	p.set(now, bitsPerSecond, burst, largest)
	p.credit = p.limit
	return p
}

func (p *pacer) set(now time.Time, bitsPerSecond float64, burst, largest int) {
	p.update(now)
	p.rate = max(bitsPerSecond, 0) / 8
	// The datagram that uses up the credit may exceed it by its length.
	p.limit = max(float64(burst-largest), 0)
	p.credit = min(p.credit, p.limit)
}

// update returns how many bytes could have been sent since the last time.
func (p *pacer) update(now time.Time) (bytes float64) {
	if elapsed := now.Sub(p.at); elapsed > 0 {
		bytes = elapsed.Seconds() * p.rate
		p.credit = min(p.credit+bytes, p.limit)
		p.at = now
	}
	return bytes
}

// ready reports whether a datagram may leave now.
func (p *pacer) ready(now time.Time) bool {
	p.update(now)
	return p.rate > 0 && p.credit >= 0
}

// spend takes account of a datagram of n bytes.
func (p *pacer) spend(n int) { p.credit -= float64(n) }

// next returns when the next datagram may leave, or zero if none may because the rate is zero.
func (p *pacer) next() time.Time {
	switch {
	case p.rate <= 0:
		return time.Time{}
	case p.credit >= 0:
		return p.at
	}
	wait := -p.credit / p.rate * float64(time.Second)
	return p.at.Add(time.Duration(min(math.Ceil(wait)+1, math.MaxInt64/2)))
}

// interval returns the nominal time between datagrams of n bytes.
func (p *pacer) interval(n int) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	return time.Duration(min(float64(n)/p.rate*float64(time.Second), math.MaxInt64/2))
}

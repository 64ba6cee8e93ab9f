package doctor

import (
	"net/netip"
	"time"
)

// Bounds on what a Responder does for others.
const (
	maxSources    = 64              // that are remembered, and so served
	sourceIdle    = 5 * time.Second // then another may have the place
	sourceRate    = 20              // messages per second of one source that are looked at
	sourceBurst   = 40              // of them at once
	maxWaiting    = 8               // bursts that wait
	burstDuration = 500 * time.Millisecond
)

// A bucket holds what may be spent now.
type bucket struct {
	level, capacity, perSecond float64
	at                         time.Time
}

// take takes n if there is as much.
func (b *bucket) take(now time.Time, n float64) bool {
	if b.at.IsZero() {
		b.level = b.capacity
	} else {
		b.level = min(b.capacity, b.level+b.perSecond*max(0, now.Sub(b.at).Seconds()))
	}
	b.at = now
	if b.level < n {
		return false
	}
	b.level -= n
	return true
}

// A source is what a Responder knows of one who asks.
type source struct {
	bucket
	run          uint64 // the latest
	asked        uint32 // sequence of the latest request granted
	heardTTL     uint8  // of this run, as in an answer
	heardUnicast bool
}

// sources are all of them, by address.
type sources map[netip.Addr]*source

// admit returns the source of an address, or nil if it asks too much or there are too many.
func (s sources) admit(now time.Time, a netip.Addr) *source {
	f := s[a]
	if f == nil {
		if len(s) >= maxSources && !s.makeRoom(now) {
			return nil
		}
		f = &source{bucket: bucket{capacity: sourceBurst, perSecond: sourceRate}}
		s[a] = f
	}
	if !f.take(now, 1) {
		return nil
	}
	return f
}

// makeRoom forgets those that have been silent.
func (s sources) makeRoom(now time.Time) bool {
	for a, f := range s {
		if now.Sub(f.at) > sourceIdle {
			delete(s, a)
		}
	}
	return len(s) < maxSources
}

package doctor

import (
	"context"
	"time"
)

// measurable reports whether the sender reaches us by the group and grants bursts.
func (e *examination) measurable() bool { return e.groupHeard > 0 && e.cookieGroup != 0 }

// needed is the UDP payload that NORM needs.
func (e *examination) needed() int { return e.config.SegmentSize + headerRoom }

// measureSizes finds the greatest UDP payload that passes, down from what is needed.
func (e *examination) measureSizes(ctx context.Context) {
	if !e.measurable() || e.noFragment != nil {
		return
	}
	e.config.Progress("measuring the MTU")
	passes := func(size int) bool {
		for range 2 {
			seq := e.demand(message{count: 2, rate: 1000, size: uint16(size)})
			if e.listen(ctx, time.Now().Add(probeWait), func() bool { return e.bursts[seq].came > 0 }); e.bursts[seq].came > 0 {
				e.sizes = append(e.sizes, sizeSeen{size, true})
				return true
			}
		}
		e.sizes = append(e.sizes, sizeSeen{size, false})
		return false
	}
	if passes(e.needed()) {
		return
	}
	low, high := messageSize, e.needed()
	for high-low > 16 && ctx.Err() == nil {
		if mid := (low + high) / 2; passes(mid) {
			low = mid
		} else {
			high = mid
		}
	}
}

// measureRates asks for bursts at an eighth, a quarter, half and all of the rate.
func (e *examination) measureRates(ctx context.Context) {
	size := e.largest()
	if !e.measurable() || size == 0 {
		return
	}
	e.config.Progress("measuring loss at rising rates")
	for part := 8; part >= 1 && ctx.Err() == nil; part /= 2 {
		kbits := uint32(max(e.config.Rate/float64(part)/1000, 1))
		seq := e.demand(message{count: maxProbes(kbits, uint16(size)), rate: kbits, size: uint16(size)})
		e.collect(ctx, seq)
		if r := e.bursts[seq]; r.came > 0 { // else the request was lost
			e.rungs = append(e.rungs, r)
			if r.kbits < kbits {
				return // as much as the sender's own rate allows
			}
		}
	}
}

// collect takes the probes of a burst until all are there, or none has come for a while: a busy host sends late.
func (e *examination) collect(ctx context.Context, seq uint32) {
	for end := time.Now().Add(10 * burstDuration); time.Now().Before(end) && ctx.Err() == nil; {
		before := e.bursts[seq].came
		e.listen(ctx, time.Now().Add(2*probeWait), func() bool {
			r := e.bursts[seq]
			return r.came > before && r.came >= r.sent
		})
		if r := e.bursts[seq]; r.came == before || r.came >= r.sent {
			return
		}
	}
}

// largest is the greatest UDP payload known to pass, up to what is needed; 0: none is.
func (e *observed) largest() (size int) {
	for _, s := range e.sizes {
		if s.came {
			size = max(size, s.size)
		}
	}
	return size
}

package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

const (
	// clockGranularity is how late a driver may wake us, which is part of the least interval between packets
	// (RFC 5740, Section 5.5.1).
	clockGranularity = time.Millisecond

	// growth is how much GRTT may grow in one probe interval. Feedback is not authenticated, and one forged timestamp
	// must not stop all repair for the longest time that GRTT can be.
	growth = 4
)

// A grttEstimate is the sender's estimate of the greatest round trip time of the group, by RFC 5401, Section 3.7.1.
type grttEstimate struct {
	measured time.Duration
	peak     time.Duration // of the RTTs in this probe interval; zero: none
	ceiling  time.Duration // of growth in this probe interval
	min, max time.Duration

	code       uint8         // grtt, as all messages carry it
	advertised time.Duration // its value, which all timers use as the receivers do
}

func newGRTTEstimate(cfg SenderConfig) grttEstimate {
	return grttEstimate{measured: cfg.GRTT, ceiling: growth * cfg.GRTT, min: cfg.MinGRTT, max: cfg.MaxGRTT}
}

// sample takes the RTT of a receiver. If it is greater than GRTT, then "the "GRTT" is immediately updated to this new peak
// value", but for what a forged timestamp could do to it.
func (g *grttEstimate) sample(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond) // zero would mean that there was none
	g.peak = max(g.peak, rtt)
	g.measured = g.clamp(max(g.measured, min(rtt, g.ceiling)))
}

// remember makes the RTT of a receiver that does not answer each probe count, if any did.
func (g *grttEstimate) remember(rtt time.Duration) {
	if g.peak > 0 {
		g.peak = max(g.peak, rtt)
	}
}

// endInterval ends a probe interval: if the peak is less than GRTT, "GRTT = MAX(0.9*GRTT, RTT_peak)". "If no feedback is
// received, the sender "GRTT" estimate remains unchanged."
func (g *grttEstimate) endInterval() {
	if g.peak > 0 && g.peak < g.measured {
		g.measured = g.clamp(max(g.measured*9/10, g.peak))
	}
	g.peak = 0
	g.ceiling = growth * g.measured
}

func (g *grttEstimate) clamp(d time.Duration) time.Duration { return min(max(d, g.min), g.max) }

// limitGRTT sets what is advertised: "also limited to a minimum of the nominal inter-packet transmission time given the
// sender's current transmission rate and system clock granularity" (RFC 5740, Section 5.5.1).
func (s *Sender) limitGRTT() {
	least := s.pacer.interval(s.cfg.maxDatagram()) + clockGranularity
	s.grtt.code = wire.EncodeRTT(max(s.grtt.measured, least))
	s.grtt.advertised = wire.DecodeRTT(s.grtt.code)
}

// grtts returns n times GRTT_sender.
func (s *Sender) grtts(n int) time.Duration { return time.Duration(n) * s.grtt.advertised }

// timestamp returns now on the clock of NORM_CMD(CC), which does not jump when the wall clock is set.
func (s *Sender) timestamp(now time.Time) wire.Timestamp {
	return wire.MakeTimestamp(s.start).Add(now.Sub(s.start))
}

// handleResponse takes the grtt_response of feedback. If it is zero, the receiver has heard no probe yet "and the sender
// MUST ignore the "grtt_response" in this message" (RFC 5740, Section 4.3.1). One from the future, from before our first
// probe or beyond MaxGRTT was not made by a receiver that follows the protocol.
// It returns the round trip time; zero if there is none.
func (s *Sender) handleResponse(now time.Time, response wire.Timestamp) time.Duration {
	if response.IsZero() || s.firstProbe.IsZero() {
		return 0
	}
	rtt := s.timestamp(now).Sub(response)
	if rtt < 0 || rtt > s.grtt.max || rtt > now.Sub(s.firstProbe)+time.Microsecond {
		s.stats.Drops.Useless++
		return 0
	}
	s.grtt.sample(rtt)
	s.limitGRTT()
	s.unanswered = 0
	if !s.answered {
		s.answered = true
		s.probeSooner(now)
	}
	return max(rtt, time.Microsecond)
}

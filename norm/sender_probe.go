package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

const (
	leastProbeInterval = 100 * time.Millisecond
	mostProbeInterval  = 30 * time.Second // RFC 5740, Section 5.5.2.1
)

// A prober is the state of the NORM_CMD(CC) probes. Where the rate is fixed no receiver is chosen as current limiting
// receiver; that any receiver answers stands in for one having been identified.
type prober struct {
	grtt       grttEstimate
	start      time.Time // of the clock of send_time
	firstProbe time.Time // zero: none was sent
	lastProbe  time.Time
	interval   time.Duration
	ccSequence wire.CCSequence
	sentSince  bool // content was sent since the last probe
	answered   bool // feedback came in the last RobustFactor probes
	unanswered int  // probes since the last feedback

	cc      wire.CC
	rateExt wire.Extensions
}

// baseInterval returns the probe interval while there is something to be probed for.
func (s *Sender) baseInterval() time.Duration {
	if s.cfg.ProbeInterval > 0 {
		return s.cfg.ProbeInterval
	}
	if rtt := s.limitingRTT(); rtt > 0 && s.contentPending() {
		return rtt
	}
	return max(s.grtt.advertised, leastProbeInterval)
}

// nextInterval returns the time to the next probe.
//
// "Until a CLR has been identified [...] or when no data transmission is pending, the NORM_CMD(CC) interval is doubled up
// from its current interval to a maximum of once per 30 seconds." RFC 5740, Section 5.5.2.1.
func (s *Sender) nextInterval() time.Duration {
	switch base := s.baseInterval(); {
	case s.cfg.ProbeInterval > 0 || s.firstProbe.IsZero() || s.identified() && s.contentPending():
		return base
	default:
		return max(base, min(2*s.interval, mostProbeInterval))
	}
}

// probeSooner brings the next probe forward after a long pause, for there is content again, or a receiver.
func (s *Sender) probeSooner(now time.Time) {
	base := s.baseInterval()
	soon := s.lastProbe.Add(base)
	if soon.Before(now) {
		soon = now
	}
	if t := s.timers[timerProbe]; s.ending || s.firstProbe.IsZero() || !soon.Before(t) {
		return
	}
	s.interval = base
	s.timers[timerProbe] = soon
}

// mayProbe reports whether the rate leaves room for a probe: "no more than one NORM_CMD(CC) message is sent per NORM_DATA
// message when there is data pending transmission" (RFC 5740, Section 5.5.2.1).
func (s *Sender) mayProbe() bool { return s.firstProbe.IsZero() || s.sentSince || !s.contentReady() }

// appendProbe appends a NORM_CMD(CC). It carries EXT_RATE, so that receivers answer and GRTT is known before the first
// NACK.
func (s *Sender) appendProbe(now time.Time, b []byte) []byte {
	s.ccSequence++
	s.control(now)
	s.grtt.endInterval()
	s.limitGRTT()
	if s.unanswered++; s.unanswered > s.cfg.RobustFactor {
		s.answered = false
	}
	s.interval = s.nextInterval()
	s.timers[timerProbe] = now.Add(s.interval)
	if s.firstProbe.IsZero() {
		s.firstProbe = now
	}
	s.lastProbe, s.sentSince = now, false
	s.stats.Probes++
	s.rateExt = wire.AppendRate(s.rateExt[:0], wire.EncodeRate(s.cfg.Rate/8))
	s.cc = wire.CC{
		Header:       s.header(),
		SenderHeader: s.senderHeader(),
		CCSequence:   s.ccSequence,
		SendTime:     s.timestamp(now),
		Extensions:   s.rateExt,
		Nodes:        s.nodeList(),
	}
	return encoded(s.cc.AppendBinary(b))
}

package norm

import (
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A flusher is the state of the NORM_CMD(FLUSH) series behind the last content, and of the NORM_CMD(EOT) series.
type flusher struct {
	flushDue    bool // a series is to follow what was sent
	flushing    bool // it has begun
	flushesLeft int
	fronts      []wire.Position // what each round of it names
	ending      bool
	eotsLeft    int
	ended       bool

	flush wire.Flush
	eot   wire.EOT
}

// flushWhenIdle begins the series when all content and repairs are sent, and gives it up when there is more to be sent.
//
// "If a NORM_NACK message interrupts the flush process, the sender SHALL re-initiate the flush process after any resulting
// repair transmissions are completed." RFC 5740, Section 4.2.3.1. It begins anew behind new data, too.
func (s *Sender) flushWhenIdle(now time.Time) {
	idle := s.flushDue && s.transmitted && !s.contentPending() && !s.aggregating() && !s.ending && !s.flushOverridden()
	switch {
	case !idle:
		s.flushing, s.timers[timerFlush] = false, time.Time{}
	case !s.flushing:
		s.flushing, s.flushesLeft, s.timers[timerFlush] = true, s.cfg.RobustFactor, now
		s.fronts = s.fronts[:0]
	}
}

// appendFronts appends the positions that receivers are to check their state through: the transmit position, and, where a
// stream and the objects behind it are sent in turns, how far the others came.
func (s *Sender) appendFronts(fronts []wire.Position) []wire.Position {
	last := len(s.objects) - 1 // of the objects that are no streams
	for last >= 0 && (s.objects[last].stream != nil || !s.objects[last].unflushed) {
		last--
	}
	for i, o := range s.objects {
		if o.unflushed && o.id != s.position.Object && (o.stream != nil || i == last && s.position.Object.Before(o.id)) {
			fronts = append(fronts, o.front)
		}
	}
	return append(fronts, s.position)
}

// appendFlush appends a NORM_CMD(FLUSH), which names the transmit position, "once per 2*GRTT_sender".
func (s *Sender) appendFlush(now time.Time, b []byte) []byte {
	if len(s.fronts) == 0 {
		s.fronts = s.appendFronts(s.fronts)
	}
	front := s.fronts[0]
	if s.fronts = slices.Delete(s.fronts, 0, 1); len(s.fronts) == 0 {
		s.countFlush(now)
	}
	return s.appendFlushAt(front, nil, b)
}

// countFlush counts one round of the series.
func (s *Sender) countFlush(now time.Time) {
	s.flushesLeft--
	s.timers[timerFlush] = now.Add(s.grtts(2))
}

// appendFlushAt appends a NORM_CMD(FLUSH) that names a position, which nodes are to acknowledge.
func (s *Sender) appendFlushAt(at wire.Position, nodes wire.NodeList, b []byte) []byte {
	s.stats.Flushes++
	s.show()
	s.flush = wire.Flush{Header: s.header(), SenderHeader: s.senderHeader(), Position: at, AckingNodes: nodes}
	return encoded(s.flush.AppendBinary(b))
}

// endFlush ends the series when nobody has answered the last of it.
func (s *Sender) endFlush() {
	if s.flushing && s.flushesLeft == 0 {
		s.flushDue, s.flushing, s.timers[timerFlush] = false, false, time.Time{}
		for _, o := range s.objects {
			o.unflushed = false
		}
		s.emit(Event{Kind: Flushed})
	}
}

// Flush begins the series of NORM_CMD(FLUSH) anew if it is over, for receivers that came since: they learn the transmit
// position from it, and so what they may ask for. While there is something to send it does nothing, as the series
// follows anyway.
func (s *Sender) Flush(now time.Time) {
	s.expire(now)
	if !s.flushDue {
		s.flushDue = true
		if s.auth != nil {
			s.timers[timerProbe] = now // which opens the run for those who came since: see package auth
		}
	}
	s.settle(now)
}

// End ends the session: whatever is not sent or repaired by now will not be. NORM_CMD(EOT) is sent with the repetition
// of FLUSH, RobustFactor times at intervals of 2*GRTT (RFC 5740, Section 4.2.3.2); then there is an Ended event, and the
// Sender is of no more use. An application that wants its objects delivered waits for Flushed first.
func (s *Sender) End(now time.Time) {
	s.expire(now)
	if s.ending {
		return
	}
	s.ending, s.eotsLeft = true, s.cfg.RobustFactor
	s.endAcks(ErrEnding, func(*ackRequest) bool { return true })
	s.app.commands = nil
	clear(s.timers)
	s.timers[timerEOT] = now
	s.settle(now)
}

func (s *Sender) appendEOT(now time.Time, b []byte) []byte {
	s.timers[timerEOT] = now.Add(s.grtts(2))
	if s.eotsLeft--; s.eotsLeft == 0 {
		s.ended = true
		s.emit(Event{Kind: Ended})
	}
	s.eot = wire.EOT{Header: s.header(), SenderHeader: s.senderHeader()}
	return encoded(s.eot.AppendBinary(b))
}

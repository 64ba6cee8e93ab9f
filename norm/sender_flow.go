package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// leastHold is how long content is held at the least: where GRTT is tiny, what delays a NACK is the receiver's host.
const leastHold = 20 * time.Millisecond

// A flowControl says when content may make room for other content. NORM itself has no such thing: what is pushed out too
// early is squelched, and lost to whoever still needed it. So it waits for the time in which a NACK for it may come, and
// for the acknowledgments that the application asked for: "The NORM_ACK(FLUSH) acknowledgment MAY be used to assist in
// application flow control", RFC 5740, Section 5.5.3.
type flowControl struct {
	refused int64 // size of an object that there was no room for, for which Vacancy is due; -1: none
}

// heldUntil returns until when content is held that was sent, or asked for, at t for the last time: FlowControl times
// what a receiver may take to ask for it, which is what the sender waits for NACKs itself, (K_sender+1)*GRTT_sender.
// Objects and the blocks of streams are held alike.
func (s *Sender) heldUntil(t time.Time) time.Time {
	if s.cfg.FlowControl < 0 {
		return t
	}
	hold := s.cfg.FlowControl * float64(s.grtts(s.cfg.BackoffFactor+1))
	return t.Add(max(time.Duration(hold), leastHold))
}

// noteSent notes that content of the object is sent now.
func (s *Sender) noteSent(o *outgoing) {
	s.sentSince = true
	o.used = s.pacer.at // which Poll has just set
}

// mayPurge reports whether an object may make room for another one.
func (s *Sender) mayPurge(now time.Time, o *outgoing) bool {
	return o.sent && !o.pinned && !o.open() && !s.awaits(o) && (o.flags&wire.FlagUnreliable != 0 || !now.Before(s.heldUntil(o.used)))
}

// makeRoom purges old objects until one more of size bytes may be held. It reports false, and purges none, if that is
// not enough; Vacancy follows when it is.
func (s *Sender) makeRoom(now time.Time, size int64) bool {
	n, ok := s.surplus(now, size)
	if !ok {
		s.flow.refused = size
		s.timers[timerVacancy] = now
		return false
	}
	s.flow.refused, s.timers[timerVacancy] = -1, time.Time{}
	for i := 0; n > 0; {
		if o := s.objects[i]; s.mayPurge(now, o) {
			s.purge(o, ErrEvicted)
			n--
		} else {
			i++
		}
	}
	return true
}

// surplus returns how many of the objects that may be purged are to be, the oldest first, before one more of size bytes
// is held; ok is false if there are too few.
func (s *Sender) surplus(now time.Time, size int64) (n int, ok bool) {
	bytes := s.bytes + size
	first := s.nextID // the oldest that stays
	for _, o := range s.objects {
		full := len(s.objects)-n >= s.cfg.MaxObjects || s.cfg.MaxBytes > 0 && bytes > s.cfg.MaxBytes
		switch {
		case full && s.mayPurge(now, o):
			n++
			bytes -= int64(o.size())
		case first == s.nextID:
			first = o.id
		}
	}
	full := len(s.objects)-n >= s.cfg.MaxObjects || s.cfg.MaxBytes > 0 && bytes > s.cfg.MaxBytes
	return n, !full && uint16(s.nextID-first) <= maxHeldObjects
}

// lookForRoom sees again, at the next opportunity, whether an object that was refused has room by now.
func (s *Sender) lookForRoom() {
	if s.flow.refused >= 0 {
		s.timers[timerVacancy] = s.pacer.at
	}
}

// offerVacancy tells the application that an object as it was refused would have room, or waits until the next one may
// be purged.
func (s *Sender) offerVacancy(now time.Time) {
	if !due(s.timers[timerVacancy], now) {
		return
	}
	s.timers[timerVacancy] = time.Time{}
	if _, ok := s.surplus(now, s.flow.refused); ok {
		s.flow.refused = -1
		s.emit(Event{Kind: Vacancy})
		return
	}
	for _, o := range s.objects {
		if until := s.heldUntil(o.used); o.sent && !o.pinned && !o.open() && !s.awaits(o) && until.After(now) {
			s.timers[timerVacancy] = earlier(s.timers[timerVacancy], until)
		}
	}
}

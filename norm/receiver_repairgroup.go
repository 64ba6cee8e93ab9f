package norm

import (
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

const (
	// leastListening is how long the repair group is listened to at the least: to join and leave costs the network messages.
	leastListening = time.Second

	// maxUnanswered is how many NACKs for repairs by the repair group may stay without any; then we ask for them in the
	// session's group, for the repair group may not reach us, or the sender may not know of it.
	maxUnanswered = 3
)

// A repairLeg is what a receiver knows of one sender's messages to the repair group. It listens to them only while it lacks
// something, and what it does not hear then counts as little as if it had not been sent: the sender's numbers there are
// others (see repairGroup), and with each start of listening the count begins where it was.
type repairLeg struct {
	check      time.Time // when to look whether anything is missing still; zero: not listening
	asked      mark      // the furthest limit up to which repairs were asked for; the transmit position goes back for them
	unanswered int       // NACKs since anything came there

	begun  bool          // last is valid: something came since we listen
	last   wire.Sequence // the greatest
	passed wire.Sequence // how many were sent there while we listened, as far as we know
}

func (l *repairLeg) deadline() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.check
}

// HearsRepairs reports whether something is missing that repairs to [ReceiverConfig].RepairGroup may bring. The driver is to
// listen to that group while it does, and not otherwise, and to look after each call of another method. It stays so for
// a second at the least, and no longer than a second, or T_rcvrHoldoff, after nothing is missing any more.
func (r *Receiver) HearsRepairs() bool {
	for _, s := range r.order {
		if !s.repairs.deadline().IsZero() {
			return true
		}
	}
	return false
}

// hearRepairs begins to listen, because something is missing: ahead of the backoff of the NACK, so that there is time to
// join, and to hear what others ask for there.
func (r *Receiver) hearRepairs(now time.Time, s *remote, limit mark) {
	if !r.cfg.RepairGroup.IsValid() || !s.repairs.deadline().IsZero() {
		return
	}
	if s.repairs == nil {
		s.repairs = new(repairLeg)
	}
	l := s.repairs
	l.check, l.asked, l.begun = now.Add(s.listening()), limit, false
	l.unanswered = min(l.unanswered, maxUnanswered-1) // if it did not reach us before, one NACK shows whether it does now
	r.stats.RepairJoins++
}

// listening returns the time between two looks whether there is something to listen for.
func (s *remote) listening() time.Duration {
	return max(leastListening, time.Duration(s.backoff+2)*s.grtt)
}

// repairsTimeout ends listening if nothing is missing any more, or nothing can be expected.
func (r *Receiver) repairsTimeout(now time.Time, s *remote) {
	l := s.repairs
	if l.check = now.Add(s.listening()); s.lost || !s.lacks(s.position) && !s.lacks(l.asked) {
		l.check = time.Time{}
	}
}

// askedElsewhere notes that a NACK for repairs by the repair group is sent, which asks for what is before the limit.
func (s *remote) askedElsewhere(limit mark) {
	l := s.repairs
	l.unanswered++
	if s.earlier(l.asked, limit) == l.asked {
		l.asked = limit
	}
}

// asksElsewhere reports whether the repairs that a NACK asks for are to go to the repair group.
func (r *Receiver) asksElsewhere(s *remote) bool {
	return !s.repairs.deadline().IsZero() && s.repairs.unanswered < maxUnanswered
}

// appendRepair appends EXT_REPAIR, by which the sender knows that. With congestion control it also tells that what we report
// to receive includes repairs, so all feedback bears it.
func (r *Receiver) appendRepair(s *remote, ext wire.Extensions) wire.Extensions {
	if r.asksElsewhere(s) {
		return wire.AppendRepair(ext)
	}
	return ext
}

// nackDestination returns where a NACK goes in place of feedback: to those whom it may suppress, who listen there.
func (r *Receiver) nackDestination(s *remote, feedback netip.AddrPort) netip.AddrPort {
	if feedback == r.cfg.Group && r.asksElsewhere(s) {
		return r.cfg.RepairGroup
	}
	return feedback
}

// arrived takes the sequence number of a message of the sender, for the count of losses and for congestion control.
func (r *Receiver) arrived(now time.Time, s *remote, sequence wire.Sequence, d Datagram) {
	if d.ECN == congestionExperienced {
		r.stats.Marked++
	}
	l := s.repairs
	switch elsewhere := r.cfg.RepairGroup.IsValid() && d.To == r.cfg.RepairGroup; {
	case elsewhere:
		r.stats.Elsewhere++
		if l.deadline().IsZero() {
			return // on its way when we left
		}
		sequence = s.arrivals.last + l.pass(sequence)
	case l != nil:
		sequence += l.passed
	}
	r.stats.Lost += uint64(s.arrivals.note(sequence))
	s.probe.path.observe(now, sequence, d)
}

// pass takes the number of a message to the repair group, and returns how far it is ahead of the last one there. To count
// on from the last message of all, as if each had been sent to where both are heard, makes one space of the two: a gap in
// either is a gap in it, and the order in which messages of different groups overtake each other does not matter.
func (l *repairLeg) pass(sequence wire.Sequence) wire.Sequence {
	ahead := int16(sequence - l.last)
	if !l.begun || ahead > 1000 || ahead < -1000 { // the first, or a sender that began anew
		ahead = 1
		l.begun, l.last = true, sequence-1
	}
	if l.unanswered = 0; ahead > 0 {
		l.last, l.passed = sequence, l.passed+wire.Sequence(ahead)
	}
	return wire.Sequence(ahead)
}

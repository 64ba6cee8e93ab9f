package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A squelcher is the state of NORM_CMD(SQUELCH) generation (RFC 5740, Section 5.4.3).
type squelcher struct {
	lowestInvalid TransportID // of the objects asked for in vain since the last SQUELCH
	lastSquelch   time.Time

	squelch wire.Squelch
	invalid wire.ObjectList
}

// squelchSoon calls for a NORM_CMD(SQUELCH) because an object was asked for that is not repaired. "The transmission rate of
// NORM_CMD(SQUELCH) messages is limited to once per 2*GRTT_sender."
func (s *Sender) squelchSoon(now time.Time, id TransportID) {
	if !s.timers[timerSquelch].IsZero() {
		if id.Before(s.lowestInvalid) {
			s.lowestInvalid = id
		}
		return
	}
	s.lowestInvalid = id
	s.timers[timerSquelch] = now
	if next := s.lastSquelch.Add(s.grtts(2)); !s.lastSquelch.IsZero() && next.After(now) {
		s.timers[timerSquelch] = next
	}
}

// appendSquelch appends a NORM_CMD(SQUELCH): the start of the repair window, on a block boundary, and the objects within
// that are not repaired, from the lowest one asked for on, as many as fit.
func (s *Sender) appendSquelch(now time.Time, b []byte) []byte {
	s.timers[timerSquelch], s.lastSquelch = time.Time{}, now
	s.stats.Squelches++
	start := s.windowStart()
	s.squelch = wire.Squelch{
		Header:       s.header(),
		SenderHeader: s.senderHeader(),
		Position:     start,
		Invalid:      s.invalidObjects(start.Object),
	}
	return encoded(s.squelch.AppendBinary(b))
}

// windowStart returns the earliest position that is still repaired: the start of an object, for they are held whole, or the
// oldest block of a stream. If none is, it is that of the next object.
func (s *Sender) windowStart() wire.Position {
	for _, o := range s.objects {
		if o.flags&wire.FlagUnreliable == 0 {
			return o.position(o.id, o.firstHeld(), 0)
		}
	}
	return wire.Position{FECID: wire.FECID(s.cfg.FEC.ID), Object: s.nextID}
}

// firstHeld returns the first block that is held for repair.
func (o *outgoing) firstHeld() uint32 {
	if o.stream != nil {
		return o.stream.start
	}
	return 0
}

// invalidObjects lists the objects behind the start of the window that are not repaired. Every id is "ordinally greater"
// than start, and none is below the lowest one asked for (RFC 5740, Section 4.2.3.3).
func (s *Sender) invalidObjects(start TransportID) wire.ObjectList {
	id := start + 1
	if id.Before(s.lowestInvalid) {
		id = s.lowestInvalid
	}
	list := s.invalid[:0]
	i, _ := s.index(id)
	for ; id.Before(s.nextID) && len(list)+2 <= s.cfg.SegmentSize; id++ {
		held := i < len(s.objects) && s.objects[i].id == id
		if !held || s.objects[i].flags&wire.FlagUnreliable != 0 {
			list = wire.AppendObject(list, id)
		}
		if held {
			i++
		}
	}
	s.invalid = list
	return list
}

package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// advertiseSoon calls for a NORM_CMD(REPAIR_ADV), because a receiver has asked for something by unicast, which the others
// could not hear. It is sent at once, early in the aggregation period when it suppresses most; while the period lasts,
// what others ask for beyond it follows once per GRTT.
func (s *Sender) advertiseSoon(now time.Time) {
	if !s.timers[timerAdvertise].IsZero() {
		return
	}
	next := s.lastAdvertised.Add(s.grtts(1))
	if s.lastAdvertised.IsZero() || next.Before(now) {
		next = now
	}
	s.timers[timerAdvertise] = next
}

// appendRepairAdv appends a NORM_CMD(REPAIR_ADV): not a copy of any NACK, but all that has been asked for in this
// aggregation, or as much as fits, and then NORM_REPAIR_ADV_FLAG_LIMIT (RFC 5740, Sections 4.2.3.5 and 5.4.4).
//
// Where all who asked hear the repair group it goes there, but what it tells of congestion control is for everybody: that
// goes ahead in one without requests.
func (s *Sender) appendRepairAdv(now time.Time, b []byte) []byte {
	if s.cfg.RepairGroup.IsValid() && !s.askedByDeaf() {
		if s.advice.any {
			s.advert = wire.RepairAdv{Header: s.header(), SenderHeader: s.senderHeader(), Extensions: s.advice.take(s.ccSequence)}
			if !s.aggregating() {
				s.timers[timerAdvertise], s.lastAdvertised = time.Time{}, now
			}
			return encoded(s.advert.AppendBinary(b))
		}
		s.elsewhere.next = true
	}
	s.timers[timerAdvertise], s.lastAdvertised = time.Time{}, now
	s.advert = wire.RepairAdv{Header: s.header(), SenderHeader: s.senderHeader()}
	w := wire.NewRepairWriter(s.advertised[:0], s.cfg.SegmentSize)
	for _, o := range s.objects {
		if !o.writeAsked(&w) {
			s.advert.Flags |= wire.RepairAdvLimit
			break
		}
	}
	s.advertised = w.Bytes()
	s.advert.Extensions = s.advice.take(s.ccSequence)
	s.advert.Payload = s.advertised
	return encoded(s.advert.AppendBinary(b))
}

// writeAsked writes what was asked for of the object in ascending order, and reports whether all of it fits.
func (o *outgoing) writeAsked(w *wire.RepairWriter) bool {
	start := o.position(o.id, 0, 0)
	if o.asked.whole.covers(0, o.N) && (o.asked.info || o.info == nil) && !o.asked.empty() {
		return w.Item(wire.RepairObject, start)
	}
	if o.asked.info && !w.Item(wire.RepairInfo, start) {
		return false
	}
	rest := o.asked.blocks
	for _, e := range o.asked.whole {
		for ; len(rest) > 0 && uint64(rest[0].block) < e.lo; rest = rest[1:] {
			if !o.writeBlock(w, rest[0]) {
				return false
			}
		}
		if !w.Range(wire.RepairBlock, o.position(o.id, uint32(e.lo), 0), o.position(o.id, uint32(e.hi-1), 0)) {
			return false
		}
	}
	for _, e := range rest {
		if !o.writeBlock(w, e) {
			return false
		}
	}
	return true
}

// writeBlock writes the symbols that were asked for of a block; where only their number is known, that.
func (o *outgoing) writeBlock(w *wire.RepairWriter, e *blockRepair) bool {
	first, last, ok := e.symbols.run(0)
	if !ok {
		return e.erasures == 0 || w.Erasures(o.position(o.id, e.block, e.erasures))
	}
	for ; ok; first, last, ok = e.symbols.run(last + 1) {
		if !w.Range(wire.RepairSegment, o.position(o.id, e.block, first), o.position(o.id, e.block, last)) {
			return false
		}
	}
	return true
}

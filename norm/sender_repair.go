package norm

import (
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A repairCycle is the state of RFC 5740, Section 5.4.1: NACKs are collected for T_sndrAggregate in the objects' "asked",
// then become their "plan" in one rewind, behind which T_sndrHoldoff keeps late ones from repeating it.
type repairCycle struct {
	repair     *outgoing // the lowest object with a plan, or nil
	serial     uint64    // of the NACK read last
	repairPool repairPool

	lastAdvertised time.Time // the last NORM_CMD(REPAIR_ADV)
	advert         wire.RepairAdv
	advertised     []byte
}

// aggregate starts T_sndrAggregate unless it runs.
//
// "for NORM unicast sessions, the T_sndrAggregate time can be set to ZERO since there is only one receiver."
func (s *Sender) aggregate(now time.Time) {
	switch {
	case !s.timers[timerAggregate].IsZero():
	case s.cfg.BackoffFactor == 0 && !s.multicast():
		s.rewind(now)
	default:
		s.timers[timerAggregate] = now.Add(s.grtts(s.cfg.BackoffFactor + 1))
	}
}

// aggregating reports whether NACKs are being collected.
func (s *Sender) aggregating() bool { return !s.timers[timerAggregate].IsZero() }

// rewind ends the aggregation.
//
// "When this period ends, the sender "rewinds" by incorporating the accumulated repair state into its pending
// transmission state and begins transmitting repair messages. [...] Also, at this point in time, the sender begins a
// "holdoff" timeout". RFC 5740, Section 5.4.1.
func (s *Sender) rewind(now time.Time) {
	s.timers[timerAggregate], s.timers[timerAdvertise] = time.Time{}, time.Time{}
	s.timers[timerHoldoff] = now.Add(s.grtts(1))
	s.stats.RepairCycles++
	if s.repair == nil {
		s.elsewhere.shown = now
	}
	s.flushDue = true
	s.incorporate()
	if s.repair != nil {
		s.at = s.repair.nextRepair()
	}
}

// incorporate makes what was asked for part of the plan.
func (s *Sender) incorporate() {
	for _, o := range s.objects {
		if !o.asked.empty() {
			s.planObject(o)
		}
		o.asked.deaf = false
	}
	s.repair = s.firstRepair(0)
	s.readAheadDue = true
}

func (s *Sender) planObject(o *outgoing) {
	o.plan.deaf = o.asked.deaf || o.plan.deaf && !o.plan.empty()
	o.plan.info = o.plan.info || o.asked.info
	for _, e := range o.asked.whole {
		s.planWhole(o, e)
	}
	for _, need := range o.asked.blocks {
		if need.erasures == 0 || o.plan.whole.has(uint64(need.block)) {
			s.repairPool.put(need) // is on its way anyhow
			continue
		}
		if !s.mayRepeat(o, need.block, need.erasures) {
			s.repairPool.put(need)
			continue
		}
		s.adviser.asked(o.handle, need.block, need.nacks)
		s.chooseSymbols(o, need)
		if have := o.plan.find(need.block); have != nil {
			have.symbols.union(need.symbols)
			have.explicit = have.explicit || need.explicit
			s.repairPool.put(need)
			continue
		}
		o.plan.insert(need)
	}
	o.asked.blocks = o.asked.blocks[:0]
	s.repairPool.release(&o.asked)
}

// chooseSymbols turns what was asked for of a block into what is to be sent.
//
// "if the sender has a sufficient number [...] of previously unsent parity segments available for the applicable coding
// blocks, the sender can transmit these in lieu of the specific packets the receiver set has requested. The sender
// SHOULD NOT resort to explicit transmission of the receiver set's repair needs until after exhausting its supply of
// "fresh" (unsent) parity segments". RFC 5740, Section 5.4.2. Sufficient is read as: not less than the maximum erasure
// count.
func (s *Sender) chooseSymbols(o *outgoing, need *blockRepair) {
	k, sent := o.BlockLen(need.block), o.parity.sent(o.slot(need.block))
	if fresh := o.layout.parity(need.block) - sent; need.erasures <= fresh && o.coded(need.block) {
		clear(need.symbols)
		need.symbols.addRange(k+sent, k+sent+need.erasures-1)
		o.parity.set(o.slot(need.block), sent+need.erasures)
		return
	}
	need.explicit = true
	if need.symbols.next(0) < 0 { // NORM_NACK_ERASURES alone names none: any will do, as long as there are enough
		need.symbols.addRange(0, min(need.erasures, k)-1)
	}
	for i := need.symbols.next(k); i >= 0; i = need.symbols.next(i + 1) {
		if i >= k+sent {
			o.parity.set(o.slot(need.block), i+1-k)
		}
	}
}

// coded reports whether a block has parity: one of a stream has none until it is full.
func (o *outgoing) coded(b uint32) bool { return o.stream == nil || b < o.stream.block }

// firstRepair returns the first object from index i on with something to be repaired, or nil.
func (s *Sender) firstRepair(i int) *outgoing {
	for _, o := range s.objects[i:] {
		if !o.plan.empty() {
			return o
		}
	}
	return nil
}

// repairIndex returns the index of the lowest object with something to be repaired.
func (s *Sender) repairIndex() int {
	if s.repair == nil {
		return len(s.objects)
	}
	i, _ := s.index(s.repair.id)
	return i
}

// nextRepair returns the place of the first repair of the object.
func (o *outgoing) nextRepair() cursor {
	b, ok := o.plan.lowest()
	switch {
	case o.plan.info || !ok:
		return infoCursor(o.id)
	case o.plan.whole.has(uint64(b)):
		return cursor{o.id, b, 0}
	}
	return cursor{o.id, b, o.plan.find(b).symbols.next(0)}
}

// repairReady reports whether the next repair can be sent at once.
func (s *Sender) repairReady() bool {
	b, _ := s.repair.plan.lowest()
	return s.repair.plan.info || s.buffered(s.repair, b) != nil
}

// appendRepair appends the repair of the lowest position. It appends nothing while the block is being read.
//
// "NORM_DATA messages sent as repair transmissions SHALL be flagged with the NORM_FLAG_REPAIR flag. [...] Additionally,
// the sender SHOULD flag NORM_DATA transmissions sent as explicit repair with the NORM_FLAG_EXPLICIT flag."
// RFC 5740, Section 5.4.2.
func (s *Sender) appendRepair(b []byte) []byte {
	o := s.repair
	s.elsewhere.next = s.cfg.RepairGroup.IsValid() && !o.plan.deaf
	if o.plan.info {
		o.plan.info = false
		s.at = infoCursor(o.id).after()
		b = s.appendInfo(b, o, wire.FlagRepair)
		s.endRepair()
		return b
	}
	e := s.headRepair(o)
	buf := s.buffered(o, e.block)
	if buf == nil {
		return b
	}
	flags := wire.FlagRepair
	if e.explicit {
		flags |= wire.FlagExplicit
		s.stats.Explicit++
	}
	s.stats.Repairs++
	symbol := e.symbols.next(0)
	e.symbols.remove(symbol)
	s.at = cursor{o.id, e.block, symbol}.after()
	b = s.appendData(b, buf, symbol, flags)
	if e.symbols.next(symbol) < 0 {
		o.plan.blocks = slices.Delete(o.plan.blocks, 0, 1)
		s.repairPool.put(e)
		s.readAheadDue = true
	}
	s.endRepair()
	return b
}

// headRepair returns the entry of the lowest block to be repaired. If all of it is wanted it becomes an entry with all
// source symbols.
func (s *Sender) headRepair(o *outgoing) *blockRepair {
	b, _ := o.plan.lowest()
	if o.plan.whole.has(uint64(b)) {
		o.plan.whole.remove(uint64(b), uint64(b)+1)
		e := o.plan.find(b)
		if e == nil {
			e = s.repairPool.take(b)
			o.plan.insert(e)
		}
		e.symbols.addRange(0, o.BlockLen(b)-1)
	}
	return o.plan.blocks[0]
}

// endRepair goes on to the next object if all repairs of this one are sent.
func (s *Sender) endRepair() {
	if s.repair.plan.empty() {
		s.repair = s.firstRepair(s.repairIndex())
		s.readAheadDue = true
	}
}

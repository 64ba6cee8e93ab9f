package norm

import (
	"iter"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A nackReader is what reading one NACK comes to.
type nackReader struct {
	*Sender
	now     time.Time
	late    bool    // it came in T_sndrHoldoff
	behind  bool    // and some of its content is not ahead of the transmit position
	wanted  bool    // something is to be repaired
	useless bool    // something named does not exist, or not yet
	cost    float64 // symbols asked for that are, or will be, on their way
	deaf    bool    // who sent it does not hear the repair group
}

// collect merges the requests of a NACK into the repair state, and starts the aggregation if there are any.
//
// "If additional NORM_NACK messages are received during this sender "holdoff" period, the sender will immediately
// incorporate these late-arriving messages into its pending transmission state if, and only if, the NACK content is
// ordinally greater than the sender's current transmission position." RFC 5740, Section 5.4.1.
func (s *Sender) collect(now time.Time, m *wire.Nack, d Datagram) {
	s.serial++
	r := nackReader{Sender: s, now: now, late: !s.timers[timerHoldoff].IsZero(), deaf: !m.Extensions.Repair()}
	for request := range m.Requests() {
		for first, last := range request.All() {
			r.ask(request, first, last)
		}
	}
	if r.useless || m.Malformed > 0 {
		s.stats.Drops.Useless++
	}
	s.charge(now, m.Source, r.cost)
	s.debit(now, d.From.Addr(), r.cost)
	switch {
	case r.late && r.wanted:
		s.incorporate()
	case r.late && r.behind:
		s.stats.NacksIgnored++
	case r.wanted:
		if s.unicast(d) {
			s.advertiseSoon(now)
		}
		s.aggregate(now)
	}
}

// ask takes one item of a request, or one range of them.
func (r *nackReader) ask(request wire.RepairRequest, first, last wire.Position) {
	switch flags := request.Flags; {
	case flags&wire.RepairObject != 0:
		for o := range r.objectsFrom(first.Object, last.Object) {
			r.askInfo(o)
			r.askBlocks(o, uint64(o.firstHeld()), o.N)
		}
		return
	case flags&(wire.RepairBlock|wire.RepairSegment) == 0:
		for o := range r.objectsFrom(first.Object, last.Object) {
			if flags&wire.RepairInfo == 0 || !r.askInfo(o) {
				r.useless = true
			}
		}
		return
	}
	for o := range r.objectsFrom(first.Object, first.Object) {
		r.askContent(o, request, first, last)
	}
}

// askContent asks for blocks or segments of an object, and its NORM_INFO if the flags say so.
func (r *nackReader) askContent(o *outgoing, request wire.RepairRequest, first, last wire.Position) {
	if request.Flags&wire.RepairInfo != 0 {
		r.askInfo(o)
	}
	if first.FECID != o.fecID() {
		r.useless = true
		return
	}
	b, lo := o.locate(first)
	c, hi := o.locate(last)
	if start := o.firstHeld(); b < start {
		r.outdated(o)
		if c < start {
			return
		}
		b, lo = start, 0
	}
	for n := b; o.stream != nil && n <= min(c, o.stream.block); n++ {
		*o.stream.usedAt(n) = r.now
	}
	switch {
	case request.Flags&wire.RepairBlock != 0:
		r.askBlocks(o, uint64(b), uint64(c)+1)
	case b != c: // no range of segments goes beyond a block
		r.useless = true
	case request.Form == wire.RepairErasures:
		r.askErasures(o, b, lo)
	default:
		r.askSegments(o, b, lo, hi)
	}
}

// askInfo asks for the NORM_INFO of an object, and reports whether there is one.
func (r *nackReader) askInfo(o *outgoing) bool {
	switch {
	case o.info == nil:
		return false
	case o.plan.info: // on its way
	case r.late && infoCursor(o.id).before(r.at):
		r.behind = true
	default:
		o.asked.info, r.wanted = true, true
		r.cost++
	}
	return true
}

// askBlocks asks for the blocks [lo, hi), as far as they exist and were sent.
func (r *nackReader) askBlocks(o *outgoing, lo, hi uint64) {
	if o.stream != nil && lo <= o.block && o.block < hi && o.symbol > 0 {
		r.askSegments(o, uint32(o.block), 0, o.symbol-1) // what was flushed of the block being written
		if hi = o.block; lo == hi {
			return
		}
	}
	if hi = min(hi, o.blocksSent()); lo >= hi {
		r.useless = r.useless || o.N > 0
		return
	}
	block, symbol := r.ahead(o)
	if symbol > 0 {
		block++
	}
	if lo < block {
		r.behind = true
		if lo = block; lo >= hi {
			return
		}
	}
	if o.plan.whole.covers(lo, hi) {
		return // on their way
	}
	if !o.asked.whole.add(lo, hi) {
		r.stats.Drops.Refused++
		return
	}
	for _, e := range o.plan.whole {
		o.asked.whole.remove(e.lo, e.hi)
	}
	r.wanted = true
	r.cost += float64(hi-lo) * float64(o.BlockLen(uint32(lo)))
}

// askSegments asks for the symbols lo to hi of a block.
func (r *nackReader) askSegments(o *outgoing, b uint32, lo, hi int) {
	if hi = min(hi, o.symbolsSent(b)-1); lo > hi {
		r.useless = true
		return
	}
	block, symbol := r.ahead(o)
	switch {
	case uint64(b) < block || uint64(b) == block && hi < symbol:
		r.behind = true
		return
	case uint64(b) == block && lo < symbol:
		r.behind = true
		lo = symbol
	}
	e := r.entry(o, b)
	if e == nil {
		return
	}
	planned := o.plan.find(b)
	for i := lo; i <= hi; i++ {
		if planned == nil || !planned.symbols.has(i) {
			e.symbols.add(i)
		}
	}
	r.count(e, hi-lo+1, o.BlockLen(b), planned)
}

// symbolsSent returns how many symbols of a block may be asked for: all of one that was sent, and of one of a stream that
// is being sent "explicit-only" repair, as the parity of a block does not exist before its last segment (RFC 5740,
// Section 4.2.3.1).
func (o *outgoing) symbolsSent(b uint32) int {
	switch sent := o.blocksSent(); {
	case uint64(b) < sent:
		return o.symbols(b)
	case uint64(b) == sent && o.stream != nil:
		return min(o.symbol, o.BlockLen(b))
	}
	return 0
}

// askErasures asks for any n symbols of a block: under NORM_NACK_ERASURES the encoding_symbol_id "is to be interpreted as
// an erasure count for the FEC coding block" (RFC 5740, Section 4.3.1).
func (r *nackReader) askErasures(o *outgoing, b uint32, n int) {
	if uint64(b) >= o.blocksSent() || n == 0 {
		r.useless = true
		return
	}
	if block, symbol := r.ahead(o); uint64(b) < block || uint64(b) == block && symbol > 0 {
		r.behind = true
		return
	}
	if e := r.entry(o, b); e != nil {
		r.count(e, n, o.BlockLen(b), o.plan.find(b))
	}
}

// entry returns where requests for symbols of a block are collected, or nil if all of it is on its way, or is asked for,
// anyhow.
func (r *nackReader) entry(o *outgoing, b uint32) *blockRepair {
	if o.plan.whole.has(uint64(b)) || o.asked.whole.has(uint64(b)) {
		return nil
	}
	e := o.asked.find(b)
	if e == nil {
		if e = r.repairPool.ask(b); e == nil {
			r.stats.Drops.Refused++
			return nil
		}
		o.asked.insert(e)
	}
	return e
}

// count adds n to the symbols that the sender of this NACK lacks of a block of k. What is planned for the block, but not
// sent yet, serves it too.
func (r *nackReader) count(e *blockRepair, n, k int, planned *blockRepair) {
	if e.nack != r.serial {
		e.nack, e.count = r.serial, 0
		e.nacks++
	}
	e.count = min(e.count+n, k)
	r.cost += float64(n)
	lacking := e.count
	if planned != nil {
		lacking -= planned.symbols.count()
	}
	e.erasures = max(e.erasures, lacking)
	r.wanted = r.wanted || e.erasures > 0
}

// ahead returns the lowest place in the object that requests may name now: the first one, or in T_sndrHoldoff that of the
// transmit position.
func (r *nackReader) ahead(o *outgoing) (block uint64, symbol int) {
	switch {
	case !r.late || r.at.object.Before(o.id):
		return 0, 0
	case r.at.object == o.id:
		return uint64(r.at.block), max(r.at.symbol, 0)
	}
	return o.N, 0
}

// objectsFrom returns the objects with the given ids that can be repaired. Ids of which nothing was sent yet are ignored;
// those of objects that are no longer held, or never repaired, call for a NORM_CMD(SQUELCH).
func (r *nackReader) objectsFrom(first, last TransportID) iter.Seq[*outgoing] {
	return func(yield func(*outgoing) bool) {
		id := first
		i, _ := r.index(first)
		for ; i < len(r.objects) && !last.Before(r.objects[i].id); i++ {
			o := r.objects[i]
			if id.Before(o.id) {
				r.invalid(id)
			}
			id = o.id + 1
			switch {
			case !o.begun():
				r.useless = true
			case o.flags&wire.FlagUnreliable != 0:
				r.invalid(o.id)
			default:
				o.askedBy(r.deaf)
				if o.used = r.now; !yield(o) {
					return
				}
			}
		}
		if !last.Before(id) {
			r.invalid(id)
		}
	}
}

// outdated takes note of a request for blocks of a stream that are no longer held. Only the first of the objects that are
// repaired can be told where its repair begins, for NORM_CMD(SQUELCH) says that nothing before it is repaired. For
// another one, receivers have the size of the buffer to go by.
func (r *nackReader) outdated(o *outgoing) {
	if r.useless = true; r.windowStart().Object == o.id {
		r.squelchSoon(r.now, o.id)
	}
}

// invalid takes note of a request for an object that is not repaired.
func (r *nackReader) invalid(id TransportID) {
	if !id.Before(r.nextID) { // never sent: "impossible" rather than "no longer supported"
		r.useless = true
		return
	}
	r.squelchSoon(r.now, id)
}

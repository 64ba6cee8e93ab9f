package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A nackCycle is the state of the NACK procedure towards one sender (RFC 5740, Section 5.3).
type nackCycle struct {
	state  nackState
	until  time.Time  // the end of backoff or hold-off
	limit  mark       // the sender's transmit position when the cycle was initiated
	others requestSet // asked for by others meanwhile
	due    bool       // Poll is to make the NORM_NACK

	// advertised: limit is what a NORM_CMD(REPAIR_ADV) came to that did not hold all; nothing beyond it is asked for.
	advertised bool

	guard  time.Time // the NACK is withheld if nothing was heard of the sender since; zero: it is not
	starve starvation
}

type nackState uint8

const (
	nackIdle    nackState = iota
	nackBackoff           // T_backoff
	nackHoldoff           // T_rcvrHoldoff
)

func (c *nackCycle) deadline() time.Time {
	if c.state == nackIdle {
		return time.Time{}
	}
	return c.until
}

// reach notes the sender's transmit position as NORM_DATA and NORM_INFO tell it. When that enters another block, what
// comes before it should be here: "The NACKing procedure SHALL be initiated only at FEC coding block boundaries,
// NormObject boundaries, upon receipt of a NORM_CMD(FLUSH) message, or upon an "inactivity" timeout". Symbols of the
// block itself, proactive parity included, may still come.
func (r *Receiver) reach(now time.Time, s *remote, m mark) {
	if !s.reached && r.cfg.Patience {
		s.patient, s.joined = true, m
	}
	entered := !s.reached || m.object != s.position.object || m != s.position && r.cfg.Boundary == BoundaryBlock
	r.leave(now, s, m)
	s.position, s.reached = m, true
	if entered {
		r.startNack(now, s, m)
	}
	r.checkWatermarks(now, s)
}

// handleFlush processes a NORM_CMD(FLUSH): "receivers are expected to check their completion state THROUGH (including)
// this transmission position", RFC 5740, Section 4.2.3.1. The position of NORM_DATA is not included, and if it were
// not here either, the last symbol of all would never be asked for.
func (r *Receiver) handleFlush(now time.Time, m *wire.Flush) error {
	if !r.cfg.Evidence.expects(m.Object) {
		return errDisbelieved
	}
	s, err := r.sender(now, m.Header, m.SenderHeader)
	if err != nil {
		return err
	}
	if at := s.locate(m.Position, m.Extensions); !s.reaches(now, s.through(m.Object, at.Block, int(at.Symbol))) {
		return errDisbelieved
	}
	s.active, s.fecID, s.patient = now, m.FECID, false
	if !s.synced {
		r.joinByFlush(s, m)
	}
	if s.synced && !m.Object.Before(s.window.base) {
		r.extend(s, m.Object)
	}
	if o := s.find(m.Object); o != nil && o.stream != nil {
		r.flushStream(o, s.payloadID(m.Position, m.Extensions))
	}
	id := s.locate(m.Position, m.Extensions)
	through := s.through(m.Object, id.Block, int(id.Symbol))
	if m.AckingNodes.Len() == 0 || !s.reached || s.earlier(s.position, through) == s.position {
		s.position, s.reached = through, true // a watermark may be behind it
	}
	r.leave(now, s, through)
	r.startNack(now, s, through)
	if r.asked(m.AckingNodes) {
		r.acknowledgeThrough(now, s, m.Position, through)
	}
	return nil
}

// through returns the mark behind a symbol. In a block of which the sender has not sent the last source symbol,
// those up to the symbol are checked one by one.
func (s *remote) through(id TransportID, block uint32, symbol int) mark {
	if o := s.find(id); o != nil && o.stream != nil && symbol < o.layout.params.MaxBlockLen {
		// "For NORM_OBJECT_STREAM objects using systematic FEC codes, receivers MUST request "explicit-only" repair of the
		// identified "source_block_number" if the given "encoding_symbol_id" is less than the "source_block_len"."
		return mark{object: id, block: block, part: symbol + 1, whole: true}
	}
	if o := s.find(id); o != nil && o.known && symbol+1 < o.layout.BlockLen(block) {
		return mark{object: id, block: block, part: symbol + 1, whole: true}
	}
	return mark{object: id, block: block + 1, whole: true}
}

// longestSilence is how long a sender may be silent at the least before it is given up: one that is idle is heard every
// 30 s (RFC 5740, Section 5.5.2.1), and a probe can be lost.
const longestSilence = 2 * mostProbeInterval

// inactivityTimeout initiates a NACK by itself. "The NORM receiver SHOULD reset this inactivity timer and repeat NACK
// initiation upon timeout for up to NORM_ROBUST_FACTOR times or more depending upon the application's need for
// persistence by its receivers." It goes on while anything is heard of the sender, which then has nothing to send but
// its probes, and whose FLUSHes were lost.
func (r *Receiver) inactivityTimeout(now time.Time, s *remote) {
	s.active = now
	s.silent++
	if s.silent >= r.cfg.RobustFactor && now.Sub(s.heardAt) >= longestSilence {
		s.active, s.lost = time.Time{}, true
		r.senderEvent(SenderLost, s)
	}
	r.leave(now, s, mark{object: s.window.next()}) // nothing will tell how far it came
	if s.silent > r.cfg.RobustFactor {
		return // asked often enough
	}
	s.patient = false
	s.unsquelch()
	if s.reached && !s.position.whole {
		// Nothing will tell how far the sender came; the block it was in counts as sent, without parity if it is of a stream.
		p := s.position
		if s.position = (mark{object: p.object, block: p.block + 1, whole: true}); s.find(p.object) != nil && s.find(p.object).layout.streaming() {
			s.position = s.through(p.object, p.block, s.find(p.object).layout.params.MaxBlockLen-1)
		}
	}
	if o := s.expected(); o != nil && (!s.reached || !s.lacks(s.position)) {
		// We were not there when what we expect was sent, nor for the FLUSHes. If it was not sent yet, the sender ignores us.
		end := mark{object: o.id, block: 1<<32 - 1, whole: true}
		if !s.reached || s.earlier(s.position, end) == s.position {
			s.position = end
		}
	}
	r.startNack(now, s, s.position)
}

// startNack initiates the NACK procedure if anything is missing before the limit.
func (r *Receiver) startNack(now time.Time, s *remote, limit mark) {
	c := &s.nack
	if c.state == nackBackoff || c.state == nackHoldoff && !due(c.until, now) || r.cfg.Silent && !r.cfg.RepairGroup.IsValid() || !s.lacks(limit) {
		return
	}
	r.hearRepairs(now, s, limit)
	if r.cfg.Silent {
		return
	}
	c.limit, c.advertised = limit, false
	c.others.reset()
	// "T_backoff = RandomBackoff(K_sender*GRTT_sender, GSIZE_sender)". With K = 0, as in unicast sessions, at once.
	c.state = nackBackoff
	backoff := randomBackoff(&r.rng, time.Duration(s.backoff)*s.grtt, s.groupSize)
	c.until, c.guard = now.Add(backoff), time.Time{}
	if r.guarded(s, backoff) {
		c.guard = now
	}
	switch {
	case r.cfg.Guard == GuardAlways && !c.guard.IsZero():
		r.suppress(now, s)
	case s.backoff == 0:
		r.nackTimeout(now, s)
	}
}

// suppress ends the backoff without a NORM_NACK.
func (r *Receiver) suppress(now time.Time, s *remote) {
	r.stats.NacksSuppressed++
	s.holdNack(now)
}

// holdNack begins the hold-off, T_rcvrHoldoff = (K_sender+2)*GRTT_sender.
func (s *remote) holdNack(now time.Time) {
	s.nack.state = nackHoldoff
	s.nack.until = now.Add(time.Duration(s.backoff+2) * s.grtt)
}

// nackTimeout ends the backoff or the hold-off. "At the end of the backoff time, the receiver SHALL generate a
// NORM_NACK message only if the following conditions are met" (RFC 5740, Section 5.3).
func (r *Receiver) nackTimeout(now time.Time, s *remote) {
	c := &s.nack
	if c.state == nackHoldoff {
		c.state = nackIdle
		return
	}
	if s.standing != nil && s.insists(r.cfg.MaxSuppressed) && s.earlier(c.limit, s.position) == s.position {
		s.position = c.limit // it did not go back to repair what we lack, or not for so long
	}
	switch {
	case !s.lacks(c.limit) && !(c.advertised && s.lacks(s.position)): // repaired for the sake of others
		c.state = nackIdle
	case !c.guard.IsZero() && !s.heardAt.After(c.guard):
		r.suppress(now, s)
	// "1. The sender's current transmit position [...] exceeds the earliest repair position of the receiver."
	case !s.lacks(s.earlier(c.limit, s.position)):
		s.starved()
		r.suppress(now, s)
	// "2. The repair state accumulated from NORM_NACK and NORM_CMD(REPAIR_ADV) messages does not equal or supersede
	// the receiver's repair needs up to the sender transmission position at the time the NACK procedure (backoff
	// timeout) was initiated."
	case s.superseded():
		s.starved()
		r.suppress(now, s)
	default:
		c.due, c.starve = true, starvation{}
		s.standing.requested(now)
		s.holdNack(now) // "At this time, the receiver begins a "holdoff" period"
	}
}

// earlier returns the earlier of two marks.
func (s *remote) earlier(a, b mark) mark {
	o := originFor(a.object)
	if o.place(b.object, b.block, b.part) < o.place(a.object, a.block, a.part) {
		return b
	}
	return a
}

// lacks reports whether anything is to be asked for before the limit.
func (s *remote) lacks(limit mark) (found bool) {
	s.needs(limit, func(need) bool {
		found = true
		return false
	})
	return found
}

// superseded reports whether others have asked for all that we need.
func (s *remote) superseded() bool {
	c := &s.nack
	o, all := originFor(c.limit.object), true
	s.needs(c.limit, func(n need) bool {
		all = c.others.supersedes(n, o)
		return all
	})
	return all
}

// handleNack processes the NORM_NACK of another receiver: "the backoff period is entered and the receiver MUST
// accumulate external pending repair state from NORM_NACK messages and NORM_CMD(REPAIR_ADV) messages received".
func (r *Receiver) handleNack(now time.Time, b []byte) {
	var m wire.Nack
	if err := m.Parse(b); err != nil {
		r.count(err)
		return
	}
	s := r.senders[m.Server]
	if s == nil || !s.heard || s.instance != m.Instance {
		r.stats.Drops.Foreign++
		return
	}
	r.stats.NacksHeard++
	r.overhear(s, m.Payload)
	if x, ok := m.Extensions.CC(); ok {
		r.overhearCC(now, s, x)
	}
}

// handleRepairAdv processes a NORM_CMD(REPAIR_ADV), which is to suppress as the NORM_NACKs it stands for would.
func (r *Receiver) handleRepairAdv(now time.Time, m *wire.RepairAdv) error {
	s, err := r.sender(now, m.Header, m.SenderHeader)
	if err != nil {
		return err
	}
	r.overhear(s, m.Payload)
	if x, ok := m.Extensions.CC(); ok {
		r.overhearCC(now, s, x)
	}
	if m.Flags&wire.RepairAdvLimit == 0 {
		return nil
	}
	// "When the NORM_CMD(REPAIR_ADV) message is of maximum size [...] receivers SHALL consider the maximum ordinal
	// transmission position value embedded in the message as the senders current transmission position and implicitly
	// suppress requests for ordinally higher repair." RFC 5740, Section 5.4.4.
	c := &s.nack
	if c.state != nackBackoff || s.insists(r.cfg.MaxSuppressed) {
		return nil
	}
	var highest mark
	found := false
	for request := range m.Requests() {
		for _, last := range request.All() {
			end := s.advertisedEnd(request.Flags, last)
			if !found || s.earlier(highest, end) == highest {
				highest, found = end, true
			}
		}
	}
	if found {
		c.limit, c.advertised = s.earlier(c.limit, highest), true
	}
	return nil
}

// advertisedEnd returns what may be asked for when the highest that a NORM_CMD(REPAIR_ADV) names is this: of a block in
// which it names segments nothing, as of the block in which a sender is that transmits them.
func (s *remote) advertisedEnd(flags wire.RepairFlags, last wire.Position) mark {
	end := mark{object: last.Object, block: s.locate(last, nil).Block, whole: true}
	switch {
	case flags&wire.RepairObject != 0:
		end.block = 1<<32 - 1
	case flags&wire.RepairBlock != 0:
		end.block++
	case flags&wire.RepairSegment == 0: // NORM_INFO, ahead of all blocks
		end.block, end.whole = 0, false
	}
	return end
}

// overhear merges the repair requests of others while we may be about to make the same.
func (r *Receiver) overhear(s *remote, payload []byte) {
	if s.nack.state != nackBackoff || s.insists(r.cfg.MaxSuppressed) {
		return
	}
	o := originFor(s.nack.limit.object)
	for request := range wire.Requests(payload) {
		s.nack.others.merge(request, o, s)
	}
}

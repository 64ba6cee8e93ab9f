package norm

import (
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

const (
	// trialBlocks is how many trials of one level it takes to raise it, and after how many blocks one goes with less.
	trialBlocks = 16
	// mostRest is after how many blocks that is at the most, when those that went with less were missed.
	mostRest = 64
	// firstTrials is how many blocks, all asked for, it takes to begin.
	firstTrials = 4
	// openTrials bounds the blocks whose trial is not over; blocks sent while there are as many have none.
	openTrials = 64
	// nackCost is what a NACK counts in segments: its bytes, and that all who hear it have to read it.
	nackCost = 1.0 / 32
)

// A parityAdviser decides how many parity symbols are sent behind each block unasked, where the application leaves it to the
// sender: "the NORM implementation MAY be configured to proactively transmit some amount of redundant FEC symbols along with
// the original content" (RFC 5740, Section 2.1).
//
// Parity costs a symbol where nobody needs it; to do without costs the same symbol a round trip later, and NACKs. So level
// is the greatest number of which the last symbol would nearly always have been asked for, which in a group without loss is
// zero. Each block is a trial of the parity sent with it, which is over when all NACKs for it had their time. Whether less
// would do is seen by one block in trialBlocks that goes with less: if nobody misses it, level falls to that, and the next
// trial of less is of twice as much less. If somebody does, as in a large group very many do, the next is after twice as many.
type parityAdviser struct {
	level int
	most  int // half of a full block, lest forged NACKs make us send without end, or all the parity it has
	full  int // source symbols of a full block

	since int // blocks since one went with less
	rest  int // blocks between those
	step  int // by how much less

	open    []parityTrial // in the order they were sent
	results []parityTrial // the latest of those sent with level, at most trialBlocks
}

// A parityTrial is a block that was sent with some parity unasked.
type parityTrial struct {
	object Handle
	block  uint32
	end    time.Time // when the last of it was sent
	sent   int       // parity unasked
	nacks  int       // that asked for more
	need   int       // parity sent in all; nobody having asked for more, it may have been more than was needed
}

func newParityAdviser(code fec.Params) parityAdviser {
	full := code.MaxBlockLen
	return parityAdviser{full: full, most: min(code.MaxParity, full/2), step: 1, rest: trialBlocks}
}

// choose returns how much parity to send behind a block of k source symbols.
func (a *parityAdviser) choose(k int) int {
	if !a.tells(k) {
		return a.level * k / a.full
	}
	if a.since++; a.since <= a.rest || len(a.open) == openTrials {
		return a.level
	}
	a.since = 0
	return max(a.level-a.step, 0)
}

// tells reports whether what becomes of a block of k source symbols tells something of full ones.
func (a *parityAdviser) tells(k int) bool { return 4*k >= 3*a.full }

// try begins the trial of a block.
func (a *parityAdviser) try(t parityTrial) {
	if len(a.open) < openTrials {
		a.open = append(a.open, t)
	}
}

// asked takes note of NACKs that asked for more of a block.
func (a *parityAdviser) asked(o Handle, b uint32, nacks int) {
	for i := range a.open {
		if t := &a.open[i]; t.object == o && t.block == b {
			t.nacks += nacks
		}
	}
}

// forget ends all trials of an object without a result.
func (a *parityAdviser) forget(o Handle) {
	a.open = slices.DeleteFunc(a.open, func(t parityTrial) bool { return t.object == o })
}

// learn follows the result of a trial.
func (a *parityAdviser) learn(t parityTrial) {
	switch less := t.sent < a.level; {
	case less && t.need > t.sent:
		a.step, a.rest = 1, min(2*a.rest, mostRest)
	case less:
		a.set(t.sent)
		a.step, a.rest, a.since = 2*a.step, trialBlocks, trialBlocks
	case t.sent == a.level:
		if len(a.results) == trialBlocks {
			a.results = slices.Delete(a.results, 0, 1)
		}
		a.results = append(a.results, t)
		a.raise()
	}
}

// raise goes to a higher level if one symbol more was worth it on average: it counts where it was asked for after all, with
// the NACKs that it would have saved. To several more at once it goes only if all trials needed them.
func (a *parityAdviser) raise() {
	if len(a.results) < trialBlocks {
		return
	}
	next, worth := a.most, 0.0
	for _, t := range a.results {
		next = min(next, t.need)
		if t.need > a.level {
			worth += 1 + nackCost*float64(t.nacks)
		}
	}
	if worth >= float64(len(a.results)) {
		next = min(max(next, a.level+1), a.most)
	}
	if next > a.level {
		a.set(next)
		a.step = 1
	}
}

// begin goes to a first level as soon as the first blocks were all asked for, with no more than each has needed by now: the way to
// know better is long, and each block on it costs many NACKs.
func (a *parityAdviser) begin() {
	if a.level > 0 || len(a.open) < firstTrials {
		return
	}
	least := a.most
	for _, t := range a.open[:firstTrials] {
		if t.nacks == 0 {
			return
		}
		least = min(least, t.need)
	}
	a.set(least) // zero if they were mended without parity
}

func (a *parityAdviser) set(level int) { a.level, a.results = level, a.results[:0] }

// unasked returns how much parity to send behind a block whose source symbols are sent.
func (s *Sender) unasked(o *outgoing, b uint32) int {
	switch n := s.cfg.AutoParity; {
	case n > 0:
		return min(n, o.layout.parity(b))
	case n < 0:
		return 0
	}
	s.concludeTrials()
	n := min(s.adviser.choose(o.BlockLen(b)), o.layout.parity(b))
	if n > 0 {
		o.parity.set(o.slot(b), n)
	}
	return n
}

// concludeTrials ends the trials of blocks sent so long ago that NACKs for them have come and were answered. A receiver may be
// in the hold-off of its last NACK, (K_sender+2)*GRTT_sender, when the block ends; then it waits for the end of another block,
// and backs off for up to K_sender*GRTT_sender. Its NACK is gathered for (K_sender+1)*GRTT_sender, and one more is for the
// way. All this is waited for twice, as repairs are lost, too.
func (s *Sender) concludeTrials() {
	a, n := &s.adviser, 0
	cycle := max(s.grtts(3*s.cfg.BackoffFactor+4), leastHold)
	wait := 2 * (cycle + s.pacer.interval((a.full+a.level)*s.cfg.maxDatagram()))
	for i := range a.open {
		t := &a.open[i]
		over := i == n && s.pacer.at.Sub(t.end) >= wait
		if over {
			n++
		}
		if o := s.byHandle(t.object); o != nil && t.block >= o.firstHeld() {
			if t.need = o.parity.sent(o.slot(t.block)); over {
				a.learn(*t)
			}
		}
	}
	a.open = slices.Delete(a.open, 0, n)
	a.begin()
}

// blockSent reports whether all of the block being sent is sent, parity included, behind a symbol of it.
func (s *Sender) blockSent(o *outgoing) bool {
	b := uint32(o.block)
	k := o.BlockLen(b)
	if o.symbol == k {
		o.unasked = s.unasked(o, b)
	}
	if o.symbol < k+o.unasked {
		return false
	}
	if s.cfg.AutoParity == 0 && s.adviser.tells(k) && o.flags&wire.FlagUnreliable == 0 {
		s.adviser.try(parityTrial{object: o.handle, block: b, end: s.pacer.at, sent: o.unasked})
	}
	return true
}

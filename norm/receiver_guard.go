package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A GuardPolicy says when the rule of RFC 5740, Section 5.3 for source-specific sessions holds, which this package takes to
// be about all unicast feedback in a group, since no receiver hears another there:
//
// "To avoid the possibility of NACK implosion in the case of sender or network failure during SSM operation, the receiver
// SHALL automatically suppress its NACK and immediately enter the "holdoff" period described below when T_backoff is greater
// than (K_sender-1)*GRTT_sender."
type GuardPolicy uint8

const (
	// GuardSilence follows the rule when there may be a failure: such a NACK is withheld if nothing was heard of the sender
	// while its backoff ran. With K = 6 and a group size of 10,000 the rule by the letter withholds 82 % of a receiver's
	// NACKs, also where it is the only one that lost something.
	GuardSilence GuardPolicy = iota
	GuardAlways              // by the letter
	GuardNever
)

// guarded reports whether the rule is about a NACK with that backoff.
func (r *Receiver) guarded(s *remote, backoff time.Duration) bool {
	group := r.cfg.Group.Addr()
	return r.cfg.Guard != GuardNever && group.IsMulticast() && r.cfg.Feedback.unicast(group) &&
		s.backoff > 0 && backoff > time.Duration(s.backoff-1)*s.grtt
}

// A starvation is how long others have asked in vain for what we lack: their requests may be forged.
type starvation struct {
	lowest need // what we lack first
	cycles int  // that were suppressed while it was
}

// starved takes note of a NACK that what others asked for suppresses.
func (s *remote) starved() {
	var lowest need
	s.needs(s.position, func(n need) bool {
		lowest = n
		return false
	})
	if lowest.flags&wire.RepairBlock != 0 {
		lowest.last = lowest.first // more of them come while the sender goes on
	}
	if c := &s.nack.starve; c.lowest == lowest {
		c.cycles++
	} else {
		*c = starvation{lowest, 1}
	}
}

// insists reports whether we do not listen to others any more. While the sender is not heard it may have failed, and then
// all insisting at once would help nobody.
func (s *remote) insists(most int) bool {
	return most > 0 && s.nack.starve.cycles >= most && s.silent == 0
}

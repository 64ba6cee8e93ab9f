package norm

import (
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/cc"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A repairGroup is what a sender keeps of its second group (SenderConfig.RepairGroup). A request that bears EXT_REPAIR is
// answered there, any other in the session's group, where everybody hears it: so receivers that were not told of the repair
// group, or cannot be reached by it, are served as if there were none.
//
// RFC 5740, Section 4.1 has one "monotonically increasing sequence number space [...] to mark NORM sender messages", by
// which receivers count what they lost. Beside it we have another one for the repair group, as receivers have "for each
// destination address": who does not listen there finds no gaps.
type repairGroup struct {
	next     bool // the message being made goes there
	sequence wire.Sequence
	last     time.Time // when anything went there
	shown    time.Time // when the group last saw where we are, or when repairs began since
}

// showEvery is how often the group sees where we are while repairs go elsewhere: well within T_inactivity, which is a second
// at the least, after which those who hear no repairs would ask for the rest of the block that we have not come to yet.
const showEvery = 500 * time.Millisecond

// unshown reports whether a NORM_CMD(FLUSH) is to tell the group the transmit position between repairs that go elsewhere.
func (s *Sender) unshown(now time.Time) bool {
	return s.cfg.RepairGroup.IsValid() && s.transmitted && s.repairNext() && now.Sub(s.elsewhere.shown) >= showEvery
}

// show notes that content, or a NORM_CMD(FLUSH), is being sent.
func (s *Sender) show() {
	if !s.elsewhere.next {
		s.elsewhere.shown = s.pacer.at
	}
}

// sentTo counts a datagram that is sent, and returns where to.
func (s *Sender) sentTo(now time.Time, size int) netip.AddrPort {
	if !s.elsewhere.next {
		return s.cfg.Group
	}
	s.elsewhere.last = now
	s.stats.Elsewhere.Datagrams++
	s.stats.Elsewhere.Bytes += uint64(size)
	return s.cfg.RepairGroup
}

// askedBy notes that a NACK named the object. What is already planned of it may be what a deaf one asks for.
func (o *outgoing) askedBy(deaf bool) {
	o.asked.deaf = o.asked.deaf || deaf
	o.plan.deaf = o.plan.deaf || deaf
}

// askedByDeaf reports whether somebody who does not hear the repair group has asked for anything in this aggregation.
func (s *Sender) askedByDeaf() bool {
	for _, o := range s.objects {
		if o.asked.deaf {
			return true
		}
	}
	return false
}

// spared is how many times our rate a report stands for that limits nothing.
const spared = 4

// heardRate returns the rate that a report of congestion control stands for, with the extensions it came with. A receiver
// that has lost nothing reports twice what it receives. What goes to the repair group it does not receive unless it bears
// EXT_REPAIR: while repairs go there its report limits nothing, as all that was sent to it has come.
func (s *Sender) heardRate(now time.Time, r cc.Report, ext wire.Extensions) float64 {
	window := s.grtts(max(s.cfg.BackoffFactor, defaultBackoff) + 2)
	if last := s.elsewhere.last; r.Start && !ext.Repair() && !last.IsZero() && now.Sub(last) < window {
		return max(r.Rate, spared*s.controller.Rate())
	}
	return r.Rate
}

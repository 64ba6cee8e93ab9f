package norm

import (
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/cc"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// tooSlow is how long our rate must stay below ReceiverConfig.MinRate before the application is told.
const tooSlow = 30 * time.Second

// oldRTT is the age at which our RTT is as good as none: that of ten probes of a sender that is idle.
const oldRTT = 10 * mostProbeInterval

// congestionExperienced is the ECN codepoint CE (RFC 3168).
const congestionExperienced = 3

// A path is what a receiver knows of the way from one sender, for congestion control.
type path struct {
	cc.Receiver
	listed    bool      // a cc_node_list had receivers in it
	starting  bool      // and NORM_FLAG_CC_START
	told      int64     // when a cc_node_list last told our RTT, in nanoseconds since 1970
	slowSince time.Time // our rate is below MinRate; zero: it is not
	tooSlow   bool      // for so long that the application was told
}

// headers returns the size of the IP and UDP headers of a datagram to or from an address.
func headers(a netip.Addr) int {
	if a.Is6() && !a.Is4In6() {
		return 48
	}
	return 28
}

// observe takes the arrival of a message of the sender. "NORM_CMD, NORM_DATA, and NORM_INFO" share the sequence numbers, so
// each of them tells of losses.
func (p *path) observe(now time.Time, seq wire.Sequence, d Datagram) {
	if p != nil {
		p.Arrive(now, uint16(seq), len(d.B)+headers(d.From.Addr()), d.ECN == congestionExperienced)
	}
}

// follow takes what a NORM_CMD(CC) with EXT_RATE tells of the sender, and of our RTT. Receivers that "haven't been included in
// the NORM_CMD(CC) "cc_node_list" in a long time [...] might wish to compete as a receiver with no prior RTT measurement", RFC
// 5740, Section 5.5.2.2: then they are suppressed by those alone, and so are listed again.
func (r *Receiver) follow(now time.Time, s *remote, nodes wire.CCNodeList, rate float64, told bool) {
	p := s.probe.path
	if p == nil {
		p = &path{Receiver: *cc.NewReceiver(s.grtt, rate), told: now.UnixNano()}
		s.probe.path = p
	}
	p.Advertised(rate)
	p.Group(s.grtt)
	switch {
	case told:
		p.told = now.UnixNano()
	case now.Sub(time.Unix(0, p.told)) > oldRTT:
		s.probe.hasRTT = false
	}
	if s.probe.hasRTT {
		p.Measured(wire.DecodeRTT(s.probe.rtt))
	}
	// The RFC has the sender set NORM_FLAG_START in the message, which has no flags; the items of the list do.
	if nodes.Len() > 0 {
		starting := false
		for n := range nodes.All() {
			starting = starting || n.Flags&wire.CCFlagStart != 0
		}
		if starting && !p.starting && p.listed {
			p.Restart() // a break ended, and "the group SHOULD observe slow-start congestion control procedures"
		}
		p.listed, p.starting = true, starting
	}
	r.checkRate(now, s, p)
}

// checkRate tells the application when our path has long borne less than MinRate, while the sender would send faster. RFC
// 4654, Section 4.4 has such a receiver leave; here the application decides, and until then our feedback bears
// NORM_FLAG_CC_LEAVE, so that the group does not wait for us.
func (r *Receiver) checkRate(now time.Time, s *remote, p *path) {
	switch {
	case r.cfg.MinRate == 0 || p.Loss() == 0 || 8*p.Rate() >= r.cfg.MinRate:
		p.slowSince, p.tooSlow = time.Time{}, false
	case p.slowSince.IsZero():
		p.slowSince = now
	case !p.tooSlow && now.Sub(p.slowSince) >= tooSlow:
		p.tooSlow = true
		r.senderEvent(TooSlow, s)
	}
}

// Leave says that we are about to leave, so that no sender waits for our feedback: it sends NORM_ACK(CC) with
// NORM_FLAG_CC_LEAVE to those that asked for feedback, and all feedback bears the flag from now on. RFC 4654, Section 4.2
// has a current limiting receiver go on so for a round trip before it goes.
func (r *Receiver) Leave(now time.Time) {
	r.leaving = true
	for _, s := range r.order {
		if s.probe.path != nil && !s.ended {
			s.probe.due = true
		}
	}
}

// appendCC appends EXT_CC if the sender wants it.
func (r *Receiver) appendCC(s *remote, ext wire.Extensions) wire.Extensions {
	p := &s.probe
	if !p.asked {
		return ext
	}
	x := wire.ExtCC{
		Sequence: p.sequence,
		RTT:      0xff, // "default maximum value", meaningless without the flag
		Rate:     wire.EncodeRate(max(p.path.Rate(), 1)),
	}
	if p.hasRTT {
		x.RTT, x.Flags = p.rtt, x.Flags|wire.CCFlagRTT
	}
	if loss := p.path.Loss(); loss > 0 {
		// Zero without NORM_FLAG_CC_START would be an infinite rate for senders that go by cc_loss alone.
		x.Loss = max(wire.EncodeLoss(loss), 1)
	} else {
		x.Flags |= wire.CCFlagStart
	}
	if r.leaving || p.path.tooSlow {
		x.Flags |= wire.CCFlagLeave
	}
	return wire.AppendCC(ext, x)
}

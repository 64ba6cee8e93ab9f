package norm

import (
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// Handle takes a datagram that arrived: NORM_NACK and NORM_ACK addressed to this sender count, others are dropped.
func (s *Sender) Handle(now time.Time, d Datagram) {
	s.expire(now)
	h, err := wire.Peek(d.B)
	forged := s.auth.Verify(now, d.B)
	switch {
	case err != nil || h.Source == wire.NodeNone || h.Source == wire.NodeAny:
		s.stats.Drops.Malformed++
	case forged != nil:
		s.stats.Drops.notAuthentic(forged)
	case h.Source == s.cfg.Node:
		s.handleOwn(d, h)
	case (h.Type == wire.TypeNack || h.Type == wire.TypeAck) && !s.hears(now, d.From.Addr()):
		s.stats.Drops.Refused++
	case h.Type == wire.TypeNack:
		s.handleNack(now, d)
	case h.Type == wire.TypeAck:
		s.handleAck(now, d)
	case h.Type == wire.TypeReport:
		s.stats.Reports++ // "the format of NORM_REPORT is undefined"
	default: // another sender
		s.stats.Drops.Foreign++
	}
	s.settle(now)
}

// handleOwn takes a message that bears our own NormNodeId: our multicast come back, the feedback of a receiver of the
// same node for other senders, or somebody who should have another id.
func (s *Sender) handleOwn(d Datagram, h wire.Header) {
	s.stats.Drops.Foreign++
	collision := false
	if _, sh, err := wire.PeekSender(d.B); err == nil {
		echo := sh.Instance == s.cfg.Instance && (s.self == netip.AddrPort{} || s.self == d.From)
		if echo {
			s.self = d.From
		}
		collision = !echo
	} else if h.Type == wire.TypeNack && s.nack.Parse(d.B) == nil {
		collision = s.nack.Server == s.cfg.Node
	} else if h.Type == wire.TypeAck && s.ack.Parse(d.B) == nil {
		collision = s.ack.Server == s.cfg.Node
	}
	if collision && !s.collided {
		s.collided = true
		s.emit(Event{Kind: NodeCollision, Node: s.cfg.Node})
	}
}

// addressed reports whether feedback is for us. "The sender SHOULD ignore feedback messages containing an invalid
// "instance_id" value." RFC 5740, Section 4.3.1.
func (s *Sender) addressed(f wire.FeedbackHeader) bool {
	return f.Server == s.cfg.Node && f.Instance == s.cfg.Instance
}

func (s *Sender) handleAck(now time.Time, d Datagram) {
	m := &s.ack
	switch {
	case m.Parse(d.B) != nil:
		s.stats.Drops.Malformed++
	case !s.addressed(m.FeedbackHeader):
		s.stats.Drops.Foreign++
	case len(m.Payload) > s.cfg.SegmentSize: // "limited to NormSegmentSize", RFC 5740, Section 4.3.2
		s.stats.Drops.Malformed++
	case s.ending || m.AckType != wire.AckCC && !s.takeAck(m):
		s.stats.Drops.Useless++
	default:
		s.stats.Acks++
		s.track(m.Source, m.AckType == wire.AckCC)
		rtt := s.handleResponse(now, m.GRTTResponse)
		s.handleCC(now, d, m.Source, rtt, m.Extensions)
	}
}

func (s *Sender) handleNack(now time.Time, d Datagram) {
	m := &s.nack
	switch {
	case m.Parse(d.B) != nil, len(m.Payload) > s.cfg.SegmentSize:
		// "The "nack_payload" size SHALL NOT exceed the NormSegmentSize for the sender to which the NORM_NACK is
		// destined." RFC 5740, Section 4.3.1. It also bounds the time that a NACK takes.
		s.stats.Drops.Malformed++
	case !s.addressed(m.FeedbackHeader):
		s.stats.Drops.Foreign++
	case s.ending: // NORM_CMD(EOT) said that there are no repairs any more
		s.stats.Drops.Useless++
	default:
		s.stats.NacksHeard++
		s.track(m.Source, false)
		rtt := s.handleResponse(now, m.GRTTResponse)
		s.handleCC(now, d, m.Source, rtt, m.Extensions)
		if !s.serves(now, m.Source) || s.owes(now, d.From.Addr()) {
			s.stats.NacksRefused++
			return
		}
		s.collect(now, m, d)
	}
}

// unicast reports whether feedback of a multicast session came by unicast, so that other receivers did not hear it.
func (s *Sender) unicast(d Datagram) bool {
	return s.multicast() && d.To.IsValid() && !d.To.Addr().IsMulticast()
}

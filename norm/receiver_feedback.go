package norm

import (
	"net/netip"
	"slices"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A FeedbackPolicy says where a receiver sends its NORM_NACK and NORM_ACK: "NORM feedback messages are sent to the session
// multicast address or the unicast address(es) of the active NORM sender(s)", RFC 5740, Section 4.1.
type FeedbackPolicy uint8

const (
	// FeedbackAuto is FeedbackUnicast for source-specific groups (RFC 4607: 232.0.0.0/8 and ff3x::/32), which only their
	// source may send to, and for unicast sessions; else FeedbackGroup.
	FeedbackAuto FeedbackPolicy = iota
	// FeedbackGroup sends to the group, so that receivers hear and suppress each other.
	FeedbackGroup
	// FeedbackUnicast sends to the address and port that the sender's messages come from. The sender tells the others by
	// NORM_CMD(REPAIR_ADV) what was asked for (RFC 5740, Section 5.4.4).
	FeedbackUnicast
)

// unicast reports whether feedback in a session with that group goes to the senders themselves.
func (p FeedbackPolicy) unicast(group netip.Addr) bool {
	return p == FeedbackUnicast || p == FeedbackAuto && (!group.IsMulticast() || sourceSpecific(group))
}

// destination returns where feedback to a sender goes: to the group, or to the address and port that the sender is
// observed at, which are right behind address translators and for senders with a port of their own. While nothing was
// understood of a sender, the session's address is all that is known.
func (r *Receiver) destination(s *remote) netip.AddrPort {
	if s.at.addr.IsValid() && r.cfg.Feedback.unicast(r.cfg.Group.Addr()) {
		return s.at.addr
	}
	return r.cfg.Group
}

// A voice is what a receiver that speaks has to remember.
type voice struct {
	feedback feedbackNumbering
	echo     *echo    // nil: nothing with our node id was heard
	answers  []answer // of the application to NORM_CMD(ACK_REQ), given beforehand
}

func (r *Receiver) speak() *voice {
	if r.voice == nil {
		r.voice = new(voice)
	}
	return r.voice
}

// feedbackHeader returns the common header of our next message to a destination.
func (r *Receiver) feedbackHeader(to netip.AddrPort) wire.Header {
	return wire.Header{Sequence: r.speak().feedback.next(to), Source: r.cfg.Node}
}

// maxFeedbackSpaces bounds the destinations whose numbers are remembered: each forged source address would be one.
const maxFeedbackSpaces = 32

// A feedbackNumbering numbers our messages: "a separate, monotonically increasing sequence number space MUST be maintained
// for each destination address to which the NORM receiver is transmitting feedback messages", RFC 5740, Section 4.1.
type feedbackNumbering struct {
	spaces []feedbackSpace // the one used last at the end
	first  wire.Sequence   // of a new space; behind all that were forgotten, so that one of them that comes back increases
}

type feedbackSpace struct {
	to          netip.AddrPort
	first, next wire.Sequence
	wrapped     bool // all numbers were used
}

func (f *feedbackNumbering) find(to netip.AddrPort) int {
	return slices.IndexFunc(f.spaces, func(s feedbackSpace) bool { return s.to == to })
}

// next returns the number of the next message to a destination.
func (f *feedbackNumbering) next(to netip.AddrPort) wire.Sequence {
	if i := f.find(to); i >= 0 {
		return f.spaces[i].next
	}
	return f.first
}

// sent takes note that it was sent. The destination longest not sent to gives way to a new one.
func (f *feedbackNumbering) sent(to netip.AddrPort) {
	s := feedbackSpace{to: to, first: f.first, next: f.first}
	if i := f.find(to); i >= 0 {
		s = f.spaces[i]
		f.spaces = slices.Delete(f.spaces, i, i+1)
	} else if len(f.spaces) == maxFeedbackSpaces {
		if forgotten := f.spaces[0].next; int16(forgotten-f.first) > 0 {
			f.first = forgotten
		}
		f.spaces = slices.Delete(f.spaces, 0, 1)
	}
	s.next++
	s.wrapped = s.wrapped || s.next == s.first
	f.spaces = append(f.spaces, s)
}

// used reports whether a message with that number went to a destination.
func (f *feedbackNumbering) used(to netip.AddrPort, n wire.Sequence) bool {
	i := f.find(to)
	if i < 0 {
		return false
	}
	s := &f.spaces[i]
	return s.wrapped || n-s.first < s.next-s.first
}

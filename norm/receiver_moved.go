package norm

import (
	"net/netip"
	"time"
)

// Peers are not known "by [their] address alone" (RFC 5401, Section 3.4): a sender that is heard from another address, as
// when its address translator forgot it, is the same sender. But a source address is easily forged, and unicast feedback
// that follows one is lost to the group. So the old address must have been silent for moveSilence while moveMessages came
// from the new one; and as long as an idle sender may be silent at most, the old address wins when it is heard again.
const (
	moveMessages = 4
	moveSilence  = time.Second
	moveRegret   = longestSilence
)

// whereabouts is where a sender is heard from.
type whereabouts struct {
	addr  netip.AddrPort // where feedback goes
	doubt *doubt         // nil: it was never heard from elsewhere
}

// A doubt is what speaks for another address.
type doubt struct {
	rival netip.AddrPort // heard from since addr was
	since time.Time
	count int // messages from there; 0: no rival

	left  netip.AddrPort // addr before the last move
	until time.Time      // it wins until then
}

// locate notes where a message of a sender came from. A receiver that is bound to an address by SenderAddr hears none from
// elsewhere.
func (r *Receiver) locate(now time.Time, s *remote, from netip.AddrPort) {
	if s.at.observe(now, from) {
		r.events.push(Event{Kind: SenderMoved, Sender: s.id, Instance: s.instance, From: from})
	}
}

// observe reports whether addr changed to from.
func (w *whereabouts) observe(now time.Time, from netip.AddrPort) (moved bool) {
	switch d := w.doubt; {
	case from == w.addr:
		if d != nil {
			d.count = 0
		}
		return false
	case !w.addr.IsValid():
		w.addr = from
		return false
	case d == nil:
		w.doubt = &doubt{rival: from, since: now, count: 1}
		return false
	case from == d.left && now.Before(d.until):
		*w = whereabouts{addr: from, doubt: &doubt{}}
		return true
	case d.count == 0 || from != d.rival:
		d.rival, d.since, d.count = from, now, 1
		return false
	default:
		if d.count++; d.count < moveMessages || now.Sub(d.since) < moveSilence {
			return false
		}
		*d = doubt{left: w.addr, until: now.Add(moveRegret)}
		w.addr = from
		return true
	}
}

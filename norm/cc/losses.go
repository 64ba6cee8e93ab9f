package cc

import "time"

// A packet is one that arrived, or would have.
type packet struct {
	number int64         // its sequence number, continued beyond 16 bits
	at     time.Duration // since the Receiver's start
}

// resync is how far back a sequence number must be to mean that the numbers began anew, and not a late packet.
const resync = 1000

// losses finds lost packets in what arrives and makes loss events of them (RFC 4654, Sections 5.1 to 5.3). It remembers
// no packet that is decided, however many are lost.
type losses struct {
	last  packet    // the last of which all before are decided
	ahead [2]packet // arrived beyond it, in the order of their numbers
	n     int8      // how many
	begun bool

	missing uint64  // bit i: last-1-i counts as lost, and may still come
	events  *events // nil: no loss yet
}

// events are the loss events.
type events struct {
	first   packet // of the current event, at its nominal time
	lost    int    // packets lost in it
	history history

	// What was before the current event, to which we return if all its packets come after all; known says whether we may.
	before struct {
		known   bool
		first   packet
		history history
	}
}

// top returns the greatest number that arrived.
func (l *losses) top() int64 {
	if l.n > 0 {
		return l.ahead[l.n-1].number
	}
	return l.last.number
}

// loss returns the loss event fraction p. I_0, the loss interval that lasts, counts from the first packet of the event.
func (l *losses) loss() float64 {
	if l.events == nil {
		return 0
	}
	return l.events.history.loss(float64(max(l.top()-l.events.first.number+1, 1)))
}

// clear forgets all losses, so that slow start may resume.
func (l *losses) clear() { l.events = nil }

// arrive takes the arrival of a packet, marked if it had the ECN codepoint CE. rtt is the time within which losses are one
// event, and first the interval that the history begins with.
//
// "The loss of a packet is detected by the arrival of at least three packets with a higher sequence number": with a third
// one beyond the last that is decided, all before the lowest of the three are.
func (l *losses) arrive(now time.Duration, sequence uint16, marked bool, rtt time.Duration, first float64) {
	if !l.begun {
		l.begun, l.last = true, packet{int64(sequence), now}
		return
	}
	// The difference on the circle of 16 bits: the wrap of RFC 4654, Section 5.2 needs no more care.
	p := packet{l.top() + int64(int16(sequence-uint16(l.top()))), now}
	switch {
	case p.number < l.top()-resync:
		if l.events != nil {
			l.events.first.number += p.number - l.top()
			l.events.before.known = false
		}
		l.last, l.n, l.missing = p, 0, 0
	case p.number <= l.last.number:
		l.late(l.last.number - 1 - p.number)
	case !l.insert(p, rtt, first):
		return // a duplicate
	}
	// "a marked packet is detected as a congestion event as soon as it arrives"
	if marked {
		l.lose(p, rtt, first)
		l.events.before.known = false // no packet can undo it
	}
}

// insert takes a packet beyond the last that is decided; it reports false if it has arrived before.
func (l *losses) insert(p packet, rtt time.Duration, first float64) bool {
	for _, a := range l.ahead[:l.n] {
		if a.number == p.number {
			return false
		}
	}
	if int(l.n) < len(l.ahead) {
		l.ahead[l.n] = p
		if l.n++; l.n == 2 && l.ahead[1].number < l.ahead[0].number {
			l.ahead[0], l.ahead[1] = l.ahead[1], l.ahead[0]
		}
		return true
	}
	switch {
	case p.number < l.ahead[0].number:
	case p.number < l.ahead[1].number:
		p, l.ahead[0] = l.ahead[0], p
	default:
		p, l.ahead[0], l.ahead[1] = l.ahead[0], l.ahead[1], p
	}
	l.decide(p, rtt, first)
	return true
}

// decide counts what is missing between the last packet that is decided and the next that arrived as lost.
func (l *losses) decide(next packet, rtt time.Duration, first float64) {
	gap := next.number - l.last.number - 1
	if gap > 0 {
		l.loseAll(next, gap, rtt, first)
	}
	// Shifts of 64 and more give zero.
	l.missing = l.missing<<uint(gap+1) | (uint64(1)<<uint(min(gap, 64)) - 1)
	l.last = next
}

// loseAll counts a run of packets as lost. Their nominal times are between those of their neighbours:
//
//	T_loss = T_before + ((T_after - T_before) * (S_loss - S_before)/(S_after - S_before))
//
// A run that lasts longer than an RTT is several events; the history holds no more than the last of them.
func (l *losses) loseAll(next packet, gap int64, rtt time.Duration, first float64) {
	between := float64(next.at-l.last.at) / float64(gap+1)
	nominal := func(i int64) packet {
		return packet{l.last.number + i, l.last.at + time.Duration(between*float64(i))}
	}
	each := gap // packets in an event
	if between > 0 {
		each = int64(min(float64(rtt)/between, float64(gap-1))) + 1
	}
	l.lose(nominal(1), rtt, first)
	l.events.lost += int(min(each, gap)) - 1
	i := 1 + each
	if events := (gap - i) / each; events > depth {
		i += (events - depth) * each
	}
	for ; i <= gap; i += each {
		l.lose(nominal(i), rtt, first)
		l.events.lost += int(min(each, gap-i+1)) - 1
	}
}

// lose takes a lost or marked packet. "If T_old + R >= T_new, then S_new is part of the existing loss event. Otherwise,
// S_new is the first packet of a new loss event."
func (l *losses) lose(p packet, rtt time.Duration, first float64) {
	e := l.events
	if e == nil {
		l.events = &events{first: p, lost: 1}
		l.events.before.known = true
		l.events.history.begin(first)
		return
	}
	if p.at <= e.first.at+rtt {
		e.lost++
		return
	}
	e.before.known, e.before.first, e.before.history = true, e.first, e.history
	e.history.end(float64(max(p.number-e.first.number, 1)))
	e.first, e.lost = p, 1
}

// late takes a packet that counts as lost, at bit i: "the late packet can fill the hole in the reception record, and the
// receiver can recalculate the loss event rate". When the last of the current event has come, it has not happened; in
// earlier events we do not look back.
func (l *losses) late(i int64) {
	if i < 0 || i >= 64 || l.missing&(1<<i) == 0 {
		return
	}
	l.missing &^= 1 << i
	e := l.events
	if number := l.last.number - 1 - i; e == nil || !e.before.known || number < e.first.number {
		return
	}
	if e.lost--; e.lost > 0 {
		return
	}
	if e.before.history.n == 0 {
		l.clear()
		return
	}
	e.first, e.history, e.before.known = e.before.first, e.before.history, false
}

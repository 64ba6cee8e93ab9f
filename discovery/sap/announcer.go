package sap

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/discovery/sdp"
)

// repeats is how often news is sent at short distance: a description that is new, and a deletion. "no
// additional reliability is provided over the standard best-effort UDP/IP semantics" (RFC 2974, Section 3), and the next
// regular announcement is five minutes away.
const repeats = 3

// minGap is the least distance of these, which is longer where the bandwidth limit wants it.
const minGap = time.Second

// An AnnouncerConfig says how a session is announced.
type AnnouncerConfig struct {
	Source netip.Addr // originating source: our address, as others know it; required
	Limit  int        // of the group, in bits per second. If zero, DefaultLimit
	Rand   *rand.Rand // required
}

// An Announcer announces one description of a session on one group, as often as RFC 2974, Section 3.1 says. It is sent at
// once, and twice more; after that the intervals are those of the RFC. A modified session is announced by another one, with
// a higher version in its origin.
type Announcer struct {
	cfg    AnnouncerConfig
	others *Listener

	hash         uint16 // message identifier hash
	announcement packet
	deletion     packet

	tp time.Time // of the last announcement, or when it may first be sent
	u  float64   // the random number of the next one's offset
}

// A packet is what is sent.
type packet struct {
	bytes []byte
	at    time.Time // next; zero: not to be sent
	left  int       // how often still at short distance
}

// NewAnnouncer returns an Announcer that begins at once. The error says why the description cannot be announced.
func NewAnnouncer(cfg AnnouncerConfig, now time.Time, d *sdp.Description) (*Announcer, error) {
	cfg.Limit = cmp.Or(cfg.Limit, DefaultLimit)
	a := &Announcer{cfg: cfg, others: NewListener(ListenerConfig{Limit: cfg.Limit}), tp: now}
	text, err := d.AppendText(nil)
	if err != nil {
		return nil, err
	}
	// "it MUST be unique for each session announced by a particular SAP announcer and it MUST be changed if the session
	// description is modified" (RFC 2974, Section 6): as far as 16 bits can, it tells all descriptions apart.
	sum := sha256.Sum256(text)
	a.hash = cmp.Or(binary.BigEndian.Uint16(sum[:]), 1)
	p := Packet{Hash: a.hash, Source: a.cfg.Source, Payload: text}
	if a.announcement.bytes, err = p.AppendBinary(nil); err != nil {
		return nil, err
	}
	p.Delete, p.Payload = true, d.Origin.AppendText(nil)
	if a.deletion.bytes, err = p.AppendBinary(nil); err != nil {
		return nil, err
	}
	a.announcement.at, a.announcement.left = now, repeats
	return a, nil
}

// Delete has the session deleted: announced no more, and said to be over.
func (a *Announcer) Delete(now time.Time) {
	a.announcement.at = time.Time{}
	a.deletion.at, a.deletion.left = now, repeats
}

// Done reports whether the session is deleted, and that was said often enough.
func (a *Announcer) Done() bool { return a.announcement.at.IsZero() && a.deletion.at.IsZero() }

// Handle takes what others announce on the group: "Each announcer is expected to listen to other announcements in order to
// determine the total number of sessions being announced on a particular group" (RFC 2974, Section 3.1).
func (a *Announcer) Handle(now time.Time, from netip.Addr, b []byte) {
	var p Packet
	if p.Parse(b) == nil && p.Source == a.cfg.Source && p.Hash == a.hash {
		return // our own, or another announcer's of the same session
	}
	a.others.Handle(now, from, b)
	for range a.others.Events() {
	}
}

// Others returns what was heard of other sessions.
func (a *Announcer) Others() *Listener { return a.others }

// next returns when the announcement is due: tn = tp + interval + offset, or after the gap between news.
func (a *Announcer) next() time.Time {
	ads, size := a.others.Announcements()+1, len(a.announcement.bytes)
	switch a.announcement.left {
	case 0:
		i := interval(ads, size, a.cfg.Limit)
		return a.tp.Add(i + offset(i, a.u))
	case repeats: // not yet sent
		return a.tp
	default:
		return a.tp.Add(max(minGap, share(ads, size, a.cfg.Limit)))
	}
}

// Deadline returns when Poll has something to say next; zero: never.
func (a *Announcer) Deadline() time.Time {
	next := a.announcement.at
	if at := a.deletion.at; next.IsZero() || !at.IsZero() && at.Before(next) {
		next = at
	}
	return next
}

// Poll appends the packet that is due to b. If none is, ok is false.
func (a *Announcer) Poll(now time.Time, b []byte) (_ []byte, ok bool) {
	if d := &a.deletion; !d.at.IsZero() && !now.Before(d.at) {
		if d.left--; d.left == 0 {
			d.at = time.Time{}
		} else {
			d.at = now.Add(max(minGap, share(a.others.Announcements()+1, len(d.bytes), a.cfg.Limit)))
		}
		return append(b, d.bytes...), true
	}
	p := &a.announcement
	if p.at.IsZero() || now.Before(p.at) {
		return b, false
	}
	// "At time tn the announcer SHOULD recalculate the next transmission time. If the new value of tn is before the current
	// time, the announcement is sent immediately. Otherwise the transmission is rescheduled for the new tn." The random
	// number stays as it was drawn: another draw each time would make all intervals longer than the RFC's.
	a.others.Advance(now)
	if p.at = a.next(); p.at.After(now) {
		return b, false
	}
	a.tp, a.u = now, a.cfg.Rand.Float64()
	p.left = max(0, p.left-1)
	p.at = a.next()
	return append(b, p.bytes...), true
}

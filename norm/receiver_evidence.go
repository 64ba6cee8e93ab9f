package norm

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// An EvidencePolicy lets a receiver believe what is said in a sender's name by what speaks for it, where packets are not
// authenticated (RFC 5740, Section 7: "NORM is vulnerable to attacks that misuse its feedback suppression and congestion
// control mechanisms"). It is for applications that can tell right content from wrong, and say so by [Receiver.Vouch].
//
//   - A node id is spoken for from one address, in one run (instance_id). Another address or run is believed only when the one
//     that is believed is silent, or nothing that came of it was verified for Trial. One whose content was verified, and that was
//     only silent, is believed again as soon as it is heard.
//   - NORM_CMD(EOT) is believed when nothing else is heard for as long as an idle sender may be silent.
//   - A NORM_CMD(FLUSH) beyond the block that is being sent, or the next, is believed when it is repeated a GRTT later and
//     nothing new came of what it claims to be behind.
//   - The transmit position goes back for repairs only, and cannot keep us from asking for more than MaxSuppressed cycles.
//   - NORM_CMD(SQUELCH) is believed as the second answer in a row to requests of our own.
//   - GRTT and the group size that a sender advertises, and the round trip time it tells, change no faster than by a factor of 4
//     in a second. Once content is verified, what came with it counts: GRTT and group size are off by no more than a factor of
//     2 until there is more, and the backoff factor stays.
//
// RFC 5740 has a receiver act on each of them at once: this is a deviation, which costs time where it says "when".
type EvidencePolicy struct {
	// Trial is how long who speaks for a sender keeps doing so unverified while another one would. It should be longer than
	// it takes until content is verified. If zero, 10 s.
	Trial time.Duration
	// MinBackoff and MaxBackoff clamp the backoff factor K_sender. If zero, 2 for a multicast group, below which nothing is
	// suppressed, else 0; and 8, as Section 5.3 has 4 and 6.
	MinBackoff, MaxBackoff int
	// FirstObject and LastObject are the ids between which all objects are that there will be. If both are zero, any are.
	FirstObject, LastObject TransportID
}

func (p EvidencePolicy) resolve(group netip.Addr) (*EvidencePolicy, error) {
	p.Trial = cmp.Or(p.Trial, 10*time.Second)
	p.MaxBackoff = cmp.Or(p.MaxBackoff, 8)
	if p.MinBackoff == 0 && group.IsMulticast() {
		p.MinBackoff = min(2, p.MaxBackoff)
	}
	if p.Trial < 0 || p.MinBackoff < 0 || p.MinBackoff > p.MaxBackoff || p.MaxBackoff > 15 {
		return nil, fmt.Errorf("norm: Evidence: Trial %v, backoff %d to %d: want a time, and factors of at most 15", p.Trial, p.MinBackoff, p.MaxBackoff)
	}
	return &p, nil
}

const (
	// A run or an address is silent when nothing was heard of it for 4 GRTT, and a second.
	silentGRTTs = 4
	leastSilent = time.Second

	// slew is the factor by which what a sender advertises may change in a second, and drift that by which it may change until
	// content is verified.
	slew  = 4
	drift = 2
)

// A standing is what speaks for who is believed to be a sender: the run in [remote].instance, the address in [remote].at.
type standing struct {
	since   time.Time // it is believed
	vouched time.Time // content of it was last verified; zero: never
	proven  bool      // it was, also before another one was believed for a while
	fed     bool      // content came of it
	former  *speaker  // who was believed before, if it was proven and nobody is since

	said, fedSaid advertised // by the last message, and by the last that had content
	good          advertised // by content that was verified then; zero: none was

	ends time.Time // NORM_CMD(EOT) is believed then, if nothing else is heard; zero: none was

	claim    mark // of a NORM_CMD(FLUSH) that is not believed yet
	claimed  time.Time
	squelch  int       // NORM_CMD(SQUELCH) that answered requests of ours since content came
	asked    time.Time // our last NORM_NACK that none answered
	toldRTT  time.Time // when our RTT was told
	position bool      // claim is set
}

// advertised is GRTT_sender, K_sender and GSIZE_sender as a message has them, within bounds.
type advertised struct {
	grtt      time.Duration
	backoff   int
	groupSize float64
}

// A speaker is who sends in the name of a node.
type speaker struct {
	instance InstanceID
	addr     netip.AddrPort
}

// believes reports whether a message in the name of a sender is to be looked at.
func (r *Receiver) believes(now time.Time, id NodeID, instance InstanceID, d Datagram) bool {
	if r.cfg.Evidence == nil {
		return true
	}
	s := r.senders[id]
	switch {
	case s == nil:
		return true
	case !s.heard || !s.at.addr.IsValid():
		s.standing.since = now
		return true
	}
	if who := (speaker{instance, d.From}); who != s.speaker() {
		return r.replaces(now, s, who)
	}
	return true
}

func (s *remote) speaker() speaker { return speaker{s.instance, s.at.addr} }

// replaces decides whether another one speaks for the sender from now on.
func (r *Receiver) replaces(now time.Time, s *remote, who speaker) bool {
	t := s.standing
	last := t.since
	if t.vouched.After(last) {
		last = t.vouched
	}
	back := t.former != nil && *t.former == who
	tried := now.Sub(last) >= r.cfg.Evidence.Trial
	if silent := now.Sub(s.heardAt) >= max(silentGRTTs*s.grtt, leastSilent); !silent && !tried && !back && !s.ended {
		return false
	}
	was := *t
	*t = standing{since: now, good: was.good}
	switch {
	case back:
		t.proven = true
	case was.proven && !tried: // it may only have had nothing to say
		t.former = &speaker{s.instance, s.at.addr}
	default:
		t.former = was.former
	}
	if who.instance == s.instance {
		s.at = whereabouts{addr: who.addr}
		r.events.push(Event{Kind: SenderMoved, Sender: s.id, Instance: s.instance, From: who.addr})
	} // else it is a new run, which begins with its first message
	return true
}

// Vouch tells that content of an object, which came since the sender was last vouched for, was verified: whoever is believed
// to be its sender has sent what only the sender has. Without an EvidencePolicy it is of no use. The error is
// [ErrUnknownObject].
func (r *Receiver) Vouch(now time.Time, h Handle) error {
	o := r.objects[h]
	if o == nil {
		return ErrUnknownObject
	}
	s := o.remote
	if t := s.standing; t != nil && t.fed {
		t.vouched, t.proven, t.fed, t.former, t.good = now, true, false, nil, t.fedSaid
		s.grtt, s.backoff, s.groupSize = t.good.grtt, t.good.backoff, t.good.groupSize
	}
	return nil
}

// expects reports whether there is an object of that id.
func (p *EvidencePolicy) expects(id TransportID) bool {
	return p == nil || p.FirstObject == 0 && p.LastObject == 0 || id-p.FirstObject <= p.LastObject-p.FirstObject
}

// follow takes what a message advertises, so that a forged one among genuine ones changes little.
func (s *remote) follow(p *EvidencePolicy, grtt time.Duration, sh wire.SenderHeader, passed time.Duration) {
	a := advertised{grtt, min(max(int(sh.Backoff), p.MinBackoff), p.MaxBackoff), wire.DecodeGroupSize(sh.GroupSize)}
	s.standing.said = a
	if s.grtt == 0 {
		s.grtt, s.backoff, s.groupSize = a.grtt, a.backoff, a.groupSize
		return
	}
	if good := s.standing.good; good.grtt > 0 {
		a.grtt = min(max(a.grtt, good.grtt/drift), drift*good.grtt)
		a.groupSize = min(max(a.groupSize, good.groupSize/drift), drift*good.groupSize)
		a.backoff = good.backoff
	}
	s.grtt = time.Duration(slewed(float64(s.grtt), float64(a.grtt), passed))
	s.groupSize = slewed(s.groupSize, a.groupSize, passed)
	s.backoff = a.backoff
}

// slewed returns what becomes of a value that another one is advertised for when some time has passed since.
func slewed(is, said float64, passed time.Duration) float64 {
	if is == said || is <= 0 {
		return said
	}
	most := math.Pow(slew, min(passed, time.Second).Seconds())
	return min(max(said, is/most), is*most)
}

// deadline returns when NORM_CMD(EOT) is to be believed.
func (t *standing) deadline() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.ends
}

// announceEnd takes a NORM_CMD(EOT): if it is genuine, nothing else will follow.
func (t *standing) announceEnd(now time.Time) {
	if t.ends.IsZero() {
		t.ends = now.Add(longestSilence)
	}
}

func (t *standing) goOn() {
	if t != nil {
		t.ends = time.Time{}
	}
}

// goesOn takes note that a sender said something other than NORM_CMD(EOT), so that the one before was forged.
func (r *Receiver) goesOn(s *remote) {
	if t := s.standing; t != nil && !t.ends.IsZero() {
		t.goOn()
		r.stats.Drops.Disbelieved++
	}
}

// fresh takes note of content that is no repair: whoever sends it is not behind what comes after it. It returns the transmit
// position that follows, for only repairs move it back, and not what is replayed.
func (s *remote) fresh(m mark) mark {
	t := s.standing
	if t == nil {
		return m
	}
	if s.reached && m != s.position && s.earlier(s.position, m) == m {
		return s.position
	}
	if t.position && s.earlier(m, t.claim) != t.claim {
		t.position = false
	}
	return m
}

// reaches reports whether a NORM_CMD(FLUSH) is to be believed.
func (s *remote) reaches(now time.Time, through mark) bool {
	t := s.standing
	if t == nil {
		return true
	}
	next := mark{object: s.position.object, block: s.position.block + 2, whole: true}
	if s.reached && s.earlier(through, next) == through {
		return true
	}
	if !t.position || t.claim != through {
		t.position, t.claim, t.claimed = true, through, now
		return false
	}
	return now.Sub(t.claimed) >= s.grtt
}

// requested takes note of a NORM_NACK of ours.
func (t *standing) requested(now time.Time) {
	if t != nil {
		t.asked = now
	}
}

// answered reports whether a NORM_CMD(SQUELCH) is to be believed.
func (s *remote) answered(now time.Time) bool {
	t := s.standing
	switch {
	case t == nil:
		return true
	case t.asked.IsZero() || now.Sub(t.asked) > time.Duration(s.backoff+4)*s.grtt+leastSilent:
		return false
	}
	t.asked = time.Time{}
	t.squelch++
	return t.squelch > 1
}

// came takes note of content.
func (t *standing) came() {
	if t != nil {
		t.fed, t.squelch, t.fedSaid = true, 0, t.said
	}
}

// unsquelch asks for what is expected once more. Of a genuine NORM_CMD(SQUELCH) that costs the sender another one.
func (s *remote) unsquelch() {
	if s.standing == nil {
		return
	}
	for _, o := range s.presets {
		o.squelched = false
	}
}

// tellRTT returns what becomes of our round trip time to a sender that tells it: no receiver's is much greater than GRTT.
func (s *remote) tellRTT(now time.Time, told uint8) uint8 {
	t := s.standing
	if t == nil {
		return told
	}
	rtt := min(float64(wire.DecodeRTT(told)), float64(2*s.grtt))
	if s.probe.hasRTT {
		rtt = slewed(float64(wire.DecodeRTT(s.probe.rtt)), rtt, now.Sub(t.toldRTT))
	}
	t.toldRTT = now
	return wire.EncodeRTT(time.Duration(rtt))
}

package norm

import (
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A probe is what a receiver knows of the NORM_CMD(CC) of one sender, and the state of its answer (RFC 5740,
// Sections 5.5.1 and 5.5.2.2).
type probe struct {
	heard    bool
	sequence wire.CCSequence // the greatest
	sent     wire.Timestamp  // send_time of that one
	arrived  time.Time
	asked    bool  // it had EXT_RATE: NORM-CC feedback is wanted
	rtt      uint8 // ours, as the sender told it
	hasRTT   bool
	path     *path // what we know of the way here; nil until EXT_RATE asks for it

	state nackState // backoff, hold-off
	until time.Time
	due   bool // Poll is to make the NORM_ACK(CC)
}

func (p *probe) deadline() time.Time {
	if p.state == nackIdle {
		return time.Time{}
	}
	return p.until
}

// ccBackoff returns K_backoff*GRTT_sender. Where K is small because NACKs are few, it is larger: all would answer.
func (s *remote) ccBackoff() time.Duration {
	return time.Duration(max(s.backoff, defaultBackoff)) * s.grtt
}

// handleCC processes a NORM_CMD(CC).
func (r *Receiver) handleCC(now time.Time, m *wire.CC) error {
	s, err := r.sender(now, m.Header, m.SenderHeader)
	if err != nil {
		return err
	}
	p := &s.probe
	if p.heard && m.CCSequence.Before(p.sequence) && s.standing == nil {
		return nil // reordered, or all that follow one forged number; what it tells is right in any order
	}
	p.heard, p.sequence, p.sent, p.arrived = true, m.CCSequence, m.SendTime, now
	node, listed := m.Nodes.Find(r.cfg.Node)
	told := listed && node.Flags&wire.CCFlagRTT != 0
	if told {
		p.rtt, p.hasRTT = s.tellRTT(now, node.RTT), true
	}
	rate, asked := m.Extensions.Rate()
	if p.asked = asked; !asked || r.cfg.Silent {
		return nil // NORM_NACKs alone carry timestamps back
	}
	r.follow(now, s, m.Nodes, wire.DecodeRate(rate), told)
	// A backoff that runs survives new probes; only the timestamp it will answer with is the new one. To begin it anew
	// at each, as the RFC's text has it, would keep it from ever ending while probes come each GRTT and it lasts
	// K_backoff of them.
	switch {
	case listed && node.Flags&(wire.CCFlagCLR|wire.CCFlagPLR) != 0:
		p.state, p.due = nackIdle, true
	case p.state == nackIdle || p.state == nackHoldoff && due(p.until, now):
		p.state = nackBackoff
		p.until = now.Add(p.path.Bias(randomBackoff(&r.rng, s.ccBackoff(), s.groupSize)))
	}
	return nil
}

// probeTimeout ends the backoff or the hold-off. The rule that cancels an answer whose backoff is above one GRTT is
// not followed: a receiver alone in the group would hardly ever answer.
func (r *Receiver) probeTimeout(now time.Time, s *remote) {
	p := &s.probe
	if p.state == nackBackoff {
		p.due = true
		p.holdoff(now, s)
		return
	}
	p.state = nackIdle
}

// holdoff begins T_ccHoldoff.
func (p *probe) holdoff(now time.Time, s *remote) {
	p.state = nackHoldoff
	p.until = now.Add(s.ccBackoff())
}

// feedbackSent notes that feedback went out, with the same content as the NORM_ACK(CC) that may be waiting: cancel it.
func (p *probe) feedbackSent(now time.Time, s *remote) {
	if p.due = false; p.asked {
		p.holdoff(now, s)
	}
}

// handleAck processes the NORM_ACK of another receiver.
func (r *Receiver) handleAck(now time.Time, b []byte) {
	var m wire.Ack
	if err := m.Parse(b); err != nil {
		r.count(err)
		return
	}
	s := r.senders[m.Server]
	if s == nil || !s.heard || s.instance != m.Instance {
		r.stats.Drops.Foreign++
		return
	}
	if x, ok := m.Extensions.CC(); ok {
		r.overhearCC(now, s, x)
	}
}

// overhearCC gives our NORM_ACK(CC) up if the feedback of another is as limiting: "Rcalc > 0.9 * Rfb". One without RTT
// measurement gives way only to those without one either. Beyond the RFC, one whose RTT is greater than that of the
// other does not give way, because GRTT is the greatest of all; few are greater than all before them.
func (r *Receiver) overhearCC(now time.Time, s *remote, x wire.ExtCC) {
	p := &s.probe
	if p.state != nackBackoff || x.Flags&(wire.CCFlagCLR|wire.CCFlagPLR) != 0 {
		return
	}
	hasRTT := x.Flags&wire.CCFlagRTT != 0
	other := wire.DecodeRate(x.Rate)
	switch {
	case !p.hasRTT && hasRTT, p.hasRTT && hasRTT && x.RTT < p.rtt:
	case other > 0 && p.path.Rate() > 0.9*other:
		p.holdoff(now, s)
	}
}

// appendAck appends a NORM_ACK, which goes where NORM_NACKs go (destination) and has the same in its headers. Of a NORM_ACK(CC)
// that is all.
func (r *Receiver) appendAck(now time.Time, s *remote, m wire.Ack, to netip.AddrPort, b []byte) ([]byte, bool) {
	var ext [16]byte
	m.Header, m.FeedbackHeader, m.Extensions = r.feedbackHeader(to), s.feedbackHeader(now), r.appendRepair(s, r.appendCC(s, ext[:0]))
	b, err := m.AppendBinary(b)
	if err != nil {
		return b, false
	}
	r.speak().feedback.sent(to)
	r.stats.AcksSent++
	s.probe.feedbackSent(now, s)
	return b, true
}

// An echo is what a receiver knows of messages with its own node id.
type echo struct {
	self     netip.AddrPort // where our own feedback comes back from, if it does
	collided netip.AddrPort // where NodeCollision was last reported from
}

// handleOwn processes a message with our own node id: our feedback as the network loops it back, or what another node
// sends that was given the same id. Feedback that we never sent shows the latter, and so does another address than
// our echo is known to come from.
func (r *Receiver) handleOwn(d Datagram, h wire.Header) {
	r.stats.Drops.Foreign++
	feedback := h.Type == wire.TypeNack || h.Type == wire.TypeAck
	to := d.To
	if !to.IsValid() || to.Addr().IsMulticast() && to != r.cfg.RepairGroup {
		to = r.cfg.Group
	}
	v := r.speak()
	if v.echo == nil {
		v.echo = new(echo)
	}
	e, sent := v.echo, v.feedback.used(to, h.Sequence)
	if feedback && sent && !e.self.IsValid() {
		e.self = d.From
	}
	other := feedback && !sent || e.self.IsValid() && d.From.Addr() != e.self.Addr()
	if other && d.From != e.collided {
		e.collided = d.From
		r.events.push(Event{Kind: NodeCollision, Node: r.cfg.Node})
	}
}

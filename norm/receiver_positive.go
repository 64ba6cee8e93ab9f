package norm

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

const (
	maxOwed    = 16 // acknowledgments of one sender that are owed, or may be asked for again
	maxLost    = 16 // objects of one sender that were lost
	maxAnswers = 16 // types of acknowledgment that the application has answered beforehand
)

// An acknowledger is what a receiver owes one sender by the positive acknowledgment procedure of RFC 5740, Section 5.5.3.
// Most receivers owe nothing, and have none.
type acknowledger struct {
	owed []owedAck     // the one asked for last at the end
	lost []TransportID // objects that were wanted and will not be complete, the last of them
}

// An owedAck is a NORM_ACK that was asked for.
type owedAck struct {
	ackType   wire.AckType
	ackID     uint8
	watermark wire.Position // of a NORM_ACK(FLUSH)
	through   mark
	payload   []byte // what the application answers
	answered  bool   // it has, or everything through the watermark is here
	at        time.Time
	asked     time.Time // last
}

// acknowledger returns that of s.
func (s *remote) acknowledger() *acknowledger {
	if s.acks == nil {
		s.acks = new(acknowledger)
	}
	return s.acks
}

// deadline returns when the next NORM_ACK is to be sent, or zero.
func (a *acknowledger) deadline() (first time.Time) {
	if a != nil {
		for i := range a.owed {
			first = earlier(first, a.owed[i].at)
		}
	}
	return first
}

// owe returns the acknowledgment that is asked for, which may have been before; fresh says that it was not. If there are
// too many, the one not asked for longest is given up.
func (a *acknowledger) owe(now time.Time, want owedAck, forgotten time.Duration) (k *owedAck, fresh bool) {
	i := slices.IndexFunc(a.owed, func(k owedAck) bool {
		return k.ackType == want.ackType && k.ackID == want.ackID && k.watermark == want.watermark
	})
	switch {
	case i >= 0 && now.Sub(a.owed[i].asked) > forgotten: // the same ack_id, but another request
		a.owed = slices.Delete(a.owed, i, i+1)
		fresh = true
	case i >= 0:
		want = a.owed[i]
		a.owed = slices.Delete(a.owed, i, i+1)
	default:
		fresh = true
		if len(a.owed) == maxOwed {
			a.owed = slices.Delete(a.owed, 0, 1)
		}
	}
	want.asked = now
	a.owed = append(a.owed, want)
	return &a.owed[len(a.owed)-1], fresh
}

// asked reports whether an acking_node_list asks us for something that we may send. NORM_NODE_ANY names nobody.
func (r *Receiver) asked(nodes wire.NodeList) bool {
	return !r.cfg.Silent && nodes.Contains(r.cfg.Node)
}

// acknowledgeThrough is asked to acknowledge a watermark: now, if everything through it is here, or when it is.
func (r *Receiver) acknowledgeThrough(now time.Time, s *remote, watermark wire.Position, through mark) {
	k, _ := s.acknowledger().owe(now, owedAck{ackType: wire.AckFlush, watermark: watermark}, s.inactivity(r.cfg.RobustFactor))
	k.through = through
	if k.answered = s.completeThrough(through, r.cfg.MaxObjects); k.answered {
		r.schedule(now, s, k)
	}
}

// schedule has a NORM_ACK sent. A time that runs is not drawn anew by another request.
//
// "the listed receivers randomly, with a uniform distribution, transmit NORM_ACK messages over a time window of
// (1*GRTT_sender)", RFC 5740, Section 5.5.3. In a unicast session there is nobody to keep out of the way of.
func (r *Receiver) schedule(now time.Time, s *remote, k *owedAck) {
	if !k.at.IsZero() {
		return
	}
	k.at = now
	if r.cfg.Group.Addr().IsMulticast() {
		k.at = now.Add(time.Duration(r.rng.Float64() * float64(s.grtt)))
	}
}

// checkWatermarks schedules the NORM_ACKs of watermarks through which everything has come.
func (r *Receiver) checkWatermarks(now time.Time, s *remote) {
	if s.acks == nil {
		return
	}
	for i := range s.acks.owed {
		k := &s.acks.owed[i]
		if k.ackType == wire.AckFlush && !k.answered && s.completeThrough(k.through, r.cfg.MaxObjects) {
			k.answered = true
			r.schedule(now, s, k)
		}
	}
}

// completeThrough reports whether everything of the sender's content that we want is here before a mark, which a
// NORM_ACK(FLUSH) says. What was sent before we joined and what the application refused is not wanted; what was lost is,
// and keeps us from acknowledging as far as our memory goes, window objects.
func (s *remote) completeThrough(through mark, window int) bool {
	if s.acks != nil && slices.ContainsFunc(s.acks.lost, func(id TransportID) bool {
		return !through.object.Before(id) && int(through.object-id) < window
	}) {
		return false
	}
	for _, o := range s.presets {
		if !through.object.Before(o.id) && !o.hereBefore(through) {
			return false
		}
	}
	for i, o := range s.window.objects {
		if through.object.Before(s.window.base + TransportID(i)) {
			break
		}
		if o == nil || !o.hereBefore(through) {
			return false
		}
	}
	return s.synced || len(s.presets) > 0
}

// hereBefore reports whether an object is in the sink before a mark, or not wanted. Single symbols of a block that is not
// sent to its end count when they are in memory.
func (o *incoming) hereBefore(through mark) bool {
	switch {
	case o == settled || o.state == complete || o.unreliable || o.refused:
		return true
	case o.id != through.object || !o.known || o.state != accepted || o.squelched || uint64(through.block) >= o.layout.N:
		return false
	}
	if st := o.stream; st != nil && st.lost != 0 && through.block < st.lost+o.layout.blocks {
		return false
	}
	for _, b := range o.blocks {
		if b.number < through.block && o.stream == nil {
			return false // incomplete, or being written
		}
	}
	lacking := false
	if through.part > 0 && through.block >= o.join && !o.isDone(through.block) {
		o.explicitNeeds(through.block, through.part, func(need) bool { lacking = true; return false })
	}
	return o.firstOpen() >= through.block && !lacking && (!o.hasInfo || o.gotInfo)
}

// lose notes that an object that was wanted will not be complete.
func (s *remote) lose(id TransportID) {
	a := s.acknowledger()
	if len(a.lost) == maxLost {
		a.lost = slices.Delete(a.lost, 0, 1)
	}
	a.lost = append(a.lost, id)
}

// handleAckReq processes a NORM_CMD(ACK_REQ) of a type of the application's.
func (r *Receiver) handleAckReq(now time.Time, m *wire.AckReq) error {
	s, err := r.sender(now, m.Header, m.SenderHeader)
	switch {
	case err != nil:
		return err
	case m.AckType < wire.AckApplication: // reserved
		return errUseless
	case !r.asked(m.AckingNodes):
		return nil
	}
	k, fresh := s.acknowledger().owe(now, owedAck{ackType: m.AckType, ackID: m.AckID}, s.inactivity(r.cfg.RobustFactor))
	if a := r.voice.answer(m.AckType); fresh && a != nil {
		k.payload, k.answered = a.payload, true
	}
	switch {
	case k.answered: // now, or before, and the NORM_ACK may be lost
		r.schedule(now, s, k)
	case fresh:
		r.events.push(Event{Kind: AckRequested, Sender: s.id, Instance: s.instance, AckType: uint8(m.AckType), AckID: m.AckID})
	}
	return nil
}

// Acknowledge answers AckRequested, with a payload of up to the sender's segment size. The sender asks a limited number of
// times, so the answer should not take long. The errors are [ErrUnknownRequest] if nothing of the kind is asked for, or
// not any more, and those of a type that is not the application's and of a payload that is too long.
func (r *Receiver) Acknowledge(now time.Time, sender NodeID, ackType, ackID uint8, payload []byte) error {
	if err := checkAckType(ackType); err != nil {
		return err
	}
	s := r.senders[sender]
	if s == nil || s.acks == nil {
		return ErrUnknownRequest
	}
	for i := range s.acks.owed {
		k := &s.acks.owed[i]
		if uint8(k.ackType) != ackType || k.ackID != ackID {
			continue
		}
		if limit := cmp.Or(s.segmentSize, leastSegment); len(payload) > limit {
			return fmt.Errorf("norm: an acknowledgment of %d bytes: want at most the sender's segment size, %d", len(payload), limit)
		}
		k.payload, k.answered = slices.Clone(payload), true
		r.schedule(now, s, k)
		return nil
	}
	return ErrUnknownRequest
}

// An answer is what the application answers to requests of one type, whoever asks.
type answer struct {
	ackType wire.AckType
	payload []byte
}

// answer returns the answer to requests of a type, or nil.
func (v *voice) answer(t wire.AckType) *answer {
	if v == nil {
		return nil
	}
	for i := range v.answers {
		if a := &v.answers[i]; a.ackType == t {
			return a
		}
	}
	return nil
}

// Answer answers requests for acknowledgment of a type beforehand, from now on and without AckRequested. The payload is cut
// to the segment size of a sender that has smaller ones. The error tells that the type is none of the application's, that
// the payload is too long for any sender, or that answers were given for 16 types already.
func (r *Receiver) Answer(ackType uint8, payload []byte) error {
	if err := checkAckType(ackType); err != nil {
		return err
	}
	if len(payload) > 65_000 {
		return fmt.Errorf("norm: an acknowledgment of %d bytes: no sender has segments of that size", len(payload))
	}
	given := answer{wire.AckType(ackType), slices.Clone(payload)}
	v := r.speak()
	switch a := v.answer(given.ackType); {
	case a != nil:
		*a = given
	case len(v.answers) == maxAnswers:
		return errors.New("norm: 16 types of acknowledgment are answered already")
	default:
		v.answers = append(v.answers, given)
	}
	return nil
}

// appendOwed appends the NORM_ACK of s that is due, if any.
func (r *Receiver) appendOwed(now time.Time, s *remote, to netip.AddrPort, b []byte) ([]byte, bool) {
	i := slices.IndexFunc(s.acks.owed, func(k owedAck) bool { return due(k.at, now) })
	if i < 0 {
		return b, false
	}
	k := &s.acks.owed[i]
	k.at = time.Time{}
	m := wire.Ack{AckType: k.ackType, AckID: k.ackID, Payload: k.payload}
	var payload [12]byte
	if k.ackType == wire.AckFlush {
		// "the NORM_ACK(FLUSH) payload [...] echoes the watermark", which has come by Parse, so it can be encoded.
		m.Payload, _ = k.watermark.AppendItem(payload[:0])
		s.acks.owed = slices.Delete(s.acks.owed, i, i+1) // asked again, it is here still
	} else if limit := cmp.Or(s.segmentSize, leastSegment); len(m.Payload) > limit {
		m.Payload = m.Payload[:limit]
	}
	return r.appendAck(now, s, m, to, b)
}

package norm

import (
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// sender returns the state of the sender of a message, in the run that the message is of, and takes what all its
// messages advertise. The error is errForeign if the message is of no use because of where it comes from.
func (r *Receiver) sender(now time.Time, h wire.Header, sh wire.SenderHeader) (*remote, error) {
	s := r.senders[h.Source]
	switch {
	case s == nil:
		if s = r.addSender(h.Source); s == nil {
			return nil, errRefused
		}
	case s.heard && s.instance != sh.Instance:
		if s.standing == nil && s.formerly(sh.Instance) {
			return nil, errForeign // a late packet of the run before
		}
		r.restartSender(s, sh.Instance)
	case s.ended:
		return nil, errForeign
	}
	if !s.heard {
		s.instance, s.heard = sh.Instance, true
		r.senderEvent(SenderSeen, s)
	}
	if s.lost {
		s.lost = false
		r.senderEvent(SenderSeen, s)
	}
	s.update(r, now, h, sh)
	r.goesOn(s)
	return s, nil
}

// addSender makes state for a new sender. Any source_id would, so there is a bound: another sender gives way. It
// returns nil if none can, because objects are expected from all.
func (r *Receiver) addSender(id NodeID) *remote {
	if len(r.order) >= r.cfg.MaxSenders {
		var victim *remote
		for _, s := range r.order {
			if len(s.presets) == 0 && (victim == nil || s.givesWayBefore(victim)) {
				victim = s
			}
		}
		if victim == nil {
			return nil
		}
		r.removeSender(victim, ErrEvicted)
	}
	if r.senders == nil {
		r.senders = make(map[NodeID]*remote)
	}
	s := &remote{id: id, mode: r.cfg.Nack}
	if r.cfg.Evidence != nil {
		s.standing = new(standing)
	}
	r.senders[id] = s
	r.order = append(r.order, s)
	return s
}

// givesWayBefore reports whether s is the lesser loss: a sender of which nothing is being received goes first, so that
// forged ids push out each other, and then the one longest silent.
func (s *remote) givesWayBefore(t *remote) bool {
	if a, b := s.receiving(), t.receiving(); a != b {
		return b
	}
	return s.heardAt.Before(t.heardAt)
}

// receiving reports whether an object of the sender is accepted and incomplete.
func (s *remote) receiving() bool {
	return slices.ContainsFunc(s.window.objects, func(o *incoming) bool {
		return o != nil && o != settled && o.state == accepted
	})
}

// removeSender forgets a sender.
func (r *Receiver) removeSender(s *remote, why error) {
	r.abortAll(s, why)
	delete(r.senders, s.id)
	r.order = slices.DeleteFunc(r.order, func(o *remote) bool { return o == s })
}

// restartSender begins a new run of a sender: "the NORM receivers SHOULD drop their previous state on the sender and
// begin reception anew", RFC 5740, Section 4.2.1. What the application expects of it, whatever the run, is kept.
func (r *Receiver) restartSender(s *remote, instance InstanceID) {
	r.abortAll(s, ErrSenderRestarted)
	s.restart(instance)
	for _, o := range s.presets {
		o.squelched = false // what the run before did not repair, this one may
	}
	r.senderEvent(SenderRestarted, s)
}

func (r *Receiver) senderEvent(kind EventKind, s *remote) {
	r.events.push(Event{Kind: kind, Sender: s.id, Instance: s.instance})
}

// abortAll aborts the incomplete objects of a sender, except preset ones.
func (r *Receiver) abortAll(s *remote, why error) {
	// Objects that were complete and then rejected are among the presets, and may be in the window too.
	for _, o := range slices.Concat(s.window.objects, s.presets) {
		if o != nil && o.state != released && !o.preset {
			r.abort(o, why)
		}
	}
	s.window, s.synced, s.current, s.overdue = window{}, false, nil, time.Time{}
}

// join begins the reliable reception of a sender's content if the policy lets this message do so, and returns the
// first block of the object that is asked for.
//
// "a default policy where receivers are allowed to request repair only for coding blocks with a NormTransportId and FEC
// coding block number greater than or equal to the first non-repair NORM_DATA or NORM_INFO message received upon
// joining the group is RECOMMENDED." RFC 5740, Section 5.2.
func (s *remote) join(cfg ReceiverConfig, id TransportID, block uint32, flags wire.Flags) (first uint32) {
	switch {
	case cfg.Join == JoinAll:
		s.joinAll(cfg.MaxObjects, id)
		return 0
	case flags&wire.FlagRepair != 0:
		return 0
	}
	s.synced, s.first = true, id
	s.window = window{base: id}
	if cfg.Join == JoinObject && flags&wire.FlagStream == 0 { // a stream is never whole
		if block > 0 { // in progress already
			s.window.base++
		}
		return 0
	}
	return block
}

// joinByFlush begins at a NORM_CMD(FLUSH), which none but JoinAll does without being asked for an acknowledgment. Who is
// asked is counted on by the sender, and begins with the object of the watermark: it is whole, so that no policy forbids it.
func (r *Receiver) joinByFlush(s *remote, m *wire.Flush) {
	switch {
	case r.cfg.Join == JoinAll:
		s.joinAll(r.cfg.MaxObjects, m.Object)
	case r.asked(m.AckingNodes):
		s.synced, s.window, s.first = true, window{base: m.Object}, m.Object
	}
}

// joinAll begins with the first object the sender may still repair. Nothing says which that is: as object ids begin
// with 0 by custom, a low one is taken as near the beginning, and so is one not far behind the first that is expected. What
// does not exist any more is squelched.
func (s *remote) joinAll(limit int, id TransportID) {
	s.synced, s.first = true, id
	s.window = window{}
	switch {
	case len(s.presets) > 0 && int(id-s.presets[0].id) < limit: // the application knows more
		s.window.base = s.presets[0].id
	case int(id) >= limit:
		s.window.base = id - TransportID(limit-1)
	}
}

// extend makes the window reach to id. The objects that leave it for that will not be completed.
func (r *Receiver) extend(s *remote, id TransportID) {
	base := s.window.base
	for i, o := range s.window.extend(id, r.cfg.MaxObjects) {
		switch {
		case o == nil:
			s.lose(base + TransportID(i))
		case o != settled && !o.preset:
			r.abort(o, ErrEvicted)
		}
	}
	for _, o := range s.presets {
		if !s.window.contains(o.id) || s.window.get(o.id) != nil {
			continue
		}
		if o.state == complete {
			s.window.set(o.id, settled)
		} else {
			s.window.set(o.id, o)
		}
	}
}

// handleEOT processes a NORM_CMD(EOT), which "allows receivers to gracefully reach closure of operation with this
// sender (without requiring any timeout) and free any resources", RFC 5740, Section 4.2.3.2. One of another run than
// the one known is not believed: it would end a transfer by a single forged datagram. What the application expects is
// kept, for the sender may come back in another run.
func (r *Receiver) handleEOT(now time.Time, m *wire.EOT) error {
	s := r.senders[m.Source]
	if s == nil || !s.heard || s.instance != m.Instance || s.ended {
		return errForeign
	}
	s.update(r, now, m.Header, m.SenderHeader)
	if s.standing != nil {
		s.standing.announceEnd(now)
		return nil
	}
	r.end(s)
	return nil
}

// end ends the run of a sender.
func (r *Receiver) end(s *remote) {
	s.standing.goOn()
	r.abortAll(s, ErrSenderEnded)
	s.ended = true
	s.active = time.Time{}
	s.nack, s.probe, s.acks, s.repairs = nackCycle{}, probe{}, nil, nil
	r.senderEvent(SenderEnded, s)
}

// handleSquelch processes a NORM_CMD(SQUELCH): what is before the sender's repair window, or listed, is not repaired
// any more. "Receivers SHALL NOT generate repair requests for content identified as invalid by a NORM_CMD(SQUELCH)",
// RFC 5740, Section 4.2.3.3. An object so lost is aborted; a preset one is not asked for until it is heard again,
// for instance in another run of the sender.
func (r *Receiver) handleSquelch(now time.Time, m *wire.Squelch) error {
	s, err := r.sender(now, m.Header, m.SenderHeader)
	if err != nil {
		return err
	}
	if !s.answered(now) {
		return errDisbelieved
	}
	start := s.payloadID(m.Position, m.Extensions).Block
	for _, o := range s.presets {
		o.squelched = o.squelched || o.id.Before(m.Object) || o.id == m.Object && o.needsBefore(start)
	}
	if s.synced {
		for s.window.base.Before(m.Object) && len(s.window.objects) > 0 {
			r.squelch(s, s.window.base)
		}
		if s.window.base.Before(m.Object) {
			s.window.base = m.Object // ahead of all we know: "resynchronise"
		}
		if o := s.window.get(m.Object); o != nil && o.stream != nil {
			r.squelchStream(o, start)
		} else if o != nil && o != settled && o.needsBefore(start) {
			r.squelch(s, m.Object)
		}
	}
	for id := range m.Invalid.All() {
		if o := s.preset(id); o != nil {
			o.squelched = true // and keeps its place in the window
		} else if s.synced && s.window.contains(id) {
			r.squelch(s, id)
		}
	}
	return nil
}

// squelch settles one object of the window. A preset one is still asked for when it is heard again.
func (r *Receiver) squelch(s *remote, id TransportID) {
	o := s.window.get(id)
	s.window.set(id, settled)
	switch {
	case o == nil && !id.Before(s.first): // what was sent before we came need not be here
		s.lose(id)
	case o != nil && o != settled && !o.preset:
		r.abort(o, ErrSquelched)
	}
}

// needsBefore reports whether o lacks a block before n that was asked for.
func (o *incoming) needsBefore(n uint32) bool { return o.known && o.firstOpen() < n }

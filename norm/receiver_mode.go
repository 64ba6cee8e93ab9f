package norm

import (
	"fmt"
	"slices"
	"time"
)

// A NackMode says what a receiver asks for of an object.
type NackMode uint8

const (
	NackAll  NackMode = iota // whatever is missing
	NackInfo                 // its NORM_INFO only, once the object was heard of
	NackNone                 // nothing: what parity and the repairs for others do not mend stays missing
)

// A Boundary says which ends in a sender's content make a receiver look for what is missing (RFC 5740, Section 5.3).
// NORM_CMD(FLUSH) and silence do so in any case.
type Boundary uint8

const (
	BoundaryBlock  Boundary = iota // of FEC coding blocks, and of objects
	BoundaryObject                 // of objects only: fewer NACKs, later
)

// SetNack says what is asked for of an object from now on. The error is [ErrUnknownObject], or says
// that there is no such mode.
func (r *Receiver) SetNack(now time.Time, h Handle, mode NackMode) error {
	o := r.objects[h]
	if o == nil {
		return ErrUnknownObject
	}
	if mode > NackNone {
		return fmt.Errorf("norm: NackMode %d is none", mode)
	}
	o.nack = mode
	if s := o.remote; s.reached {
		r.startNack(now, s, s.position)
	}
	return nil
}

// leave notes which objects the sender's transmit position leaves behind when it comes to a mark: from then on MaxDelay
// counts.
func (r *Receiver) leave(now time.Time, s *remote, at mark) {
	if r.cfg.MaxDelay == 0 || s.reached && at.object == s.position.object && !at.whole {
		return
	}
	for i, o := range s.window.objects {
		id := s.window.base + TransportID(i)
		if at.object.Before(id) || id == at.object && !at.whole {
			break
		}
		if o != nil && o != settled && !o.preset && o.stream == nil && o.left.IsZero() {
			o.left = now
			s.overdue = earlier(s.overdue, now.Add(r.cfg.MaxDelay))
		}
	}
}

// abortOverdue gives up the objects that were left behind MaxDelay ago.
func (r *Receiver) abortOverdue(now time.Time, s *remote) {
	s.overdue = time.Time{}
	for _, o := range slices.Clone(s.window.objects) {
		if o == nil || o == settled || o.left.IsZero() {
			continue
		}
		if end := o.left.Add(r.cfg.MaxDelay); now.Before(end) {
			s.overdue = earlier(s.overdue, end)
		} else {
			r.abort(o, ErrOverdue)
		}
	}
}

// purgeTime returns when a sender that is lost or has ended is forgotten, or zero.
func (r *Receiver) purgeTime(s *remote) time.Time {
	if r.cfg.PurgeAfter == 0 || !s.lost && !s.ended || len(s.presets) > 0 {
		return time.Time{}
	}
	return s.heardAt.Add(r.cfg.PurgeAfter)
}

// purgeSenders forgets the senders whose time has come.
func (r *Receiver) purgeSenders(now time.Time) {
	for i := 0; i < len(r.order); {
		if s := r.order[i]; due(r.purgeTime(s), now) {
			r.removeSender(s, ErrSenderLost)
		} else {
			i++
		}
	}
}

package commit

// A ParticipantStatus is where a device is.
type ParticipantStatus struct {
	// Current is the round under way, with its State: StateStaged while the stage is verified, StateReady until the
	// decision, then StateReady with Committed set. Zero Round: none.
	Current   Outcome
	Committed bool // COMMIT is in the log
	Held      bool // and the brake is on
	Active    bool // ACTIVATING is in the log

	Last    Outcome // of the round before; zero State: none
	Floors  Floors
	Pending int // messages not yet acknowledged, a READY not counted
}

// Status returns where the device is.
func (p *Participant) Status() ParticipantStatus { return p.s.status() }

// ReadParticipantStatus reads the last record of a participant's log, for a look from outside.
func ReadParticipantStatus(rec []byte) (ParticipantStatus, error) {
	s, err := decodeParticipantState(rec)
	if err != nil {
		return ParticipantStatus{}, err
	}
	return s.status(), nil
}

func (s participantState) status() ParticipantStatus {
	st := ParticipantStatus{Floors: s.Floors, Pending: len(s.Outbox)}
	if s.Last != nil {
		st.Last = *s.Last
	}
	if cur := s.Current; cur != nil {
		st.Current = Outcome{cur.Round, StateReady, cur.Reason}
		if cur.Phase == phaseVerifying {
			st.Current.State = StateStaged
		}
		st.Committed = cur.Phase >= phaseCommitted
		st.Held = cur.Phase == phaseCommitted && cur.Stopped
		st.Active = cur.Phase >= phaseActivating
	}
	return st
}

// Holds returns the round whose stage must be kept: one that is being verified, READY or further. Any other stage is
// free to go, or to stay as a cache of verified leaves.
func (p *Participant) Holds() (Round, bool) {
	if p.s.Current == nil {
		return Round{}, false
	}
	return p.s.Current.Round, true
}

// Decision returns the signed decision that the device has taken for a round, to be shown to a server that has forgotten it.
// It is kept of the current round and the one before.
func (p *Participant) Decision(round Round) (signed []byte, ok bool) {
	switch cur, last := p.s.Current, p.s.Last; {
	case cur != nil && cur.Round == round:
		signed = cur.Signed
	case last != nil && last.Round == round:
		signed = p.s.Heard
	}
	return signed, len(signed) > 0
}

// Floors returns the sequence and epoch below which this device refuses manifests.
func (p *Participant) Floors() Floors { return p.s.Floors }

// Clock returns the device's clock.
func (p *Participant) Clock() Clock { return p.clock }

// Finished reports whether the device has done with the round: it voted NO, heard ABORT, or has an outcome.
func (p *Participant) Finished(r Round) bool { return p.s.isFinished(r, 0) }

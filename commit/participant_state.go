package commit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// A phase is where a device is with its current round.
type phase uint8

const (
	phaseVerifying   phase = iota + 1 // the stage is being verified from storage
	phaseReady                        // READY is in the log; waits for the decision
	phaseCommitted                    // COMMIT is in the log; waits for its time and the brake
	phaseActivating                   // ACTIVATING is in the log
	phaseRollingBack                  // activation or health failed, and that is in the log
)

// A participantState is all that a participant keeps. Each record of its log is the whole of it, so a transition is
// one record, and the last record is the state.
type participantState struct {
	Format   uint64        `cbor:"1,keyasint"`
	Counter  uint64        `cbor:"2,keyasint,omitempty"` // of the latest vote or report
	Floors   Floors        `cbor:"3,keyasint"`
	UTC      int64         `cbor:"4,keyasint,omitempty"` // when the record was written; nanoseconds since 1970
	Current  *currentRound `cbor:"5,keyasint,omitempty"`
	Last     *Outcome      `cbor:"6,keyasint,omitempty"`  // of the round before
	Outbox   []outgoing    `cbor:"7,keyasint,omitempty"`  // not yet acknowledged
	Finished []finished    `cbor:"8,keyasint,omitempty"`  // rounds that never start again
	Forgot   int64         `cbor:"9,keyasint,omitempty"`  // campaigns that ended by then count as finished; nanoseconds
	Heard    []byte        `cbor:"10,keyasint,omitempty"` // the signed decision of the round before, if it was decided
}

// Floors are the sequence and epoch below which a device never goes again.
type Floors struct {
	Sequence uint64 `cbor:"1,keyasint,omitempty"`
	Epoch    uint64 `cbor:"2,keyasint,omitempty"`
}

type currentRound struct {
	Round    Round         `cbor:"1,keyasint"`
	Roots    []Digest      `cbor:"2,keyasint"`
	Version  Floors        `cbor:"3,keyasint"`            // of the manifest
	Expires  int64         `cbor:"4,keyasint,omitempty"`  // the manifest; nanoseconds since 1970
	Ends     int64         `cbor:"5,keyasint,omitempty"`  // the campaign
	Deadline int64         `cbor:"6,keyasint,omitempty"`  // of votes
	Hold     time.Duration `cbor:"7,keyasint,omitempty"`  // how long the stage is held past the deadline
	Held     time.Duration `cbor:"8,keyasint,omitempty"`  // how long it was, while powered
	Phase    phase         `cbor:"9,keyasint"`            //
	Vote     uint64        `cbor:"10,keyasint,omitempty"` // counter of the READY
	Signed   []byte        `cbor:"11,keyasint,omitempty"` // the COMMIT as it was signed
	Decision []byte        `cbor:"17,keyasint,omitempty"` // and its payload, which the log vouches for
	Brake    uint64        `cbor:"12,keyasint,omitempty"` // highest sequence seen
	Stopped  bool          `cbor:"13,keyasint,omitempty"` // that was a HOLD
	Boot     string        `cbor:"14,keyasint,omitempty"` // boot id when ACTIVATING was logged
	Reason   Reason        `cbor:"15,keyasint,omitempty"` // why it rolls back
	Again    int           `cbor:"16,keyasint,omitempty"` // how often activation was begun again
}

// An Outcome is how a round ended on a device.
type Outcome struct {
	Round  Round  `cbor:"1,keyasint"`
	State  State  `cbor:"2,keyasint"`
	Reason Reason `cbor:"3,keyasint,omitempty"`
}

type outgoing struct {
	Kind    MessageKind `cbor:"1,keyasint"`
	Payload []byte      `cbor:"2,keyasint"`
	Counter uint64      `cbor:"3,keyasint"`
}

// campaign returns what campaign the message is about.
func (o outgoing) campaign() CampaignID {
	if o.Kind == ReportMessage {
		r, _ := ParseReport(o.Payload)
		return r.Campaign
	}
	v, _ := ParseVote(o.Payload)
	return v.Campaign
}

type finished struct {
	Round Round `cbor:"1,keyasint"`
	Ends  int64 `cbor:"2,keyasint,omitempty"` // forgotten after that; nanoseconds since 1970
}

const (
	maxAgain    = 3  // times that an activation which left no trace is begun again
	maxOutbox   = 16 // a device that says more without being heard drops the oldest
	maxFinished = 64
)

// clone copies the state as far as transitions change it in place.
func (s participantState) clone() participantState {
	if s.Current != nil {
		s.Current = new(*s.Current)
	}
	s.Outbox = slices.Clone(s.Outbox)
	s.Finished = slices.Clone(s.Finished)
	return s
}

// say puts a message into the outbox, under the next counter.
func (s *participantState) say(kind MessageKind, message func(counter uint64) []byte) {
	s.Counter++
	s.Outbox = append(s.Outbox, outgoing{kind, message(s.Counter), s.Counter})
	if n := len(s.Outbox) - maxOutbox; n > 0 {
		s.Outbox = slices.Delete(s.Outbox, 0, n)
	}
}

// finish remembers that the round is over for this device until the campaign ends.
func (s *participantState) finish(round Round, ends int64, utc time.Time) {
	s.Finished = slices.DeleteFunc(s.Finished, func(f finished) bool {
		return f.Round == round || f.Ends != 0 && f.Ends < utc.UnixNano()
	})
	s.Finished = append(s.Finished, finished{round, ends})
	if len(s.Finished) > maxFinished {
		// The one that ends first is forgotten, and with it every campaign that has ended by then.
		first := 0
		for i, f := range s.Finished {
			if f.Ends != 0 && (s.Finished[first].Ends == 0 || f.Ends < s.Finished[first].Ends) {
				first = i
			}
		}
		s.Forgot = max(s.Forgot, s.Finished[first].Ends)
		s.Finished = slices.Delete(s.Finished, first, first+1)
	}
}

// isFinished reports whether the device has done with the round, which ends at ends.
func (s *participantState) isFinished(round Round, ends int64) bool {
	return ends != 0 && ends <= s.Forgot ||
		slices.ContainsFunc(s.Finished, func(f finished) bool { return f.Round == round })
}

func decodeParticipantState(rec []byte) (s participantState, err error) {
	if err := decode(rec, &s, MaxRecord); err != nil {
		return s, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if s.Format != format {
		return s, fmt.Errorf("%w: format %d", ErrRecord, s.Format)
	}
	return s, nil
}

// activationID is stable over restarts and retries of one activation, and differs from that of any other.
func activationID(device string, r Round, vote uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "multicast-upgrade activation 1\n%s\n%s\n%d\n%s\n%d\n",
		device, r.Campaign, r.Wave, r.Manifest, vote))
	return hex.EncodeToString(sum[:16])
}

// spreadOffset is the device's own place in the spread: even over the devices of a wave, the same after a restart.
func spreadOffset(device string, r Round, spread time.Duration) time.Duration {
	if spread <= 0 {
		return 0
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "multicast-upgrade spread 1\n%s\n%s\n%d\n", device, r.Campaign, r.Wave))
	n := uint64(0)
	for _, b := range sum[:8] {
		n = n<<8 | uint64(b)
	}
	return time.Duration(n % uint64(spread))
}

package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A remote is a sender as a receiver knows it, in one of its runs (instance_id).
type remote struct {
	id       NodeID
	instance InstanceID
	former   [2]InstanceID // runs before this one, whose late packets are dropped
	formerN  int
	heard    bool // in this run; false for one only expected
	lost     bool // SenderLost was reported
	ended    bool // NORM_CMD(EOT) was received
	heardAt  time.Time
	at       whereabouts
	standing *standing // nil without an EvidencePolicy
	origins  *origins  // nil: its symbols come from one address

	// What it advertises in each message: GRTT_sender, K_sender and GSIZE_sender.
	grtt      time.Duration
	backoff   int
	groupSize float64

	fecID       wire.FECID // of the last content heard
	segmentSize int        // NormSegmentSize as its last EXT_FTI told; 0: none yet
	code        remoteCode
	arrivals    arrivals

	patient  bool        // Patience: nothing before joined is asked for until the first FLUSH
	synced   bool        // the window is valid
	first    TransportID // heard of in it
	window   window
	presets  []*incoming // asked for wherever the window is
	current  *incoming   // the object found last
	joined   mark        // where we came in
	position mark        // the sender's transmit position: content before it was sent
	reached  bool        // position is valid

	mode    NackMode // what is asked for of objects never heard of
	nack    nackCycle
	probe   probe
	acks    *acknowledger // nil: nothing is owed
	repairs *repairLeg    // nil: nothing was ever missing, or there is no repair group
	overdue time.Time     // when the first object will be incomplete for MaxDelay; zero: none

	active time.Time // last NORM_DATA, NORM_INFO or NORM_CMD(FLUSH), or the last inactivity timeout; zero: not watched
	silent int       // inactivity timeouts since anything was heard
}

// update takes what every sender message advertises. "It is also important receivers rescale the T_inactivity timeout
// as the sender's advertised GRTT changes": timers hold when they began, not when they end. RFC 5740, Section 5.3.
func (s *remote) update(r *Receiver, now time.Time, h wire.Header, sh wire.SenderHeader) {
	before := s.heardAt
	s.heardAt, s.silent = now, 0
	if s.active.IsZero() {
		s.active = now // watched from now on; that it probes alone does not make it active again
	}
	grtt := min(max(wire.DecodeRTT(sh.GRTT), r.cfg.MinGRTT), r.cfg.MaxGRTT)
	if p := r.cfg.Evidence; p != nil {
		s.follow(p, grtt, sh, now.Sub(before))
		return
	}
	s.grtt = grtt
	s.backoff = int(sh.Backoff)
	s.groupSize = wire.DecodeGroupSize(sh.GroupSize)
}

// inactivity returns T_inactivity. "The RECOMMENDED value of such an inactivity timeout is: NORM_ROBUST_FACTOR * 2 *
// GRTT_sender [...] A minimum T_inactivity value of 1 second is RECOMMENDED."
func (s *remote) inactivity(robust int) time.Duration {
	return max(time.Duration(2*robust)*s.grtt, time.Second)
}

// inactive returns when the sender will have been silent for T_inactivity, or zero.
func (s *remote) inactive(robust int) time.Time {
	if s.active.IsZero() {
		return time.Time{}
	}
	return s.active.Add(s.inactivity(robust))
}

// deadline returns the earliest running timer of s.
func (s *remote) deadline(robust int) time.Time {
	first := earlier(earlier(s.nack.deadline(), s.probe.deadline()), earlier(s.acks.deadline(), s.repairs.deadline()))
	return earlier(earlier(first, s.standing.deadline()), earlier(s.inactive(robust), s.overdue))
}

// arrivals follows a sender's sequence numbers to count what was lost.
type arrivals struct {
	last wire.Sequence
	seen uint64 // bit i: last-i arrived
}

// note records the arrival of a message and returns by how much the number of lost ones changes: -1 if a late message
// fills a gap. "NORM_CMD, NORM_DATA, and NORM_INFO" share the numbers; they are of no use for reliability.
func (a *arrivals) note(seq wire.Sequence) int {
	delta := int(int16(seq - a.last))
	switch {
	case a.seen == 0 || delta > 1000 || delta < -1000: // the first, or a sender that began anew
		a.last, a.seen = seq, 1
		return 0
	case delta > 0:
		a.last = seq
		a.seen = a.seen<<min(delta, 64) | 1
		return delta - 1
	case delta > -64 && a.seen&(1<<-delta) == 0:
		a.seen |= 1 << -delta
		return -1
	}
	return 0
}

// formerly reports whether instance is that of an earlier run.
func (s *remote) formerly(instance InstanceID) bool {
	for i := range s.formerN {
		if s.former[i] == instance {
			return true
		}
	}
	return false
}

// restart makes s forget the run it knows, except for what the application expects of it.
func (s *remote) restart(instance InstanceID) {
	*s = remote{
		id: s.id, instance: instance, former: [2]InstanceID{s.instance, s.former[0]}, formerN: min(s.formerN+1, 2),
		heard: true, presets: s.presets, mode: s.mode, fecID: s.fecID, segmentSize: s.segmentSize,
		standing: s.standing, origins: s.origins, heardAt: s.heardAt, grtt: s.grtt, groupSize: s.groupSize,
	}
}

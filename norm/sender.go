package norm

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/auth"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A Sender transmits objects to a group and repairs what receivers ask for. It has no goroutines, no sockets and no clock;
// see the package comment for how it is driven.
type Sender struct {
	cfg       SenderConfig
	autoBurst bool
	groupSize uint8 // gsize
	auth      *auth.Authenticator
	stats     SenderStats
	pacer     pacer
	timers    deadlines
	sequence  wire.Sequence
	elsewhere repairGroup

	// Objects held, in the order of their ids, which is that of their handles.
	objects    []*outgoing
	bytes      int64 // of all objects held
	nextID     TransportID
	lastHandle Handle
	current    *outgoing   // the object being sent for the first time; nil if all are sent
	streams    []*outgoing // those of them that are open

	at          cursor        // the transmit position, which repairs rewind
	position    wire.Position // of the newest content that was sent; for FLUSH
	transmitted bool          // position is set

	cache        blockCache
	readAheadDue bool

	adviser parityAdviser

	repairCycle
	prober
	rateControl
	flusher
	squelcher
	servicer
	addresses addresses
	flow      flowControl
	acks      asker
	tracked   tracker
	app       commander

	events   []Event
	collided bool
	self     netip.AddrPort // where our own multicast comes from, once heard

	// Messages and symbols being made or read; here so that none is allocated for each datagram.
	data   wire.Data
	info   wire.Info
	nack   wire.Nack
	ack    wire.Ack
	series paritySeries
}

// Deadlines of a Sender.
const (
	timerAggregate = iota // T_sndrAggregate = (K_sender+1)*GRTT_sender (RFC 5740, Section 5.4.1)
	timerHoldoff          // T_sndrHoldoff = 1*GRTT_sender
	timerProbe            // next NORM_CMD(CC)
	timerFlush            // next NORM_CMD(FLUSH), or the end of their series
	timerEOT              // next NORM_CMD(EOT)
	timerSquelch          // next NORM_CMD(SQUELCH), if one is called for
	timerAdvertise        // next NORM_CMD(REPAIR_ADV), if one is called for
	timerAck              // next message of the positive acknowledgment procedure
	timerCommand          // next NORM_CMD(APPLICATION)
	timerStream           // when to look for room in a stream that has none
	timerVacancy          // when to look for room for an object that was refused
	numSenderTimers
)

// NewSender returns a Sender that begins with a NORM_CMD(CC) at once, as RFC 5740, Section 5.5.2.1 has it. The error names
// the field of cfg that cannot work.
func NewSender(cfg SenderConfig, now time.Time) (*Sender, error) {
	autoBurst := cfg.Burst == 0
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	if _, err := newLayout(cfg.FEC, 0); err != nil {
		return nil, fmt.Errorf("norm: FEC: %w", err)
	}
	block := int64(cfg.FEC.MaxBlockLen) * int64(cfg.SegmentSize)
	if int64(cfg.Buffer) < 2*block {
		return nil, fmt.Errorf("norm: Buffer %d: want room for two blocks, %d bytes", cfg.Buffer, 2*block)
	}
	authenticator, err := auth.NewSender(cfg.Auth)
	if err != nil {
		return nil, err
	}
	s := &Sender{
		cfg:       cfg,
		auth:      authenticator,
		autoBurst: autoBurst,
		groupSize: wire.EncodeGroupSize(float64(cfg.GroupSize)),
		pacer:     newPacer(now, cfg.Rate, cfg.Burst, cfg.maxDatagram()),
		timers:    make(deadlines, numSenderTimers),
		nextID:    cfg.FirstObject,
		cache:     newBlockCache(cfg.Buffer, int(block)),
	}
	s.repairPool = newRepairPool(cfg.FEC)
	s.adviser = newParityAdviser(cfg.FEC)
	s.flow.refused = -1
	s.grtt, s.start = newGRTTEstimate(cfg), now
	s.limitGRTT()
	s.rateControl = newRateControl(cfg)
	s.timers[timerProbe] = now
	s.interval = s.baseInterval()
	return s, nil
}

// Advance tells that time passed. It is to be called at the Deadline at the latest.
func (s *Sender) Advance(now time.Time) {
	s.expire(now)
	s.settle(now)
}

// expire does what is due.
func (s *Sender) expire(now time.Time) {
	bytes := s.pacer.update(now)
	s.laps += bytes / float64(2*max(s.bytes, 1))
	s.grant(now, bytes)
	if due(s.timers[timerAggregate], now) {
		s.rewind(now)
	}
	if due(s.timers[timerHoldoff], now) {
		s.timers[timerHoldoff] = time.Time{}
	}
	if due(s.timers[timerFlush], now) {
		s.endFlush()
	}
	s.advanceWindow(now)
	if due(s.timers[timerAck], now) {
		s.chooseRequest(now)
	}
}

// settle starts and stops what depends on whether there is work left.
func (s *Sender) settle(now time.Time) {
	if s.ended {
		clear(s.timers)
		return
	}
	s.tendStreams()
	s.rest(now)
	s.flushWhenIdle(now)
	s.readAhead()
	s.offerVacancy(now)
	s.pacer.idle = !s.contentPending()
}

// Poll appends one datagram to b and returns where to send it; ok is false if none may be sent now. b should have room
// for SegmentSize and 40 bytes, and for what Auth adds, else a larger one is allocated. Commands that are due go first, then the repair of the lowest
// position, then new data.
func (s *Sender) Poll(now time.Time, b []byte) (pkt []byte, to netip.AddrPort, ok bool) {
	s.expire(now)
	s.settle(now)
	if !s.pacer.ready(now) {
		return b, netip.AddrPort{}, false
	}
	n := len(b)
	s.elsewhere.next = false
	b = s.appendNext(now, s.auth.Room(b))
	if len(b) == n+s.auth.Overhead() || !s.seal(b[n:]) {
		return b[:n], netip.AddrPort{}, false
	}
	s.pacer.spend(len(b) - n)
	s.sizeSent(len(b) - n)
	s.stats.Datagrams++
	s.stats.Bytes += uint64(len(b) - n)
	to = s.sentTo(now, len(b)-n)
	s.settle(now)
	return b, to, true
}

// appendNext appends the next message, or nothing if there is none to be sent now.
func (s *Sender) appendNext(now time.Time, b []byte) []byte {
	switch {
	case s.ending:
		if due(s.timers[timerEOT], now) {
			return s.appendEOT(now, b)
		}
	case due(s.timers[timerSquelch], now):
		return s.appendSquelch(now, b)
	case due(s.timers[timerAdvertise], now):
		return s.appendRepairAdv(now, b)
	case due(s.timers[timerCommand], now):
		return s.appendCommand(now, b)
	case s.acks.due != nil:
		return s.appendRequest(now, b)
	case due(s.timers[timerProbe], now) && s.mayProbe():
		return s.appendProbe(now, b)
	case s.unshown(now):
		return s.appendFlushAt(s.position, nil, b)
	case s.withheld():
	case s.repairNext():
		n := len(b)
		b = s.appendRepair(b)
		s.spentRepair(len(b) - n)
		return b
	case s.current != nil:
		n := len(b)
		b = s.appendNew(b)
		s.spentNew(len(b) - n)
		return b
	case due(s.timers[timerFlush], now):
		return s.appendFlush(now, b)
	}
	return b
}

// contentReady reports whether a repair or new data could be sent at once, were it not for the rate.
func (s *Sender) contentReady() bool {
	switch {
	case s.ending || s.withheld():
		return false
	case s.repairNext():
		return s.repairReady()
	case s.current != nil:
		return s.newReady()
	}
	return false
}

// newReady reports whether the next new data can be sent at once.
func (s *Sender) newReady() bool {
	o := s.current
	return o.info != nil && !o.infoSent || s.buffered(o, uint32(o.block)) != nil
}

// contentPending reports whether there is a repair or new data to be sent.
func (s *Sender) contentPending() bool { return s.repair != nil || s.current != nil }

// Deadline returns when to call Advance and Poll at the latest, or zero if nothing is scheduled.
func (s *Sender) Deadline() time.Time {
	if s.ended {
		return time.Time{}
	}
	first := earlier(earlier(s.timers[timerAggregate], s.timers[timerHoldoff]), earlier(s.timers[timerVacancy], s.windowEnd()))
	first = earlier(first, s.timers[timerStream])
	for _, timer := range [...]int{timerProbe, timerFlush, timerEOT, timerSquelch, timerAdvertise, timerAck, timerCommand} {
		if timer == timerProbe && !s.mayProbe() {
			continue // the data before it come first
		}
		first = earlier(first, s.whenPaced(s.timers[timer]))
	}
	if s.contentReady() {
		first = earlier(first, s.pacer.next())
	}
	return first
}

// whenPaced returns when a message due at t may leave, or zero for never.
func (s *Sender) whenPaced(t time.Time) time.Time {
	next := s.pacer.next()
	if !t.IsZero() && next.After(t) || next.IsZero() {
		return next
	}
	return t
}

// SetRate changes the rate of everything sent, in bits per second of UDP payload; 0 pauses the sender. Where NORM-CC
// controls the rate, it is MaxRate that changes; the rate does not go below the lesser of it and MinRate.
func (s *Sender) SetRate(now time.Time, bitsPerSecond float64) {
	s.expire(now)
	s.setRate(now, s.bound(bitsPerSecond))
	s.settle(now)
}

func (s *Sender) setRate(now time.Time, bitsPerSecond float64) {
	s.cfg.Rate = 0
	if bitsPerSecond > 0 {
		s.cfg.Rate = min(bitsPerSecond, maxRate)
	}
	if s.autoBurst {
		s.cfg.Burst = defaultBurst(s.cfg.Rate, s.cfg.maxDatagram())
	}
	s.pacer.set(now, s.cfg.Rate, s.cfg.Burst, s.cfg.maxDatagram())
	s.limitGRTT()
}

// Requests drains the reads to be performed.
func (s *Sender) Requests() iter.Seq[*IO] {
	return func(yield func(*IO) bool) { s.drainRequests(yield) } // inlined, the loop of the caller costs no memory
}

func (s *Sender) drainRequests(yield func(*IO) bool) {
	for len(s.cache.reads) > 0 {
		io := s.cache.reads[0]
		s.cache.reads = slices.Delete(s.cache.reads, 0, 1)
		if !yield(io) {
			return
		}
	}
}

// Events drains what the application should know.
func (s *Sender) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) { s.drainEvents(yield) }
}

func (s *Sender) drainEvents(yield func(Event) bool) {
	for i := 0; i < len(s.events); i++ { // there may be more by then
		if !yield(s.events[i]) {
			s.events = slices.Delete(s.events, 0, i+1)
			return
		}
	}
	s.events = s.events[:0]
}

// seal authenticates a packet. When the key has none left, the session ends without a word: an EOT could not be sent either.
func (s *Sender) seal(b []byte) bool {
	err := s.auth.Seal(b)
	if err != nil {
		s.ended = true
		s.emit(Event{Kind: Ended, Err: err})
		s.settle(time.Time{})
	}
	return err == nil
}

// multicast reports whether the session has a group, and not a single receiver.
func (s *Sender) multicast() bool { return s.cfg.Group.Addr().IsMulticast() }

func (s *Sender) emit(e Event) { s.events = append(s.events, e) }

// Stats returns the counters since the start, and the current GRTT and rate.
func (s *Sender) Stats() SenderStats {
	stats := s.stats
	stats.GRTT, stats.Rate, stats.LargestBurst = s.grtt.advertised, s.cfg.Rate, s.pacer.largest
	stats.Unasked = max(s.cfg.AutoParity, s.adviser.level)
	s.describeControl(&stats)
	return stats
}

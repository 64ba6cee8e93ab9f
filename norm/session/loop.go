package session

import (
	"math"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// pause is the least time between turns of a sender that nothing but its rate asks for. What may leave meanwhile leaves
// together, in few system calls. The burst that a sender has by default lasts twice as long, so it loses no rate.
const pause = time.Millisecond

// loop owns the protocol state until the session is closed.
func (s *Session) loop() {
	in, used := make(chan []udp.Message), make(chan struct{})
	s.done.Go(func() { s.read(in, used) })
	defer s.files.finish()

	alarm := time.NewTimer(0)
	defer alarm.Stop()
	awake := make(chan time.Time) // is never waited for
	close(awake)
	poll := newPoll(s.cfg)
	_, clock := s.cfg.Conn.(*udp.Conn) // is the real one: another Conn may have a network and a time of its own
	for {
		more := s.turn(time.Now())
		datagrams, late := in, s.events.full() // until the application has caught up
		if late {
			datagrams = nil
		}
		timeout := (<-chan time.Time)(awake)
		switch rest := s.rest(more); {
		case poll.on && !late:
			s.handle(poll.read(rest))
			if !poll.on {
				s.resume(used)
			}
		case rest == 0:
		case rest == s.pause && clock:
			nap(rest)
		default:
			alarm.Reset(rest)
			timeout = alarm.C
		}
		select {
		case msgs := <-datagrams:
			s.handle(msgs)
			if !poll.start(time.Now(), len(msgs)) {
				s.resume(used)
			}
		case j := <-s.files.done:
			s.complete(j)
		case f := <-s.calls:
			f(time.Now())
		case <-s.events.room:
		case <-timeout:
		case <-s.closed:
			return
		}
	}
}

// resume lets the reader fill its batch again.
func (s *Session) resume(used chan<- struct{}) {
	select {
	case used <- struct{}{}:
	case <-s.closed:
	}
}

// rest returns how long the loop may rest if nothing happens.
func (s *Session) rest(more bool) time.Duration {
	switch {
	case more:
		return 0
	case s.due.IsZero():
		return math.MaxInt64
	}
	return max(time.Until(s.due), s.pause)
}

// turn does what is due and drains the endpoints; more says that there is more to send now.
func (s *Session) turn(now time.Time) (more bool) {
	s.advance(now)
	s.drain(now)
	s.fill(now)
	more = s.out.full()
	s.flush()
	s.drain(now) // what sending asked for: reads of the blocks that follow
	s.hearRepairs()
	s.files.give()
	s.due = s.deadline()
	return more
}

// advance tells the endpoints the time if one of them waits for it.
func (s *Session) advance(now time.Time) {
	if s.due.IsZero() || now.Before(s.due) {
		return
	}
	if s.rx != nil {
		s.rx.Advance(now)
	}
	if s.tx != nil {
		s.tx.Advance(now)
	}
}

// hearRepairs joins the repair group, or leaves it, as the receiver wants. If it cannot, the receiver finds that nothing
// comes there, and does without.
func (s *Session) hearRepairs() {
	if s.rx == nil || s.rx.HearsRepairs() == s.hears {
		return
	}
	s.hears = !s.hears
	if err := s.cfg.Conn.(RepairConn).HearRepairs(s.hears); err != nil && !isClosed(err) {
		s.cfg.Log.Warn("the repair group cannot be used", "hear", s.hears, "error", err)
		return
	}
	s.cfg.Log.Debug("repair group", "hear", s.hears)
}

func (s *Session) deadline() (first time.Time) {
	if s.rx != nil {
		first = s.rx.Deadline()
	}
	if s.tx != nil {
		if d := s.tx.Deadline(); first.IsZero() || !d.IsZero() && d.Before(first) {
			first = d
		}
	}
	return first
}

// handle gives a batch of datagrams to the endpoints.
func (s *Session) handle(msgs []udp.Message) {
	now := time.Now()
	if s.cfg.Trace != nil {
		s.cfg.Trace.Received(now, msgs)
	}
	for i := range msgs {
		if s.rx != nil && s.rx.Pressed() && !s.stuck {
			s.relieve()
			now = time.Now()
		}
		d := norm.Datagram{From: msgs[i].From, To: msgs[i].To, ECN: msgs[i].ECN, B: msgs[i].B}
		if s.rx != nil {
			s.rx.Handle(now, d)
			s.drainReceiver(now) // an offer is to be answered before the next datagram
		}
		if s.tx != nil {
			s.tx.Handle(now, d)
		}
	}
}

// complete hands back what a worker has done, and what the others have done meanwhile.
func (s *Session) complete(j job) {
	now := time.Now()
	for {
		if j.tx {
			s.tx.Complete(now, j.io)
		} else {
			s.rx.Complete(now, j.io)
			s.stuck = false
		}
		select {
		case j = <-s.files.done:
		default:
			return
		}
	}
}

// fill polls the endpoints until the outbox is full: first the receiver, whose feedback is little and waits for nothing.
func (s *Session) fill(now time.Time) {
	if s.rx != nil {
		s.poll(now, s.rx.Poll)
	}
	if s.tx != nil {
		s.poll(now, s.tx.Poll)
	}
}

func (s *Session) poll(now time.Time, poll func(time.Time, []byte) ([]byte, netip.AddrPort, bool)) {
	for !s.out.full() {
		pkt, to, ok := poll(now, s.out.room())
		if !ok {
			return
		}
		s.out.add(pkt, to)
	}
}

// flush sends what is in the outbox, and tells the log when that begins to fail and when it works again.
func (s *Session) flush() {
	sent, refused, err := s.out.send()
	s.unsent += refused
	switch {
	case refused > 0 && !s.mute:
		s.mute = true
		s.cfg.Log.Warn("datagrams cannot be sent", "error", err)
	case sent > 0 && refused == 0 && s.mute:
		s.mute = false
		s.cfg.Log.Info("datagrams are sent again", "lost", s.unsent)
	}
}

package session

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// An endpoint is what Sender and Receiver have in common: the calling contract of package norm.
type endpoint interface {
	Handle(now time.Time, d norm.Datagram)
	Complete(now time.Time, io *norm.IO)
	Advance(now time.Time)
	Requests() iter.Seq[*norm.IO]
	Poll(now time.Time, b []byte) (pkt []byte, to netip.AddrPort, ok bool)
	Events() iter.Seq[norm.Event]
	Deadline() time.Time
}

// endpoints calls f for the sender and the receiver, as far as the session has them.
func (s *Session) endpoints(f func(e endpoint, tx bool)) {
	if s.tx != nil {
		f(s.tx, true)
	}
	if s.rx != nil {
		f(s.rx, false)
	}
}

// loop owns the protocol state until the session is closed.
func (s *Session) loop() {
	in, used := make(chan []udp.Message), make(chan struct{})
	s.done.Go(func() { s.read(in, used) })
	s.files.start(s.cfg.Workers)
	defer s.files.finish()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		more := s.drain(time.Now())
		timer.Reset(s.wait(more))
		jobs, job := s.files.next()
		select {
		case msgs := <-in:
			s.handle(msgs)
			used <- struct{}{}
		case jobs <- job:
			s.files.taken()
		case j := <-s.files.done:
			s.complete(j)
		case f := <-s.calls:
			f(time.Now())
		case <-timer.C:
			now := time.Now()
			s.endpoints(func(e endpoint, _ bool) { e.Advance(now) })
		case <-s.closed:
			return
		}
	}
}

// wait returns how long the loop may wait when nothing happens.
func (s *Session) wait(more bool) time.Duration {
	if more {
		return 0
	}
	wait := time.Hour
	s.endpoints(func(e endpoint, _ bool) {
		if d := e.Deadline(); !d.IsZero() {
			wait = min(wait, max(0, time.Until(d)))
		}
	})
	return wait
}

// read fills batches for the loop; a batch is filled again when the loop has used it.
func (s *Session) read(in chan<- []udp.Message, used <-chan struct{}) {
	msgs := make([]udp.Message, batchLen)
	for failed := 0; ; {
		n, err := s.cfg.Conn.ReadBatch(msgs)
		switch {
		case isClosed(err):
			s.shut(nil) // no-op unless someone else closed the socket
			return
		case err != nil:
			// A socket may report an earlier datagram that could not be delivered; one that does nothing else is broken.
			if failed++; failed == 1000 {
				s.shut(fmt.Errorf("session: receiving: %w", err))
				return
			}
		default:
			failed = 0
		}
		if n == 0 {
			continue
		}
		select {
		case in <- msgs[:n]:
			<-used
		case <-s.closed:
			return
		}
	}
}

func (s *Session) handle(msgs []udp.Message) {
	now := time.Now()
	for i := range msgs {
		m := &msgs[i]
		d := norm.Datagram{From: m.From, To: m.To, ECN: m.ECN, B: m.B}
		s.endpoints(func(e endpoint, tx bool) {
			e.Handle(now, d)
			s.collect(now, e, tx)
		})
	}
}

func (s *Session) complete(j job) {
	if j.tx {
		s.tx.Complete(time.Now(), j.io)
	} else {
		s.rx.Complete(time.Now(), j.io)
	}
}

// drain takes what the endpoints want read, written, sent and told; more says that there is more to send.
func (s *Session) drain(now time.Time) (more bool) {
	s.endpoints(func(e endpoint, tx bool) {
		s.collect(now, e, tx)
		for !s.out.full() {
			pkt, to, ok := e.Poll(now, s.out.room())
			if !ok {
				break
			}
			s.out.add(pkt, to)
		}
		s.collect(now, e, tx)
	})
	more = s.out.full()
	refused, err := s.out.send()
	if err != nil && s.dropped == 0 {
		s.cfg.Log.Warn("datagrams cannot be sent", "error", err)
	}
	s.dropped += refused
	return more
}

// collect takes an endpoint's events and requests. Offers are answered before requests are looked at: one may be for
// an object just accepted.
func (s *Session) collect(now time.Time, e endpoint, tx bool) {
	s.fresh = slices.AppendSeq(s.fresh[:0], e.Events())
	for _, ev := range s.fresh {
		switch ev.Kind {
		case norm.ObjectOffered:
			s.offer(now, ev.Object)
		case norm.ObjectPurged:
			delete(s.files.sources, ev.Object)
		case norm.ObjectAborted:
			delete(s.files.sinks, ev.Object)
		}
		s.events.push(ev)
	}
	for io := range e.Requests() {
		j := job{io: io, tx: tx}
		if tx {
			j.source = s.files.sources[io.Object]
		} else if sink := s.files.sinks[io.Object]; sink != nil {
			j.source, j.sink = sink, sink
		}
		s.files.waiting = append(s.files.waiting, j)
	}
}

func (s *Session) offer(now time.Time, h norm.Handle) {
	info, ok := s.rx.Object(h)
	if !ok {
		return
	}
	var sink Sink
	if s.cfg.Offer != nil {
		sink = s.cfg.Offer(h, info)
	}
	if sink == nil {
		s.rx.Reject(now, h)
		return
	}
	s.files.sinks[h] = sink
	s.rx.Accept(now, h)
}

func (s *Session) stats() Stats {
	st := Stats{Unsent: s.dropped}
	if s.tx != nil {
		st.Sender = s.tx.Stats()
	}
	if s.rx != nil {
		st.Receiver = s.rx.Stats()
	}
	if c, ok := s.cfg.Conn.(interface{ Stats() udp.Stats }); ok {
		st.UDP = c.Stats()
	}
	return st
}

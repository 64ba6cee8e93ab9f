package session

import (
	"context"
	"log/slog"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// drain takes the endpoints' events and requests.
func (s *Session) drain(now time.Time) {
	if s.rx != nil {
		s.drainReceiver(now)
	}
	if s.tx != nil {
		s.drainSender()
	}
}

// drainReceiver answers offers before it looks at requests: one may be for an object just accepted.
func (s *Session) drainReceiver(now time.Time) {
	for e := range s.rx.Events() {
		if s.streams.wakeReader(e) {
			continue
		}
		s.tell(e)
		switch e.Kind {
		case norm.ObjectOffered:
			s.offer(now, e.Object)
		case norm.ObjectAborted:
			delete(s.files.sinks, e.Object)
		case norm.ObjectComplete:
			s.files.sweep(s.rx.Object)
		}
	}
	for io := range s.rx.Requests() {
		sink := s.files.sinks[io.Object]
		s.files.waiting.push(job{io: io, source: sink, sink: sink})
	}
}

func (s *Session) drainSender() {
	for io := range s.tx.Requests() {
		s.files.waiting.push(job{io: io, tx: true, source: s.files.sources[io.Object]})
	}
	for e := range s.tx.Events() {
		if s.awaited(e) || s.streams.wakeWriter(e) {
			continue
		}
		s.tell(e)
		if e.Kind == norm.ObjectPurged {
			delete(s.files.sources, e.Object)
		}
	}
}

// offer asks the application where to put an object.
func (s *Session) offer(now time.Time, h norm.Handle) {
	info, ok := s.rx.Object(h)
	if !ok {
		return
	}
	if info.Kind == norm.Stream {
		r := &StreamReader{session: s, handle: h, ready: make(chan struct{}, 1)}
		if s.cfg.OfferStream != nil && s.cfg.OfferStream(r, info) {
			s.streams.readers[h] = r
			s.rx.Accept(now, h)
			return
		}
	} else if s.cfg.Offer != nil {
		if sink := s.cfg.Offer(h, info); sink != nil {
			s.files.sinks[h] = sink
			s.rx.Accept(now, h)
			return
		}
	}
	s.cfg.Log.Debug("object refused", "sender", info.Sender, "object", info.ID, "size", info.Size)
	s.rx.Reject(now, h)
}

// tell puts an event where Next finds it, in the trace, and in the log.
func (s *Session) tell(e norm.Event) {
	s.events.push(e)
	level := slog.LevelInfo
	switch e.Kind {
	// May occur for each block, cycle or message.
	case norm.ObjectData, norm.Flushed, norm.Vacancy, norm.AppCommand, norm.AckRequested, norm.NodeAcknowledged:
		level = slog.LevelDebug
	case norm.NodeCollision, norm.SenderMoved:
		level = slog.LevelWarn
	}
	logged := s.cfg.Log.Enabled(context.Background(), level)
	if !logged && s.cfg.Trace == nil {
		return
	}
	attrs := make([]slog.Attr, 0, 4)
	if e.Sender != 0 {
		attrs = append(attrs, slog.Any("sender", e.Sender))
	}
	if e.Object != 0 {
		attrs = append(attrs, slog.Uint64("handle", uint64(e.Object)))
	}
	if e.Range.Length != 0 {
		attrs = append(attrs, slog.Int64("offset", e.Range.Offset), slog.Int64("length", e.Range.Length))
	}
	if e.Kind == norm.ObjectOffered { // how it is read, which its sender cannot always make clear: see norm.DialectPolicy
		if info, ok := s.rx.Object(e.Object); ok {
			attrs = append(attrs, slog.Int64("size", info.Size), slog.Any("fec", info.FEC), slog.Any("dialect", info.FEC.Dialect))
		}
	}
	if e.Node != 0 {
		attrs = append(attrs, slog.Any("node", e.Node))
	}
	if e.From.IsValid() {
		attrs = append(attrs, slog.Any("from", e.From))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	if s.cfg.Trace != nil {
		s.cfg.Trace.Event(time.Now(), e.Kind.String(), attrs...)
	}
	if logged {
		s.cfg.Log.LogAttrs(context.Background(), level, e.Kind.String(), attrs...)
	}
}

package session

import (
	"context"
	"errors"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

var (
	errNoSender   = errors.New("session: it does not send")
	errNoReceiver = errors.New("session: it does not receive")
	errNoSource   = errors.New("session: an object without a Source")
	errNoSink     = errors.New("session: an object without a Sink")
)

// send runs f on the loop if the session has a sender.
func (s *Session) send(ctx context.Context, f func(now time.Time) error) error {
	return s.with(ctx, s.cfg.Send != nil, errNoSender, f)
}

// receive runs f on the loop if the session has a receiver.
func (s *Session) receive(ctx context.Context, f func(now time.Time) error) error {
	return s.with(ctx, s.cfg.Receive != nil, errNoReceiver, f)
}

func (s *Session) with(ctx context.Context, has bool, hasNot error, f func(now time.Time) error) (err error) {
	if !has {
		return hasNot
	}
	if closed := s.do(ctx, func(now time.Time) { err = f(now) }); closed != nil {
		return closed
	}
	return err
}

// Send queues an object behind those already given, as [norm.Sender.Enqueue] does. Its bytes are read from src, once or
// several times, until [norm.ObjectPurged] tells that the sender let go of it.
func (s *Session) Send(ctx context.Context, o norm.Object, src Source) (h norm.Handle, id norm.TransportID, err error) {
	if src == nil && o.Size > 0 {
		return 0, 0, errNoSource
	}
	err = s.send(ctx, func(now time.Time) (err error) {
		if h, id, err = s.tx.Enqueue(now, o); err == nil {
			s.files.sources[h] = src
		}
		return err
	})
	return h, id, err
}

// Cancel lets go of an object; requests to repair it are refused from now on. The event norm.ObjectPurged follows.
func (s *Session) Cancel(ctx context.Context, h norm.Handle) error {
	return s.send(ctx, func(now time.Time) error { return s.tx.Cancel(now, h) })
}

// Sent returns what the sender knows about an object.
func (s *Session) Sent(ctx context.Context, h norm.Handle) (info norm.SentObject, err error) {
	err = s.send(ctx, func(time.Time) error {
		var ok bool
		if info, ok = s.tx.Object(h); !ok {
			return norm.ErrUnknownObject
		}
		return nil
	})
	return info, err
}

// Flush tells receivers that came late how far the sender is, so that they ask for what they lack.
func (s *Session) Flush(ctx context.Context) error {
	return s.send(ctx, func(now time.Time) error { s.tx.Flush(now); return nil })
}

// SetRate changes the rate of everything sent, in bits per second of UDP payload; 0 pauses the sender.
func (s *Session) SetRate(ctx context.Context, bitsPerSecond float64) error {
	return s.send(ctx, func(now time.Time) error { s.tx.SetRate(now, bitsPerSecond); return nil })
}

// End tells the group that the sender ends; the event norm.Ended follows when that was said often enough.
func (s *Session) End(ctx context.Context) error {
	return s.send(ctx, func(now time.Time) error { s.tx.End(now); return nil })
}

// Leave tells senders that we are about to leave, so that none waits for what we would say of its rate. Close follows.
func (s *Session) Leave(ctx context.Context) error {
	if err := s.receive(ctx, func(now time.Time) error { s.rx.Leave(now); return nil }); err != nil {
		return err
	}
	return s.do(ctx, func(time.Time) {}) // by the next call it is sent
}

// Expect announces an object to the receiver beforehand, as [norm.Receiver.Expect] does; it goes to sink.
func (s *Session) Expect(ctx context.Context, p norm.Preset, sink Sink) (h norm.Handle, err error) {
	if sink == nil {
		return 0, errNoSink
	}
	err = s.receive(ctx, func(now time.Time) (err error) {
		if h, err = s.rx.Expect(now, p); err == nil {
			s.files.sinks[h] = sink
		}
		return err
	})
	return h, err
}

// Present declares bytes of an object as already in its sink: they are not asked for. If one range is refused, those
// before it count.
func (s *Session) Present(ctx context.Context, h norm.Handle, ranges ...norm.Range) error {
	return s.receive(ctx, func(now time.Time) error {
		for _, r := range ranges {
			if err := s.rx.Present(now, h, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// RejectRange takes back bytes that were delivered: every symbol of the blocks touched is asked for again. An
// ObjectComplete that Next has not returned yet may be from before; [Session.Object] tells how it is now.
func (s *Session) RejectRange(ctx context.Context, h norm.Handle, r norm.Range) error {
	return s.receive(ctx, func(now time.Time) error { return s.rx.RejectRange(now, h, r) })
}

// SetNack says what is asked for of an object from now on, as [norm.Receiver.SetNack] does.
func (s *Session) SetNack(ctx context.Context, h norm.Handle, mode norm.NackMode) error {
	return s.receive(ctx, func(now time.Time) error { return s.rx.SetNack(now, h, mode) })
}

// Vouch tells that content of an object that came was verified, as [norm.Receiver.Vouch] wants to know.
func (s *Session) Vouch(ctx context.Context, h norm.Handle) error {
	return s.receive(ctx, func(now time.Time) error { return s.rx.Vouch(now, h) })
}

// Abort gives up an object that is being received. The event norm.ObjectAborted follows.
func (s *Session) Abort(ctx context.Context, h norm.Handle) error {
	return s.receive(ctx, func(now time.Time) error { return s.rx.Abort(now, h) })
}

// Object returns what the receiver knows about an object. The error is norm.ErrUnknownObject once it was refused or
// aborted, or is complete since long.
func (s *Session) Object(ctx context.Context, h norm.Handle) (info norm.ReceivedObject, err error) {
	err = s.receive(ctx, func(time.Time) error {
		var ok bool
		if info, ok = s.rx.Object(h); !ok {
			return norm.ErrUnknownObject
		}
		return nil
	})
	return info, err
}

package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A NotAcknowledgedError tells that not all nodes have acknowledged what they were asked for.
type NotAcknowledgedError struct {
	Nodes []norm.NodeID // those that did not answer, as often as they were asked
	Err   error         // why asking ended early, or nil
}

func (e *NotAcknowledgedError) Error() string {
	if len(e.Nodes) == 0 {
		return "session: not acknowledged: " + strings.TrimPrefix(e.Err.Error(), "norm: ")
	}
	return fmt.Sprintf("session: %d nodes did not acknowledge, among them %v", len(e.Nodes), e.Nodes[0])
}

func (e *NotAcknowledgedError) Unwrap() error { return e.Err }

// An ackWait is a request for acknowledgments that a caller waits for, who gets the outcome in place of events.
type ackWait struct {
	answers map[norm.NodeID]string
	missing NotAcknowledgedError
	done    chan struct{}
}

// take takes an event of the request, and reports whether it was the last.
func (w *ackWait) take(e norm.Event) (last bool) {
	switch e.Kind {
	case norm.NodeAcknowledged:
		w.answers[e.Node] = e.Content
	case norm.NodeSilent:
		w.missing.Nodes = append(w.missing.Nodes, e.Node)
	case norm.AcksDone:
		w.missing.Err = e.Err
		close(w.done)
		return true
	}
	return false
}

// awaited gives an event to the caller that waits for it, if any does.
func (s *Session) awaited(e norm.Event) bool {
	w := s.waits[e.Request]
	if w == nil {
		return false
	}
	if w.take(e) {
		delete(s.waits, e.Request)
	}
	return true
}

// Acknowledged waits until all nodes have acknowledged that they have everything through the end of an object, and returns
// nil; or until those that did not were asked often enough, or the object is gone, and returns a [*NotAcknowledgedError]. If
// nodes is nil, those that the sender tracks are asked. The plain flush series is left out ([norm.Watermark]). When ctx ends
// they are asked no further. [Session.SetWatermark] does not wait.
func (s *Session) Acknowledged(ctx context.Context, h norm.Handle, nodes []norm.NodeID) error {
	_, err := s.awaitAcks(ctx, func(now time.Time) (norm.AckRequest, error) {
		return s.tx.SetWatermark(now, norm.Watermark{Object: h, Nodes: nodes, OverridesFlush: true})
	})
	return err
}

// Answers asks nodes for an acknowledgment of the application's own type, 16 to 255, and waits as Acknowledged does. It
// returns what each has answered, also beside an error. [Session.RequestAcks] does not wait.
func (s *Session) Answers(ctx context.Context, ackType uint8, nodes []norm.NodeID) (map[norm.NodeID]string, error) {
	return s.awaitAcks(ctx, func(now time.Time) (norm.AckRequest, error) { return s.tx.RequestAcks(now, ackType, nodes) })
}

// awaitAcks opens a request and waits for its outcome.
func (s *Session) awaitAcks(ctx context.Context, ask func(now time.Time) (norm.AckRequest, error)) (map[norm.NodeID]string, error) {
	w := &ackWait{answers: make(map[norm.NodeID]string), done: make(chan struct{})}
	var name norm.AckRequest
	err := s.send(ctx, func(now time.Time) (err error) {
		if name, err = ask(now); err == nil {
			s.waits[name] = w
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		s.send(context.WithoutCancel(ctx), func(now time.Time) error {
			delete(s.waits, name)
			return s.tx.CancelAcks(now, name) // or it has just ended
		})
		return nil, context.Cause(ctx)
	case <-s.closed:
		s.done.Wait()
		return nil, cmp.Or(s.cause, ErrClosed)
	}
	if len(w.missing.Nodes) > 0 || w.missing.Err != nil {
		slices.Sort(w.missing.Nodes)
		return w.answers, &w.missing
	}
	return w.answers, nil
}

// SetWatermark asks nodes to acknowledge an object and all before it, as [norm.Sender.SetWatermark] does; events tell of
// each, and of the end.
func (s *Session) SetWatermark(ctx context.Context, m norm.Watermark) (name norm.AckRequest, err error) {
	err = s.send(ctx, func(now time.Time) (err error) { name, err = s.tx.SetWatermark(now, m); return err })
	return name, err
}

// RequestAcks asks nodes for an acknowledgment of the application's own type, as [norm.Sender.RequestAcks] does; events
// tell of each, and of the end.
func (s *Session) RequestAcks(ctx context.Context, ackType uint8, nodes []norm.NodeID) (name norm.AckRequest, err error) {
	err = s.send(ctx, func(now time.Time) (err error) { name, err = s.tx.RequestAcks(now, ackType, nodes); return err })
	return name, err
}

// CancelAcks ends a request for acknowledgments; no event of it comes any more.
func (s *Session) CancelAcks(ctx context.Context, name norm.AckRequest) error {
	return s.send(ctx, func(now time.Time) error { return s.tx.CancelAcks(now, name) })
}

// Tracked returns the nodes known by their feedback ([norm.SenderConfig].Track), the one heard last first.
func (s *Session) Tracked(ctx context.Context) (nodes []norm.NodeID, err error) {
	err = s.send(ctx, func(time.Time) error { nodes = s.tx.Tracked(); return nil })
	return nodes, err
}

// Command sends a short message to the application of each receiver, as [norm.Sender.Command] does: ahead of data, once or
// with robust several times, and not reliably.
func (s *Session) Command(ctx context.Context, content []byte, robust bool) error {
	return s.send(ctx, func(now time.Time) error { return s.tx.Command(now, content, robust) })
}

// Acknowledge answers the event norm.AckRequested, as [norm.Receiver.Acknowledge] does.
func (s *Session) Acknowledge(ctx context.Context, sender norm.NodeID, ackType, ackID uint8, payload []byte) error {
	return s.receive(ctx, func(now time.Time) error { return s.rx.Acknowledge(now, sender, ackType, ackID, payload) })
}

// Answer answers requests for acknowledgment of a type beforehand, whoever asks, without norm.AckRequested.
func (s *Session) Answer(ctx context.Context, ackType uint8, payload []byte) error {
	return s.receive(ctx, func(time.Time) error { return s.rx.Answer(ackType, payload) })
}

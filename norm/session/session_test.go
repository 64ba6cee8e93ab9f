package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

func TestOpenSaysWhatIsMissing(t *testing.T) {
	port := (&hub{}).open(1)
	for name, cfg := range map[string]session.Config{
		"want a Conn, and Send or Receive": {Conn: port},
		"want a Conn":                      {Send: sending(1)},
		"Node":                             {Conn: port, Send: sending(0)},
		"Group":                            {Conn: port, Receive: &norm.ReceiverConfig{Node: 7}},
		"Workers":                          {Conn: port, Send: sending(1), Workers: -1},
	} {
		if s, err := session.Open(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Open: %v, %v; want an error about %s", s, err, name)
		}
	}
	select {
	case <-port.closed:
		t.Error("Open failed and closed the Conn, which is still the caller's")
	default:
	}
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine is left
		s := openSender(t, (&hub{}).open(1))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
		if _, _, err := s.Send(t.Context(), norm.Object{Size: 1}, bytes.NewReader([]byte{1})); !errors.Is(err, session.ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		if _, err := s.Next(t.Context()); !errors.Is(err, session.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
	})
}

// What happened before Close is still told after it.
func TestNextAfterCloseReturnsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(100_000, 1)
		r := openReceiver(t, net.open(10), receiving(10), make(memory, len(image)))
		s := openSender(t, net.open(1))
		send(t, s, image)
		time.Sleep(time.Second)
		r.Close()
		await(t, r, norm.ObjectComplete)
		if _, err := r.Next(t.Context()); !errors.Is(err, session.ErrClosed) {
			t.Errorf("Next at the end: %v", err)
		}
	})
}

func TestNextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSender(t, (&hub{}).open(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next: %v", err)
		}
	})
}

// Several goroutines may wait for events; each event wakes one of them.
func TestNextHasSeveralCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &hub{}
		const callers = 5
		r := openReceiver(t, net.open(10), receiving(10), make(memory, 1000))
		got := make(chan norm.EventKind, callers)
		for range callers {
			go func() {
				e, err := r.Next(t.Context())
				if err != nil {
					t.Error(err)
				}
				got <- e.Kind
			}()
		}
		s := openSender(t, net.open(1))
		send(t, s, content(1000, 1))
		for range callers { // sender seen, object offered, its info, its data, and complete
			if k := <-got; k == 0 {
				t.Error("no event")
			}
		}
	})
}

func TestReceivingSessionDoesNotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, session.Config{Conn: (&hub{}).open(1), Receive: receiving(10)})
		s := openSender(t, (&hub{}).open(1))
		for what, err := range map[string]error{
			"Cancel":      r.Cancel(t.Context(), 1),
			"SetRate":     r.SetRate(t.Context(), 1e6),
			"End":         r.End(t.Context()),
			"Present":     s.Present(t.Context(), 1, norm.Range{}),
			"RejectRange": s.RejectRange(t.Context(), 1, norm.Range{}),
			"Abort":       s.Abort(t.Context(), 1),
		} {
			if err == nil || !strings.Contains(err.Error(), "it does not ") {
				t.Errorf("%s of a session that has no such part: %v", what, err)
			}
		}
		if _, _, err := r.Send(t.Context(), norm.Object{Size: 1}, bytes.NewReader([]byte{1})); err == nil {
			t.Error("a session without a sender sent")
		}
	})
}

func TestObjectsNeedAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, session.Config{Conn: (&hub{}).open(1), Send: sending(1), Receive: receiving(10)})
		if _, _, err := s.Send(t.Context(), norm.Object{Size: 1}, nil); err == nil || !strings.Contains(err.Error(), "Source") {
			t.Errorf("Send without a Source: %v", err)
		}
		if _, _, err := s.Send(t.Context(), norm.Object{Info: []byte("all there is")}, nil); err != nil {
			t.Errorf("Send of an object that is its NORM_INFO alone: %v", err)
		}
		if _, err := s.Expect(t.Context(), norm.Preset{Sender: 1, Size: 1}, nil); err == nil || !strings.Contains(err.Error(), "Sink") {
			t.Errorf("Expect without a Sink: %v", err)
		}
	})
}

func TestStatsInJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.1), content(1<<20, 1)
		r := openReceiver(t, net.open(10), receiving(10), make(memory, len(image)))
		s := openSender(t, net.open(1))
		send(t, s, image)
		await(t, r, norm.ObjectComplete)
		tx, rx := stats(t, s), stats(t, r)
		if tx.Sender.Data != 749 || tx.Sender.Repairs == 0 || tx.Sender.NacksHeard == 0 || tx.Receiver != (norm.ReceiverStats{}) {
			t.Errorf("sender: %+v", tx)
		}
		if rx.Receiver.Data < 749 || rx.Receiver.Decoded == 0 || rx.Receiver.NacksSent == 0 || rx.Sender != (norm.SenderStats{}) {
			t.Errorf("receiver: %+v", rx)
		}
		if len(rx.Senders) != 1 || rx.Senders[0].ID != 1 || rx.Senders[0].FEC != 5 || rx.Senders[0].Dialect != "rfc" {
			t.Errorf("senders: %+v", rx.Senders)
		}
		b, err := json.Marshal(rx)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`{"receiver":{"datagrams":`, `"nacks_suppressed":`, `"drops":{"malformed":0,`, `"unsent":0}`} {
			if !strings.Contains(string(b), want) {
				t.Errorf("no %s in %s", want, b)
			}
		}
		if bytes.Contains(b, []byte(`"sender":`)) {
			t.Errorf("counters of a sender that is not there: %s", b)
		}
	})
}

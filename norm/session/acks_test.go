package session_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.1), content(200_000, 1)
		for i := range byte(3) {
			openReceiver(t, net.open(10+i), receiving(norm.NodeID(10+i)), make(memory, len(image)))
		}
		s := openSender(t, net.open(1))
		h := send(t, s, image)
		if err := s.Acknowledged(t.Context(), h, []norm.NodeID{10, 11, 12}); err != nil {
			t.Error(err)
		}
		err := s.Acknowledged(t.Context(), h, []norm.NodeID{99, 10, 77})
		e, ok := errors.AsType[*session.NotAcknowledgedError](err)
		if !ok || !slices.Equal(e.Nodes, []norm.NodeID{77, 99}) || e.Err != nil {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := s.Acknowledged(ctx, h, []norm.NodeID{99}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		// Event forms, and what ends a request early.
		name, err := s.SetWatermark(t.Context(), norm.Watermark{Nodes: []norm.NodeID{99}})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- s.Acknowledged(t.Context(), h, []norm.NodeID{99}) }()
		synctest.Wait()
		if err := s.Cancel(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, norm.ErrCancelled) {
			t.Errorf("%v", err)
		}
		if e := await(t, s, norm.AcksDone); e.Request != name || e.Err != norm.ErrCancelled {
			t.Errorf("%+v", e)
		}
		// Closing ends the wait, too.
		h = send(t, s, image)
		go func() { ended <- s.Acknowledged(t.Context(), h, []norm.NodeID{99}) }()
		synctest.Wait()
		s.Close()
		if err := <-ended; !errors.Is(err, session.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

func TestApplicationRequestsAndCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &hub{lose: func(to netip.AddrPort, b []byte) bool { // half of the acknowledgments
			var m wire.Ack
			return m.Parse(b) == nil && m.Sequence%2 == 0
		}}
		asked := openReceiver(t, net.open(10), receiving(10), nil)
		preset := openReceiver(t, net.open(11), receiving(11), nil)
		s := openSender(t, net.open(1))
		if err := preset.Answer(t.Context(), 16, []byte("always")); err != nil {
			t.Fatal(err)
		}
		go func() {
			e := await(t, asked, norm.AckRequested)
			if err := asked.Acknowledge(t.Context(), e.Sender, e.AckType, e.AckID, []byte("now")); err != nil {
				t.Error(err)
			}
		}()
		got, err := s.Answers(t.Context(), 16, []norm.NodeID{10, 11})
		if err != nil || got[10] != "now" || got[11] != "always" {
			t.Errorf("%v, %v", got, err)
		}
		if err := s.Command(t.Context(), []byte("stop"), true); err != nil {
			t.Fatal(err)
		}
		if e := await(t, asked, norm.AppCommand); e.Content != "stop" || e.Sender != 1 {
			t.Errorf("%+v", e)
		}
		await(t, s, norm.CommandSent)
	})
}

package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

// streamPair opens a sender and a receiver at a hub, and a stream between them.
func streamPair(t *testing.T, net *hub, c norm.StreamConfig) (tx, rx *session.Session, w *session.StreamWriter, readers chan *session.StreamReader) {
	t.Helper()
	readers = make(chan *session.StreamReader, 1)
	rx = open(t, session.Config{Conn: net.open(2), Receive: receiving(2), OfferStream: func(r *session.StreamReader, o norm.ReceivedObject) bool {
		readers <- r
		return true
	}})
	tx = openSender(t, net.open(1))
	w, err := tx.OpenStream(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return tx, rx, w, readers
}

// What is written is read where 5 % of all datagrams are lost, as fast as the buffer lets through.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tx, _, w, readers := streamPair(t, lossy(0.05), norm.StreamConfig{Buffer: 600_000})
		want := content(3_000_000, 4)
		go func() {
			if n, err := w.Write(want); err != nil || n != len(want) {
				t.Errorf("wrote %d bytes: %v", n, err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}()
		got, err := io.ReadAll(<-readers)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes of %d, or others: %v", len(got), len(want), err)
		}
		if err := tx.Acknowledged(t.Context(), w.Handle(), []norm.NodeID{2}); err != nil {
			t.Error(err)
		}
		if _, err := w.Write([]byte("more")); !errors.Is(err, norm.ErrStreamClosed) {
			t.Errorf("write to a closed stream: %v", err)
		}
	})
}

func TestStreamMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, w, readers := streamPair(t, lossy(0.05), norm.StreamConfig{})
		var want [][]byte
		go func() {
			out := session.NewMessageWriter(w)
			out.Flush = true
			for i := range 200 {
				if err := out.WriteMessage(t.Context(), content(i*i/3, byte(i))); err != nil {
					t.Error(err)
				}
			}
			if err := out.WriteMessage(t.Context(), make([]byte, session.MaxMessage+1)); err == nil {
				t.Error("a message beyond what 16 bits can tell was written")
			}
			w.Close()
		}()
		for i := range 200 {
			want = append(want, content(i*i/3, byte(i)))
		}
		in := session.NewMessageReader(<-readers)
		var got [][]byte
		for {
			m, err := in.ReadMessage(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, bytes.Clone(m))
		}
		if !slices.EqualFunc(got, want, bytes.Equal) || in.Skipped() != 0 {
			t.Errorf("%d messages of %d, or others; %d bytes skipped", len(got), len(want), in.Skipped())
		}
	})
}

// A reader that comes late, in the middle of a message, begins with the next; so does one that lost something for good.
func TestMessagesAfterJoinAndBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := lossy(0)
		tx := openSender(t, net.open(1))
		w, err := tx.OpenStream(t.Context(), norm.StreamConfig{Buffer: 1, Push: true})
		if err != nil {
			t.Fatal(err)
		}
		out := session.NewMessageWriter(w)
		send := func(seed byte) {
			t.Helper()
			if err := out.WriteMessage(t.Context(), content(50_000, seed)); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for seed := range byte(4) { // two and a bit blocks
			send(seed)
		}
		readers := make(chan *session.StreamReader, 1)
		port := net.open(2)
		open(t, session.Config{Conn: port, Receive: receiving(2), OfferStream: func(r *session.StreamReader, _ norm.ReceivedObject) bool {
			readers <- r
			return true
		}})
		for seed := byte(4); seed < 12; seed++ {
			net.mu.Lock()
			net.lose = func(to netip.AddrPort, b []byte) bool { return to == port.addr && seed > 5 && seed < 10 }
			net.mu.Unlock()
			send(seed)
		}
		w.Close()
		in := session.NewMessageReader(<-readers)
		var got []byte
		for {
			m, err := in.ReadMessage(t.Context())
			if err != nil {
				if err != io.EOF {
					t.Error(err)
				}
				break
			}
			for seed := range byte(12) {
				if bytes.Equal(m, content(50_000, seed)) {
					got = append(got, seed)
				}
			}
		}
		if len(got) < 3 || got[0] < 3 || got[0] > 5 || got[len(got)-1] != 11 || in.Skipped() == 0 {
			t.Errorf("messages %v, %d bytes skipped", got, in.Skipped())
		}
	})
}

// Waiting ends with the context, with the session, and with the stream.
func TestStreamWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := lossy(0)
		tx, rx, w, readers := streamPair(t, net, norm.StreamConfig{Buffer: 1})
		if err := tx.SetRate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := w.WriteContext(ctx, make([]byte, 1_000_000)); n != 2*64*1400 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wrote %d bytes: %v", n, err)
		}
		if err := tx.SetRate(t.Context(), 100e6); err != nil {
			t.Fatal(err)
		}
		r := <-readers
		failed := make(chan error, 2)
		go func() {
			_, err := io.Copy(io.Discard, r)
			failed <- err
		}()
		time.Sleep(time.Second)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-failed; !errors.Is(err, norm.ErrCancelled) {
			t.Errorf("reading a stream given up: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		go func() {
			_, err := w.Write(make([]byte, 10_000_000))
			failed <- err
		}()
		time.Sleep(time.Millisecond)
		if err := tx.Cancel(t.Context(), w.Handle()); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, norm.ErrUnknownObject) {
			t.Errorf("writing to a cancelled stream: %v", err)
		}
		rx.Close()
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, session.ErrClosed) {
			t.Errorf("reading after Close: %v", err)
		}
	})
}

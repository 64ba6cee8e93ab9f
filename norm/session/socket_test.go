package session_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A flaky is a socket whose interface goes away and comes back.
type flaky struct {
	*port
	gone atomic.Bool
}

func (f *flaky) WriteBatch(msgs []udp.Message) (int, error) {
	if f.gone.Load() {
		return 0, syscall.ENETUNREACH
	}
	return f.port.WriteBatch(msgs)
}

func (f *flaky) ReadBatch(msgs []udp.Message) (int, error) {
	if f.gone.Load() {
		return 0, syscall.ENETDOWN
	}
	return f.port.ReadBatch(msgs)
}

// What cannot be sent is lost, as in the network, and said once in the log; when the interface is back, so is the
// session.
func TestInterfaceVanishesForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(2<<20, 1)
		sink := make(memory, len(image))
		r := openReceiver(t, net.open(10), receiving(10), sink)
		socket := &flaky{port: net.open(1)}
		var log bytes.Buffer
		s := open(t, session.Config{Conn: socket, Send: sending(1), Log: slog.New(slog.NewTextHandler(&log, nil))})
		send(t, s, image)
		time.Sleep(50 * time.Millisecond)
		socket.gone.Store(true)
		time.Sleep(50 * time.Millisecond)
		socket.gone.Store(false)
		await(t, r, norm.ObjectComplete)
		if !bytes.Equal(sink, image) {
			t.Error("content differs")
		}
		if st := stats(t, s); st.Unsent < 200 || st.Unsent > 1000 {
			t.Errorf("%d datagrams were not sent, of the 446 that are due in 50 ms", st.Unsent)
		}
		s.Close()
		for _, want := range []string{"datagrams cannot be sent", "network is unreachable", "datagrams are sent again"} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("want once %q in the log:\n%s", want, log.String())
			}
		}
	})
}

// A counter counts calls of WriteBatch and their datagrams.
type counter struct {
	*port
	calls, datagrams atomic.Int64
}

func (c *counter) WriteBatch(msgs []udp.Message) (int, error) {
	c.calls.Add(1)
	c.datagrams.Add(int64(len(msgs)))
	return c.port.WriteBatch(msgs)
}

// At 1 Gbit/s a datagram is due each 11.5 µs. They leave 44 at a time, each 0.5 ms, and at the full rate.
func TestDatagramsLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := &counter{port: (&hub{}).open(1)}
		cfg := sending(1)
		cfg.Rate = 1e9
		s := open(t, session.Config{Conn: socket, Send: cfg})
		begin := time.Now()
		send(t, s, content(16<<20, 1))
		await(t, s, norm.ObjectSent)
		if n := socket.datagrams.Load() / socket.calls.Load(); n < 30 {
			t.Errorf("%d datagrams leave together", n)
		}
		if took, want := time.Since(begin), 137*time.Millisecond; took < want*95/100 || took > want*105/100 {
			t.Errorf("16 MiB took %v, want %v", took, want)
		}
	})
}

// A receiver's socket may fail for some seconds; one that does nothing else closes the session with its error.
func TestBrokenSocketClosesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(100_000, 1)
		socket := &flaky{port: net.open(10)}
		r := openReceiver(t, socket, receiving(10), make(memory, len(image)))
		s := openSender(t, net.open(1))
		for range 3 {
			socket.gone.Store(true)
			send(t, s, image)
			time.Sleep(2 * time.Second)
			socket.gone.Store(false)
			time.Sleep(time.Second)
		}
		stats(t, r) // still there
		send(t, s, image)
		await(t, r, norm.ObjectComplete)
		socket.gone.Store(true)
		send(t, s, image) // wakes the reader, which then sees
		for {
			if _, err := r.Next(t.Context()); err != nil {
				if !errors.Is(err, syscall.ENETDOWN) {
					t.Errorf("the session ended with %v", err)
				}
				break
			}
		}
		if _, err := r.Stats(t.Context()); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("Stats afterwards: %v", err)
		}
	})
}

// A socket that someone else closes ends the session as Close does.
func TestClosedSocketClosesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := (&hub{}).open(1)
		s := openSender(t, socket)
		socket.Close()
		if _, err := s.Next(t.Context()); !errors.Is(err, session.ErrClosed) {
			t.Errorf("Next: %v", err)
		}
	})
}

// A stranger who makes an event with each datagram takes no memory for ever, even if nobody fetches events; and when
// somebody does, the session is as before.
func TestAttackEventFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(100_000, 1)
		sink := make(memory, len(image))
		r := openReceiver(t, net.open(10), receiving(10), sink)
		stranger := net.open(66)
		var b []byte
		for i := range 2 * session.MaxLate {
			probe := wire.CC{Header: wire.Header{Source: 66}, SenderHeader: wire.SenderHeader{Instance: norm.InstanceID(i), GRTT: 100},
				Extensions: wire.AppendRate(nil, wire.EncodeRate(1e6))}
			var err error
			if b, err = probe.AppendBinary(b[:0]); err != nil {
				t.Fatal(err)
			}
			stranger.WriteBatch([]udp.Message{{To: group, B: b}})
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if n := r.Waiting(); n < session.MaxLate || n > session.MaxLate+1000 {
			t.Errorf("%d events wait, want about %d", n, session.MaxLate)
		}
		for r.Waiting() > 0 {
			for range r.Waiting() {
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		s := openSender(t, net.open(1))
		send(t, s, image)
		await(t, r, norm.ObjectComplete)
		if !bytes.Equal(sink, image) {
			t.Error("content differs")
		}
	})
}

// Datagrams that are not NORM cost a counter each.
func TestGarbageIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(1<<20, 1)
		sink := make(memory, len(image))
		r := openReceiver(t, net.open(10), receiving(10), sink)
		stranger := net.open(66)
		s := openSender(t, net.open(1))
		send(t, s, image)
		for i := range 500 {
			junk := content(1+i, byte(i))
			junk[0] |= 0xf0 // no version there will ever be
			stranger.WriteBatch([]udp.Message{{To: group, B: junk}})
			time.Sleep(time.Millisecond)
		}
		await(t, r, norm.ObjectComplete)
		if !bytes.Equal(sink, image) {
			t.Error("content differs")
		}
		if got := stats(t, r).Receiver.Drops.Malformed; got != 500 {
			t.Errorf("receiver: %d malformed, want 500", got)
		}
		if got := stats(t, s).Sender.Drops.Malformed; got != 500 {
			t.Errorf("sender: %d malformed, want 500", got)
		}
	})
}

// Lines that can occur for each block are for debugging; a session's own are for an operator.
func TestLogLevels(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo:  {"sender-seen sender=1", "object-offered sender=1 handle=1 size=100000 fec=rs8:64,32 dialect=rfc", "object-info", "object-complete sender=1 handle=1"},
		slog.LevelDebug: {"object-data sender=1 handle=1 offset=0 length="},
		slog.LevelWarn:  nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			net, image := &hub{lose: func(netip.AddrPort, []byte) bool { return false }}, content(100_000, 1)
			var log bytes.Buffer
			r := open(t, session.Config{Conn: net.open(10), Receive: receiving(10), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})),
				Offer: func(norm.Handle, norm.ReceivedObject) session.Sink { return make(memory, len(image)) }})
			s := openSender(t, net.open(1))
			send(t, s, image)
			await(t, r, norm.ObjectComplete)
			r.Close()
			for _, line := range want {
				if !strings.Contains(log.String(), "msg="+line) {
					t.Errorf("%v: no %q in the log:\n%s", level, line, log.String())
				}
			}
			if level == slog.LevelInfo && strings.Contains(log.String(), "object-data") || level == slog.LevelWarn && log.Len() > 0 {
				t.Errorf("%v: too much in the log:\n%s", level, log.String())
			}
		})
	}
}

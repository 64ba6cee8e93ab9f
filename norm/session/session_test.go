package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

var group = netip.MustParseAddrPort("239.255.1.1:6003")

// A hub is a multicast network in memory: what one port sends, all others receive, less what lose takes away.
type hub struct {
	mu    sync.Mutex
	ports []*port                                // guarded by mu
	lose  func(to netip.AddrPort, b []byte) bool // called with mu held; nil loses nothing
}

// A port is a session.Conn at a hub.
type port struct {
	hub    *hub
	addr   netip.AddrPort
	in     chan udp.Message
	once   sync.Once
	closed chan struct{}
}

func (h *hub) open(n byte) *port {
	p := &port{hub: h, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 6003), in: make(chan udp.Message, 4096), closed: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports = append(h.ports, p)
	return p
}

func (p *port) WriteBatch(msgs []udp.Message) (int, error) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	for _, m := range msgs {
		for _, to := range p.hub.ports {
			if to == p || p.hub.lose != nil && p.hub.lose(to.addr, m.B) {
				continue
			}
			select {
			case to.in <- udp.Message{From: p.addr, To: m.To, B: bytes.Clone(m.B)}:
			default: // the socket's buffer is full
			}
		}
	}
	return len(msgs), nil
}

func (p *port) ReadBatch(msgs []udp.Message) (int, error) {
	select {
	case msgs[0] = <-p.in:
		return 1, nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *port) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// memory is a sink in memory.
type memory []byte

func (m memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }
func (m memory) ReadAt(b []byte, off int64) (int, error)  { return copy(b, m[off:]), nil }

func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func openSender(t *testing.T, c session.Conn) *session.Session {
	t.Helper()
	s, err := session.Open(session.Config{Conn: c, Send: &norm.SenderConfig{Node: 1, Group: group, GRTT: 20 * time.Millisecond, GroupSize: 10, Rate: 100e6, Seed: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await returns the first event of a kind.
func await(t *testing.T, s *session.Session, kind norm.EventKind) norm.Event {
	t.Helper()
	for {
		e, err := s.Next(t.Context())
		if err != nil {
			t.Fatalf("waiting for %v: %v", kind, err)
		}
		if e.Kind == kind {
			return e
		}
	}
}

func TestObjectReachesThreeReceiversOverLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		net := &hub{lose: func(netip.AddrPort, []byte) bool { return rng.Float64() < 0.1 }}
		want := content(1 << 20)
		var receivers []*session.Session
		var sinks []memory
		for i := range byte(3) {
			sink := make(memory, len(want))
			r, err := session.Open(session.Config{
				Conn:    net.open(10 + i),
				Receive: &norm.ReceiverConfig{Node: norm.NodeID(10 + i), Group: group, Seed: uint64(10 + i)},
				Offer:   func(norm.Handle, norm.ReceivedObject) session.Sink { return sink },
			})
			if err != nil {
				t.Fatal(err)
			}
			receivers, sinks = append(receivers, r), append(sinks, sink)
		}
		s := openSender(t, net.open(1))
		_, _, err := s.Send(t.Context(), norm.Object{Kind: norm.File, Size: int64(len(want)), Info: []byte("image")}, bytes.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range receivers {
			e := await(t, r, norm.ObjectComplete)
			info, err := r.Object(t.Context(), e.Object)
			if err != nil || string(info.Info) != "image" || info.Size != int64(len(want)) || !bytes.Equal(sinks[i], want) {
				t.Errorf("receiver %d: %+v, %v; content equal: %v", i, info, err, bytes.Equal(sinks[i], want))
			}
			st, err := r.Stats(t.Context())
			if err != nil || st.Receiver.Data == 0 {
				t.Errorf("receiver %d: stats %+v, %v", i, st, err)
			}
			r.Close()
		}
		if err := s.End(t.Context()); err != nil {
			t.Error(err)
		}
		await(t, s, norm.Ended)
		s.Close()
	})
}

type failingSink struct{ memory }

func (failingSink) WriteAt([]byte, int64) (int, error) { return 0, errors.New("no space left") }

func TestFailingSinkAbortsTheObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &hub{}
		r, err := session.Open(session.Config{
			Conn:    net.open(10),
			Receive: &norm.ReceiverConfig{Node: 10, Group: group},
			Offer:   func(norm.Handle, norm.ReceivedObject) session.Sink { return failingSink{} },
		})
		if err != nil {
			t.Fatal(err)
		}
		s := openSender(t, net.open(1))
		s.Send(t.Context(), norm.Object{Size: 100_000}, bytes.NewReader(content(100_000)))
		if e := await(t, r, norm.ObjectAborted); e.Err == nil || e.Err.Error() != "no space left" {
			t.Errorf("aborted with %v; want the sink's error", e.Err)
		}
		s.Close()
		r.Close()
	})
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

func TestNextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSender(t, (&hub{}).open(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next: %v", err)
		}
		s.Close()
	})
}

func TestReceivingSessionDoesNotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := session.Open(session.Config{Conn: (&hub{}).open(1), Receive: &norm.ReceiverConfig{Node: 10, Group: group}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Send(t.Context(), norm.Object{Size: 1}, io.NewSectionReader(nil, 0, 0)); err == nil {
			t.Error("a session without a sender sent")
		}
		r.Close()
	})
}

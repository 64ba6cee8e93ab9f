package session_test

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// lossy loses each datagram with probability p.
func lossy(p float64) *hub {
	rng := rand.New(rand.NewPCG(1, 2))
	return &hub{lose: func(netip.AddrPort, []byte) bool { return rng.Float64() < p }}
}

// memory is a sink in memory.
type memory []byte

func (m memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }
func (m memory) ReadAt(b []byte, off int64) (int, error)  { return copy(b, m[off:]), nil }

// content returns n bytes that look random and differ with seed.
func content(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// open opens a session that the test closes if it has not done so.
func open(t testing.TB, cfg session.Config) *session.Session {
	t.Helper()
	s, err := session.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sending is how the senders of these tests are configured: 100 Mbit/s, and a GRTT that suits a small network.
func sending(node norm.NodeID) *norm.SenderConfig {
	return &norm.SenderConfig{Node: node, Group: group, GRTT: 20 * time.Millisecond, GroupSize: 10, Rate: 100e6, Seed: uint64(node), FEC: fec.Params{ID: 5, MaxBlockLen: 64, MaxParity: 32}}
}

func receiving(node norm.NodeID) *norm.ReceiverConfig {
	return &norm.ReceiverConfig{Node: node, Group: group, Seed: uint64(node)}
}

func openSender(t testing.TB, c session.Conn) *session.Session {
	t.Helper()
	return open(t, session.Config{Conn: c, Send: sending(1)})
}

// openReceiver opens a session that takes every object into sink.
func openReceiver(t testing.TB, c session.Conn, cfg *norm.ReceiverConfig, sink session.Sink) *session.Session {
	t.Helper()
	return open(t, session.Config{Conn: c, Receive: cfg, Offer: func(norm.Handle, norm.ReceivedObject) session.Sink { return sink }})
}

func send(t testing.TB, s *session.Session, b []byte) norm.Handle {
	t.Helper()
	h, _, err := s.Send(t.Context(), norm.Object{Kind: norm.File, Size: int64(len(b)), Info: []byte("image")}, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// await returns the next event of a kind, and fails when the object it waits for is aborted instead.
func await(t testing.TB, s *session.Session, kind norm.EventKind) norm.Event {
	t.Helper()
	for {
		e, err := s.Next(t.Context())
		if err != nil {
			t.Fatalf("waiting for %v: %v", kind, err)
		}
		if e.Kind == kind {
			return e
		}
		if e.Kind == norm.ObjectAborted {
			t.Fatalf("waiting for %v: object aborted: %v", kind, e.Err)
		}
	}
}

func stats(t testing.TB, s *session.Session) session.Stats {
	t.Helper()
	st, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

package upgrade_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// A lan is a network in memory, so that tests run in virtual time: multicast among its ports, with losses, and streams
// between its addresses.
type lan struct {
	mu        sync.Mutex // guards all below
	rng       *rand.Rand
	loss      float64 // share of datagrams that a port does not hear
	ports     []*lanPort
	sent      []int // bytes, by each port there ever was
	listeners map[string]*lanListener
	nextPort  int
}

// sentBy returns how many bytes a port has sent, by its number.
func (l *lan) sentBy(n int) (bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent[n]
}

func newLAN(seed uint64, loss float64) *lan {
	return &lan{rng: rand.New(rand.NewPCG(seed, 1)), loss: loss, listeners: map[string]*lanListener{}, nextPort: 40000}
}

// A lanPort is a session.Conn.
type lanPort struct {
	lan    *lan
	addr   netip.AddrPort
	in     chan udp.Message
	once   sync.Once
	closed chan struct{}
	number int // of the port
}

func (l *lan) open() (session.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.sent)
	l.sent = append(l.sent, 0)
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte((n + 1) >> 8), byte(n + 1)}), 6003)
	p := &lanPort{lan: l, addr: addr, number: n, in: make(chan udp.Message, 4096), closed: make(chan struct{})}
	l.ports = append(l.ports, p)
	return p, nil
}

func (p *lanPort) WriteBatch(msgs []udp.Message) (int, error) {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	for _, m := range msgs {
		p.lan.sent[p.number] += len(m.B)
		for _, to := range p.lan.ports {
			if to == p || p.lan.rng.Float64() < p.lan.loss {
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

func (p *lanPort) ReadBatch(msgs []udp.Message) (int, error) {
	select {
	case msgs[0] = <-p.in:
		return 1, nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *lanPort) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.lan.mu.Lock()
		defer p.lan.mu.Unlock()
		p.lan.ports = slices.DeleteFunc(p.lan.ports, func(q *lanPort) bool { return q == p })
	})
	return nil
}

// A lanListener takes streams at an address.
type lanListener struct {
	lan    *lan
	addr   *net.TCPAddr
	in     chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *lan) bind(network, address string) (net.Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(port)
	if n == 0 {
		l.nextPort++
		n = l.nextPort
	}
	s := &lanListener{lan: l, addr: &net.TCPAddr{IP: net.ParseIP(host), Port: n}, in: make(chan net.Conn), closed: make(chan struct{})}
	if l.listeners[s.addr.String()] != nil {
		return nil, fmt.Errorf("bind %s: address already in use", s.addr)
	}
	l.listeners[s.addr.String()] = s
	return s, nil
}

func (l *lan) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	s := l.listeners[address]
	l.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	near, far := net.Pipe()
	select {
	case s.in <- far:
		return near, nil
	case <-s.closed:
		return nil, fmt.Errorf("dial %s: connection refused", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("dial %s: timed out", address)
	}
}

func (s *lanListener) Accept() (net.Conn, error) {
	select {
	case c := <-s.in:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *lanListener) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.lan.mu.Lock()
		defer s.lan.mu.Unlock()
		delete(s.lan.listeners, s.addr.String())
	})
	return nil
}

func (s *lanListener) Addr() net.Addr { return s.addr }

func (l *lan) setLoss(share float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loss = share
}

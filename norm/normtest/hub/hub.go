// Package hub is a multicast network in memory for programs that use package session: ports that behave as sockets do,
// in real or virtual time. For whole groups of state machines use package normtest.
package hub

import (
	"bytes"
	"net"
	"net/netip"
	"sync"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// queueLen is how many datagrams a port holds for its reader; more are lost, as in the kernel.
const queueLen = 4096

// A Hub joins ports: what one sends, all others receive. The zero Hub is ready to be used.
type Hub struct {
	mu    sync.Mutex
	ports []*Port                                      // guarded by mu
	lose  func(from, to netip.AddrPort, b []byte) bool // guarded by mu
}

// A Port is a socket at a Hub, a session.Conn.
type Port struct {
	hub    *Hub
	addr   netip.AddrPort
	in     chan udp.Message
	once   sync.Once
	closed chan struct{}
}

// Lose sets what decides, for each datagram and each port it would reach, whether it is lost. It may change b, which is
// that port's copy. Nil loses nothing.
func (h *Hub) Lose(lose func(from, to netip.AddrPort, b []byte) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lose = lose
}

// Open returns a new port with the address.
func (h *Hub) Open(addr netip.AddrPort) *Port {
	p := &Port{hub: h, addr: addr, in: make(chan udp.Message, queueLen), closed: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports = append(h.ports, p)
	return p
}

// WriteBatch sends to all other ports.
func (p *Port) WriteBatch(msgs []udp.Message) (int, error) {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	for _, m := range msgs {
		for _, to := range h.ports {
			if to == p {
				continue
			}
			b := bytes.Clone(m.B)
			if h.lose != nil && h.lose(p.addr, to.addr, b) {
				continue
			}
			select {
			case to.in <- udp.Message{From: p.addr, To: m.To, ECN: m.ECN, B: b}:
			default:
			}
		}
	}
	return len(msgs), nil
}

// ReadBatch waits for one datagram.
func (p *Port) ReadBatch(msgs []udp.Message) (int, error) {
	select {
	case msgs[0] = <-p.in:
		return 1, nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

// Close takes the port from the hub.
func (p *Port) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.hub.mu.Lock()
		defer p.hub.mu.Unlock()
		for i, o := range p.hub.ports {
			if o == p {
				p.hub.ports = append(p.hub.ports[:i:i], p.hub.ports[i+1:]...)
				break
			}
		}
	})
	return nil
}

//go:build !linux

package udp

import (
	"errors"
	"net"
	"net/netip"
)

// batch holds a datagram: these systems move one with each call.
type batch struct {
	s   *socket
	buf []byte
	oob []byte
}

func (b *batch) init(s *socket, _ *resolved) {
	b.s, b.buf, b.oob = s, make([]byte, 1<<16), make([]byte, controlSize)
}

// detached is nothing: the socket stays with package net.
type detached struct{}

func (*socket) detach() error  { return nil }
func (s *socket) close() error { return s.conn.Close() }

// These systems have neither UDP_SEGMENT nor UDP_GRO.
func (*socket) gso() bool { return false }
func (*socket) gro() bool { return false }

// ignoreOwn does nothing: the protocol ignores its own messages by node id.
func (*socket) ignoreOwn(uint16, *resolved) {}

func (b *batch) readBatch(msgs []Message) (int, error) {
	s := b.s
	for {
		n, oobn, _, from, err := s.conn.ReadMsgUDPAddrPort(b.buf, b.oob)
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, net.ErrClosed
		case err != nil && transient(err):
			continue
		case err != nil:
			return 0, err
		}
		s.stats.received.calls.Add(1)
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		var c control
		c.parse(b.oob[:oobn])
		if !c.to.IsValid() {
			c.to = s.likelyTo()
		}
		if v := s.judge(from.Addr(), &c); v != deliver {
			s.drop(v, 1)
			continue
		}
		msgs[0] = Message{From: from, To: netip.AddrPortFrom(c.to, s.local.Port()), ECN: c.ecn, B: b.buf[:n]}
		s.stats.received.add(1, n)
		return 1, nil
	}
}

// canTry: package net has only reads that wait.
const canTry = false

func (*batch) tryReadBatch([]Message) (int, error) { return 0, errors.ErrUnsupported }

// likelyTo is where a datagram was sent if the system does not tell: to the
// group if the socket is in one.
func (s *socket) likelyTo() netip.Addr {
	if s.accept.group.IsValid() {
		return s.accept.group
	}
	return s.local.Addr()
}

func (b *batch) writeBatch(msgs []Message) (int, error) {
	s := b.s
	for i, m := range msgs {
		to := m.To
		if !to.IsValid() {
			to = s.group
		}
		if _, _, err := s.conn.WriteMsgUDPAddrPort(m.B, nil, to); err != nil {
			if errors.Is(err, net.ErrClosed) {
				err = net.ErrClosed
			}
			return i, err
		}
		s.stats.sent.calls.Add(1)
		s.stats.sent.add(1, len(m.B))
	}
	return len(msgs), nil
}

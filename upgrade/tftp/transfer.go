package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	defaultTimeout = 2 * time.Second
	maxTries       = 5                // that a packet is sent
	maxFirstTries  = 3                // and the first one, of which nobody knows whether the client asked for it
	maxDuration    = 30 * time.Minute // of a transfer
)

var errSilent = errors.New("tftp: the client is silent")

// transfer sends a file. It has a port of its own, the server's transfer identifier (RFC 1350, Section 4), which takes packets
// of the one client only.
func (s *Server) transfer(ctx context.Context, local net.IP, client netip.AddrPort, r request) error {
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: local}, net.UDPAddrFromAddrPort(client))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	file, size, err := s.open(r.name)
	if err != nil {
		if refused, ok := errors.AsType[*refusal](err); ok {
			s.refused.Add(1)
			conn.Write(appendError(nil, refused))
		}
		return err
	}
	defer file.Close()
	t := transfer{conn: conn, timeout: defaultTimeout, ends: time.Now().Add(maxDuration), tries: maxFirstTries}
	if r.timeout > 0 {
		t.timeout = time.Duration(r.timeout) * time.Second
	}
	if r.options {
		if err := t.exchange(r.appendOAck(nil, size), 0); err != nil {
			return err
		}
	}
	packet := make([]byte, 4+r.block)
	for block := int64(1); ; block++ { // 16 bits of it are sent: beyond 65535 it goes on with 0, as clients have it
		binary.BigEndian.PutUint16(packet, opData)
		binary.BigEndian.PutUint16(packet[2:], uint16(block))
		off := (block - 1) * int64(r.block)
		n := int(min(int64(r.block), size-off))
		if _, err := file.ReadAt(packet[4:4+n], off); err != nil && err != io.EOF {
			conn.Write(appendError(nil, &refusal{codeAccess, "it cannot be read any more"}))
			return err
		}
		if err := t.exchange(packet[:4+n], uint16(block)); err != nil {
			return err
		}
		if n < r.block { // "data packets of less than 512 bytes signal termination", Section 2
			s.served.Add(1)
			return nil
		}
	}
}

// A transfer is one under way.
type transfer struct {
	conn    *net.UDPConn
	timeout time.Duration
	ends    time.Time
	tries   int // of the next packet
	buf     [maxRequest]byte
}

// exchange sends a packet until it is acknowledged. It is sent again when the time is over and for no other reason: a second
// ACK of the packet before is not answered, else each packet would be sent twice from then on (RFC 1123, Section
// 4.2.3.1, the Sorcerer's Apprentice).
func (t *transfer) exchange(packet []byte, block uint16) error {
	for range t.tries {
		if _, err := t.conn.Write(packet); err != nil {
			return err
		}
		deadline := time.Now().Add(t.timeout)
		if t.ends.Before(deadline) {
			return errSilent
		}
		if err := t.conn.SetReadDeadline(deadline); err != nil {
			return err
		}
		for {
			n, err := t.conn.Read(t.buf[:])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
			if isError(t.buf[:n]) {
				return errors.New("tftp: the client has given up")
			}
			if acked, ok := parseAck(t.buf[:n]); ok && acked == block {
				t.tries = maxTries
				return nil
			}
		}
	}
	return errSilent
}

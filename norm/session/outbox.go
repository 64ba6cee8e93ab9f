package session

import (
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

const (
	writeBatch  = 128     // datagrams handed to the socket at once: a few runs of what Linux sends as one
	readBatch   = 256     // datagrams taken from it at once
	maxDatagram = 1 << 16 // bytes; a segment is at most 65,000
)

// An outbox collects datagrams for one call of WriteBatch. Their bytes lie one behind the other in one buffer.
type outbox struct {
	conn  Conn
	trace Tracer         // may be nil
	from  netip.AddrPort // for the trace
	msgs  []udp.Message
	buf   []byte
}

func newOutbox(c Conn, t Tracer) outbox {
	var from netip.AddrPort
	if t != nil {
		from = localAddr(c)
	}
	return outbox{conn: c, trace: t, from: from, msgs: make([]udp.Message, 0, writeBatch), buf: make([]byte, 0, 4*maxDatagram)}
}

// full reports whether the outbox must be sent before another datagram is polled.
func (o *outbox) full() bool { return len(o.msgs) == writeBatch || cap(o.buf)-len(o.buf) < maxDatagram }

// room is where the next datagram is to be appended.
func (o *outbox) room() []byte { return o.buf[len(o.buf):len(o.buf):cap(o.buf)] }

// add takes the datagram that was appended to room.
func (o *outbox) add(pkt []byte, to netip.AddrPort) {
	o.buf = o.buf[:len(o.buf)+len(pkt)]
	o.msgs = append(o.msgs, udp.Message{To: to, B: pkt})
}

// send hands everything to the socket. It returns how many datagrams the socket took and how many it refused, with
// the last reason. One that cannot be sent is as good as lost on the way: it is not tried again.
func (o *outbox) send() (sent, refused uint64, err error) {
	for left := o.msgs; len(left) > 0; {
		n, e := o.conn.WriteBatch(left)
		if o.trace != nil && n > 0 {
			o.trace.Sent(time.Now(), o.from, left[:n])
		}
		left, sent = left[n:], sent+uint64(n)
		if isClosed(e) {
			break
		}
		if e != nil {
			refused, err = refused+1, e
			left = left[min(1, len(left)):]
		}
	}
	o.msgs, o.buf = o.msgs[:0], o.buf[:0]
	return sent, refused, err
}

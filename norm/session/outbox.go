package session

import (
	"net/netip"

	"github.com/multicast-upgrade/tool/norm/udp"
)

const (
	batchLen    = 64      // datagrams handed to the socket at once
	maxDatagram = 1 << 16 // bytes; a segment is at most 65,000
)

// An outbox collects datagrams for one call of WriteBatch. Their bytes lie one behind the other in one buffer.
type outbox struct {
	conn Conn
	msgs []udp.Message
	buf  []byte
}

func newOutbox(c Conn) outbox {
	return outbox{conn: c, msgs: make([]udp.Message, 0, batchLen), buf: make([]byte, 0, 2*maxDatagram)}
}

// full reports whether the outbox must be sent before another datagram is polled.
func (o *outbox) full() bool { return len(o.msgs) == batchLen || cap(o.buf)-len(o.buf) < maxDatagram }

// room is where the next datagram is to be appended.
func (o *outbox) room() []byte { return o.buf[len(o.buf):len(o.buf):cap(o.buf)] }

// add takes the datagram that was appended to room.
func (o *outbox) add(pkt []byte, to netip.AddrPort) {
	o.buf = o.buf[:len(o.buf)+len(pkt)]
	o.msgs = append(o.msgs, udp.Message{To: to, B: pkt})
}

// send hands everything to the socket and returns how many datagrams it refused, and the last reason. A datagram that
// cannot be sent is as good as lost: it is not tried again.
func (o *outbox) send() (refused uint64, err error) {
	for left := o.msgs; len(left) > 0; {
		n, e := o.conn.WriteBatch(left)
		left = left[n:]
		if e != nil {
			if isClosed(e) {
				break
			}
			refused, err = refused+1, e
			left = left[min(1, len(left)):]
		}
	}
	o.msgs, o.buf = o.msgs[:0], o.buf[:0]
	return refused, err
}

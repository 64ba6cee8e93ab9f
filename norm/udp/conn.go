package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// A Message is one datagram.
type Message struct {
	// From is where the datagram came from. WriteBatch does not look at it.
	From netip.AddrPort

	// To is where the datagram was sent: the group, or an address of this
	// host. WriteBatch sends to the group if To is the zero AddrPort.
	To netip.AddrPort

	// ECN is the ECN codepoint the datagram arrived with (RFC 3168), 0 on
	// systems that do not tell. What is sent has Config.ECN.
	ECN uint8

	// B is the payload. As filled in by ReadBatch it lies in a buffer of the
	// Conn, and is valid until the next ReadBatch.
	B []byte
}

// A Conn is the sockets of one session. One goroutine may call ReadBatch
// while another one calls WriteBatch; the other methods may be called by any.
type Conn struct {
	config *resolved
	out    *socket // sends, and hears what is sent to its own port
	merge  *merge  // reads from out and from the group's socket; nil if out is all there is
	stats  counters

	closeOnce sync.Once
	closeErr  error
}

// Open joins the group and opens the sockets that c describes. Its errors are
// one line that a user can act on.
func Open(c Config) (*Conn, error) {
	r, err := c.resolve()
	if err != nil {
		return nil, err
	}
	conn := &Conn{config: r}
	if r.Role == Receiver {
		if conn.out, err = openSession(r, &conn.stats); err != nil {
			return nil, err
		}
		return conn, nil
	}
	var group *socket // nil where all feedback is unicast
	if r.multicast() && !r.sourceSpecific() {
		if group, err = openSession(r, &conn.stats); err != nil {
			return nil, err
		}
	}
	if conn.out, err = openSource(r, &conn.stats); err != nil {
		if group != nil {
			group.close()
		}
		return nil, err
	}
	if group != nil {
		group.ignoreOwn(conn.out.local.Port(), r)
		conn.merge = newMerge(conn.out, group)
	}
	return conn, nil
}

// ReadBatch waits for datagrams and fills in msgs from the first on, as many
// as are at hand. Their payloads are valid until the next call. After Close
// the error is net.ErrClosed.
func (c *Conn) ReadBatch(msgs []Message) (n int, err error) {
	if len(msgs) == 0 {
		return 0, nil
	}
	if c.merge != nil {
		return c.merge.readBatch(msgs)
	}
	return c.out.readBatch(msgs)
}

// TryReadBatch is ReadBatch that does not wait: it returns 0 if no datagrams are at hand. The goroutine that calls ReadBatch
// must not do so meanwhile. On systems other than Linux, and for a Sender, the error is errors.ErrUnsupported.
func (c *Conn) TryReadBatch(msgs []Message) (n int, err error) {
	switch {
	case c.merge != nil || !canTry:
		return 0, errors.ErrUnsupported
	case len(msgs) == 0:
		return 0, nil
	}
	return c.out.tryReadBatch(msgs)
}

// WriteBatch sends msgs in order and returns how many were handed to the
// kernel. If that is not all of them, err tells what is wrong with msgs[n],
// such as a route that is gone for now; it is as good as lost on the way, and
// those after it may be sent by another call. After Close the error is
// net.ErrClosed. A payload may be reused once WriteBatch has returned.
func (c *Conn) WriteBatch(msgs []Message) (n int, err error) {
	n, err = c.out.writeBatch(msgs)
	if err != nil {
		c.stats.failed.Add(1)
	}
	return n, err
}

// LocalAddr is where datagrams are sent from; the address is unspecified if
// the kernel chooses one for each.
func (c *Conn) LocalAddr() netip.AddrPort { return c.out.local }

// Group is the session's address and port.
func (c *Conn) Group() netip.AddrPort { return c.config.Group }

// Interface is the interface in use, or nil if the routing table decides.
func (c *Conn) Interface() *net.Interface { return c.config.ifi }

// TTL is the time to live, or hop limit, of what is sent to the group: -1 if
// the group is a host and the system's default is used.
func (c *Conn) TTL() int {
	switch {
	case c.config.TTL < 0:
		return 0
	case c.config.TTL == 0:
		return -1
	}
	return c.config.TTL
}

// Close leaves the group and closes the sockets. Calls that wait return
// net.ErrClosed. Closing again does nothing.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		c.closeErr = c.out.close()
		if c.merge != nil {
			c.merge.close()
		}
	})
	return c.closeErr
}

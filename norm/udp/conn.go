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
	merge  *merge  // reads from out and from the groups' sockets; nil if out is all there is
	repair *socket // of a Receiver, for the repair group; nil if there is none
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
		err = conn.openReceiver()
	} else {
		err = conn.openSender()
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// openReceiver opens the sockets of a Receiver: that of the group, and one for the repair group that is a member of none yet.
func (c *Conn) openReceiver() (err error) {
	if c.out, err = openSession(c.config, c.config.Group, &c.stats); err != nil || !c.config.RepairGroup.IsValid() {
		return err
	}
	if c.repair, err = openGroup(c.config, c.config.RepairGroup, &c.stats); err != nil {
		c.out.close()
		return err
	}
	c.merge = newMerge(c.out, c.repair)
	return nil
}

// openSender opens the sockets of a Sender: its own, and those of the groups where it hears feedback.
func (c *Conn) openSender() (err error) {
	r := c.config
	var groups []*socket // none where all feedback is unicast
	closeAll := func() {
		for _, s := range groups {
			s.close()
		}
	}
	if r.multicast() && !r.sourceSpecific() {
		for _, g := range []netip.AddrPort{r.Group, r.RepairGroup} {
			if !g.IsValid() {
				continue
			}
			s, err := openSession(r, g, &c.stats)
			if err != nil {
				closeAll()
				return err
			}
			groups = append(groups, s)
		}
	}
	if c.out, err = openSource(r, &c.stats); err != nil {
		closeAll()
		return err
	}
	for _, s := range groups {
		s.ignoreOwn(c.out.local.Port(), r)
	}
	if len(groups) > 0 {
		c.merge = newMerge(append([]*socket{c.out}, groups...)...)
	}
	return nil
}

// HearRepairs makes a Receiver join the repair group, or leave it. Without
// one it does nothing.
func (c *Conn) HearRepairs(hear bool) error {
	switch {
	case c.repair == nil:
		return nil
	case hear:
		return c.repair.join(c.config, c.config.RepairGroup.Addr())
	}
	return c.repair.leave(c.config, c.config.RepairGroup.Addr())
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
// must not do so meanwhile. On systems other than Linux, for a Sender, and with a repair group, the error is
// errors.ErrUnsupported.
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

// RepairGroup is the group that repairs go to, zero if there is none.
func (c *Conn) RepairGroup() netip.AddrPort { return c.config.RepairGroup }

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

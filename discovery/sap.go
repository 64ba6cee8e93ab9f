package discovery

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/discovery/sap"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// A PacketConn is a socket in a SAP group: a *[udp.Conn], or what stands for one in tests.
type PacketConn interface {
	ReadBatch([]udp.Message) (int, error)
	WriteBatch([]udp.Message) (int, error)
	Close() error
}

// sapBuffer is what a socket may queue, in bytes: a few announcements a second are heard at most.
const sapBuffer = 64 << 10

// OpenSAP opens the socket to announce a session: on the group of its scope (see [sap.Group]), with its interface, source
// and TTL. RFC 2974, Section 3 would have a TTL of 255, and in the same place "the same scope as the session it is
// announcing": where the TTL is the scope, that of the session is the one that fits.
func OpenSAP(session udp.Config) (*udp.Conn, error) {
	group, err := sap.Group(session.Group.Addr())
	if err != nil {
		return nil, err
	}
	ifi := cmp.Or(session.Interface, session.Group.Addr().Zone())
	if session.Source.IsValid() {
		ifi = session.Source.String() // the interface that has it
	}
	return udp.Open(udp.Config{Group: group, Role: udp.Sender, Interface: ifi, TTL: session.TTL,
		ReadBuffer: sapBuffer, WriteBuffer: sapBuffer, NoOffload: true})
}

// HostAddr returns the address that others see in what conn sends: the one it is bound to, or the one that the routing
// table chooses for its group.
func HostAddr(conn *udp.Conn) (netip.Addr, error) {
	if a := conn.LocalAddr().Addr(); !a.IsUnspecified() {
		return a.WithZone(""), nil
	}
	group := conn.Group()
	if ifi := conn.Interface(); ifi != nil {
		if a, ok := hostAddrOf(ifi, group.Addr().Is4()); ok {
			return a, nil
		}
	}
	probe, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(group)) // sends nothing
	if err != nil {
		return netip.Addr{}, fmt.Errorf("no address of this host to announce from: %w", err)
	}
	defer probe.Close()
	return probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
}

// hostAddrOf returns an address of an interface, one beyond the link if there is any.
func hostAddrOf(ifi *net.Interface, is4 bool) (best netip.Addr, ok bool) {
	addrs, _ := ifi.Addrs() // without any, the routing table is asked
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().Unmap().Is4() != is4 {
			continue
		}
		if a := p.Addr().Unmap(); !ok || best.IsLinkLocalUnicast() {
			best, ok = a, true
		}
	}
	return best, ok
}

// A SAPAnnouncer announces one session until it is ended. One goroutine owns the state, another one reads.
type SAPAnnouncer struct {
	conn   PacketConn
	state  *sap.Announcer
	heard  chan heard
	finish chan struct{} // closed by End
	ended  chan struct{} // closed when the session is deleted, or the socket
}

type heard struct {
	from netip.Addr
	b    []byte
}

// AnnounceSAP begins to announce a, on a socket that the announcer closes in the end. The error says why it cannot be
// announced; then the socket is still open.
func AnnounceSAP(conn PacketConn, host netip.Addr, a Announcement) (*SAPAnnouncer, error) {
	state, err := sap.NewAnnouncer(sap.AnnouncerConfig{Source: host, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))},
		time.Now(), a.Describe(host))
	if err != nil {
		return nil, err
	}
	s := &SAPAnnouncer{conn: conn, state: state, heard: make(chan heard), finish: make(chan struct{}), ended: make(chan struct{})}
	go s.read()
	go s.loop()
	return s, nil
}

// End deletes the session, if it is over, and closes the socket, at the latest when ctx ends. A campaign that is only
// interrupted is not deleted: it will be announced again.
func (s *SAPAnnouncer) End(ctx context.Context, over bool) {
	if over {
		close(s.finish)
		select {
		case <-s.ended:
		case <-ctx.Done():
		}
	}
	s.conn.Close()
	<-s.ended
}

func (s *SAPAnnouncer) read() {
	defer close(s.heard)
	msgs := make([]udp.Message, 8)
	for {
		n, err := s.conn.ReadBatch(msgs)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		for _, m := range msgs[:n] {
			s.heard <- heard{m.From.Addr(), bytes.Clone(m.B)}
		}
		if err != nil {
			time.Sleep(time.Second) // the interface may come back
		}
	}
}

// loop owns the state until the session is deleted or the socket closed. What cannot be sent is as good as lost.
func (s *SAPAnnouncer) loop() {
	defer func() {
		close(s.ended)
		for range s.heard { // until read has seen that the socket is closed
		}
	}()
	finish := s.finish
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.state.Done() {
		for b, ok := s.state.Poll(time.Now(), nil); ok; b, ok = s.state.Poll(time.Now(), nil) {
			s.conn.WriteBatch([]udp.Message{{B: b}})
		}
		if s.state.Done() {
			return
		}
		timer.Reset(time.Until(s.state.Deadline()))
		select {
		case h, ok := <-s.heard:
			if !ok {
				return
			}
			s.state.Handle(time.Now(), h.from, h.b)
		case <-timer.C:
		case <-finish:
			finish = nil
			s.state.Delete(time.Now())
		}
	}
}

// ListenSAP hears what is announced on a group and calls f for each new version of a campaign, until conn is closed. How
// often f is called is bounded by what the network carries, how much is kept by [sap.Listener].
func ListenSAP(conn PacketConn, f func(a Announcement, from netip.Addr)) {
	l := sap.NewListener(sap.ListenerConfig{})
	msgs := make([]udp.Message, 8)
	for {
		n, err := conn.ReadBatch(msgs)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		for _, m := range msgs[:n] {
			l.Handle(time.Now(), m.From.Addr(), m.B)
			for e := range l.Events() {
				if a, err := ParseAnnouncement(e.Description); err == nil {
					f(a, e.From)
				}
			}
		}
		if err != nil {
			time.Sleep(time.Second) // the interface may come back
		}
	}
}

// OpenSAPListeners opens a socket in each group where sessions are announced. Groups that cannot be joined, such as those
// of IPv6 on a host without, are left out; without any, the error says why.
func OpenSAPListeners(ifi string) (conns []PacketConn, err error) {
	var failed []error
	for _, group := range sap.Groups() {
		c, err := udp.Open(udp.Config{Group: group, Interface: ifi, ReadBuffer: sapBuffer, WriteBuffer: sapBuffer, NoOffload: true})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		return nil, fmt.Errorf("announcements cannot be heard: %w", failed[0])
	}
	return conns, nil
}

package session_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// TestUnicastFeedback sends from two senders on one port, by real sockets, to receivers that lose a tenth and answer each
// sender where its datagrams come from: a port of its own.
func TestUnicastFeedback(t *testing.T) {
	for _, test := range []struct {
		name, host, group string
		source            string
		feedback          norm.FeedbackPolicy
		receivers         int
	}{
		{"IPv4", "127.0.0.1", "239.255.77.66", "", norm.FeedbackUnicast, 2},
		{"IPv6", "::1", "ff15::77:66", "", norm.FeedbackUnicast, 2},
		{"IPv4 source-specific", "127.0.0.1", "232.255.77.66", "127.0.0.1", norm.FeedbackAuto, 2},
		{"IPv4 to one host", "127.0.0.1", "127.0.0.1", "", norm.FeedbackAuto, 1}, // N-1.2-04
		{"IPv6 to one host", "::1", "::1", "", norm.FeedbackAuto, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			group := netip.MustParseAddr(test.group)
			at := netip.AddrPortFrom(group, freePort(t, test.host))
			conf := udp.Config{Group: at, Interface: test.host}
			if test.source != "" {
				conf.Source = netip.MustParseAddr(test.source)
			}
			if group.IsMulticast() && test.source == "" {
				needMulticast(t, at, test.host)
			}
			socket := func(role udp.Role) *udp.Conn {
				t.Helper()
				c := conf
				if c.Role = role; group.IsMulticast() {
					c.TTL = -1
				}
				conn, err := udp.Open(c)
				if err != nil {
					t.Skip(err)
				}
				t.Cleanup(func() { conn.Close() })
				return conn
			}
			images := [][]byte{content(1<<20, 1), content(1<<20, 2)}
			var receivers []*session.Session
			var sinks []map[norm.NodeID]memory
			for i := range test.receivers {
				cfg := receiving(norm.NodeID(10 + i))
				cfg.Group, cfg.Feedback, cfg.Join = at, test.feedback, norm.JoinAll
				conn := raindrop{socket(udp.Receiver), rand.New(rand.NewPCG(1, uint64(i))), 0.1}
				sink := map[norm.NodeID]memory{1: make(memory, 1<<20), 2: make(memory, 1<<20)}
				receivers = append(receivers, open(t, session.Config{
					Conn: conn, Receive: cfg,
					Offer: func(_ norm.Handle, o norm.ReceivedObject) session.Sink { return sink[o.Sender] },
				}))
				sinks = append(sinks, sink)
			}
			var senders []*session.Session
			for i, image := range images {
				cfg := sending(norm.NodeID(i + 1))
				cfg.Group = at
				s := open(t, session.Config{Conn: socket(udp.Sender), Send: cfg})
				senders = append(senders, s)
				send(t, s, image)
			}
			for i, r := range receivers {
				await(t, r, norm.ObjectComplete)
				await(t, r, norm.ObjectComplete)
				for j, image := range images {
					if !bytes.Equal(sinks[i][norm.NodeID(j+1)], image) {
						t.Errorf("receiver %d: what sender %d sent differs", i, j+1)
					}
				}
				if st := stats(t, r).Receiver; st.NacksHeard+st.Drops.Foreign != 0 || st.NacksSent == 0 {
					t.Errorf("receiver %d: feedback came to it, or it sent none: %+v", i, st)
				}
			}
			for i, s := range senders { // N-1.4-02 N-1.4-03: to the port that each sends from
				if st := stats(t, s).Sender; st.NacksHeard == 0 || st.Drops.Useless != 0 {
					t.Errorf("sender %d: NACKs for it did not come: %+v", i+1, st)
				}
			}
		})
	}
}

// TestBothRoles: two nodes that each send and receive, on one port, with unicast feedback.
func TestBothRoles(t *testing.T) {
	for _, lo := range loopbacks {
		t.Run(lo.name, func(t *testing.T) {
			at := netip.AddrPortFrom(netip.MustParseAddr(lo.group), freePort(t, lo.host))
			needMulticast(t, at, lo.host)
			var nodes []*session.Session
			var sinks []memory
			for i := range 2 {
				tx, rx := sending(norm.NodeID(1+i)), receiving(norm.NodeID(1+i))
				tx.Group, rx.Group, rx.Feedback, rx.Join = at, at, norm.FeedbackUnicast, norm.JoinAll
				conn := raindrop{openUDP(t, udp.Config{Group: at, Interface: lo.host, Role: udp.Sender}), rand.New(rand.NewPCG(1, uint64(i))), 0.1}
				sink := make(memory, 1<<20)
				nodes = append(nodes, open(t, session.Config{
					Conn: conn, Send: tx, Receive: rx,
					Offer: func(norm.Handle, norm.ReceivedObject) session.Sink { return sink },
				}))
				sinks = append(sinks, sink)
			}
			images := [][]byte{content(1<<20, 1), content(1<<20, 2)}
			for i, n := range nodes {
				send(t, n, images[i])
			}
			for i, n := range nodes {
				await(t, n, norm.ObjectComplete)
				if !bytes.Equal(sinks[i], images[1-i]) {
					t.Errorf("node %d: content differs", i)
				}
			}
			for i, n := range nodes {
				if st := stats(t, n); st.Receiver.NacksSent == 0 || st.Sender.NacksHeard == 0 {
					t.Errorf("node %d: %+v", i, st)
				}
			}
		})
	}
}

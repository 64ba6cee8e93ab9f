package session_test

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// loopbacks are the loopback network as a session uses it.
var loopbacks = []struct{ name, host, group string }{
	{"IPv4", "127.0.0.1", "239.255.77.62"},
	{"IPv6", "::1", "ff15::77:62"},
}

// A raindrop is a socket that loses some of what arrives.
type raindrop struct {
	*udp.Conn
	rng *rand.Rand // used by the session's reader only
	p   float64
}

func (c raindrop) ReadBatch(msgs []udp.Message) (int, error) {
	n, err := c.Conn.ReadBatch(msgs)
	kept := slices.DeleteFunc(msgs[:n:n], func(udp.Message) bool { return c.rng.Float64() < c.p })
	return len(kept), err
}

// freePort returns a UDP port that nobody uses now.
func freePort(t testing.TB, host string) uint16 {
	t.Helper()
	pc, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip(err)
	}
	defer pc.Close()
	return pc.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func openUDP(t testing.TB, cfg udp.Config) *udp.Conn {
	t.Helper()
	cfg.TTL = -1 // stays on this host
	conn, err := udp.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// needMulticast skips a test where multicast on loopback does not come back.
func needMulticast(t testing.TB, group netip.AddrPort, host string) {
	t.Helper()
	conn, err := udp.Open(udp.Config{Group: group, Interface: host, TTL: -1})
	if err != nil {
		t.Skipf("no multicast at %s: %v", host, err)
	}
	defer conn.Close()
	if _, err := conn.WriteBatch([]udp.Message{{B: []byte("probe")}}); err != nil {
		t.Skipf("no multicast at %s: %v", host, err)
	}
	watchdog := time.AfterFunc(time.Second, func() { conn.Close() })
	defer watchdog.Stop()
	if _, err := conn.ReadBatch(make([]udp.Message, 1)); err != nil {
		t.Skipf("no multicast comes back at %s: %v", host, err)
	}
}

// TestLoopback sends by real multicast to two receivers that lose a tenth each.
func TestLoopback(t *testing.T) {
	for _, lo := range loopbacks {
		t.Run(lo.name, func(t *testing.T) {
			at := netip.AddrPortFrom(netip.MustParseAddr(lo.group), freePort(t, lo.host))
			needMulticast(t, at, lo.host)
			image := content(4<<20, 1)
			var receivers []*session.Session
			var sinks []memory
			for i := range norm.NodeID(2) {
				cfg := receiving(10 + i)
				cfg.Group = at
				conn := raindrop{openUDP(t, udp.Config{Group: at, Interface: lo.host}), rand.New(rand.NewPCG(1, uint64(i))), 0.1}
				sink := make(memory, len(image))
				receivers, sinks = append(receivers, openReceiver(t, conn, cfg, sink)), append(sinks, sink)
			}
			cfg := sending(1)
			cfg.Group = at
			s := open(t, session.Config{Conn: openUDP(t, udp.Config{Group: at, Interface: lo.host, Role: udp.Sender}), Send: cfg})
			send(t, s, image)
			for i, r := range receivers {
				await(t, r, norm.ObjectComplete)
				if !bytes.Equal(sinks[i], image) {
					t.Errorf("receiver %d: content differs", i)
				}
				if st := stats(t, r); st.Receiver.Lost == 0 || st.Receiver.Decoded == 0 || st.UDP.Received.Datagrams < 2000 {
					t.Errorf("receiver %d: nothing was lost, or nothing repaired: %+v", i, st)
				}
			}
			if err := s.End(t.Context()); err != nil {
				t.Error(err)
			}
			await(t, receivers[1], norm.SenderEnded)
		})
	}
}

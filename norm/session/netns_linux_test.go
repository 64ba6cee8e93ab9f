package session_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// join opens a socket on a host.
func join(t *testing.T, host *netns.Host, at netip.AddrPort, role udp.Role) (conn *udp.Conn) {
	t.Helper()
	host.Do(func() {
		var err error
		if conn, err = udp.Open(udp.Config{Group: at, Interface: netns.Interface, Role: role}); err != nil {
			t.Error(err)
		}
	})
	if conn == nil {
		t.FailNow()
	}
	return conn
}

// TestHosts sends from one host to two others that lose a fifth each, over both IP versions.
func TestHosts(t *testing.T) {
	netns.Require(t)
	for name, at := range map[string]netip.AddrPort{
		"IPv4": netip.MustParseAddrPort("239.255.77.64:6003"),
		"IPv6": netip.MustParseAddrPort("[ff15::77:64]:6003"),
	} {
		t.Run(name, func(t *testing.T) {
			net, image := netns.New(t, 3), content(4<<20, 1)
			var receivers []*session.Session
			var sinks []memory
			for i := 1; i <= 2; i++ {
				net.Host(i).Lose(netns.Loss{Share: 0.2, Port: at.Port()})
				cfg, sink := receiving(norm.NodeID(10+i)), make(memory, len(image))
				cfg.Group, cfg.Join = at, norm.JoinAll
				receivers, sinks = append(receivers, openReceiver(t, join(t, net.Host(i), at, udp.Receiver), cfg, sink)), append(sinks, sink)
			}
			cfg := sending(1)
			cfg.Group = at
			s := open(t, session.Config{Conn: join(t, net.Host(0), at, udp.Sender), Send: cfg})
			send(t, s, image)
			for i, r := range receivers {
				await(t, r, norm.ObjectComplete)
				if st := stats(t, r); !bytes.Equal(sinks[i], image) || st.Receiver.Lost < 300 {
					t.Errorf("receiver %d: content equal: %v; %+v", i, bytes.Equal(sinks[i], image), st.Receiver)
				}
			}
		})
	}
}

// TestInterfacesGoDown takes the interface of the sender down in the middle of an object, then that of the receiver.
func TestInterfacesGoDown(t *testing.T) {
	netns.Require(t)
	at := netip.MustParseAddrPort("239.255.77.65:6003")
	net, image := netns.New(t, 2), content(4<<20, 1)
	cfg, sink := receiving(10), make(memory, len(image))
	cfg.Group = at
	r := openReceiver(t, join(t, net.Host(1), at, udp.Receiver), cfg, sink)
	tx := sending(1)
	tx.Group, tx.Rate = at, 20e6
	s := open(t, session.Config{Conn: join(t, net.Host(0), at, udp.Sender), Send: tx})
	set := func(host int, state string) {
		t.Helper()
		if out, err := net.Host(host).Exec("ip", "link", "set", netns.Interface, state).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	send(t, s, image)
	await(t, r, norm.ObjectData)
	set(0, "down")
	for stats(t, s).Unsent == 0 { // until the sender has noticed
	}
	set(0, "up")
	await(t, r, norm.ObjectData)
	set(1, "down")
	for sent := stats(t, s).Sender.Datagrams; stats(t, s).Sender.Datagrams < sent+100; { // which the receiver misses
	}
	set(1, "up")
	await(t, r, norm.ObjectComplete)
	if !bytes.Equal(sink, image) {
		t.Error("content differs")
	}
}

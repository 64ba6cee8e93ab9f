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

// TestHosts sends from one host to two others that lose a fifth each, over both IP versions.
func TestHosts(t *testing.T) {
	netns.Require(t)
	for name, at := range map[string]netip.AddrPort{
		"IPv4": netip.MustParseAddrPort("239.255.77.64:6003"),
		"IPv6": netip.MustParseAddrPort("[ff15::77:64]:6003"),
	} {
		t.Run(name, func(t *testing.T) {
			net, image := netns.New(t, 3), content(4<<20, 1)
			join := func(host int, role udp.Role) (conn *udp.Conn) {
				net.Host(host).Do(func() {
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
			var receivers []*session.Session
			var sinks []memory
			for i := 1; i <= 2; i++ {
				net.Host(i).Lose(netns.Loss{Share: 0.2, Port: at.Port()})
				cfg, sink := receiving(norm.NodeID(10+i)), make(memory, len(image))
				cfg.Group, cfg.Join = at, norm.JoinAll
				receivers, sinks = append(receivers, openReceiver(t, join(i, udp.Receiver), cfg, sink)), append(sinks, sink)
			}
			cfg := sending(1)
			cfg.Group = at
			s := open(t, session.Config{Conn: join(0, udp.Sender), Send: cfg})
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

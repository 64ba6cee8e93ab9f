package udp

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

func TestParseGroup(t *testing.T) {
	for _, good := range []string{
		"239.1.2.3:6003", "[ff15::1]:6003", "[ff12::1%eth0]:6003", "232.1.1.1:1", "[ff35::8000:1]:65535",
		"192.0.2.1:6003", "[2001:db8::1]:6003", "127.0.0.1:9",
	} {
		g, err := ParseGroup(good)
		if err != nil || g.String() != good {
			t.Errorf("ParseGroup(%q) = %v, %v", good, g, err)
		}
	}
	if g, err := ParseGroup("[::ffff:239.1.2.3]:6003"); err != nil || g.String() != "239.1.2.3:6003" {
		t.Errorf("an IPv4-mapped group: %v, %v; want it as IPv4", g, err)
	}
	for _, test := range []struct{ in, want string }{
		{"", `group "" is not like 239.1.2.3:6003 or [ff15::1]:6003`},
		{"239.1.2.3", `group "239.1.2.3" is not like`},
		{"ff15::1:6003", `is not like`},
		{"example.org:6003", `is not like`},
		{"239.1.2.3:66000", `is not like`},
		{"239.1.2.3:0", "group 239.1.2.3 has no port"},
		{"0.0.0.0:6003", "group 0.0.0.0 is neither a multicast group nor the address of a host"},
		{"[::]:6003", "group :: is neither"},
		{"255.255.255.255:6003", "group 255.255.255.255 is neither"},
		{"[ff11::1]:6003", "group ff11::1 reaches no other host"},
		{"224.0.0.0:6003", "group 224.0.0.0 reaches no other host"},
		{"232.0.0.0:6003", "group 232.0.0.0 is reserved (RFC 4607"}, // X4607-1-01
		{"[ff35::4000:0]:6003", "group ff35::4000:0 is reserved"},
		{"[ff35::1]:6003", "group ff35::1 is reserved"},
	} {
		if g, err := ParseGroup(test.in); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("ParseGroup(%q) = %v, %v; want %q", test.in, g, err, test.want)
		}
	}
}

func TestIsSourceSpecific(t *testing.T) {
	// RFC 4607, Section 1: 232/8, and FF3x::/32 for any scope x. X4607-1-01
	for addr, want := range map[string]bool{
		"232.0.0.1": true, "232.255.255.255": true, "231.255.255.255": false, "233.0.0.0": false,
		"ff31::8000:1": true, "ff35::1": true, "ff3e:0:ffff::1": true,
		"ff35:1::1": false, "ff15::1": false, "ff75::1": false, "fe35::1": false,
	} {
		if got := IsSourceSpecific(netip.MustParseAddr(addr)); got != want {
			t.Errorf("IsSourceSpecific(%s) = %v", addr, got)
		}
	}
}

// loopback is the name of the loopback interface.
func loopback(t *testing.T) string {
	t.Helper()
	ifi, addr, err := InterfaceFor("127.0.0.1")
	if err != nil || addr != netip.MustParseAddr("127.0.0.1") {
		t.Fatalf("InterfaceFor(127.0.0.1) = %v, %v, %v", ifi, addr, err)
	}
	return ifi.Name
}

func TestInterfaceFor(t *testing.T) {
	lo := loopback(t)
	if ifi, addr, err := InterfaceFor(lo); err != nil || ifi.Name != lo || addr.IsValid() {
		t.Errorf("InterfaceFor(%s) = %v, %v, %v", lo, ifi, addr, err)
	}
	for _, unknown := range []string{"nosuch0", "198.51.100.77", "2001:db8::77", ""} {
		_, _, err := InterfaceFor(unknown)
		if err == nil || strings.Contains(err.Error(), "\n") ||
			!strings.Contains(err.Error(), `no interface "`+unknown+`" here; there are `) ||
			!strings.Contains(err.Error(), lo+" (127.0.0.1") {
			t.Errorf("InterfaceFor(%q): %v; want one line that lists %s (127.0.0.1…)", unknown, err, lo)
		}
	}
}

// TestOpenRefuses checks that what cannot work is said in one line.
func TestOpenRefuses(t *testing.T) {
	lo := loopback(t)
	group, host := netip.MustParseAddrPort("239.77.61.1:6003"), netip.MustParseAddrPort("127.0.0.1:6003")
	group6 := netip.MustParseAddrPort("[ff15::1]:6003")
	for _, test := range []struct {
		Config
		want string
	}{
		{Config{}, "no group is given"},
		{Config{Group: netip.MustParseAddrPort("0.0.0.0:6003")}, "neither a multicast group nor the address of a host"},
		{Config{Group: group, Interface: "nosuch0"}, `no interface "nosuch0" here; there are `},
		{Config{Group: netip.MustParseAddrPort("[ff12::1%nosuch0]:6003")}, `no interface "nosuch0" here`},
		{Config{Group: netip.MustParseAddrPort("[ff12::1%a]:6003"), Interface: "b"}, "is on a, but interface b is asked for"},
		{Config{Group: group6, Interface: "127.0.0.1"}, "are not of one IP version"},
		{Config{Group: group, Source: netip.IPv6Loopback()}, "are not of one IP version"},
		{Config{Group: group, Source: group.Addr()}, "source 239.77.61.1 is not the address of a host"},
		{Config{Group: host, Source: host.Addr()}, "needs a multicast group"},
		{Config{Group: netip.MustParseAddrPort("232.1.1.1:6003"), Interface: lo}, "source-specific (RFC 4607): the sender's address is needed"},
		{Config{Group: netip.MustParseAddrPort("192.0.2.77:6003")}, "address 192.0.2.77 is not on this host; there are "},
		{Config{Group: netip.MustParseAddrPort("192.0.2.77:6003"), Interface: lo}, "address 192.0.2.77 is not on interface " + lo},
		{Config{Group: group, Role: 7}, "role 7"},
		{Config{Group: group, SourcePort: 7}, "a source port is for a sender"},
		{Config{Group: group, Role: Sender, SourcePort: 6003}, "source port 6003 is the session port"},
		{Config{Group: group, TTL: 256}, "TTL 256 is over 255"},
		{Config{Group: host, TTL: -1}, "is not multicast"},
		{Config{Group: group, DSCP: 64}, "DSCP 64"},
		{Config{Group: group, ECN: -1}, "ECN -1"},
		{Config{Group: group, ReadBuffer: -1}, "buffer size is negative"},
	} {
		conn, err := Open(test.Config)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%+v): %v; want one line with %q", test.Config, err, test.want)
		}
	}
}

func TestPortInUse(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{}) // does not share its port
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	conn, err := Open(Config{Group: netip.AddrPortFrom(netip.MustParseAddr("239.77.61.1"), port), Interface: "127.0.0.1"})
	if err == nil {
		conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "is in use by another program") {
		t.Errorf("Open: %v", err)
	}
}

// TestTTL reads the TTL, or hop limit, that datagrams arrive with.
func TestTTL(t *testing.T) {
	needControl(t)
	eachFamily(t, func(t *testing.T, n testNet) {
		receiver := n.open(t, Config{Group: n.at(1)})
		receiver.out.attach(t)
		err := ipv6.NewPacketConn(receiver.out.conn).SetControlMessage(ipv6.FlagHopLimit, true)
		if n.host.Is4() {
			err = ipv4.NewPacketConn(receiver.out.conn).SetControlMessage(ipv4.FlagTTL, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct{ config, want int }{{0, 1}, {7, 7}, {-1, 0}} {
			sender := n.open(t, Config{Group: n.at(1), Role: Sender, TTL: test.config})
			if got := sender.TTL(); got != test.want {
				t.Errorf("TTL() = %d, want %d", got, test.want)
			}
			send(t, sender, netip.AddrPort{}, []byte("ttl"))
			b, oob := make([]byte, 16), make([]byte, 256)
			_, oobn, _, _, err := receiver.out.conn.ReadMsgUDPAddrPort(b, oob) // beside the Conn
			if err != nil {
				t.Fatal(err)
			}
			var cm4 ipv4.ControlMessage
			var cm6 ipv6.ControlMessage
			if err := errors.Join(cm4.Parse(oob[:oobn]), cm6.Parse(oob[:oobn])); err != nil {
				t.Fatal(err)
			}
			if got := max(cm4.TTL, cm6.HopLimit); got != test.want {
				t.Errorf("a datagram sent with TTL %d came with %d, want %d", test.config, got, test.want)
			}
			sender.Close()
		}
	})
}

func TestReadBufferFor(t *testing.T) {
	for rate, want := range map[float64]int{0: 64 << 10, 1e6: 64 << 10, 1e9: 6_250_000, 1e12: 64 << 20} {
		if got := ReadBufferFor(rate); got != want {
			t.Errorf("%g bits per second: %d, want %d", rate, got, want)
		}
	}
}

// TestAttachment: it is the same as long as nothing changes, and nothing where there is nothing.
func TestAttachment(t *testing.T) {
	lo := loopback(t)
	group := netip.MustParseAddrPort("239.77.2.1:6003")
	at := Config{Group: group, Interface: lo}.Attachment()
	if at == "" || at != (Config{Group: group, Interface: lo}).Attachment() || !strings.Contains(at, "127.0.0.1") {
		t.Errorf("attached to %s: %q", lo, at)
	}
	if at := (Config{Group: group, Interface: "absent0"}).Attachment(); at != "" {
		t.Errorf("attached to an interface that is not there: %q", at)
	}
}

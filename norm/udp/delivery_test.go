package udp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestOtherGroupsAreNotDelivered(t *testing.T) {
	needControl(t)
	eachFamily(t, func(t *testing.T, n testNet) {
		// Another socket of this host joins the other group at the same port,
		// which is when the wildcard address would hear both.
		n.open(t, Config{Group: n.at(2)})
		receiver := n.open(t, Config{Group: n.at(1)})
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		send(t, sender, n.at(2), []byte("foreign"))
		send(t, sender, n.at(1), []byte("own"))
		if got := receive(t, receiver, 1)[0]; string(got.B) != "own" {
			t.Errorf("got %q sent to %v", got.B, got.To)
		}
	})
}

// TestForeignAreCounted has the socket itself join a second group, so that the
// kernel delivers what only the check of the destination can drop.
func TestForeignAreCounted(t *testing.T) {
	needControl(t)
	eachFamily(t, func(t *testing.T, n testNet) {
		receiver := n.open(t, Config{Group: n.at(1)})
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		receiver.out.attach(t)
		o := receiver.out.options(receiver.config)
		if err := o.JoinGroup(receiver.config.ifi, ipAddr(n.at(2).Addr())); err != nil {
			t.Fatal(err)
		}
		send(t, sender, n.at(2), []byte("one"), []byte("two"))
		send(t, sender, n.at(1), []byte("own"))
		if got := receive(t, receiver, 1)[0]; string(got.B) != "own" {
			t.Errorf("got %q sent to %v", got.B, got.To)
		}
		s := receiver.Stats()
		if s.Dropped != (Dropped{Destination: 2}) || s.Received.Datagrams != 1 || s.Received.Bytes != 3 {
			t.Errorf("%+v, want 2 dropped for their destination, 1 datagram of 3 bytes received", s)
		}
	})
}

// TestJudge covers what the kernel filters before accept.judge sees it here.
func TestJudge(t *testing.T) {
	group, other := netip.MustParseAddr("232.1.1.1"), netip.MustParseAddr("232.1.1.2")
	host, source := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9")
	a := accept{group: group, source: source, ifindex: 3}
	linkLocal := accept{group: netip.MustParseAddr("ff32::8000:1"), source: netip.MustParseAddr("fe80::9%eth0")}
	for _, test := range []struct {
		name string
		accept
		from netip.Addr
		control
		want verdict
	}{
		{"group", a, source, control{to: group, ifindex: 3}, deliver},
		{"other group", a, source, control{to: other, ifindex: 3}, wrongDestination},
		{"other interface", a, source, control{to: group, ifindex: 2}, wrongDestination},
		{"interface not told", a, source, control{to: group}, deliver},
		{"other source", a, host, control{to: group, ifindex: 3}, wrongSource}, // X4607-4-01
		{"unicast", a, host, control{to: host, local: host, ifindex: 2}, deliver},
		{"subnet broadcast", a, host, control{to: netip.MustParseAddr("192.0.2.255"), local: host}, wrongDestination},
		{"destination not told", a, source, control{}, wrongDestination},
		{"multicast where none is joined", accept{}, source, control{to: group}, wrongDestination},
		{"link-local source", linkLocal, netip.MustParseAddr("fe80::9%2"), control{to: linkLocal.group}, deliver},
	} {
		if got := test.judge(test.from, &test.control); got != test.want {
			t.Errorf("%s: verdict %d, want %d", test.name, got, test.want)
		}
	}
}

func TestUnicastSession(t *testing.T) {
	for _, host := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		t.Run(host.String(), func(t *testing.T) {
			n := testNet{host: host, port: freePort(t, host)}
			group := netip.AddrPortFrom(host, n.port)
			receiver := n.open(t, Config{Group: group, Interface: host.String()})
			sender := n.open(t, Config{Group: group, Role: Sender})
			send(t, sender, netip.AddrPort{}, []byte("data"))
			got := receive(t, receiver, 1)[0]
			if string(got.B) != "data" || got.To != group {
				t.Errorf("got %q to %v, want it to %v", got.B, got.To, group)
			}
			send(t, receiver, got.From, []byte("nack"))
			if got := receive(t, sender, 1)[0]; string(got.B) != "nack" || got.From != group {
				t.Errorf("feedback %q from %v, want it from %v", got.B, got.From, group)
			}
			if _, err := Open(Config{Group: group}); err == nil {
				t.Error("two receivers share a unicast address")
			}
		})
	}
}

// TestBoundaries sends sizes that make runs, end runs and stand alone, and
// reads them through a slice too small for a run.
func TestBoundaries(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		for _, offload := range []bool{true, false} {
			sender := n.open(t, Config{Group: n.at(1), Role: Sender, NoOffload: !offload})
			receiver := n.open(t, Config{Group: n.at(1), NoOffload: !offload})
			var want [][]byte
			add := func(count, size int) {
				for range count {
					want = append(want, bytes.Repeat([]byte{byte(len(want))}, size))
				}
			}
			add(100, 1400) // more than a run of 64
			add(1, 700)    // ends a run
			add(1, 0)      // no run may hold it
			add(3, 1400)
			add(2, 1200)
			add(1, 1300) // longer than the one before
			send(t, sender, netip.AddrPort{}, want...)
			var got [][]byte
			for _, m := range receive(t, receiver, len(want)) {
				got = append(got, m.B)
			}
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("offload %v: datagrams differ", offload)
			}
			s, r := sender.Stats(), receiver.Stats()
			if s.Sent.Datagrams != uint64(len(want)) || s.Sent.Bytes != r.Received.Bytes {
				t.Errorf("offload %v: sent %+v, received %+v", offload, s.Sent, r.Received)
			}
			if s.GSO != offload && s.GSO || r.GRO != offload && r.GRO {
				t.Errorf("offload %v: GSO %v, GRO %v", offload, s.GSO, r.GRO)
			}
			sender.Close()
			receiver.Close()
		}
	})
}

func TestLongestDatagram(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		receiver := n.open(t, Config{Group: n.at(1)})
		want := bytes.Repeat([]byte("0123456"), 65507/7) // 65507 is IPv4's limit
		if n.host.Is6() {
			want = want[:16<<10] // fragments of the test link
		}
		send(t, sender, netip.AddrPort{}, want)
		if got := receive(t, receiver, 1)[0]; !bytes.Equal(got.B, want) {
			t.Errorf("%d bytes came, want %d", len(got.B), len(want))
		}
		if n, err := sender.WriteBatch([]Message{{B: []byte("x")}, {B: make([]byte, 70000)}}); n != 1 || err == nil {
			t.Errorf("a datagram too long: %d, %v; want 1 sent and an error", n, err)
		}
		if s := sender.Stats(); s.Sent.Datagrams != 2 || s.Failed != 1 {
			t.Errorf("%+v, want 2 sent and 1 failure", s)
		}
	})
}

func TestECN(t *testing.T) {
	needControl(t)
	eachFamily(t, func(t *testing.T, n testNet) {
		receiver := n.open(t, Config{Group: n.at(1)})
		for ecn := range 4 {
			sender := n.open(t, Config{Group: n.at(1), Role: Sender, DSCP: 10, ECN: ecn})
			send(t, sender, netip.AddrPort{}, []byte("marked"))
			if got := receive(t, receiver, 1)[0]; int(got.ECN) != ecn {
				t.Errorf("ECN %d, want %d", got.ECN, ecn)
			}
			sender.Close()
		}
	})
}

func TestCloseUnblocksRead(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		for _, role := range []Role{Receiver, Sender} {
			conn := n.open(t, Config{Group: n.at(1), Role: role})
			read := make(chan error)
			go func() {
				_, err := conn.ReadBatch(make([]Message, 1))
				read <- err
			}()
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := <-read; !errors.Is(err, net.ErrClosed) {
				t.Errorf("role %d: read ended with %v", role, err)
			}
			if err := conn.Close(); err != nil {
				t.Errorf("closing again: %v", err)
			}
			if n, err := conn.WriteBatch([]Message{{B: []byte("x")}}); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("role %d: write after Close: %d, %v", role, n, err)
			}
			if n, err := conn.ReadBatch(make([]Message, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("role %d: read after Close: %d, %v", role, n, err)
			}
		}
	})
}

package udp

import (
	"net/netip"
	"testing"
)

// TestSourceSpecific takes two addresses of 127/8 for two sources: on Linux all
// of them are this host.
func TestSourceSpecific(t *testing.T) {
	n := testNet{host: families[0].host, group: families[0].group, port: freePort(t, families[0].host)}
	group := netip.AddrPortFrom(netip.MustParseAddr("232.77.61.1"), n.port)
	wanted, other := n.host, netip.MustParseAddr("127.0.0.2")
	receiver := n.open(t, Config{Group: group, Source: wanted})
	a := n.open(t, Config{Group: group, Source: wanted, Role: Sender})
	b := n.open(t, Config{Group: group, Source: other, Role: Sender})
	anySource := n.open(t, Config{Group: netip.AddrPortFrom(n.group(1), n.port)})
	if a.merge != nil {
		t.Error("a source-specific sender listens to the group")
	}
	send(t, b, netip.AddrPort{}, []byte("other"))
	send(t, a, netip.AddrPort{}, []byte("wanted"))
	got := receive(t, receiver, 1)[0]
	// X3678-5-01: only the source that was joined is heard.
	if string(got.B) != "wanted" || got.From != a.LocalAddr() || got.To != group {
		t.Errorf("got %q from %v to %v", got.B, got.From, got.To)
	}
	// X4607-4-01: a socket that has not subscribed hears nothing of it, nor
	// does it reach the socket's own filter.
	send(t, a, netip.AddrPortFrom(n.group(1), n.port), []byte("any source"))
	if got := receive(t, anySource, 1)[0]; string(got.B) != "any source" {
		t.Errorf("got %q", got.B)
	}
	for _, conn := range []*Conn{receiver, anySource} {
		if d := conn.Stats().Dropped; d != (Dropped{}) {
			t.Errorf("%+v: the kernel delivered what nobody subscribed to", d)
		}
	}
	// Feedback is unicast, to the address and port the sender sends from.
	send(t, receiver, got.From, []byte("nack"))
	if got := receive(t, a, 1)[0]; string(got.B) != "nack" || got.To != a.LocalAddr() {
		t.Errorf("feedback %q to %v, want it to %v", got.B, got.To, a.LocalAddr())
	}
}

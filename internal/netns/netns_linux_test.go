package netns

import (
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// udpPair opens a socket on each of two hosts.
func udpPair(t *testing.T, a, b *Host, addr func(*Host) netip.Addr) (from, to *net.UDPConn) {
	t.Helper()
	open := func(h *Host) (c *net.UDPConn) {
		h.Do(func() {
			var err error
			if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr(h), 6003))); err != nil {
				t.Error(err)
			}
		})
		if c == nil {
			t.FailNow()
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(10 * time.Second)) // only a test that fails waits so long
		return c
	}
	return open(a), open(b)
}

func TestHostsReachEachOther(t *testing.T) {
	Require(t)
	n := New(t, 2)
	for name, addr := range map[string]func(*Host) netip.Addr{"IPv4": (*Host).IPv4, "IPv6": (*Host).IPv6} {
		t.Run(name, func(t *testing.T) {
			from, to := udpPair(t, n.Host(0), n.Host(1), addr)
			want := netip.AddrPortFrom(addr(n.Host(0)), 6003)
			if _, err := from.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(addr(n.Host(1)), 6003)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 16)
			k, src, err := to.ReadFromUDPAddrPort(b)
			if err != nil || string(b[:k]) != "hello" || src != want {
				t.Errorf("got %q from %v, %v; want hello from %v", b[:k], src, err, want)
			}
		})
	}
}

func TestLoseHitsOnlyWhatItNames(t *testing.T) {
	Require(t)
	n := New(t, 2)
	from, to := udpPair(t, n.Host(0), n.Host(1), (*Host).IPv4)
	dst := netip.AddrPortFrom(n.Host(1).IPv4(), 6003)
	send := func(s string) {
		if _, err := from.WriteToUDPAddrPort([]byte(s), dst); err != nil {
			t.Fatal(err)
		}
	}
	n.Host(1).Lose(Loss{Share: 1, Port: 6003})
	send("lost")
	n.Host(1).awaitLost(1)
	n.Host(1).Lose(Loss{Share: 1, Port: 6004})
	send("other port")
	n.Host(1).Lose(Loss{Share: 1, Group: netip.MustParseAddr("239.1.2.3")})
	send("other address")
	n.Host(1).Lose(Loss{})
	send("no loss")
	b := make([]byte, 16)
	for _, want := range []string{"other port", "other address", "no loss"} {
		k, err := to.Read(b)
		if err != nil || string(b[:k]) != want {
			t.Fatalf("got %q, %v; want %q", b[:k], err, want)
		}
	}
}

// awaitLost waits until the host has lost n datagrams.
func (h *Host) awaitLost(n int) {
	for start := time.Now(); h.Lost() != n; {
		if time.Since(start) > 10*time.Second {
			h.t.Fatalf("lost %d datagrams, want %d", h.Lost(), n)
		}
	}
}

func TestLimitIsOnTheLink(t *testing.T) {
	Require(t)
	n := New(t, 1)
	n.Host(0).LimitSend(10_000_000)
	n.Host(0).LimitReceive(50_000_000)
	for _, link := range []struct{ ns, dev, rate string }{
		{n.Host(0).ns, Interface, "10Mbit"},
		{n.hub, "p0", "50Mbit"},
	} {
		out := string(must(t, "", "tc", "-n", link.ns, "qdisc", "show", "dev", link.dev))
		if !strings.Contains(out, "tbf") || !strings.Contains(out, "rate "+link.rate) {
			t.Errorf("%s has %q, want tbf at %s", link.dev, out, link.rate)
		}
	}
}

// TestNothingIsLeft makes a network with a process in it, as a subtest does,
// and looks for what is there afterwards.
func TestNothingIsLeft(t *testing.T) {
	Require(t)
	var n *Net
	var left *exec.Cmd
	t.Run("inner", func(t *testing.T) {
		n = New(t, 2)
		left = n.Host(0).Exec("sleep", "1000")
		if err := left.Start(); err != nil {
			t.Fatal(err)
		}
	})
	if err := left.Wait(); err == nil {
		t.Error("a process outlived its host")
	}
	out := string(must(t, "", "ip", "netns", "list"))
	for _, ns := range []string{n.hub, n.Host(0).ns, n.Host(1).ns} {
		if strings.Contains(out, ns) {
			t.Errorf("%s is still there", ns)
		}
	}
}

func TestSweepRemovesWhatTheDeadLeft(t *testing.T) {
	Require(t)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	stale := strings.Join([]string{prefix, strconv.Itoa(dead.Process.Pid), "1", "hub"}, "-")
	must(t, "", "ip", "netns", "add", stale)
	defer remove(stale)
	New(t, 1)
	if out := string(must(t, "", "ip", "netns", "list")); strings.Contains(out, stale) {
		t.Errorf("%s is still there", stale)
	}
}

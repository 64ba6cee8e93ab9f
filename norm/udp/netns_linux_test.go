package udp

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// openOn opens a Conn on a host of a test network.
func openOn(t *testing.T, h *netns.Host, c Config) *Conn {
	t.Helper()
	var conn *Conn
	h.Do(func() {
		var err error
		if conn, err = Open(c); err != nil {
			t.Errorf("Open(%+v): %v", c, err)
		}
	})
	if conn == nil {
		t.FailNow()
	}
	closeAfter(t, conn)
	return conn
}

// A tally counts which of a run of numbered datagrams have come.
type tally struct {
	mu   sync.Mutex
	seen []bool
	n    int
}

func (c *tally) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// run counts what conn receives until it is closed.
func (c *tally) run(t *testing.T, conn *Conn) {
	msgs := make([]Message, 64)
	for {
		n, err := conn.ReadBatch(msgs)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		c.mu.Lock()
		for _, m := range msgs[:n] {
			if i := binary.BigEndian.Uint32(m.B); c.seen[i] {
				t.Errorf("datagram %d came twice", i)
			} else {
				c.seen[i] = true
				c.n++
			}
		}
		c.mu.Unlock()
	}
}

// TestIndependentLoss sends to three hosts that lose 20 % each, and expects of
// each what is binomially likely, independently of the others.
func TestIndependentLoss(t *testing.T) {
	netns.Require(t)
	const (
		count = 4000
		share = 0.2
	)
	for _, group := range []string{"239.77.61.1:6003", "[ff15::77:61:1]:6003"} {
		t.Run(group, func(t *testing.T) {
			n := netns.New(t, 4)
			config := Config{Group: netip.MustParseAddrPort(group), Interface: netns.Interface, ReadBuffer: 16 << 20}
			var running sync.WaitGroup
			defer running.Wait()
			tallies := make([]*tally, 3)
			for i, h := range n.Hosts()[1:] {
				h.Lose(netns.Loss{Share: share, Port: config.Group.Port(), Group: config.Group.Addr()})
				conn := openOn(t, h, config)
				defer conn.Close()
				tallies[i] = &tally{seen: make([]bool, count)}
				running.Go(func() { tallies[i].run(t, conn) })
			}
			config.Role = Sender
			sender := openOn(t, n.Host(0), config)
			sendNumbered(t, sender, count)
			if s := sender.Stats(); !s.GSO || s.Sent.Calls >= count/10 {
				t.Errorf("%+v: want runs of datagrams, so that the bridge sees them cut up", s.Sent)
			}

			// A binomial count is within 6 standard deviations of its mean but
			// for once in 5e8 tests.
			bound := 6 * math.Sqrt(count*share*(1-share))
			for i, h := range n.Hosts()[1:] {
				for start := time.Now(); tallies[i].count()+h.Lost() != count; {
					if time.Since(start) > patience {
						t.Fatalf("host %d: %d received and %d lost of %d", i+1, tallies[i].count(), h.Lost(), count)
					}
				}
				if lost := float64(h.Lost()); math.Abs(lost-count*share) > bound {
					t.Errorf("host %d lost %v of %d, want %v±%.0f", i+1, lost, count, count*share, bound)
				}
			}
			// Two hosts lose the same datagram with probability share².
			both := 0
			for j := range count {
				if !tallies[0].seen[j] && !tallies[1].seen[j] {
					both++
				}
			}
			mean := count * share * share
			if bound := 6 * math.Sqrt(mean*(1-share*share)); math.Abs(float64(both)-mean) > bound {
				t.Errorf("two hosts lost %d datagrams in common, want %v±%.0f", both, mean, bound)
			}
		})
	}
}

// sendNumbered sends count datagrams of 1400 bytes in batches.
func sendNumbered(t *testing.T, c *Conn, count int) {
	t.Helper()
	for i := 0; i < count; {
		msgs := make([]Message, min(100, count-i))
		for j := range msgs {
			msgs[j].B = binary.BigEndian.AppendUint32(make([]byte, 0, 1400), uint32(i))[:1400]
			i++
		}
		if n, err := c.WriteBatch(msgs); n != len(msgs) || err != nil {
			t.Fatalf("WriteBatch: %d of %d, %v", n, len(msgs), err)
		}
	}
}

// TestNoLoopback needs an interface that does not loop everything back itself.
func TestNoLoopback(t *testing.T) {
	netns.Require(t)
	host := netns.New(t, 1).Host(0)
	for _, group := range []string{"239.77.61.1:6003", "[ff15::77:61:1]:6003"} {
		t.Run(group, func(t *testing.T) {
			config := Config{Group: netip.MustParseAddrPort(group), Interface: netns.Interface}
			receiver := openOn(t, host, config)
			config.Role = Sender
			loud := openOn(t, host, config)
			config.NoLoopback = true
			silent := openOn(t, host, config)
			send(t, silent, netip.AddrPort{}, []byte("silent"))
			send(t, loud, netip.AddrPort{}, []byte("loud"))
			if got := receive(t, receiver, 1)[0]; string(got.B) != "loud" {
				t.Errorf("got %q", got.B)
			}
		})
	}
}

// TestSameSourcePort has two hosts send to one group from one port: each hears
// the other one, and not itself.
func TestSameSourcePort(t *testing.T) {
	netns.Require(t)
	n := netns.New(t, 2)
	for _, group := range []string{"239.77.61.1:6003", "[ff15::77:61:1]:6003"} {
		t.Run(group, func(t *testing.T) {
			config := Config{Group: netip.MustParseAddrPort(group), Interface: netns.Interface, Role: Sender, SourcePort: 7003}
			a, b := openOn(t, n.Host(0), config), openOn(t, n.Host(1), config)
			send(t, a, netip.AddrPort{}, []byte("a"))
			if got := receive(t, b, 1)[0]; string(got.B) != "a" || got.From.Port() != 7003 {
				t.Errorf("b got %q from %v", got.B, got.From)
			}
			send(t, b, netip.AddrPort{}, []byte("b"))
			if got := receive(t, a, 1)[0]; string(got.B) != "b" {
				t.Errorf("a got %q", got.B)
			}
		})
	}
}

// TestSourceSpecificHosts has two hosts send to one source-specific group.
func TestSourceSpecificHosts(t *testing.T) {
	netns.Require(t)
	n := netns.New(t, 3)
	for group, addr := range map[string]func(*netns.Host) netip.Addr{
		"232.77.61.1:6003":       (*netns.Host).IPv4,
		"[ff35::8000:6101]:6003": (*netns.Host).IPv6,
	} {
		t.Run(group, func(t *testing.T) {
			config := Config{Group: netip.MustParseAddrPort(group), Interface: netns.Interface, Source: addr(n.Host(0))}
			receiver := openOn(t, n.Host(2), config)
			config.Role = Sender
			wanted := openOn(t, n.Host(0), config)
			config.Source = addr(n.Host(1))
			other := openOn(t, n.Host(1), config)
			// The other source's datagram is on the bridge before the wanted
			// one, and the host takes both from one link in order.
			send(t, other, netip.AddrPort{}, []byte("other"))
			send(t, wanted, netip.AddrPort{}, []byte("wanted"))
			got := receive(t, receiver, 1)[0]
			if string(got.B) != "wanted" || got.From != wanted.LocalAddr() { // X3678-5-01
				t.Errorf("got %q from %v, want it from %v", got.B, got.From, wanted.LocalAddr())
			}
			send(t, receiver, got.From, []byte("nack"))
			if got := receive(t, wanted, 1)[0]; string(got.B) != "nack" || got.To != wanted.LocalAddr() {
				t.Errorf("feedback %q to %v", got.B, got.To)
			}
		})
	}
}

// TestInsideNamespace runs the other tests on a host of a test network. There
// IPv6 multicast comes back, so none of them is skipped for the lack of it.
func TestInsideNamespace(t *testing.T) {
	if os.Getenv(host6Env) != "" {
		t.Skip("this is inside")
	}
	netns.Require(t)
	host := netns.New(t, 1).Host(0)
	cmd := host.Exec(os.Args[0], "-test.v", "-test.skip=TestInsideNamespace|TestIndependentLoss|TestNoLoopback|TestSameSourcePort|TestSourceSpecificHosts")
	cmd.Env = append(os.Environ(), host6Env+"="+host.IPv6().String())
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "no multicast comes back") {
		t.Errorf("%v\n%s", err, out)
	}
}

package udp

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds how long a test waits for a datagram that must come: a Conn
// that is open for longer is closed, so that the test fails rather than hangs.
// A test that passes never waits for it.
const patience = 15 * time.Second

// closeAfter closes conn when the test ends, or after patience.
func closeAfter(t testing.TB, conn *Conn) {
	watchdog := time.AfterFunc(patience, func() { conn.Close() })
	t.Cleanup(func() {
		watchdog.Stop()
		conn.Close()
	})
}

// families are the IP versions that the tests run over.
var families = []struct {
	name  string
	host  netip.Addr
	group func(n byte) netip.Addr
}{
	{"IPv4", netip.MustParseAddr("127.0.0.1"), func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{239, 77, 61, n}) }},
	{"IPv6", host6(), func(n byte) netip.Addr {
		return netip.MustParseAddr(fmt.Sprintf("ff15::77:61:%x", n))
	}},
}

// host6Env names an address to test IPv6 with in place of ::1, since Linux
// does not loop IPv6 multicast back on the loopback interface everywhere.
const host6Env = "UDP_TEST_HOST6"

func host6() netip.Addr {
	if a, err := netip.ParseAddr(os.Getenv(host6Env)); err == nil {
		return a
	}
	return netip.IPv6Loopback()
}

// eachFamily runs test over IPv4 and IPv6, with a port nobody uses. It skips
// an IP version whose multicast does not come back here.
func eachFamily(t *testing.T, test func(t *testing.T, n testNet)) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			n := testNet{host: f.host, group: f.group, port: freePort(t, f.host)}
			if err := n.probe(t); err != nil {
				t.Skipf("no multicast comes back at %v: %v", f.host, err)
			}
			test(t, n)
		})
	}
}

// testNet is the loopback network as a test uses it.
type testNet struct {
	host  netip.Addr
	group func(n byte) netip.Addr
	port  uint16
}

// at is the nth group at the test's port.
func (n testNet) at(i byte) netip.AddrPort { return netip.AddrPortFrom(n.group(i), n.port) }

// needControl skips a test where the system does not tell where a datagram was
// sent: see the package comment.
func needControl(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no control messages on Windows")
	}
}

// probe reports why multicast from this host does not come back to it.
func (n testNet) probe(t *testing.T) error {
	conn, err := Open(Config{Group: n.at(255), Interface: n.host.String()})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.WriteBatch([]Message{{B: []byte("probe")}}); err != nil {
		return err
	}
	watchdog := time.AfterFunc(time.Second, func() { conn.Close() })
	defer watchdog.Stop()
	_, err = conn.ReadBatch(make([]Message, 1))
	return err
}

// open opens a Conn on loopback for the length of the test.
func (n testNet) open(t testing.TB, c Config) *Conn {
	t.Helper()
	if c.Interface == "" && c.Group.Addr().IsMulticast() {
		c.Interface = n.host.String()
	}
	conn, err := Open(c)
	if err != nil {
		t.Fatalf("Open(%+v): %v", c, err)
	}
	closeAfter(t, conn)
	return conn
}

// freePort returns a port that nobody is bound to.
func freePort(t testing.TB, host netip.Addr) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
	if err != nil {
		t.Skipf("no %v here: %v", host, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// send sends payloads to one address, the group if to is zero.
func send(t testing.TB, c *Conn, to netip.AddrPort, payloads ...[]byte) {
	t.Helper()
	msgs := make([]Message, len(payloads))
	for i, b := range payloads {
		msgs[i] = Message{To: to, B: b}
	}
	if n, err := c.WriteBatch(msgs); n != len(msgs) || err != nil {
		t.Fatalf("WriteBatch: %d of %d messages, %v", n, len(msgs), err)
	}
}

// receive waits for n datagrams. Their payloads are copied.
func receive(t testing.TB, c *Conn, n int) []Message {
	t.Helper()
	var got []Message
	for msgs := make([]Message, 32); len(got) < n; {
		k, err := c.ReadBatch(msgs)
		if err != nil {
			t.Fatalf("ReadBatch after %d of %d datagrams: %v", len(got), n, err)
		}
		for _, m := range msgs[:k] {
			m.B = bytes.Clone(m.B)
			got = append(got, m)
		}
	}
	if len(got) > n {
		t.Fatalf("%d datagrams, want %d: %q", len(got), n, texts(got))
	}
	return got
}

func texts(msgs []Message) []string {
	var s []string
	for _, m := range msgs {
		s = append(s, string(m.B))
	}
	return s
}

func TestGroupReachesEveryReceiver(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		var receivers []*Conn
		for range 3 { // all on one host share the session's port
			receivers = append(receivers, n.open(t, Config{Group: n.at(1)}))
		}
		send(t, sender, netip.AddrPort{}, []byte("data"))
		from := netip.AddrPortFrom(n.host, sender.LocalAddr().Port())
		for _, receiver := range receivers {
			got := receive(t, receiver, 1)[0]
			if got.From != from || got.To != n.at(1) || string(got.B) != "data" {
				t.Errorf("got %v, want data from %v to %v", got, from, n.at(1))
			}
		}
	})
}

// TestRepairGroup: a receiver hears the repair group only while it is to, and can do so again; a sender hears requests there.
func TestRepairGroup(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		repairs := netip.AddrPortFrom(n.group(2), freePort(t, n.host))
		sender := n.open(t, Config{Group: n.at(1), RepairGroup: repairs, Role: Sender})
		receiver := n.open(t, Config{Group: n.at(1), RepairGroup: repairs})
		plain := n.open(t, Config{Group: n.at(1)})
		hear := func(on bool) {
			t.Helper()
			if err := receiver.HearRepairs(on); err != nil {
				t.Fatal(err)
			}
		}
		send(t, sender, repairs, []byte("too early"))
		for range 2 {
			hear(true)
			send(t, sender, repairs, []byte("repair"))
			if got := receive(t, receiver, 1)[0]; got.To != repairs || string(got.B) != "repair" {
				t.Errorf("got %v to %v, want the repair to %v", got, got.To, repairs)
			}
			hear(false)
			send(t, sender, repairs, []byte("too late"))
			send(t, sender, netip.AddrPort{}, []byte("data"))
			for _, r := range []*Conn{receiver, plain} {
				if got := receive(t, r, 1)[0]; got.To != n.at(1) || string(got.B) != "data" {
					t.Errorf("got %q to %v, want the data", got.B, got.To)
				}
			}
		}
		send(t, receiver, repairs, []byte("request"))
		if got := receive(t, sender, 1)[0]; got.To != repairs || string(got.B) != "request" {
			t.Errorf("the sender got %q to %v, want the request to %v", got.B, got.To, repairs)
		}
		if err := plain.HearRepairs(true); err != nil {
			t.Errorf("without a repair group: %v", err)
		}
	})
}

func TestSenderHearsBothKindsOfFeedback(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		receiver := n.open(t, Config{Group: n.at(1)})
		if sender.LocalAddr().Port() == n.port {
			t.Errorf("the sender sends from the session port %d", n.port)
		}
		send(t, sender, netip.AddrPort{}, []byte("data"))
		from := receive(t, receiver, 1)[0].From
		send(t, receiver, from, []byte("to your port"))
		send(t, receiver, netip.AddrPort{}, []byte("to the group"))
		got := receive(t, sender, 2)
		slices.SortFunc(got, func(a, b Message) int { return bytes.Compare(a.B, b.B) })
		if got[0].To != n.at(1) || string(got[0].B) != "to the group" {
			t.Errorf("multicast feedback %v, want it to %v", got[0], n.at(1))
		}
		// N-5.4.4-06 N-7.1.1-04: unicast feedback comes to the source port, which tells it apart.
		if got[1].To != sender.LocalAddr() || string(got[1].B) != "to your port" {
			t.Errorf("unicast feedback %v, want it to %v", got[1], sender.LocalAddr())
		}
		if got[0].From != got[1].From || got[0].From.Port() != n.port {
			t.Errorf("feedback from %v and %v, want the session port %d", got[0].From, got[1].From, n.port)
		}
	})
}

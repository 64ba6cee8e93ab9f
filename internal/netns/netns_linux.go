package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Interface is the name of every host's interface.
	Interface = "eth0"

	// MTU of every link.
	MTU = 1500

	prefix   = "mcast" // of namespace names, followed by the process id
	maxHosts = 200
)

// Prefixes of the hosts' addresses in the first network; the second, of Routed,
// has the next ones. Host i has number i+1 in both.
var (
	Prefix4 = netip.MustParsePrefix("10.77.0.0/24")
	Prefix6 = netip.MustParsePrefix("fd77::/64")
)

// A TB owns hosts: a testing.TB, or a program that is no test.
type TB interface {
	Helper()
	Context() context.Context // ended before Cleanup's functions run
	Cleanup(func())
	TempDir() string
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any) // like the following, it ends the calling goroutine
	Fatalf(format string, args ...any)
	Skip(args ...any)
	Skipf(format string, args ...any)
}

// Require skips the test if it cannot make namespaces here, and fails it if
// the environment has REQUIRE_NETNS=1.
func Require(t TB) {
	t.Helper()
	reason := unable()
	switch {
	case reason == "":
	case os.Getenv("REQUIRE_NETNS") == "1":
		t.Fatalf("REQUIRE_NETNS=1, but no network namespaces: %s", reason)
	default:
		t.Skipf("no network namespaces: %s", reason)
	}
}

// unable says why there can be no namespaces, or nothing if there can.
func unable() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	for _, tool := range []string{"ip", "bridge", "nft", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed"
		}
	}
	// Root in a container may still lack the right.
	name := newName("probe")
	if err := run(nil, "ip", "netns", "add", name); err != nil {
		return err.Error()
	}
	if err := run(nil, "ip", "netns", "del", name); err != nil {
		return err.Error()
	}
	return ""
}

// A Net is hosts joined by a bridge, which is in a namespace of its own.
type Net struct {
	hosts            []*Host
	hub              string // the bridge's namespace
	prefix4, prefix6 netip.Prefix
}

// A Host is one network namespace with one interface.
type Host struct {
	t     TB
	index int
	ns    string
	net   *Net
}

// New makes n hosts, which are removed with all processes in them when the
// test ends. Datagrams cross the bridge one by one: what a host sends with
// segmentation offload is cut up as it leaves the host, so that loss hits each
// datagram by itself.
func New(t TB, n int) *Net {
	t.Helper()
	return newNet(t, n, Prefix4, Prefix6)
}

func newNet(t TB, n int, prefix4, prefix6 netip.Prefix) *Net {
	t.Helper()
	if n < 1 || n > maxHosts {
		t.Fatalf("netns: %d hosts, not 1 to %d", n, maxHosts)
	}
	sweep()
	net := &Net{hub: newName("hub"), prefix4: prefix4, prefix6: prefix6}
	t.Cleanup(func() { remove(net.hub) })
	must(t, "", "ip", "netns", "add", net.hub)
	must(t, "link add br0 type bridge stp_state 0 mcast_snooping 0\nlink set br0 mtu 1500 up\n", "ip", "-n", net.hub, "-batch", "-")
	for i := range n {
		net.hosts = append(net.hosts, newHost(t, i, net))
	}
	net.awaitBridge(t, n)
	return net
}

// Host is the ith host, from 0.
func (n *Net) Host(i int) *Host { return n.hosts[i] }

// Hosts are all hosts.
func (n *Net) Hosts() []*Host { return n.hosts }

func newHost(t TB, i int, n *Net) *Host {
	h := &Host{t: t, index: i, ns: newName("h" + strconv.Itoa(i)), net: n}
	t.Cleanup(func() { remove(h.ns) })
	must(t, "", "ip", "netns", "add", h.ns)
	// Addresses are used at once, not after the detection of duplicates.
	must(t, "", "ip", "netns", "exec", h.ns, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
	port := "p" + strconv.Itoa(i)
	must(t, fmt.Sprintf(`
link set lo up
link add %[1]s mtu %[2]d gso_max_segs 1 type veth peer name %[3]s mtu %[2]d netns %[4]s
addr add %[5]v/%[6]d brd + dev %[1]s
addr add %[7]v/%[8]d dev %[1]s nodad
link set %[1]s up
route add 224.0.0.0/4 dev %[1]s
route add ff00::/8 dev %[1]s table local
`, Interface, MTU, port, n.hub, h.IPv4(), n.prefix4.Bits(), h.IPv6(), n.prefix6.Bits()), "ip", "-n", h.ns, "-batch", "-")
	must(t, fmt.Sprintf("link set %[1]s master br0 up\n", port), "ip", "-n", n.hub, "-batch", "-")
	return h
}

// awaitBridge waits until the bridge forwards on all its ports: the kernel
// notices the carrier of a new link some time after it is up.
func (n *Net) awaitBridge(t TB, ports int) {
	t.Helper()
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		var links []struct{ State string }
		forwarding := 0
		if err := json.Unmarshal(must(t, "", "bridge", "-n", n.hub, "-j", "link"), &links); err != nil {
			t.Fatalf("netns: bridge -j link: %v", err)
		}
		for _, p := range links {
			if p.State == "forwarding" {
				forwarding++
			}
		}
		if forwarding == ports {
			return
		}
	}
	t.Fatal("netns: the bridge does not forward after 10 s")
}

// IPv4 is the host's address.
func (h *Host) IPv4() netip.Addr {
	return number(h.net.prefix4, h.index+1)
}

// IPv6 is the host's address.
func (h *Host) IPv6() netip.Addr {
	return number(h.net.prefix6, h.index+1)
}

// number is the ith address of a prefix.
func number(p netip.Prefix, i int) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = byte(i)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Exec returns a command to run on the host. The caller starts it and waits
// for it; what is left of it when the test ends is killed.
func (h *Host) Exec(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(h.t.Context(), "ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

// Do runs f on the host and waits for it. Sockets that f opens stay on the
// host, whoever uses them later; goroutines that f starts are not on it.
func (h *Host) Do(f func()) {
	h.t.Helper()
	done := make(chan error)
	go func() { done <- h.enter(f) }()
	if err := <-done; err != nil {
		h.t.Fatalf("netns: entering %s: %v", h.ns, err)
	}
}

// enter runs f with the calling thread on the host.
func (h *Host) enter(f func()) error {
	ns, err := os.Open("/run/netns/" + h.ns)
	if err != nil {
		return err
	}
	defer ns.Close()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	f()
	// A thread that cannot go back stays locked, so that no other goroutine
	// finds itself on the host.
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	runtime.UnlockOSThread()
	return nil
}

// names counts the namespaces this process has made.
var names atomic.Uint32

// newName returns a name for a namespace that no other process uses.
func newName(role string) string {
	return fmt.Sprintf("%s-%d-%d-%s", prefix, os.Getpid(), names.Add(1), role)
}

// sweep removes the namespaces of test processes that died without cleaning up.
func sweep() {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		ns, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		field := strings.Split(ns, "-")
		if len(field) != 4 || field[0] != prefix {
			continue
		}
		pid, err := strconv.Atoi(field[1])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			remove(ns)
		}
	}
}

// remove kills what runs in a namespace and deletes it.
func remove(ns string) {
	if out, err := exec.Command("ip", "netns", "pids", ns).Output(); err == nil {
		for pid := range strings.FieldsSeq(string(out)) {
			if n, err := strconv.Atoi(pid); err == nil && n != os.Getpid() {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
	}
	exec.Command("ip", "netns", "del", ns).Run()
}

// run runs a tool with in as its input.
func run(in []byte, name string, args ...string) error {
	_, err := output(in, name, args...)
	return err
}

func output(in []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// must runs a tool with in as its input, returns its output, and fails the
// test if it fails.
func must(t TB, in, name string, args ...string) []byte {
	t.Helper()
	out, err := output([]byte(in), name, args...)
	if err != nil {
		t.Fatalf("netns: %v", err)
	}
	return out
}

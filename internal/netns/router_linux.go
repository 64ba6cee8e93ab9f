package netns

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Prefixes of the second network.
var (
	secondPrefix4 = netip.MustParsePrefix("10.77.1.0/24")
	secondPrefix6 = netip.MustParsePrefix("fd77:1::/64")
)

const routerNumber = 254 // of the router, in each network

// Routed makes two networks of n and m hosts, with a router in between that
// forwards unicast, and the given IPv4 groups both ways. It needs smcrouted.
func Routed(t TB, n, m int, groups ...netip.Addr) (*Net, *Net) {
	t.Helper()
	daemon, err := exec.LookPath("smcrouted")
	switch {
	case err == nil:
	case os.Getenv("REQUIRE_NETNS") == "1":
		t.Fatal("REQUIRE_NETNS=1, but smcrouted is not installed")
	default:
		t.Skip("smcrouted is not installed")
	}
	nets := []*Net{New(t, n), newNet(t, m, secondPrefix4, secondPrefix6)}
	router := newName("router")
	t.Cleanup(func() { remove(router) })
	must(t, "", "ip", "netns", "add", router)
	must(t, "", "ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	var config strings.Builder
	for i, net := range nets {
		gateway := number(net.prefix4, routerNumber)
		must(t, fmt.Sprintf(`
link add eth%[1]d mtu %[2]d gso_max_segs 1 type veth peer name router mtu %[2]d netns %[3]s
addr add %[4]v/%[5]d brd + dev eth%[1]d
link set eth%[1]d up
`, i, MTU, net.hub, gateway, net.prefix4.Bits()), "ip", "-n", router, "-batch", "-")
		must(t, "link set router master br0 up\n", "ip", "-n", net.hub, "-batch", "-")
		net.awaitBridge(t, len(net.hosts)+1)
		for _, h := range net.hosts {
			must(t, "", "ip", "-n", h.ns, "route", "add", "default", "via", gateway.String())
		}
		fmt.Fprintf(&config, "phyint eth%d enable ttl-threshold 1\n", i)
	}
	for _, g := range groups {
		fmt.Fprintf(&config, "mroute from eth0 group %v to eth1\nmroute from eth1 group %[1]v to eth0\n", g)
	}
	file := filepath.Join(t.TempDir(), "smcroute.conf")
	if err := os.WriteFile(file, []byte(config.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	// The socket's path has to be short, which a test's directory is not.
	socket := "/run/" + router
	t.Cleanup(func() { os.Remove(socket) })
	cmd := exec.Command("ip", "netns", "exec", router, daemon, "-n", "-N", "-f", file, "-u", socket, "-P", file+".pid")
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", cmd, said.String())
		}
	})
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		vifs, err := output(nil, "ip", "netns", "exec", router, "cat", "/proc/net/ip_mr_vif")
		if err == nil && strings.Contains(string(vifs), "eth0") && strings.Contains(string(vifs), "eth1") {
			if _, err := os.Stat(socket); err == nil { // made when the routes are there
				return nets[0], nets[1]
			}
		}
	}
	t.Fatal("netns: the router does not route multicast after 10 s")
	return nil, nil
}

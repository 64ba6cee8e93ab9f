package netns

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Drop makes the host's firewall drop what matches, of what is sent to it: an
// nftables expression, such as "udp dport 6003".
func (h *Host) Drop(match string) {
	h.t.Helper()
	must(h.t, fmt.Sprintf(`
table inet mcastdrop {
	chain input {
		type filter hook input priority filter
		%s drop
	}
}
`, match), "ip", "netns", "exec", h.ns, "nft", "-f", "-")
}

// SetMTU sets the MTU of the host's link, at both ends.
func (h *Host) SetMTU(mtu int) {
	h.t.Helper()
	must(h.t, "", "ip", "-n", h.ns, "link", "set", Interface, "mtu", fmt.Sprint(mtu))
	must(h.t, "", "ip", "-n", h.net.hub, "link", "set", fmt.Sprintf("p%d", h.index), "mtu", fmt.Sprint(mtu))
}

// AddInterface gives the host another interface, which is up and leads nowhere.
func (h *Host) AddInterface(name, prefix string) {
	h.t.Helper()
	must(h.t, fmt.Sprintf(`
link add %[1]s type veth peer name %[1]s-end
addr add %[2]s dev %[1]s
link set %[1]s up
link set %[1]s-end up
`, name, prefix), "ip", "-n", h.ns, "-batch", "-")
}

// Configure runs ip with arguments on the host.
func (h *Host) Configure(args ...string) {
	h.t.Helper()
	must(h.t, "", "ip", append([]string{"-n", h.ns}, args...)...)
}

// Readdress gives the host another address in place of its first, the nth of the network, while the link is down for a
// moment, as when a lease was not renewed.
func (h *Host) Readdress(n int) netip.Addr {
	h.t.Helper()
	addr := number(h.net.prefix4, n)
	must(h.t, fmt.Sprintf(`
link set %[1]s down
addr flush dev %[1]s
addr add %[2]v/%[3]d brd + dev %[1]s
addr add %[4]v/%[5]d dev %[1]s nodad
link set %[1]s up
route replace 224.0.0.0/4 dev %[1]s
route replace ff00::/8 dev %[1]s table local
`, Interface, addr, h.net.prefix4.Bits(), number(h.net.prefix6, n), h.net.prefix6.Bits()), "ip", "-n", h.ns, "-batch", "-")
	return addr
}

// Name has what is started on the host from now on find addr by a name; said again, also what runs.
func (h *Host) Name(name string, addr netip.Addr) {
	h.t.Helper()
	dir := filepath.Join("/etc/netns", h.ns) // which ip-netns(8) puts in the place of /etc
	h.t.Cleanup(func() { os.RemoveAll(dir) })
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "hosts"), fmt.Appendf(nil, "127.0.0.1 localhost\n%v %s\n", addr, name), 0o644)
	}
	if err != nil {
		h.t.Fatalf("netns: %v", err)
	}
}

// Set sets kernel parameters of the host: name=value.
func (h *Host) Set(params ...string) {
	h.t.Helper()
	must(h.t, "", "ip", append([]string{"netns", "exec", h.ns, "sysctl", "-qw"}, params...)...)
}

// Received returns how many bytes of frames have come to the host's interface.
func (h *Host) Received() int64 {
	h.t.Helper()
	var links []struct {
		Stats struct{ Rx struct{ Bytes int64 } } `json:"stats64"`
	}
	out := must(h.t, "", "ip", "-n", h.ns, "-j", "-s", "link", "show", Interface)
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		h.t.Fatalf("netns: ip -j link: %v: %s", err, out)
	}
	return links[0].Stats.Rx.Bytes
}

package netns

import (
	"encoding/json"
	"fmt"
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

package netns

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// A Loss drops some of the UDP datagrams that arrive at a host, each at random
// and independently of all others.
type Loss struct {
	Share float64    // of the datagrams, 0 to 1, in steps of a thousandth
	Port  uint16     // only those to this port; 0: to any
	Group netip.Addr // only those to this address; zero: to any
}

const lossTable = "mcastloss"

// Lose makes the host lose what l says, instead of what it lost before. The
// zero Loss loses nothing.
func (h *Host) Lose(l Loss) {
	h.t.Helper()
	var match strings.Builder
	if l.Group.IsValid() {
		family := "ip"
		if l.Group.Is6() {
			family = "ip6"
		}
		fmt.Fprintf(&match, "%s daddr %v ", family, l.Group)
	}
	match.WriteString("meta l4proto udp ")
	if l.Port != 0 {
		fmt.Fprintf(&match, "udp dport %d ", l.Port)
	}
	rule := fmt.Sprintf("iifname %q %s", Interface, match.String())
	switch share := int(math.Round(l.Share * 1000)); {
	case share <= 0:
		rule = ""
	case share < 1000:
		rule += fmt.Sprintf("numgen random mod 1000 < %d counter drop", share)
	default:
		rule += "counter drop"
	}
	// Declaring the table before deleting it makes deleting succeed always.
	must(h.t, fmt.Sprintf(`
table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	chain ingress {
		type filter hook prerouting priority raw
		%[2]s
	}
}
`, lossTable, rule), "ip", "netns", "exec", h.ns, "nft", "-f", "-")
}

// Lost is how many datagrams the host has lost since Lose.
func (h *Host) Lost() int {
	h.t.Helper()
	var reply struct {
		Nftables []struct {
			Rule struct {
				Expr []struct {
					Counter *struct{ Packets int }
				}
			}
		}
	}
	out := must(h.t, "", "ip", "netns", "exec", h.ns, "nft", "-j", "list", "table", "inet", lossTable)
	if err := json.Unmarshal(out, &reply); err != nil {
		h.t.Fatalf("netns: nft -j list: %v", err)
	}
	for _, object := range reply.Nftables {
		for _, e := range object.Rule.Expr {
			if e.Counter != nil {
				return e.Counter.Packets
			}
		}
	}
	return 0 // a Loss of nothing counts nothing
}

// MarkBeyond marks what arrives at the host beyond a rate, in bits per second of IP packets, with the ECN codepoint CE where it
// is ECT(0), as a router does whose queue grows (RFC 3168): a token bucket of 50 ms stands for the queue.
func (h *Host) MarkBeyond(bitsPerSecond int64) {
	h.t.Helper()
	var rules strings.Builder
	for _, family := range []string{"ip", "ip6"} {
		fmt.Fprintf(&rules, "iifname %q %s ecn ect0 limit rate over %d bytes/second burst %d bytes %[2]s ecn set ce\n",
			Interface, family, bitsPerSecond/8, bitsPerSecond/8/20)
	}
	must(h.t, fmt.Sprintf(`
table inet mcastmark {
	chain ingress {
		type filter hook prerouting priority raw
		%s
	}
}
`, rules.String()), "ip", "netns", "exec", h.ns, "nft", "-f", "-")
}

// LimitSend limits what the host sends to a rate in bits per second, Ethernet
// headers included. Up to 50 ms of it are queued.
func (h *Host) LimitSend(bitsPerSecond int64) {
	h.t.Helper()
	h.limit(h.ns, Interface, bitsPerSecond)
}

// LimitReceive limits what the bridge sends to the host, likewise.
func (h *Host) LimitReceive(bitsPerSecond int64) {
	h.t.Helper()
	h.limit(h.net.hub, fmt.Sprintf("p%d", h.index), bitsPerSecond)
}

func (h *Host) limit(ns, dev string, bitsPerSecond int64) {
	h.t.Helper()
	// The bucket must hold what arrives between two ticks of the clock, and
	// a datagram at least: tc-tbf(8).
	burst := max(bitsPerSecond/8/100, 4*MTU)
	must(h.t, "", "tc", "-n", ns, "qdisc", "replace", "dev", dev, "root", "tbf",
		"rate", fmt.Sprintf("%dbit", bitsPerSecond), "burst", fmt.Sprint(burst), "latency", "50ms")
}

// Disconnect takes the host off the bridge, as if its cable were pulled.
func (h *Host) Disconnect() {
	h.t.Helper()
	must(h.t, "", "ip", "-n", h.net.hub, "link", "set", fmt.Sprintf("p%d", h.index), "nomaster")
}

// Connect puts the host back on the bridge.
func (h *Host) Connect() {
	h.t.Helper()
	must(h.t, "", "ip", "-n", h.net.hub, "link", "set", fmt.Sprintf("p%d", h.index), "master", "br0")
}

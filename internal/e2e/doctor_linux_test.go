package e2e

import (
	"cmp"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// A patient is one examination in a network with a fault, or without.
type patient struct {
	sender, receiver *netns.Host
	group            string     // doctorGroup if empty
	ask              netip.Addr // by unicast; of host 0 if zero
	at               []string   // flags of normsend doctor
	flags            []string   // of normrecv doctor
	want             map[string]string
	remedy           map[string]string // what the remedies of checks say
	status           int
	doctor           *process
}

const doctorGroup = "239.1.2.3:6003"

// lan is a network of two hosts without a fault.
func lan(t *testing.T) (n *netns.Net, sender, receiver *netns.Host) {
	n = netns.New(t, 2)
	n.Snoop(3*time.Second, true)
	return n, n.Host(0), n.Host(1)
}

// TestDoctor breaks a network in one way at a time and has it examined.
func TestDoctor(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	patients := make(map[string]*patient) // all at once: they mostly wait
	for name, arrange := range map[string]func(*testing.T) *patient{
		"healthy": func(t *testing.T) *patient {
			_, s, r := lan(t)
			return &patient{sender: s, receiver: r, flags: []string{"--long=4s"}}
		},
		"healthy over IPv6": func(t *testing.T) *patient {
			_, s, r := lan(t)
			return &patient{sender: s, receiver: r, group: "[ff15::1:2:3]:6003", ask: s.IPv6(), flags: []string{"--long=4s"}}
		},
		"healthy source-specific": func(t *testing.T) *patient {
			_, s, r := lan(t)
			return &patient{sender: s, receiver: r, group: "232.1.2.3:6003", at: []string{"--source=10.77.0.1"},
				flags: []string{"--source=10.77.0.1", "--long=4s"}}
		},
		"no querier on a snooping switch": func(t *testing.T) *patient {
			n, s, r := lan(t)
			n.Snoop(8*time.Second, false)
			s.Query() // the last one of a querier
			return &patient{sender: s, receiver: r, flags: []string{"--long=30s"}, status: 1,
				want:   map[string]string{"querier": "fault", "reception goes on": "fault"},
				remedy: map[string]string{"querier": "turn on an IGMP/MLD querier"}}
		},
		"TTL too small": func(t *testing.T) *patient {
			a, b := netns.Routed(t, 1, 1, netip.MustParseAddr("239.1.2.3"))
			return &patient{sender: a.Host(0), receiver: b.Host(0), flags: []string{"--ttl=2"}, status: 1,
				want: map[string]string{"reception": "fault", "ttl": "fault", "firewall": "unknown", "mtu": "unknown", "rate": "unknown",
					"source-specific join": "unknown", "querier": "warning", "reception goes on": "unknown"},
				remedy: map[string]string{"ttl": "--ttl 2"}}
		},
		"TTL of feedback too small": func(t *testing.T) *patient {
			a, b := netns.Routed(t, 1, 1, netip.MustParseAddr("239.1.2.3"))
			return &patient{sender: a.Host(0), receiver: b.Host(0), at: []string{"--ttl=2"}, status: 1,
				want: map[string]string{"feedback to the group": "fault", "querier": "warning", "reception goes on": "unknown"}}
		},
		"firewall at the receiver": func(t *testing.T) *patient {
			_, s, r := lan(t)
			r.Drop("udp dport 6003")
			return &patient{sender: s, receiver: r, status: 1,
				want: map[string]string{"reception": "fault", "firewall": "fault", "mtu": "unknown", "rate": "unknown",
					"source-specific join": "unknown", "reception goes on": "unknown"},
				remedy: map[string]string{"firewall": "udp dport 6003 accept"}}
		},
		"rp_filter": func(t *testing.T) *patient {
			_, s, r := lan(t)
			r.AddInterface("eth1", "10.88.0.2/24")
			r.Configure("route", "add", "10.77.0.1/32", "dev", "eth1")
			r.Set("net.ipv4.conf.all.rp_filter=1")
			return &patient{sender: s, receiver: r, status: 1,
				want: map[string]string{"reception": "fault", "rp_filter": "fault", "firewall": "unknown", "mtu": "unknown", "rate": "unknown",
					"feedback by unicast":  "warning", // eth1 leads nowhere
					"source-specific join": "unknown", "reception goes on": "unknown"},
				remedy: map[string]string{"rp_filter": "net.ipv4.conf.eth0.rp_filter=0"}}
		},
		"MTU too small": func(t *testing.T) *patient {
			_, s, r := lan(t)
			r.SetMTU(1000)
			return &patient{sender: s, receiver: r, status: 1,
				want:   map[string]string{"mtu": "fault", "reception goes on": "unknown"},
				remedy: map[string]string{"mtu": "--segment-size 9"}}
		},
		"wrong interface": func(t *testing.T) *patient {
			_, s, r := lan(t)
			r.AddInterface("eth1", "10.88.0.2/24")
			return &patient{sender: s, receiver: r, flags: []string{"--interface=eth1", "--timeout=2s"}, status: 1,
				want: map[string]string{"interface": "warning", "reception": "fault", "firewall": "unknown", "ttl": "unknown", "mtu": "unknown",
					"rate": "unknown", "feedback to the group": "fault", "source-specific join": "unknown",
					"querier": "warning", "reception goes on": "unknown"},
				remedy: map[string]string{"reception": "--interface eth0"}}
		},
		"feedback to the group is dropped": func(t *testing.T) *patient {
			_, s, r := lan(t)
			s.Drop("ip daddr 239.1.2.3 udp dport 6003")
			return &patient{sender: s, receiver: r, status: 1,
				want:   map[string]string{"feedback to the group": "fault", "reception goes on": "unknown"},
				remedy: map[string]string{"feedback to the group": "UDP port 6003"}}
		},
		"feedback by unicast is dropped": func(t *testing.T) *patient {
			_, s, r := lan(t)
			s.Drop("ip daddr 10.77.0.0/24 udp dport != 6003")
			return &patient{sender: s, receiver: r,
				want: map[string]string{"feedback by unicast": "warning", "reception goes on": "unknown"}}
		},
		"slow link": func(t *testing.T) *patient {
			n, s, r := lan(t)
			n.Host(1).LimitReceive(1_500_000)
			return &patient{sender: s, receiver: r, status: 1,
				want: map[string]string{"rate": "fault", "reception goes on": "unknown"}, remedy: map[string]string{"rate": "--rate 1250k"}}
		},
		"nobody there": func(t *testing.T) *patient {
			_, _, r := lan(t)
			return &patient{receiver: r, flags: []string{"--timeout=1s"}, status: 3,
				want: map[string]string{"reception": "unknown", "firewall": "unknown", "ttl": "unknown", "mtu": "unknown", "rate": "unknown",
					"feedback to the group": "unknown", "feedback by unicast": "unknown", "source-specific join": "unknown", "reception goes on": "unknown"}}
		},
	} {
		p := arrange(t)
		p.examine(t)
		patients[name] = p
	}
	for name, p := range patients {
		t.Run(name, p.compare)
	}
}

// examine begins the examination.
func (p *patient) examine(t *testing.T) {
	t.Helper()
	group := "--group=" + cmp.Or(p.group, doctorGroup)
	ask := cmp.Or(p.ask, netip.MustParseAddr("10.77.0.1"))
	if p.sender != nil {
		start(t, p.sender, "normsend", append([]string{"doctor", group, "--interface=" + netns.Interface}, p.at...)...).awaitEvent("answering")
	}
	p.doctor = start(t, p.receiver, "normrecv", append([]string{"doctor", group, "--interface=" + netns.Interface, "--sender=" + ask.String()}, p.flags...)...)
}

// compare compares the verdicts with what is wanted; a check that want does not name has to be ok.
func (p *patient) compare(t *testing.T) {
	if got := p.doctor.exit(); got != p.status {
		t.Errorf("status %d, want %d", got, p.status)
	}
	checks := p.doctor.all("check")
	if len(checks) == 0 {
		t.Fatal("no check")
	}
	for _, e := range checks {
		name, _ := e["check"].(string)
		verdict, _ := e["verdict"].(string)
		remedy, _ := e["remedy"].(string)
		want := p.want[name]
		if want == "" {
			want = "ok"
		}
		if verdict != want {
			t.Errorf("%s: %s (%v), want %s", name, verdict, e["seen"], want)
		}
		if (remedy == "") != (verdict == "ok") {
			t.Errorf("%s: %s with remedy %q", name, verdict, remedy)
		}
		if !strings.Contains(remedy, p.remedy[name]) {
			t.Errorf("%s: remedy %q, want one with %q", name, remedy, p.remedy[name])
		}
	}
}

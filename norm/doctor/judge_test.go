package doctor

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// healthy is what is observed where all is well.
func healthy() *observed {
	eth0 := &net.Interface{Index: 2, Name: "eth0", MTU: 1500, Flags: net.FlagUp | net.FlagRunning | net.FlagMulticast}
	sender := netip.MustParseAddrPort("192.0.2.1:40000")
	return &observed{
		config: Config{Group: rigGroup, Interface: "eth0", TTL: 1, SegmentSize: 1400, Rate: 10e6},
		ifi:    eth0, addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, picked: eth0, bufferAsked: 2 << 20, buffer: 2 << 20,
		filter: "0", backIfi: eth0, responder: sender, senderTTL: 1, groupHeard: 9, lastGroup: time.Unix(1e9, 0), cookieGroup: 1,
		heardTTL: 1, heardUnicast: true, answered: true, sizes: []sizeSeen{{1440, true}}, rungs: []rung{{5000, 100, 100}, {10000, 200, 199}},
		ssm: true, ssmDone: true, queries: []query{{"IGMPv3", netip.MustParseAddr("192.0.2.254")}}, aliveFor: 5 * time.Minute,
		nodes: map[wire.NodeID]map[netip.Addr]bool{7: {sender.Addr(): true}},
	}
}

func TestHealthy(t *testing.T) {
	r := healthy().judge()
	for _, f := range r.Findings {
		if f.Verdict != OK || f.Remedy != "" || f.Seen == "" {
			t.Errorf("%+v, want ok", f)
		}
	}
	if !r.Heard || len(r.Findings) != len(checks) {
		t.Errorf("%+v", r)
	}
}

// TestVerdicts spoils one thing at a time.
func TestVerdicts(t *testing.T) {
	eth1 := &net.Interface{Index: 3, Name: "eth1", Flags: net.FlagUp | net.FlagMulticast}
	group := func(s string) func(*observed) {
		return func(o *observed) { o.config.Group = netip.AddrPortFrom(netip.MustParseAddr(s), 6003) }
	}
	for _, test := range []struct {
		check   string
		spoil   func(*observed)
		verdict Verdict
		says    string // in Seen and Remedy
	}{
		{"group", group("224.0.0.5"), Warning, "link-local"},
		{"group", group("224.1.0.5"), OK, "assigned to protocols"},
		{"group", group("239.0.0.5"), Warning, "224.0.0.5"},
		{"group", group("239.128.0.5"), Warning, "224.0.0.5"},
		{"group", group("239.128.1.5"), OK, "scoped"},
		{"group", group("224.128.0.5"), OK, ""},
		{"group", group("232.1.2.3"), Fault, "--source"},
		{"group", group("ff15::1"), OK, "site-local"},
		{"group", group("ff12::1"), OK, "link-local"},
		{"group", func(o *observed) { group("ff12::1")(o); o.config.TTL = 4 }, Warning, "hop limit"},
		{"group", group("ff11::1"), Fault, "leaves no host"},
		{"group", group("ff1f::1"), Warning, "reserved"},
		{"group", group("ff3e::8000:1"), Fault, "--source"},
		{"interface", func(o *observed) { o.ifi.Flags &^= net.FlagUp }, Fault, "ip link set eth0 up"},
		{"interface", func(o *observed) { o.ifi.Flags &^= net.FlagRunning }, Fault, "carrier"},
		{"interface", func(o *observed) { o.ifi.Flags &^= net.FlagMulticast }, Fault, "multicast on"},
		{"interface", func(o *observed) { o.addrs = nil }, Fault, "no address"},
		{"interface", func(o *observed) { o.picked = eth1 }, Warning, "would pick eth1"},
		{"interface", func(o *observed) { o.config.Interface = "" }, OK, "picks it"},
		{"join", func(o *observed) { o.joinErr = errors.New("no buffer space available") }, Fault, "igmp_max_memberships"},
		{"socket buffer", func(o *observed) { o.buffer = 100_000 }, Warning, "net.core.rmem_max=125000"},
		{"socket buffer", func(o *observed) { o.buffer = 0 }, Unknown, ""},
		{"reception", func(o *observed) { o.groupHeard, o.norm = 0, 3 }, OK, "3 NORM messages"},
		{"reception", func(o *observed) { o.groupHeard, o.groupTapped = 0, 3 }, Fault, "none the socket"},
		{"reception", func(o *observed) { o.groupHeard, o.laddered = 0, true }, Fault, "answers by unicast"},
		{"firewall", func(o *observed) { o.groupHeard, o.tapErr = 0, errors.New("needs root") }, Unknown, "needs root"},
		{"firewall", func(o *observed) { o.groupHeard, o.groupTapped = 0, 3 }, Fault, "nft add rule"},
		{"firewall", func(o *observed) { o.groupHeard, o.groupTapped, o.filter, o.backIfi = 0, 3, "1", eth1 }, Unknown, "rp_filter"},
		{"rp_filter", func(o *observed) { o.filter = "1" }, OK, "passes"},
		{"rp_filter", func(o *observed) { o.filter, o.backIfi = "1", eth1 }, Fault, "rp_filter=0"},
		{"rp_filter", func(o *observed) { o.filter, o.backIfi = "2", eth1 }, OK, "passes"},
		{"rp_filter", func(o *observed) { o.filter, o.backErr = "2", errors.New("no route") }, Fault, "no route"},
		{"rp_filter", func(o *observed) { o.filter, o.backErr = "1", errNoSender }, Unknown, "--sender"},
		{"rp_filter", func(o *observed) { o.filter = "" }, Unknown, ""},
		{"ttl", func(o *observed) { o.senderTTL, o.hops = 4, 2 }, OK, "2 routers"},
		{"ttl", func(o *observed) { o.groupHeard, o.laddered, o.ladder = 0, true, 3 }, Fault, "--ttl 3"},
		{"ttl", func(o *observed) { o.groupHeard, o.laddered = 0, true }, Unknown, "up to 32"},
		{"mtu", func(o *observed) { o.sizes = []sizeSeen{{1440, false}, {740, true}, {1090, false}} }, Fault, "--segment-size 700"},
		{"mtu", func(o *observed) { o.sizes, o.ifi.MTU = nil, 1000 }, Fault, "--segment-size 932"},
		{"mtu", func(o *observed) { o.noFragment = errors.New("cannot") }, Unknown, "cannot"},
		{"rate", func(o *observed) { o.rungs[1].came = 150 }, Fault, "--rate 5000k"},
		{"rate", func(o *observed) { o.rungs = []rung{{1000, 100, 50}} }, Fault, "50 % lost"},
		{"rate", func(o *observed) { o.rungs = o.rungs[:1] }, Warning, "greater --rate"},
		{"rate", func(o *observed) { o.rungs = nil }, Unknown, "no burst"},
		{"feedback to the group", func(o *observed) { o.heardTTL = 0 }, Fault, "UDP port 6003"},
		{"feedback to the group", func(o *observed) { o.heardTTL = 4 }, Fault, "with TTL 4"},
		{"feedback to the group", func(o *observed) { group("232.1.2.3")(o); o.heardTTL = 0 }, OK, "not used"},
		{"feedback by unicast", func(o *observed) { o.heardUnicast = false }, Warning, "--unicast-feedback"},
		{"feedback by unicast", func(o *observed) { group("232.1.2.3")(o); o.heardUnicast = false }, Fault, "route it"},
		{"source-specific join", func(o *observed) { o.igmp = "V2" }, Warning, "IGMPv2"},
		{"source-specific join", func(o *observed) { o.igmp = "V3" }, OK, "is heard"},
		{"source-specific join", func(o *observed) { o.ssm = false }, Warning, "not heard"},
		{"source-specific join", func(o *observed) { o.ssmErr = errors.New("not here") }, Warning, "not here"},
		{"querier", func(o *observed) { o.queries, o.died = nil, true }, Fault, "querier"},
		{"querier", func(o *observed) { o.queries, o.aliveFor = nil, 0 }, Warning, "--long"},
		{"querier", func(o *observed) { o.queries, o.listened = nil, 5*time.Minute }, Warning, "no switch filters"},
		{"querier", func(o *observed) { o.queries, o.tapErr = nil, errors.New("needs root") }, Unknown, "needs root"},
		{"reception goes on", func(o *observed) { o.died = true }, Fault, "300 s after the join"},
		{"reception goes on", func(o *observed) { o.aliveFor = 0 }, Unknown, "--long"},
		{"other nodes", func(o *observed) { o.nodes[7][netip.MustParseAddr("192.0.2.9")] = true }, Fault, "192.0.2.1, 192.0.2.9"},
		{"other nodes", func(o *observed) { o.strangers = map[netip.Addr]int{netip.MustParseAddr("192.0.2.9"): 1} }, Warning, "192.0.2.9"},
	} {
		o := healthy()
		test.spoil(o)
		for _, f := range o.judge().Findings {
			if f.Check != test.check {
				continue
			}
			if f.Verdict != test.verdict || !strings.Contains(f.Seen+" "+f.Remedy, test.says) || (f.Remedy == "") != (f.Verdict == OK) {
				t.Errorf("%s: %+v, want %s with %q", test.check, f, test.verdict, test.says)
			}
		}
	}
}

func TestIGMPVersion(t *testing.T) {
	const table = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
		"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"2\teth0      :     2      V2\n\t\t\t\t030201EF     1 0:00000000\t\t1\n"
	for ifi, want := range map[string]string{"lo": "V3", "eth0": "V2", "eth": "", "Device": ""} {
		if got := igmpVersion(table, ifi); got != want {
			t.Errorf("%s: %q, want %q", ifi, got, want)
		}
	}
}

// TestTablesAreBounded floods the port with source ids and addresses.
func TestTablesAreBounded(t *testing.T) {
	o := &observed{nodes: make(map[wire.NodeID]map[netip.Addr]bool), strangers: make(map[netip.Addr]int)}
	for i := range 3 * maxKnown {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
		o.note(packet{from: from, b: []byte{0x13, 4, 0, 0, 0, 1, byte(i >> 8), byte(i + 1), 0, 1, 0x88, 0x43, 2, 0, 0, 0}})
		o.note(packet{from: from, b: []byte{0x13, 4, 0, 0, 0, 0, 0, 1, 0, 1, 0x88, 0x43, 2, 0, 0, 0}})
		o.note(packet{from: from, b: []byte("stranger")})
	}
	if len(o.nodes) != maxKnown || len(o.strangers) != maxKnown {
		t.Errorf("%d nodes and %d strangers, want %d", len(o.nodes), len(o.strangers), maxKnown)
	}
	for id, at := range o.nodes {
		if len(at) > maxKnown {
			t.Errorf("node %d at %d addresses", id, len(at))
		}
	}
}

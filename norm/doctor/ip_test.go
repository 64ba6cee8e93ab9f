package doctor

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// ipPackets are packets as a tap sees them, with what is in them.
var ipPackets = []struct {
	name, hex string
	query     string // version and source
	udp       string // source and size
}{
	{name: "datagram to the group", udp: "10.0.0.1:4660 3",
		hex: "4500001f 00004000 04110000 0a000001 ef010203 1234 1773 000b 0000 616263"},
	{name: "datagram with IP options", udp: "10.0.0.1:4660 3",
		hex: "46000023 00004000 04110000 0a000001 ef010203 01010100 1234 1773 000b 0000 616263"},
	{name: "to another port", hex: "4500001f 00004000 04110000 0a000001 ef010203 1234 1774 000b 0000 616263"},
	{name: "to another group", hex: "4500001f 00004000 04110000 0a000001 ef010204 1234 1773 000b 0000 616263"},
	{name: "second fragment", hex: "4500001f 00000010 04110000 0a000001 ef010203 1234 1773 000b 0000 616263"},
	{name: "IGMPv1 query", query: "IGMPv1 10.0.0.9", hex: "4500001c 00000000 01020000 0a000009 e0000001 1100 0000 00000000"},
	{name: "IGMPv2 query", query: "IGMPv2 10.0.0.9", hex: "4500001c 00000000 01020000 0a000009 e0000001 1164 0000 00000000"},
	{name: "IGMPv3 query", query: "IGMPv3 10.0.0.9", hex: "4500001c 00000000 01020000 0a000009 e0000001 1164 0000 00000000 027d0000"},
	{name: "IGMPv3 report", hex: "4500001c 00000000 01020000 0a000009 e0000016 2200 0000 00000000"},
	{name: "MLDv2 query", query: "MLDv2 fe80::9",
		hex: "60000000 00240001 fe800000 00000000 00000000 00000009 ff020000 00000000 00000000 00000001 3a00050200000000" +
			"8200 0000 03e8 0000 00000000 00000000 00000000 00000000 027d0000"},
	{name: "MLDv1 query", query: "MLDv1 fe80::9",
		hex: "60000000 00200001 fe800000 00000000 00000000 00000009 ff020000 00000000 00000000 00000001 3a00050200000000" +
			"8200 0000 03e8 0000 00000000 00000000 00000000 00000000"},
}

var tapGroup = netip.MustParseAddrPort("239.1.2.3:6003")

func TestParseIP(t *testing.T) {
	for _, test := range ipPackets {
		b, err := hex.DecodeString(strings.ReplaceAll(test.hex, " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		p, ok := parseIP(b, tapGroup)
		switch {
		case ok != (test.query != "" || test.udp != ""):
			t.Errorf("%s: taken: %v", test.name, ok)
		case ok && test.query != "":
			if p.query == nil || p.query.protocol+" "+p.query.from.String() != test.query {
				t.Errorf("%s: %+v, want %s", test.name, p.query, test.query)
			}
		case ok:
			if p.from.String() != "10.0.0.1:4660" || p.size != 3 || string(p.b) != "abc" || p.ttl != 4 || p.to != tapGroup.Addr() {
				t.Errorf("%s: %+v, want %s", test.name, p, test.udp)
			}
		}
	}
}

func FuzzParseIP(f *testing.F) {
	for _, test := range ipPackets {
		if b, err := hex.DecodeString(strings.ReplaceAll(test.hex, " ", "")); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parseIP(b, tapGroup); ok && p.query == nil && (len(p.b) > keep || !p.from.IsValid()) {
			t.Errorf("%+v", p)
		}
	})
}

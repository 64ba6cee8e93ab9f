package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/ipv4"
)

// Snoop makes the bridge forward IPv4 groups only to ports with members. With a
// querier, it asks for members itself, each second. Without one, it forgets a
// member when it has not been told of it for as long as remember.
func (n *Net) Snoop(remember time.Duration, querier bool) {
	h := n.hosts[0]
	h.t.Helper()
	args := []string{"-n", n.hub, "link", "set", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_igmp_version", "3",
		"mcast_query_use_ifaddr", "0", "mcast_query_interval", "100", "mcast_startup_query_interval", "100",
		"mcast_query_response_interval", "50", "mcast_membership_interval", fmt.Sprint(remember.Milliseconds() / 10)}
	on := "0"
	if querier {
		on = "1"
	}
	must(h.t, "", "ip", append(args, "mcast_querier", on)...)
}

// Query sends one IGMPv3 query for members, as a querier would that then dies.
// A snooping bridge without any querier floods; having heard of one, it filters.
func (h *Host) Query() {
	h.t.Helper()
	h.Do(func() {
		if err := query(); err != nil {
			h.t.Errorf("netns: sending a query: %v", err)
		}
	})
}

func query() error {
	pc, err := net.ListenPacket("ip4:igmp", "0.0.0.0")
	if err != nil {
		return err
	}
	defer pc.Close()
	c, err := ipv4.NewRawConn(pc)
	if err != nil {
		return err
	}
	b := []byte{0x11, 5, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0} // RFC 9776, Section 4.1
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	ifi, err := net.InterfaceByName(Interface)
	if err != nil {
		return err
	}
	if err := c.SetMulticastInterface(ifi); err != nil {
		return err
	}
	return c.WriteTo(&ipv4.Header{
		Version: 4, Len: ipv4.HeaderLen, TotalLen: ipv4.HeaderLen + len(b), TTL: 1, Protocol: 2, Dst: net.IPv4(224, 0, 0, 1),
	}, b, nil)
}

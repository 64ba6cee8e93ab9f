package doctor

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// routed returns the interface and address that the routing table picks towards an address. Nothing is sent.
func routed(to netip.AddrPort) (*net.Interface, netip.Addr, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("no route to %v: %w", to.Addr(), err)
	}
	defer c.Close()
	own := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	name := own.Zone()
	if name == "" {
		name = own.String()
	}
	ifi, _, err := udp.InterfaceFor(name)
	return ifi, own, err
}

// place returns the interface of a session: the one that is asked for, or else the one that the routing table picks.
func place(group netip.AddrPort, name string) (*net.Interface, error) {
	if zone := group.Addr().Zone(); name == "" {
		name = zone
	}
	if name != "" {
		ifi, _, err := udp.InterfaceFor(name)
		return ifi, err
	}
	ifi, _, err := routed(group)
	if err != nil {
		return nil, fmt.Errorf("%w; name an interface: there are %s", err, udp.Interfaces())
	}
	return ifi, nil
}

// family returns the addresses of an interface that are of the IP version of a group.
func family(ifi *net.Interface, group netip.Addr) (addrs []netip.Addr) {
	list, _ := ifi.Addrs() // an interface that just vanished has none
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() == group.Is4() {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}

// wildcard is the unspecified address of the IP version of a.
func wildcard(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

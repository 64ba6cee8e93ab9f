package udp

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// InterfaceFor finds a network interface by its name or by one of its
// addresses. The address is returned too if it was given, and is the zero
// Addr otherwise. The error for an unknown one lists those that exist.
func InterfaceFor(nameOrAddr string) (*net.Interface, netip.Addr, error) {
	if ifi, err := net.InterfaceByName(nameOrAddr); err == nil {
		return ifi, netip.Addr{}, nil
	}
	unknown := fmt.Errorf("no interface %q here; there are %s", nameOrAddr, Interfaces())
	want, err := netip.ParseAddr(nameOrAddr)
	if err != nil {
		return nil, netip.Addr{}, unknown
	}
	want = want.Unmap()
	all, err := net.Interfaces()
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("listing interfaces: %w", err)
	}
	for i := range all {
		if z := want.Zone(); z != "" && z != all[i].Name {
			continue
		}
		own, err := addrsOf(&all[i])
		if err != nil {
			return nil, netip.Addr{}, err
		}
		for _, a := range own {
			if a == want.WithZone("") {
				if a.IsLinkLocalUnicast() && a.Is6() {
					a = a.WithZone(all[i].Name)
				}
				return &all[i], a, nil
			}
		}
	}
	return nil, netip.Addr{}, unknown
}

// Interfaces describes this host's interfaces that are up, in one line for
// messages: "lo (127.0.0.1, ::1), eth0 (192.0.2.7)".
func Interfaces() string {
	all, err := net.Interfaces()
	if err != nil {
		return "none that can be listed"
	}
	var list []string
	for i := range all {
		if all[i].Flags&net.FlagUp == 0 {
			continue
		}
		var addrs []string
		own, _ := addrsOf(&all[i]) // an interface that just vanished has none
		for _, a := range own {
			addrs = append(addrs, a.String())
		}
		if len(addrs) == 0 {
			addrs = append(addrs, "no address")
		}
		list = append(list, fmt.Sprintf("%s (%s)", all[i].Name, strings.Join(addrs, ", ")))
	}
	if len(list) == 0 {
		return "none that is up"
	}
	return strings.Join(list, ", ")
}

// Attachment says how this host is attached to the network where a Conn of c would hear its group: the interface and our
// addresses there of the group's IP version. It is empty while there are none. When it changes, a Conn opened before may be of
// no more use: not a member of the group any more, or bound to an address that is not ours.
func (c Config) Attachment() string {
	r, err := c.resolve()
	if err != nil {
		return ""
	}
	if r.ifi != nil {
		own, err := addrsOf(r.ifi)
		own = slices.DeleteFunc(own, func(a netip.Addr) bool { return a.Is4() != r.is4() })
		if err != nil || len(own) == 0 || r.ifi.Flags&net.FlagUp == 0 {
			return ""
		}
		return fmt.Sprint(r.ifi.Index, own)
	}
	conn, err := net.Dial(r.network(), r.Group.String()) // sends nothing, but chooses as sending would
	if err != nil {
		return ""
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().String()
}

// addrsOf returns the addresses of an interface, without zones.
func addrsOf(ifi *net.Interface) ([]netip.Addr, error) {
	list, err := ifi.Addrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of interface %s: %w", ifi.Name, err)
	}
	var addrs []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs, nil
}

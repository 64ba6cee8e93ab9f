package udp

import (
	"errors"
	"fmt"
	"net/netip"
)

var (
	ssm4 = netip.MustParsePrefix("232.0.0.0/8")
	ssm6 = netip.MustParsePrefix("ff30::/12") // the flags of FF3x
)

// ParseGroup reads the address and port of a session: "239.1.2.3:6003",
// "[ff15::1]:6003", or the address of a single host. Names are not resolved.
func ParseGroup(s string) (netip.AddrPort, error) {
	g, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("group %q is not like 239.1.2.3:6003 or [ff15::1]:6003", s)
	}
	g = netip.AddrPortFrom(g.Addr().Unmap(), g.Port())
	if err := checkGroup(g); err != nil {
		return netip.AddrPort{}, err
	}
	return g, nil
}

// checkGroup reports why g cannot be the address of a session.
func checkGroup(g netip.AddrPort) error {
	a := g.Addr()
	switch {
	case !a.IsValid():
		return errors.New("no group is given")
	case g.Port() == 0:
		return fmt.Errorf("group %v has no port", a)
	case !a.IsMulticast() && !isHost(a):
		return fmt.Errorf("group %v is neither a multicast group nor the address of a host", a)
	case a.IsInterfaceLocalMulticast(), a == netip.AddrFrom4([4]byte{224, 0, 0, 0}):
		return fmt.Errorf("group %v reaches no other host", a)
	case IsSourceSpecific(a) && reservedSSM(a):
		return fmt.Errorf("group %v is reserved (RFC 4607, Section 4.3)", a)
	}
	return nil
}

// isHost reports whether a can be the address of one host.
func isHost(a netip.Addr) bool {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return a.IsValid() && !a.IsMulticast() && !a.IsUnspecified() && a != broadcast
}

// IsSourceSpecific reports whether a lies in the ranges for source-specific
// multicast, 232/8 and FF3x::/32: "a system should treat all of FF3x::/32 as
// SSM addresses" (RFC 4607, Section 1).
func IsSourceSpecific(a netip.Addr) bool {
	if a.Is4() {
		return ssm4.Contains(a)
	}
	b := a.As16()
	return ssm6.Contains(a.WithZone("")) && b[2] == 0 && b[3] == 0
}

// reservedSSM reports whether a source-specific a must not be used. "232.0.0.0
// is reserved [...] FF3x::4000:0000 is also reserved" (RFC 4607, Section 4.3),
// and "the range FF3x::0000:0000 through FF3x::3FFF:FFFF are invalid IPv6 SSM
// addresses" (Section 1).
func reservedSSM(a netip.Addr) bool {
	if a.Is4() {
		return a == ssm4.Addr()
	}
	b := a.As16()
	if [8]byte(b[4:12]) != [8]byte{} {
		return false
	}
	return b[12] < 0x40 || [4]byte(b[12:]) == [4]byte{0x40}
}

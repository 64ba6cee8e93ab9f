package sap

import (
	"fmt"
	"net/netip"
)

// Port is where all announcements go: "SAP announcements MUST be sent on port 9875" (RFC 2974, Section 3).
const Port = 9875

// The scopes of IPv4. "The multicast address to be used for announcements is the highest multicast address in the relevant
// administrative scope zone" (RFC 2974, Section 3); zones are those of RFC 2365, Section 6, where 239.0.0.0/10 to
// 239.128.0.0/10 are "available for expansion" of the organization-local one.
var (
	global = netip.AddrFrom4([4]byte{224, 2, 127, 254}) // 224.2.127.255 "is used by the obsolete SAPv0 and MUST NOT be used"
	local  = netip.AddrFrom4([4]byte{239, 255, 255, 255})
	org    = netip.AddrFrom4([4]byte{239, 195, 255, 255})

	localScope = netip.MustParsePrefix("239.255.0.0/16")
	adminScope = netip.MustParsePrefix("239.0.0.0/8")
	linkOnly   = netip.MustParsePrefix("224.0.0.0/24")
)

// Group returns where a session sent to group is announced: "with the same scope as the session it is announcing" (RFC
// 2974, Section 3).
func Group(group netip.Addr) (netip.AddrPort, error) {
	switch {
	case !group.IsMulticast():
		return netip.AddrPort{}, fmt.Errorf("%v is no multicast group: SAP announces multicast sessions", group)
	case group.Is6():
		return netip.AddrPortFrom(scoped6(group.As16()[1]&0xf), Port), nil
	case localScope.Contains(group):
		return netip.AddrPortFrom(local, Port), nil
	case adminScope.Contains(group):
		return netip.AddrPortFrom(org, Port), nil
	case linkOnly.Contains(group):
		return netip.AddrPort{}, fmt.Errorf("%v is of the local network control block, which SAP has no group for", group)
	}
	return netip.AddrPortFrom(global, Port), nil
}

// scoped6 returns FF0X:0:0:0:0:0:2:7FFE, "where X is the 4-bit scope value" (RFC 2974, Section 3).
func scoped6(scope byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xff, 1: scope, 13: 2, 14: 0x7f, 15: 0xfe})
}

// Groups returns where a listener hears all that Group can name: "An IPv4 SAP listener SHOULD listen on the IPv4 global
// scope SAP address and on the SAP addresses for each IPv4 administrative scope zone it is within. [...] A SAP listener
// which supports IPv6 SHOULD also listen to the IPv6 SAP addresses" (RFC 2974, Section 3), here those of link-local,
// admin-local, site-local, organization-local and global scope (RFC 7346).
func Groups() []netip.AddrPort {
	var groups []netip.AddrPort
	for _, a := range []netip.Addr{global, local, org, scoped6(2), scoped6(4), scoped6(5), scoped6(8), scoped6(0xe)} {
		groups = append(groups, netip.AddrPortFrom(a, Port))
	}
	return groups
}

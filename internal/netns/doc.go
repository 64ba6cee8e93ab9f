// Package netns gives tests a small network of their own: hosts that are Linux
// network namespaces, joined by a bridge, with multicast over IPv4 and IPv6,
// random loss and limited rates; on request also a multicast router, a switch
// that snoops, and what else goes wrong. Nothing of it is seen outside the namespaces,
// nothing in them reaches any other network, and all of it is gone when the
// test ends.
//
//	netns.Require(t)
//	net := netns.New(t, 4)
//	net.Host(1).Lose(netns.Loss{Share: 0.2, Port: 6003})
//	cmd := net.Host(1).Exec("normrecv", "file", "--group", "239.1.2.3:6003", "--interface", netns.Interface)
//
// It needs root, ip, bridge, nft and tc, and smcrouted for Routed. Tests skip without them, unless the
// environment has REQUIRE_NETNS=1, as continuous integration does.
package netns

// Package udp gives a NORM session its sockets: multicast or unicast UDP over
// IPv4 and IPv6, read and written in batches.
//
// "The NORM messages are independent of network addresses and can be used in
// IPv4 and IPv6 networks" (RFC 5740, Section 4): all that a session needs from
// the network is here: joining a group on an interface, any-source or
// source-specific (RFC 3678, RFC 4607); receiving nothing but datagrams for
// that group or for this host; the addresses and the ECN mark of each
// datagram; and a source port that tells unicast feedback from multicast
// feedback (RFC 5740, Section 5.4.4).
//
// A [Conn] may be read by one goroutine while another one writes. Close
// unblocks both. What is received lies in buffers of the Conn and is valid
// until the next ReadBatch; what is sent may be reused once WriteBatch has
// returned. Neither allocates per datagram. On Linux both wait in the kernel, not in the runtime: a thread each.
//
// Linux moves many datagrams with one system call (sendmmsg, recvmmsg) and,
// where the kernel can, many datagrams as one (UDP_SEGMENT, UDP_GRO). Other
// systems move them one by one. Windows has no control messages here, so
// there a session needs a port of its own: datagrams for other groups on the
// same port cannot be told apart.
package udp

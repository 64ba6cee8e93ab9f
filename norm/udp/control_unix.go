//go:build linux || darwin

package udp

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// controlSize holds every control message asked for: packet information, the
// traffic class, the segment size and the overflow counter.
const controlSize = 128

const (
	inet4PktinfoSize = 12 // struct in_pktinfo: ipi_ifindex, ipi_spec_dst, ipi_addr
	inet6PktinfoSize = 20 // struct in6_pktinfo: ipi6_addr, ipi6_ifindex
)

// parse reads the control messages in b.
func (c *control) parse(b []byte) {
	*c = control{}
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return
		}
		b = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= inet4PktinfoSize:
			c.ifindex = int(binary.NativeEndian.Uint32(data))
			c.local = netip.AddrFrom4([4]byte(data[4:]))
			c.to = netip.AddrFrom4([4]byte(data[8:]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= inet6PktinfoSize:
			c.to = netip.AddrFrom16([16]byte(data))
			c.ifindex = int(binary.NativeEndian.Uint32(data[16:]))
		case h.Level == unix.IPPROTO_IP && h.Type == receivedTOS && len(data) >= 1:
			c.ecn = data[0] & 3
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			c.ecn = uint8(binary.NativeEndian.Uint32(data)) & 3
		default:
			c.parseSystem(h.Level, h.Type, data)
		}
	}
}

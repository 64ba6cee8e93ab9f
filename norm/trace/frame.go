package trace

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Why ParseFrame finds no datagram in a frame.
var (
	ErrLinkType = errors.New("link type not supported")
	ErrNotIP    = errors.New("not IP")
	ErrNotUDP   = errors.New("not UDP")
	ErrFragment = errors.New("IP fragment") // they are not put together
	ErrHeader   = errors.New("broken or cut off within the headers")
)

// A Datagram is a UDP datagram that was captured.
type Datagram struct {
	From, To netip.AddrPort
	ECN      uint8  // ECN codepoint (RFC 3168)
	Length   int    // of the payload as UDP says; B is shorter if the capture cut it
	B        []byte // the payload: a view into the frame
}

// Ethernet types.
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	etherVLAN   = 0x8100
	etherVLAN2  = 0x88a8
	etherVLAN91 = 0x9100
)

const protoUDP = 17

// ParseFrame finds the UDP datagram in a frame.
func ParseFrame(link LinkType, b []byte) (Datagram, error) {
	switch link {
	case LinkEthernet:
		return parseEthernet(b, 12)
	case LinkSLL:
		return parseEthernet(b, 14)
	case LinkSLL2:
		if len(b) < 20 {
			return Datagram{}, ErrHeader
		}
		return parseEtherType(binary.BigEndian.Uint16(b), b[20:])
	case LinkNull, LinkLoop:
		if len(b) < 4 {
			return Datagram{}, ErrHeader
		}
		b = b[4:] // the address family has other numbers on each system; the version in the IP header says as much
	case LinkRaw, LinkRaw12, LinkRaw14, LinkIPv4, LinkIPv6:
	default:
		return Datagram{}, ErrLinkType
	}
	if len(b) < 1 {
		return Datagram{}, ErrHeader
	}
	switch b[0] >> 4 {
	case 4:
		return parseIPv4(b)
	case 6:
		return parseIPv6(b)
	}
	return Datagram{}, ErrNotIP
}

// parseEthernet reads a frame that has its Ethernet type at byte at.
func parseEthernet(b []byte, at int) (Datagram, error) {
	for len(b) >= at+2 {
		switch kind := binary.BigEndian.Uint16(b[at:]); kind {
		case etherVLAN, etherVLAN2, etherVLAN91:
			at += 4
		default:
			return parseEtherType(kind, b[at+2:])
		}
	}
	return Datagram{}, ErrHeader
}

func parseEtherType(kind uint16, b []byte) (Datagram, error) {
	switch kind {
	case etherIPv4:
		return parseIPv4(b)
	case etherIPv6:
		return parseIPv6(b)
	}
	return Datagram{}, ErrNotIP
}

func parseIPv4(b []byte) (Datagram, error) {
	if len(b) < 20 {
		return Datagram{}, ErrHeader
	}
	head, total := 4*int(b[0]&0x0f), int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = len(b) // left to the network interface by a host that segments there
	}
	switch {
	case b[0]>>4 != 4:
		return Datagram{}, ErrNotIP
	case head < 20 || head > total || head > len(b):
		return Datagram{}, ErrHeader
	case binary.BigEndian.Uint16(b[6:])&0x3fff != 0: // more fragments, or an offset
		return Datagram{}, ErrFragment
	case b[9] != protoUDP:
		return Datagram{}, ErrNotUDP
	}
	d := Datagram{ECN: b[1] & 3}
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	return d.parseUDP(src, dst, b[head:], total-head)
}

// parseIPv6 skips the extension headers of RFC 8200, of mobility (RFC 6275), HIP and Shim6, and of authentication.
func parseIPv6(b []byte) (Datagram, error) {
	if len(b) < 40 {
		return Datagram{}, ErrHeader
	}
	if b[0]>>4 != 6 {
		return Datagram{}, ErrNotIP
	}
	d := Datagram{ECN: b[1] >> 4 & 3}
	src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	next, left := b[6], int(binary.BigEndian.Uint16(b[4:]))
	b = b[40:]
	if left == 0 {
		left = len(b)
	}
	for next != protoUDP {
		if len(b) < 8 {
			return Datagram{}, ErrHeader
		}
		var n int
		switch next {
		case 0, 43, 60, 135, 139, 140: // hop-by-hop, routing, destination options, mobility, HIP, Shim6
			n = 8 * (int(b[1]) + 1)
		case 44:
			if binary.BigEndian.Uint16(b[2:])&0xfff9 != 0 { // an offset, or more fragments
				return Datagram{}, ErrFragment
			}
			n = 8
		case 51: // authentication
			n = 4 * (int(b[1]) + 2)
		default:
			return Datagram{}, ErrNotUDP
		}
		if n > len(b) || n > left {
			return Datagram{}, ErrHeader
		}
		next, b, left = b[0], b[n:], left-n
	}
	return d.parseUDP(src, dst, b, left)
}

// parseUDP reads what follows the IP header, of which the packet has left bytes and the capture b, with or without
// padding behind.
func (d Datagram) parseUDP(src, dst netip.Addr, b []byte, left int) (Datagram, error) {
	if len(b) < udpHeader {
		return Datagram{}, ErrHeader
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length == 0 {
		length = left // as with a total length of 0
	}
	if length < udpHeader || length > left {
		return Datagram{}, ErrHeader
	}
	d.From = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
	d.To = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	d.Length = length - udpHeader
	d.B = b[udpHeader:min(length, len(b))]
	return d, nil
}

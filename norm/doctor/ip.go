package doctor

import (
	"encoding/binary"
	"net/netip"
)

// A query is a membership query of a router or switch.
type query struct {
	protocol string // IGMPv1, IGMPv2, IGMPv3, MLDv1, MLDv2
	from     netip.Addr
}

// Protocol numbers of IPv4's Protocol and IPv6's Next Header.
const (
	protoHopByHop = 0
	protoIGMP     = 2
	protoUDP      = 17
	protoICMPv6   = 58
)

// parseIP reads a packet as a tap sees it: a datagram to the group, or a membership query. Fragments after the first have no
// port and are passed over.
func parseIP(b []byte, group netip.AddrPort) (p packet, ok bool) {
	p.tapped = true
	var from netip.Addr
	var proto byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		header := int(b[0]&15) * 4
		if header < 20 || len(b) < header || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return p, false
		}
		from, p.to = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		proto, p.ttl, b = b[9], int(b[8]), b[header:]
	case len(b) >= 40 && b[0]>>4 == 6:
		from, p.to = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		proto, p.ttl, b = b[6], int(b[7]), b[40:]
		if proto == protoHopByHop {
			if len(b) < 8 || len(b) < int(b[1])*8+8 {
				return p, false
			}
			proto, b = b[0], b[int(b[1])*8+8:]
		}
	default:
		return p, false
	}
	switch proto {
	case protoIGMP, protoICMPv6:
		p.query = parseQuery(proto, from, b)
		return p, p.query != nil
	case protoUDP:
		if len(b) < 8 || p.to != group.Addr() || binary.BigEndian.Uint16(b[2:]) != group.Port() {
			return p, false
		}
		p.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
		p.size = max(int(binary.BigEndian.Uint16(b[4:]))-8, 0)
		p.b = append([]byte(nil), b[8:min(len(b), 8+keep)]...)
		return p, true
	}
	return p, false
}

// parseQuery tells the versions of a query apart as RFC 9776, Section 7.1, and RFC 9777, Section 8.1, do.
func parseQuery(proto byte, from netip.Addr, b []byte) *query {
	const igmpQuery, mldQuery = 0x11, 130
	switch {
	case proto == protoIGMP && len(b) >= 8 && b[0] == igmpQuery:
		version := "IGMPv2"
		if len(b) >= 12 {
			version = "IGMPv3"
		} else if b[1] == 0 {
			version = "IGMPv1"
		}
		return &query{version, from}
	case proto == protoICMPv6 && len(b) >= 24 && b[0] == mldQuery:
		if len(b) >= 28 {
			return &query{"MLDv2", from}
		}
		return &query{"MLDv1", from}
	}
	return nil
}

package trace

import (
	"encoding/binary"
	"net/netip"
)

const udpHeader = 8

// hops is the TTL or hop limit written, because a socket does not tell it.
const hops = 64

// AppendFrame appends d as an IP packet with right checksums, a frame of LinkRaw. An address that is not valid is written
// as the unspecified one of the other's version. At most 65,507 bytes of d.B fit; the rest is left off.
func AppendFrame(b []byte, d Datagram) []byte {
	src, dst := d.From.Addr().Unmap(), d.To.Addr().Unmap()
	if !src.IsValid() || src.Is4() != dst.Is4() {
		src = unspecified(dst)
	}
	if !dst.IsValid() {
		dst = unspecified(src)
	}
	payload := d.B[:min(len(d.B), 65535-20-udpHeader)]
	length := udpHeader + len(payload)
	be := binary.BigEndian
	if dst.Is4() {
		at := len(b)
		b = append(b, 0x45, d.ECN&3)
		b = be.AppendUint16(b, uint16(20+length))
		b = append(b, 0, 0, 0, 0, hops, protoUDP, 0, 0)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		be.PutUint16(b[at+10:], ^fold(sum(0, b[at:])))
	} else {
		b = append(b, 0x60, d.ECN&3<<4, 0, 0)
		b = be.AppendUint16(b, uint16(length))
		b = append(b, protoUDP, hops)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	}
	at := len(b)
	b = be.AppendUint16(b, d.From.Port())
	b = be.AppendUint16(b, d.To.Port())
	b = be.AppendUint16(b, uint16(length))
	b = append(b, 0, 0)
	b = append(b, payload...)
	// The pseudo-header: addresses, protocol and length (RFC 768, RFC 8200, Section 8.1).
	pseudo := sum(sum(uint64(protoUDP+length), src.AsSlice()), dst.AsSlice())
	check := ^fold(sum(pseudo, b[at:]))
	if check == 0 {
		check = 0xffff // "If the computed checksum is zero, it is transmitted as all ones", RFC 768
	}
	be.PutUint16(b[at+6:], check)
	return b
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// sum adds b, in words of 16 bits, to a sum of the Internet checksum (RFC 1071).
func sum(s uint64, b []byte) uint64 {
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

// fold adds the carries.
func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

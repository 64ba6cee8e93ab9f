package sap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/multicast-upgrade/tool/discovery/sdp"
)

// MaxPacket is the longest packet that is sent, in bytes: "It is RECOMMENDED that SAP packets are smaller than 1kByte in
// length" (RFC 2974, Section 6). One that is received may have a payload of that length.
const MaxPacket = 1 << 10

// ContentType is the payload type of a session description.
const ContentType = "application/sdp"

// Why a packet is refused.
var (
	ErrTruncated  = errors.New("sap: the packet is cut off")
	ErrVersion    = errors.New("sap: not version 1")
	ErrEncrypted  = errors.New("sap: the payload is encrypted")
	ErrCompressed = errors.New("sap: the payload is compressed")
	ErrSource     = errors.New("sap: no originating source or message identifier hash") // those of SAPv0
	ErrType       = errors.New("sap: the payload is no session description")
	ErrTooLong    = fmt.Errorf("sap: the payload is longer than %d bytes", sdp.MaxSize)
)

// The bits of a packet's first byte.
const (
	version1   = 1 << 5
	maskV      = 7 << 5
	bitA       = 1 << 4 // the originating source is an IPv6 address
	bitT       = 1 << 2 // deletion
	bitE       = 1 << 1 // encrypted
	bitC       = 1 << 0 // compressed
	headerSize = 4      // before the originating source
)

// A Packet is a SAP packet (RFC 2974, Section 6).
type Packet struct {
	Delete  bool       // a session deletion packet: Payload is its o= line
	Hash    uint16     // message identifier hash, not zero
	Source  netip.Addr // originating source
	Auth    []byte     // authentication data, which nobody has checked. A view into the packet
	Payload []byte     // of type application/sdp. A view into the packet
}

// AppendBinary appends the packet, without authentication data. The error is a mistake of the caller.
func (p *Packet) AppendBinary(b []byte) ([]byte, error) {
	switch {
	case !p.Source.IsValid() || p.Source.IsUnspecified() || p.Source.Is4In6() || p.Hash == 0:
		return b, ErrSource
	case headerSize+p.Source.BitLen()/8+len(ContentType)+1+len(p.Payload) > MaxPacket:
		return b, fmt.Errorf("sap: a description of %d bytes does not fit into a packet of %d", len(p.Payload), MaxPacket)
	}
	first := byte(version1)
	if p.Source.Is6() {
		first |= bitA
	}
	if p.Delete {
		first |= bitT
	}
	b = append(b, first, 0)
	b = binary.BigEndian.AppendUint16(b, p.Hash)
	b = append(b, p.Source.AsSlice()...)
	b = append(append(b, ContentType...), 0)
	return append(b, p.Payload...), nil
}

// Parse reads a packet. Its fields are views into b.
func (p *Packet) Parse(b []byte) error {
	*p = Packet{}
	if len(b) < headerSize {
		return ErrTruncated
	}
	size := 4
	if b[0]&bitA != 0 {
		size = 16
	}
	switch auth := 4 * int(b[1]); {
	case b[0]&maskV != version1:
		return ErrVersion
	case b[0]&bitE != 0:
		return ErrEncrypted
	case b[0]&bitC != 0:
		return ErrCompressed
	case len(b) < headerSize+size+auth:
		return ErrTruncated
	}
	p.Delete = b[0]&bitT != 0
	p.Hash = binary.BigEndian.Uint16(b[2:])
	auth := 4 * int(b[1])
	p.Source, _ = netip.AddrFromSlice(b[headerSize : headerSize+size])
	b = b[headerSize+size:]
	p.Auth, b = b[:auth:auth], b[auth:]
	// "SAP listeners MAY silently discard messages if the message identifier hash is set to zero", and "packets with the
	// originating source set to zero".
	if p.Hash == 0 || p.Source.IsUnspecified() || p.Source.IsMulticast() || p.Source.Is4In6() {
		return ErrSource
	}
	// "The absence of a payload type field may be noted since the payload section of such a packet will start with an SDP
	// `v=0' field", and that of a deletion with its o= line: neither can begin a content type.
	if !bytes.HasPrefix(b, []byte("v=0")) && !bytes.HasPrefix(b, []byte("o=")) {
		kind, payload, ok := bytes.Cut(b, []byte{0})
		if !ok || !bytes.EqualFold(kind, []byte(ContentType)) {
			return ErrType
		}
		b = payload
	}
	if len(b) > sdp.MaxSize {
		return ErrTooLong
	}
	p.Payload = b
	return nil
}

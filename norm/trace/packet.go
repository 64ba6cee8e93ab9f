package trace

import (
	"fmt"
	"time"
)

// A LinkType says what the frames of an interface begin with, as the LINKTYPE_ registry of pcap numbers it.
type LinkType uint16

// Link types that ParseFrame knows.
const (
	LinkNull     LinkType = 0   // BSD loopback: an address family in the order of the host
	LinkEthernet LinkType = 1   // Ethernet, with or without VLAN tags
	LinkRaw12    LinkType = 12  // as LinkRaw; what some systems have for it
	LinkRaw14    LinkType = 14  // likewise
	LinkRaw      LinkType = 101 // IPv4 or IPv6, as the first four bits say
	LinkLoop     LinkType = 108 // OpenBSD loopback: an address family in network order
	LinkSLL      LinkType = 113 // Linux "cooked" capture
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276 // Linux "cooked" capture, version 2
)

// A Direction says which way a packet went at the host that captured it.
type Direction uint8

// Directions, as epb_flags of pcapng numbers them.
const (
	Unknown  Direction = 0
	Inbound  Direction = 1
	Outbound Direction = 2
)

// String returns in, out or nothing.
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "in"
	case Outbound:
		return "out"
	}
	return ""
}

// direction reads the first two bits of epb_flags.
func direction(flags uint32) Direction {
	if d := Direction(flags & 3); d <= Outbound {
		return d
	}
	return Unknown
}

// A Packet is one entry of a capture: a frame, or an event that stands between frames.
type Packet struct {
	Time      time.Time // zero if the file does not say
	Link      LinkType
	Direction Direction
	Length    int    // of the frame on the wire; Data is shorter if the capture cut it
	Data      []byte // as read, valid until the next call of Next
	Comment   string
	Event     string // not empty: an event, and no frame
}

// A FormatError reports what is wrong with a file, and where.
type FormatError struct {
	Offset int64 // of the block or record in the file
	Reason string
	err    error
}

func (e *FormatError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Reason) }

// Unwrap returns io.ErrUnexpectedEOF if the file ends in the middle of something: what was before is good.
func (e *FormatError) Unwrap() error { return e.err }

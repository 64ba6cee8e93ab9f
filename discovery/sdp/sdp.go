// Package sdp reads and writes session descriptions (RFC 8866) as far as announcing multicast sessions needs them.
//
// Every line type of RFC 8866 is known, and lines have to be in its order. What is read for meaning is o=, s=, c=, t=, m=
// and attributes, among them source filters (RFC 4570). Of the rest, i=, u=, e=, p=, b=, r= and z= are passed over, and so
// is k=: "One [...] MUST discard it if it is received in an SDP" (RFC 8866, Section 5.12). Not in the subset, and refused: more than [MaxSize] bytes, names
// of hosts in c=, several groups in one c= or port ranges in m= (layered encodings), numbers beyond 64 bits.
//
// The package has no sockets and no clock.
package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// MaxSize is the longest description in bytes: "It is RECOMMENDED that SAP packets are smaller than 1kByte in length"
// (RFC 2974, Section 6).
const MaxSize = 1 << 10

// maxMedia is how many m= sections a description may have.
const maxMedia = 8

// Errors of Parse, wrapped with the line that is wrong.
var (
	ErrTooLong   = fmt.Errorf("sdp: more than %d bytes", MaxSize)
	ErrMalformed = errors.New("sdp: malformed")
)

// A Description is a session description.
type Description struct {
	Origin     Origin
	Name       string     // s=
	Connection Connection // c= of the session; zero: each of Media has its own
	Start      time.Time  // t=; zero: no bound
	Stop       time.Time  // zero: no bound
	Attributes []Attribute
	Media      []Media
}

// An Origin is the o= line: who made the description, and of what session.
type Origin struct {
	Username string // no spaces; "-" if there are no users
	ID       uint64 // sess-id
	Version  uint64 // sess-version, "increased when a modification is made to the session description" (RFC 8866, Section 5.2)
	IP6      bool   // the address type
	Host     string // unicast-address: an address or a name
}

// OriginAt returns an Origin without user at an address.
func OriginAt(host netip.Addr, id, version uint64) Origin {
	return Origin{Username: "-", ID: id, Version: version, IP6: host.Is6(), Host: host.WithZone("").String()}
}

// Session returns o without its version: "the subfields excepting the version, taken together identify the session
// irrespective of any modifications" (RFC 8866, Section 5.2).
func (o Origin) Session() Origin {
	o.Version = 0
	return o
}

// A Connection is a c= line: the group, or the host, that a session is sent to.
type Connection struct {
	Addr netip.Addr
	TTL  uint8 // of IPv4 multicast: "the TTL value MUST NOT be present for "IP6" multicast" (RFC 8866, Section 5.7)
}

// An Attribute is an a= line. Value is empty for one that is only named.
type Attribute struct{ Name, Value string }

// A Media is an m= line and what follows it.
type Media struct {
	Type       string // such as application
	Port       uint16
	Proto      string // such as udp
	Formats    []string
	Connection Connection // zero: that of the session
	Attributes []Attribute
}

// A SourceFilter is the attribute of that name (RFC 4570).
type SourceFilter struct {
	Exclude bool       // mode excl; otherwise incl
	Dest    netip.Addr // the group; zero: all (*)
	Sources []netip.Addr
}

// Value returns the value of the attribute name, "" if it has none or is not there.
func Value(attributes []Attribute, name string) string {
	for _, a := range attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// ConnectionOf returns where a medium is sent: "the media-level values override the session-level settings" (RFC 8866,
// Section 5.7).
func (d *Description) ConnectionOf(m *Media) Connection {
	if m.Connection.Addr.IsValid() {
		return m.Connection
	}
	return d.Connection
}

// FilterOf returns the source filter of a medium: "A media-level source-filter will always completely override a
// session-level source-filter" (RFC 4570, Section 3.1). Without one, ok is false.
func (d *Description) FilterOf(m *Media) (f SourceFilter, ok bool) {
	group := d.ConnectionOf(m).Addr
	for _, level := range [][]Attribute{m.Attributes, d.Attributes} {
		for _, a := range level {
			if a.Name != sourceFilter {
				continue
			}
			if f, err := parseFilter(a.Value); err == nil && (!f.Dest.IsValid() || f.Dest == group) {
				return f, true // Parse has seen that it can be read
			}
		}
	}
	return SourceFilter{}, false
}

const sourceFilter = "source-filter"

// Attribute returns f as it is written: "a=source-filter: <filter-mode> <filter-spec>" (RFC 4570, Section 3).
func (f SourceFilter) Attribute() Attribute {
	mode, kind, dest := "incl", "*", "*"
	if f.Exclude {
		mode = "excl"
	}
	if f.Dest.IsValid() {
		dest = f.Dest.String()
	}
	var b strings.Builder
	for _, s := range f.Sources {
		kind = addrType(s.Is6())
		b.WriteString(" " + s.String())
	}
	return Attribute{sourceFilter, " " + mode + " IN " + kind + " " + dest + b.String()}
}

func addrType(ip6 bool) string {
	if ip6 {
		return "IP6"
	}
	return "IP4"
}

// ntpEpoch is what Unix time is less than SDP's: "To convert these values to Unix time (UTC), subtract decimal 2208988800"
// (RFC 8866, Section 5.9).
const ntpEpoch = 2208988800

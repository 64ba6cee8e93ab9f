package sdp

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The order of lines (RFC 8866, Section 9), in a session and in each of its media, and those that may occur more than once.
// Times repeat as groups, t= with r= and z= behind.
const (
	sessionOrder = "vosiuepcbtrzka"
	mediaOrder   = "micbka"
	repeatable   = "epbtra"
)

// Parse reads a description. It keeps none of b. The error wraps ErrTooLong or ErrMalformed.
func Parse(b []byte) (*Description, error) {
	if len(b) > MaxSize {
		return nil, ErrTooLong
	}
	p := parser{d: new(Description), order: sessionOrder}
	for len(b) > 0 {
		text, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("%w: the last line does not end", ErrMalformed)
		}
		// "the sequence CRLF [...] is used to end a line, although parsers SHOULD be tolerant and also accept lines
		// terminated with a single newline character" (RFC 8866, Section 5).
		text = bytes.TrimSuffix(text, []byte("\r"))
		if err := p.line(text); err != nil {
			return nil, fmt.Errorf("%w: line %.40q: %w", ErrMalformed, text, err)
		}
		b = rest
	}
	if err := p.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return p.d, nil
}

// ParseOrigin reads a single o= line: what a deletion consists of (RFC 2974, Section 6).
func ParseOrigin(b []byte) (Origin, error) {
	text := bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	value, ok := strings.CutPrefix(string(text), "o=")
	if !ok || len(b) > MaxSize || strings.ContainsAny(value, "\r\n\x00") {
		return Origin{}, fmt.Errorf("%w: want one o= line", ErrMalformed)
	}
	o, err := parseOrigin(value)
	if err != nil {
		return o, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return o, nil
}

type parser struct {
	d     *Description
	order string // of the section
	at    int    // where in order the last line is
	seen  string // kinds of the section so far
	times int    // t= lines so far
}

func (p *parser) line(text []byte) error {
	if len(text) < 3 || text[1] != '=' || bytes.ContainsAny(text, "\r\x00") {
		return fmt.Errorf("want <type>=<value>")
	}
	if text[0] == 'm' {
		return p.media(string(text[2:]))
	}
	at := strings.IndexByte(p.order, text[0])
	again := at >= 0 && strings.IndexByte(p.seen, text[0]) >= 0
	// A further t= comes behind the r= and z= of the one before.
	earlier := at < p.at && !(text[0] == 't' && p.at <= strings.IndexByte(p.order, 'z') && again)
	if at < 0 || earlier || again && strings.IndexByte(repeatable, text[0]) < 0 {
		return fmt.Errorf("not at this place")
	}
	if p.at = at; !again {
		p.seen += string(text[0])
	}
	return p.value(text[0], string(text[2:]))
}

// value reads a line other than m=.
func (p *parser) value(kind byte, value string) (err error) {
	connection, attributes := &p.d.Connection, &p.d.Attributes
	if n := len(p.d.Media); n > 0 {
		connection, attributes = &p.d.Media[n-1].Connection, &p.d.Media[n-1].Attributes
	}
	switch kind {
	case 'v':
		if value != "0" {
			err = fmt.Errorf("version %q is not 0", value)
		}
	case 'o':
		p.d.Origin, err = parseOrigin(value)
	case 's':
		if p.d.Name = value; !utf8.ValidString(value) {
			err = fmt.Errorf("not UTF-8")
		}
	case 'c':
		*connection, err = parseConnection(value)
	case 't':
		err = p.time(value)
	case 'a':
		a := Attribute{}
		a.Name, a.Value, _ = strings.Cut(value, ":")
		if !isToken(a.Name) {
			return fmt.Errorf("attribute %.20q", a.Name)
		}
		if a.Name == sourceFilter {
			_, err = parseFilter(a.Value)
		}
		*attributes = append(*attributes, a)
	}
	return err
}

// media begins a section: "m=<media> <port> <proto> <fmt> ..." (RFC 8866, Section 5.14).
func (p *parser) media(value string) error {
	if err := p.endSession(); err != nil {
		return err
	}
	if len(p.d.Media) == maxMedia {
		return fmt.Errorf("more than %d media", maxMedia)
	}
	f := strings.Split(value, " ")
	if len(f) < 4 || !isToken(f[0]) {
		return fmt.Errorf("want <media> <port> <proto> <fmt>")
	}
	port, err := parseUint(f[1], 16)
	if err != nil {
		return fmt.Errorf("port: %w", err)
	}
	for _, t := range append(strings.Split(f[2], "/"), f[3:]...) {
		if !isToken(t) {
			return fmt.Errorf("%.20q", t)
		}
	}
	p.d.Media = append(p.d.Media, Media{Type: f[0], Port: uint16(port), Proto: f[2], Formats: f[3:]})
	p.order, p.at, p.seen = mediaOrder, 0, "m"
	return nil
}

// endSession checks what every session has: v=, o=, s=, t=.
func (p *parser) endSession() error {
	if p.order != sessionOrder {
		return nil
	}
	for _, kind := range "vost" {
		if !strings.ContainsRune(p.seen, kind) {
			return fmt.Errorf("no %c= line before", kind)
		}
	}
	return nil
}

func (p *parser) end() error {
	if err := p.endSession(); err != nil {
		return err
	}
	for i := range p.d.Media {
		// "A session description MUST contain either at least one "c=" line in each media description or a single "c="
		// line at the session level." RFC 8866, Section 5.7.
		if !p.d.ConnectionOf(&p.d.Media[i]).Addr.IsValid() {
			return fmt.Errorf("no c= line for medium %d", i+1)
		}
	}
	return nil
}

// time takes a t= line. A session of several times begins with the first and stops with the last.
func (p *parser) time(value string) error {
	from, to, _ := strings.Cut(value, " ")
	start, err := parseTime(from)
	if err != nil {
		return err
	}
	stop, err := parseTime(to)
	if err != nil {
		return err
	}
	if p.times++; p.times == 1 {
		p.d.Start, p.d.Stop = start, stop
		return nil
	}
	if start.Before(p.d.Start) {
		p.d.Start = start
	}
	if stop.IsZero() || !p.d.Stop.IsZero() && stop.After(p.d.Stop) {
		p.d.Stop = stop
	}
	return nil
}

// parseTime reads seconds since 1900, 0 for none: "POS-DIGIT 9*DIGIT", no more than a Unix time can be here.
func parseTime(s string) (time.Time, error) {
	if s == "0" {
		return time.Time{}, nil
	}
	n, err := parseUint(s, 40)
	if err != nil || len(s) < 10 || s[0] == '0' {
		return time.Time{}, fmt.Errorf("time %.20q", s)
	}
	return time.Unix(int64(n)-ntpEpoch, 0).UTC(), nil
}

func parseOrigin(value string) (o Origin, err error) {
	f := strings.Split(value, " ")
	if len(f) != 6 || !isVisible(f[0]) || !isVisible(f[5]) || f[3] != "IN" {
		return o, fmt.Errorf("want <username> <sess-id> <sess-version> IN <addrtype> <unicast-address>")
	}
	o.Username, o.Host = f[0], f[5]
	if o.ID, err = parseUint(f[1], 64); err == nil {
		o.Version, err = parseUint(f[2], 64)
	}
	if err == nil {
		o.IP6, err = parseAddrType(f[4])
	}
	return o, err
}

// parseConnection reads "IN IP4 group/ttl", "IN IP6 group", or a host of either family.
func parseConnection(value string) (c Connection, err error) {
	f := strings.Split(value, " ")
	if len(f) != 3 || f[0] != "IN" {
		return c, fmt.Errorf("want IN <addrtype> <connection-address>")
	}
	address, ttl, hasTTL := strings.Cut(f[2], "/")
	if c.Addr, err = parseAddr(address, f[1]); err != nil {
		return c, err
	}
	// "Sessions using an "IP4" multicast connection address MUST also have a time to live (TTL) value present", and no
	// others (RFC 8866, Section 5.7). What follows another slash would be several groups.
	if wantTTL := c.Addr.Is4() && c.Addr.IsMulticast(); hasTTL != wantTTL {
		return c, fmt.Errorf("%s has a TTL behind a slash, or lacks it", f[2])
	}
	if hasTTL {
		n, err := parseUint(ttl, 8)
		if err != nil || len(ttl) > 1 && ttl[0] == '0' {
			return c, fmt.Errorf("TTL %.10q", ttl)
		}
		c.TTL = uint8(n)
	}
	return c, nil
}

// parseFilter reads a source filter with addresses; names are not resolved.
func parseFilter(value string) (f SourceFilter, err error) {
	w := strings.Split(strings.TrimPrefix(value, " "), " ")
	if len(w) < 5 || w[0] != "incl" && w[0] != "excl" || w[1] != "IN" {
		return f, fmt.Errorf("want <filter-mode> IN <address-types> <dest-address> <src-list>")
	}
	f.Exclude = w[0] == "excl"
	if w[3] != "*" {
		if f.Dest, err = parseAddr(w[3], w[2]); err != nil {
			return f, err
		}
	}
	for _, s := range w[4:] {
		a, err := netip.ParseAddr(s)
		if err == nil && w[2] != "*" {
			a, err = parseAddr(s, w[2])
		}
		if err != nil || a.IsMulticast() || a.Zone() != "" {
			return f, fmt.Errorf("source %.40q", s)
		}
		f.Sources = append(f.Sources, a)
	}
	return f, nil
}

func parseAddr(s, kind string) (netip.Addr, error) {
	ip6, err := parseAddrType(kind)
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.Is6() != ip6 {
		return netip.Addr{}, fmt.Errorf("%.40q is not an address of type %s", s, kind)
	}
	return a, nil
}

func parseAddrType(s string) (ip6 bool, err error) {
	if s != "IP4" && s != "IP6" {
		return false, fmt.Errorf("address type %.10q", s)
	}
	return s == "IP6", nil
}

// parseUint reads 1*DIGIT: strconv alone would take a sign.
func parseUint(s string, bits int) (uint64, error) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("%.20q is not a number", s)
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%.20q is not a number of %d bits", s, bits)
	}
	return n, nil
}

// isToken reports whether s is 1*token-char (RFC 8866, Section 9).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isVisible reports whether s is a non-ws-string.
func isVisible(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return s != ""
}

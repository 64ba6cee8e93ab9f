package sdp

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AppendText appends the description as it is sent. The error says what cannot be written: it is a mistake of the caller.
func (d *Description) AppendText(b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, "v=0\r\n"...)
	b = d.Origin.AppendText(b)
	b = line(b, 's', d.Name)
	if d.Connection.Addr.IsValid() {
		b = d.Connection.append(b)
	}
	b = line(b, 't', stamp(d.Start)+" "+stamp(d.Stop))
	b = appendAttributes(b, d.Attributes)
	for i := range d.Media {
		m := &d.Media[i]
		b = line(b, 'm', fmt.Sprintf("%s %d %s %s", m.Type, m.Port, m.Proto, strings.Join(m.Formats, " ")))
		if m.Connection.Addr.IsValid() {
			b = m.Connection.append(b)
		}
		b = appendAttributes(b, m.Attributes)
	}
	// Nobody else has to be asked what is malformed.
	if _, err := Parse(b[start:]); err != nil {
		return b[:start], fmt.Errorf("the session cannot be described: %w", err)
	}
	return b, nil
}

// AppendText appends the o= line, which is also what deletes a session (RFC 2974, Section 6).
func (o Origin) AppendText(b []byte) []byte {
	return line(b, 'o', fmt.Sprintf("%s %d %d IN %s %s", o.Username, o.ID, o.Version, addrType(o.IP6), o.Host))
}

func (c Connection) append(b []byte) []byte {
	value := "IN " + addrType(c.Addr.Is6()) + " " + c.Addr.String()
	if c.Addr.Is4() && c.Addr.IsMulticast() {
		value += "/" + strconv.Itoa(int(c.TTL))
	}
	return line(b, 'c', value)
}

func appendAttributes(b []byte, attributes []Attribute) []byte {
	for _, a := range attributes {
		if a.Value == "" {
			b = line(b, 'a', a.Name)
		} else {
			b = line(b, 'a', a.Name+":"+a.Value)
		}
	}
	return b
}

func line(b []byte, kind byte, value string) []byte {
	return append(append(append(b, kind, '='), value...), '\r', '\n')
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix()+ntpEpoch, 10)
}

package sdp

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	start = time.Date(2018, 1, 8, 10, 0, 0, 0, time.UTC)
	stop  = time.Date(2018, 1, 8, 11, 0, 0, 0, time.UTC)
)

// session is one of ours; the times are those of the example in RFC 8866, Section 5.9.
func session(group, source string) *Description {
	g, s := netip.MustParseAddr(group), netip.MustParseAddr(source)
	d := &Description{
		Origin: OriginAt(s, 42, 3), Name: "router 2.1", Start: start, Stop: stop,
		Connection: Connection{Addr: g},
		Attributes: []Attribute{SourceFilter{Dest: g, Sources: []netip.Addr{s}}.Attribute(), {Name: "recvonly"}},
		Media: []Media{{Type: "application", Port: 6003, Proto: "udp", Formats: []string{"octet-stream"},
			Attributes: []Attribute{{"norm-node", "77"}}}},
	}
	if g.Is4() {
		d.Connection.TTL = 16
	}
	return d
}

// X8866-5.7-01
func TestGoldenDescriptions(t *testing.T) {
	for _, test := range []struct{ group, source, want string }{
		{"232.3.4.5", "192.0.2.10", "v=0\r\n" +
			"o=- 42 3 IN IP4 192.0.2.10\r\n" +
			"s=router 2.1\r\n" +
			"c=IN IP4 232.3.4.5/16\r\n" + // group/ttl
			"t=3724394400 3724398000\r\n" +
			"a=source-filter: incl IN IP4 232.3.4.5 192.0.2.10\r\n" +
			"a=recvonly\r\n" +
			"m=application 6003 udp octet-stream\r\n" + // the port
			"a=norm-node:77\r\n"},
		{"ff3e::8000:1", "2001:db8::10", "v=0\r\n" +
			"o=- 42 3 IN IP6 2001:db8::10\r\n" +
			"s=router 2.1\r\n" +
			"c=IN IP6 ff3e::8000:1\r\n" + // without ttl
			"t=3724394400 3724398000\r\n" +
			"a=source-filter: incl IN IP6 ff3e::8000:1 2001:db8::10\r\n" +
			"a=recvonly\r\n" +
			"m=application 6003 udp octet-stream\r\n" +
			"a=norm-node:77\r\n"},
	} {
		d := session(test.group, test.source)
		got, err := d.AppendText(nil)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v, wrote\n%s\nwant\n%s", test.group, err, got, test.want)
		}
		for name, text := range map[string]string{"CRLF": test.want, "LF": strings.ReplaceAll(test.want, "\r", "")} {
			read, err := Parse([]byte(text))
			if err != nil || !reflect.DeepEqual(read, d) {
				t.Errorf("%s, %s: read %+v, %v; want %+v", test.group, name, read, err, d)
				continue
			}
			m := &read.Media[0]
			f, ok := read.FilterOf(m)
			if c := read.ConnectionOf(m); c != d.Connection || m.Port != 6003 || !ok || f.Exclude || len(f.Sources) != 1 || f.Sources[0].String() != test.source {
				t.Errorf("%s: sent to %v port %d, filter %v", test.group, c, m.Port, f)
			}
		}
		// Nothing that is cut off passes for the whole, and nothing makes it fail otherwise than by an error.
		for n := range len(test.want) - 1 {
			if short, err := Parse([]byte(test.want[:n])); err == nil && reflect.DeepEqual(short, d) {
				t.Errorf("%s: the first %d bytes are as good as all", test.group, n)
			}
		}
	}
}

// What others announce is read, with what does not matter here passed over: the examples of RFC 8866, Section 5, and RFC 4570,
// Section 3.2.
func TestForeignDescription(t *testing.T) {
	d, err := Parse([]byte("v=0\r\no=jdoe 3724394400 3724394405 IN IP4 host.example.com\r\ns=Call\r\ni=An SDP\r\nu=https://www.example.com/\r\n" +
		"e=jane@example.com (Jane Doe)\r\np=+1 617 555-6011\r\nc=IN IP4 198.51.100.1\r\nb=AS:128\r\nt=3724394400 3724398000\r\nr=7d 1h 0 25h\r\n" +
		"z=3730928400 -1h\r\nt=3724484400 3724488000\r\nk=prompt\r\na=recvonly\r\na=source-filter: incl IN IP4 * 192.0.2.10\r\n" +
		"m=audio 49170 RTP/AVP 0 8\r\nb=AS:64\r\na=rtpmap:0 PCMU/8000\r\nm=video 51372 RTP/AVP 99\r\nc=IN IP6 2001:db8::2\r\n" +
		"a=source-filter: excl IN IP6 2001:db8::2 2001:db8::9\r\na=rtpmap:99 h263-1998/90000\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d.Origin != (Origin{"jdoe", 3724394400, 3724394405, false, "host.example.com"}) || !d.Start.Equal(start) ||
		!d.Stop.Equal(time.Unix(3724488000-ntpEpoch, 0)) || len(d.Media) != 2 {
		t.Errorf("read %+v", d)
	}
	audio, video := &d.Media[0], &d.Media[1]
	if f, ok := d.FilterOf(audio); !ok || f.Exclude || f.Dest.IsValid() || d.ConnectionOf(audio).Addr.String() != "198.51.100.1" {
		t.Errorf("audio: filter %+v, connection %v", f, d.ConnectionOf(audio))
	}
	if f, ok := d.FilterOf(video); !ok || !f.Exclude || d.ConnectionOf(video).Addr.String() != "2001:db8::2" || Value(video.Attributes, "rtpmap") != "99 h263-1998/90000" {
		t.Errorf("video: filter %+v, connection %v", f, d.ConnectionOf(video))
	}
}

func TestWhatIsNotReadIsRefused(t *testing.T) {
	const head, body = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=x\n", "t=0 0\nm=application 6003 udp octet-stream\n"
	good := head + "c=IN IP4 239.1.2.3/1\n" + body
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":             "",
		"version":           strings.Replace(good, "v=0", "v=1", 1),
		"no origin":         strings.Replace(good, "o=- 1 1 IN IP4 192.0.2.1\n", "", 1),
		"no name":           strings.Replace(good, "s=x", "s=", 1),
		"no time":           strings.Replace(good, "t=0 0\n", "", 1),
		"no c=":             head + body,
		"order":             strings.Replace(good, "s=x\nc=IN IP4 239.1.2.3/1\n", "c=IN IP4 239.1.2.3/1\ns=x\n", 1),
		"twice":             strings.Replace(good, "s=x\n", "s=x\ns=y\n", 1),
		"unknown line":      strings.Replace(good, "s=x\n", "s=x\nx=y\n", 1),
		"space":             strings.Replace(good, "s=x", "s =x", 1),
		"last line open":    strings.TrimSuffix(good, "\n"),
		"NUL":               strings.Replace(good, "s=x", "s=x\x00", 1),
		"lone CR":           strings.Replace(good, "s=x", "s=x\ry", 1),
		"IPv4 without TTL":  strings.Replace(good, "/1", "", 1),
		"IPv6 with TTL":     strings.Replace(good, "IP4 239.1.2.3/1", "IP6 ff15::1/1", 1),
		"TTL 256":           strings.Replace(good, "/1", "/256", 1),
		"layers":            strings.Replace(good, "/1", "/1/3", 1),
		"other family":      strings.Replace(good, "IP4 239.1.2.3/1", "IP6 239.1.2.3/1", 1),
		"name in c=":        strings.Replace(good, "239.1.2.3/1", "host.example.com", 1),
		"zone":              strings.Replace(good, "IP4 239.1.2.3/1", "IP6 ff12::1%eth0", 1),
		"port":              strings.Replace(good, "6003", "65536", 1),
		"port range":        strings.Replace(good, "6003", "6003/2", 1),
		"signed number":     strings.Replace(good, "- 1 1", "- +1 1", 1),
		"number of 65 bits": strings.Replace(good, "- 1 1", "- 1 18446744073709551616", 1),
		"no format":         strings.Replace(good, " octet-stream", "", 1),
		"filter":            good + "a=source-filter: incl IN IP4 239.1.2.3\n",
		"filter's source":   good + "a=source-filter: incl IN IP4 239.1.2.3 host.example.com\n",
		"filter's group":    good + "a=source-filter: incl IN IP4 239.1.2.3/1 192.0.2.1\n",
		"too many media":    good + strings.Repeat("m=application 6003 udp octet-stream\n", 8),
	} {
		if d, err := Parse([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v; want ErrMalformed", name, d, err)
		}
	}
	if _, err := Parse([]byte(good + "a=x:" + strings.Repeat("y", MaxSize) + "\n")); !errors.Is(err, ErrTooLong) {
		t.Errorf("more than %d bytes: %v", MaxSize, err)
	}
	d := session("239.1.2.3", "192.0.2.1")
	d.Name = "two\r\nlines"
	if b, err := d.AppendText([]byte("before")); err == nil || string(b) != "before" {
		t.Errorf("a name of two lines was written: %q, %v", b, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, group := range []string{"232.3.4.5", "ff3e::8000:1"} {
		b, _ := session(group, map[bool]string{true: "2001:db8::1", false: "192.0.2.1"}[strings.Contains(group, ":")]).AppendText(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if o, err := ParseOrigin(in); err == nil {
			if again, err := ParseOrigin(o.AppendText(nil)); err != nil || again != o {
				t.Errorf("origin %+v became %+v, %v", o, again, err)
			}
		}
		d, err := Parse(in)
		if err != nil {
			if d != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLong) {
				t.Errorf("%+v, %v", d, err)
			}
			return
		}
		out, err := d.AppendText(nil)
		if errors.Is(err, ErrTooLong) {
			return // numbers and addresses may have been written shorter
		}
		again, err2 := Parse(out)
		if err != nil || err2 != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("%q\nread    %+v\nwrote   %q, %v\nread it %+v, %v", in, d, out, err, again, err2)
		}
	})
}

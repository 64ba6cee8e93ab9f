package sap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/discovery/sdp"
)

var (
	host  = netip.MustParseAddr("192.0.2.1")
	other = netip.MustParseAddr("192.0.2.2")
	t0    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// describe returns a description of session id in a version.
func describe(id, version uint64) *sdp.Description {
	return &sdp.Description{Origin: sdp.OriginAt(host, id, version), Name: "s", Start: t0, Stop: t0.AddDate(0, 1, 0),
		Connection: sdp.Connection{Addr: netip.AddrFrom4([4]byte{239, 1, byte(id >> 8), byte(id)}), TTL: 1},
		Media:      []sdp.Media{{Type: "application", Port: 6003, Proto: "udp", Formats: []string{"octet-stream"}}}}
}

func announce(t testing.TB, id, version uint64, change func(*Packet)) []byte {
	t.Helper()
	text, err := describe(id, version).AppendText(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := Packet{Hash: uint16(100*id + version), Source: host, Payload: text}
	if change != nil {
		change(&p)
	}
	b, err := p.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func deletion(t testing.TB, id, version uint64) []byte {
	return announce(t, id, version, func(p *Packet) {
		p.Delete, p.Payload = true, describe(id, version).Origin.AppendText(nil)
	})
}

// X2974-3-01: the groups, the port, the default limit and the payload type.
func TestGroupsOfScopes(t *testing.T) {
	for group, want := range map[string]string{
		"224.2.128.1": "224.2.127.254:9875", "224.2.255.255": "224.2.127.254:9875", "232.1.2.3": "224.2.127.254:9875",
		"239.255.1.1": "239.255.255.255:9875", "239.192.0.1": "239.195.255.255:9875", "239.1.2.3": "239.195.255.255:9875",
		"ff02::1234:5678": "[ff02::2:7ffe]:9875", "ff15::1": "[ff05::2:7ffe]:9875", "ff3e::8000:1": "[ff0e::2:7ffe]:9875", "ff08::9": "[ff08::2:7ffe]:9875",
	} {
		got, err := Group(netip.MustParseAddr(group))
		if err != nil || got.String() != want {
			t.Errorf("%s is announced on %v, %v; want %s", group, got, err, want)
		}
		found := false
		for _, g := range Groups() {
			found = found || g == got
		}
		if !found {
			t.Errorf("%v is not listened on", got)
		}
	}
	for _, group := range []string{"10.0.0.1", "2001:db8::1", "224.0.0.9"} {
		if got, err := Group(netip.MustParseAddr(group)); err == nil {
			t.Errorf("%s is announced on %v", group, got)
		}
	}
	if b := announce(t, 1, 1, nil); DefaultLimit != 4000 || !bytes.Contains(b, []byte("application/sdp\x00v=0")) {
		t.Errorf("limit %d, packet %q", DefaultLimit, b)
	}
}

func TestGoldenPackets(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const sdpType = "6170706c69636174696f6e2f736470 00" // application/sdp
	for _, test := range []struct {
		name, hex string
		want      Packet
	}{
		// V A R T E C, auth len, msg id hash, originating source, payload type, payload
		{"announcement", "20 00 beef c0000201" + sdpType + "763d30", Packet{Hash: 0xbeef, Source: host, Payload: []byte("v=0")}},
		{"deletion", "24 00 beef c0000201" + sdpType + "6f3d", Packet{Delete: true, Hash: 0xbeef, Source: host, Payload: []byte("o=")}},
		{"IPv6", "30 00 0001 20010db8000000000000000000000001" + sdpType + "763d30",
			Packet{Hash: 1, Source: netip.MustParseAddr("2001:db8::1"), Payload: []byte("v=0")}},
	} {
		b := unhex(test.hex)
		got, err := test.want.AppendBinary(nil)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: wrote %x, %v; want %x", test.name, got, err, b)
		}
		var p Packet
		if err := p.Parse(b); err != nil || fmt.Sprint(p) != fmt.Sprint(test.want) {
			t.Errorf("%s: read %+v, %v", test.name, p, err)
		}
		for n := range len(b) - len(test.want.Payload) {
			if err := p.Parse(b[:n]); err == nil {
				t.Errorf("%s: the first %d bytes were read: %+v", test.name, n, p)
			}
		}
	}
	// What others may send.
	for name, in := range map[string]string{
		"no payload type":     "20 00 beef c0000201 763d30",
		"reserved bit":        "28 00 beef c0000201 763d30",
		"authentication data": "20 02 beef c0000201 0011223344556677" + sdpType + "763d30",
		"APPLICATION/SDP":     "20 00 beef c0000201 4150504c49434154494f4e2f534450 00 763d30",
	} {
		var p Packet
		if err := p.Parse(unhex(in)); err != nil || string(p.Payload) != "v=0" || p.Hash != 0xbeef || p.Source != host || len(p.Auth) != 4*int(unhex(in)[1]) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for name, test := range map[string]struct {
		hex  string
		want error
	}{
		"version 0":     {"00 00 0000 c0000201 763d30", ErrVersion},
		"version 2":     {"40 00 beef c0000201 763d30", ErrVersion},
		"encrypted":     {"22 00 beef c0000201 00000000", ErrEncrypted},
		"compressed":    {"21 00 beef c0000201 789c", ErrCompressed},
		"no hash":       {"20 00 0000 c0000201 763d30", ErrSource},
		"no source":     {"20 00 beef 00000000 763d30", ErrSource},
		"other type":    {"20 00 beef c0000201 746578742f706c61696e 00 763d30", ErrType},
		"no type's end": {"20 00 beef c0000201 6170706c69636174696f6e2f736470", ErrType},
		"auth too long": {"20 ff beef c0000201 763d30", ErrTruncated},
		"too long":      {"20 00 beef c0000201 763d30" + strings.Repeat("00", sdp.MaxSize), ErrTooLong},
	} {
		var p Packet
		if err := p.Parse(unhex(test.hex)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// run drives an announcer until the time, and returns when it sent, from t0 on, and what.
func run(a *Announcer, until time.Time) (at []time.Duration, sent []Packet) {
	for next := a.Deadline(); !next.IsZero() && !next.After(until); next = a.Deadline() {
		if b, ok := a.Poll(next, nil); ok {
			var p Packet
			p.Parse(b)
			at, sent = append(at, next.Sub(t0)), append(sent, p)
		}
	}
	return at, sent
}

func newAnnouncer(t *testing.T, seed uint64) *Announcer {
	t.Helper()
	a, err := NewAnnouncer(AnnouncerConfig{Source: host, Rand: rand.New(rand.NewPCG(seed, 0))}, t0, describe(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// X2974-3-01: "interval = max(300; (8*no_of_ads*ad_size)/limit)", "offset = rand(interval * 2/3) - (interval/3)".
func TestAnnouncementInterval(t *testing.T) {
	gaps := func(others int) (shortest, longest, mean time.Duration, size int) {
		a := newAnnouncer(t, 1)
		for i := range others {
			from := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			a.Handle(t0, from, announce(t, uint64(1000+i), 1, func(p *Packet) { p.Source = from }))
		}
		if n := a.Others().Announcements(); n != others {
			t.Fatalf("%d others are known, want %d", n, others)
		}
		size = len(a.announcement.bytes)
		a.Poll(t0, nil)
		a.announcement.left = 0 // what is new is the next test
		last := t0
		a.tp, a.announcement.at = last, a.next()
		shortest = time.Hour
		for range 2000 {
			at := a.next()
			gap := at.Sub(a.tp)
			shortest, longest, mean = min(shortest, gap), max(longest, gap), mean+gap/2000
			a.tp, a.u = at, a.cfg.Rand.Float64()
		}
		return shortest, longest, mean, size
	}
	for _, others := range []int{0, 200, 255} {
		shortest, longest, mean, size := gaps(others)
		want := time.Duration(max(300, float64(8*(others+1)*size)/4000) * float64(time.Second))
		near := func(got, want time.Duration) bool { return got > want*98/100 && got < want*102/100 }
		if !near(shortest, want*2/3) || !near(longest, want*4/3) || !near(mean, want) {
			t.Errorf("%d others of %d bytes: intervals %v to %v, mean %v; want %v ± 1/3", others, size, shortest, longest, mean, want)
		}
	}
}

func TestNewsIsRepeatedAtOnce(t *testing.T) {
	a := newAnnouncer(t, 2)
	at, sent := run(a, t0.Add(time.Hour))
	if at[0] != 0 || at[1] != time.Second || at[2] != 2*time.Second || at[3] < 202*time.Second || at[3] > 402*time.Second || len(at) < 9 || len(at) > 18 {
		t.Errorf("sent after %v; want three times at once, then each 200 s to 400 s", at)
	}
	for _, p := range sent {
		if p.Delete || p.Hash != sent[0].Hash || p.Hash == 0 || p.Source != host {
			t.Errorf("sent %+v", p)
		}
	}
	end := t0.Add(2 * time.Hour)
	a.Delete(end)
	at, sent = run(a, end.Add(time.Hour))
	if len(sent) != 3 || at[2]-at[0] != 2*time.Second || !a.Done() || a.Deadline() != (time.Time{}) {
		t.Fatalf("deleted after %v, done %v", at, a.Done())
	}
	for _, p := range sent {
		if o, err := sdp.ParseOrigin(p.Payload); !p.Delete || err != nil || o != describe(1, 1).Origin {
			t.Errorf("deletion %+v, %v", p, err)
		}
	}
	other, err := NewAnnouncer(AnnouncerConfig{Source: host, Rand: rand.New(rand.NewPCG(1, 1))}, t0, describe(1, 2))
	if err != nil || other.hash == a.hash {
		t.Errorf("a modified session has the hash %d of the old one, %v", a.hash, err)
	}
}

// "At time tn the announcer SHOULD recalculate the next transmission time." RFC 2974, Section 3.1.
func TestAnnouncerReconsiders(t *testing.T) {
	a := newAnnouncer(t, 3)
	run(a, t0.Add(3*time.Second))
	due := a.Deadline()
	for i := range 255 { // a partition heals: many are heard at once
		from := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		b := announce(t, uint64(1000+i), 1, func(p *Packet) {
			p.Source = from
			p.Payload = append(p.Payload, "a=x:"+strings.Repeat("y", 500)+"\r\n"...)
		})
		a.Handle(due.Add(-time.Second), from, b)
	}
	a.announcement.bytes = append(a.announcement.bytes, make([]byte, 800)...)
	if _, ok := a.Poll(due, nil); ok || !a.Deadline().After(due) {
		t.Errorf("it was sent at %v although there are 256 sessions; next at %v", due, a.Deadline())
	}
	if _, ok := a.Poll(a.Deadline(), nil); !ok {
		t.Error("it was not sent at the new time")
	}
}

// A heard is what a listener is told, in short.
func heard(l *Listener) (got []string) {
	for e := range l.Events() {
		got = append(got, fmt.Sprintf("%d.%d from %v", e.Description.Origin.ID, e.Description.Origin.Version, e.From))
	}
	return got
}

func TestListenerKeepsTheNewestVersion(t *testing.T) {
	l := NewListener(ListenerConfig{})
	step := func(what string, b []byte, from netip.Addr, want string, ads int) {
		t.Helper()
		l.Handle(t0, from, b)
		if got := strings.Join(heard(l), ", "); got != want || l.Announcements() != ads {
			t.Errorf("%s: told %q, %d announcements; want %q, %d", what, got, l.Announcements(), want, ads)
		}
	}
	step("new", announce(t, 1, 5, nil), host, "1.5 from 192.0.2.1", 1)
	step("again", announce(t, 1, 5, nil), host, "", 1)
	step("older", announce(t, 1, 4, nil), host, "", 1)
	step("modified", announce(t, 1, 6, nil), host, "1.6 from 192.0.2.1", 1)
	step("the same version with another content", announce(t, 1, 6, func(p *Packet) { p.Payload = bytes.Replace(p.Payload, []byte("s=s"), []byte("s=z"), 1) }), host, "", 1)
	step("from elsewhere it is another one", announce(t, 1, 7, nil), other, "1.7 from 192.0.2.2", 2)
	step("deletion of an old version", deletion(t, 1, 5), host, "", 2)
	step("deletion from elsewhere, of what is not announced there", deletion(t, 2, 9), other, "", 2)
	step("deletion", deletion(t, 1, 6), host, "", 1)
	step("replayed after that", announce(t, 1, 6, nil), host, "", 1)
	step("announced anew", announce(t, 1, 8, nil), host, "1.8 from 192.0.2.1", 2)
	if s := l.Stats(); s.Stale != 3 || s.Deleted != 1 || s.NotDeleted != 2 || s.Announced != 4 {
		t.Errorf("counted %+v", s)
	}
	if !l.Uses(netip.MustParseAddr("239.1.0.1")) || l.Uses(netip.MustParseAddr("239.1.0.2")) {
		t.Error("which groups are in use is not known")
	}
}

func TestListenerForgets(t *testing.T) {
	l := NewListener(ListenerConfig{})
	l.Handle(t0, host, announce(t, 1, 1, nil))
	l.Advance(t0.Add(time.Hour)) // ten intervals of 300 s are less than an hour
	if l.Announcements() != 1 {
		t.Error("forgotten within the hour")
	}
	l.Advance(t0.Add(time.Hour + time.Second))
	if l.Announcements() != 0 || l.Stats().Expired != 1 {
		t.Errorf("still known after an hour: %+v", l.Stats())
	}
	l.Handle(t0, host, announce(t, 1, 1, nil))
	l.Advance(describe(1, 1).Stop.Add(time.Second))
	if l.Announcements() != 0 {
		t.Error("still known after its stop time")
	}
}

// TestAttackDeletionBelongsToTheAnnouncer: nobody else can delete a session.
func TestAttackDeletionBelongsToTheAnnouncer(t *testing.T) {
	l := NewListener(ListenerConfig{})
	l.Handle(t0, host, announce(t, 1, 1, nil))
	authentic := deletion(t, 1, 1)
	authentic[1] = 1 // four bytes of authentication data, where the announcement had none
	authentic = append(authentic[:8:8], append(make([]byte, 4), authentic[8:]...)...)
	for name, b := range map[string][]byte{"from elsewhere": deletion(t, 1, 1), "signed by nobody": authentic} {
		from := other
		if name != "from elsewhere" {
			from = host
		}
		if l.Handle(t0, from, b); l.Announcements() != 1 {
			t.Errorf("%s: deleted", name)
		}
	}
}

// TestAttackFloodIsBounded: however many sessions are made up, memory is bounded, and a true one is still heard.
func TestAttackFloodIsBounded(t *testing.T) {
	l := NewListener(ListenerConfig{})
	long := func(p *Packet) { p.Payload = append(p.Payload, "a=x:"+strings.Repeat("y", 700)+"\r\n"...) }
	for i := range 5000 {
		from := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		if i%2 == 0 {
			from = other
		}
		l.Handle(t0.Add(time.Duration(i)*time.Millisecond), from, announce(t, uint64(i), 1, long))
		if len(l.entries) > 256 || l.bytes > 128<<10 || l.sources[other] > 16 || len(l.sources) > 256 {
			t.Fatalf("after %d: %d entries, %d bytes, %d of one source", i, len(l.entries), l.bytes, l.sources[other])
		}
	}
	for range l.Events() {
	}
	l.Handle(t0.Add(time.Minute), host, announce(t, 9999, 1, nil))
	if got := heard(l); len(got) != 1 {
		t.Errorf("the true one among 5000 false: told %v", got)
	}
	a := newAnnouncer(t, 1)
	a.others = l
	if i := interval(a.Others().Announcements()+1, MaxPacket, DefaultLimit); i > 530*time.Second {
		t.Errorf("false sessions put off true announcements to each %v", i)
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(announce(f, 1, 1, nil))
	f.Add(deletion(f, 1, 1))
	f.Add(announce(f, 1, 1, func(p *Packet) { p.Source = netip.MustParseAddr("2001:db8::1") }))
	f.Fuzz(func(t *testing.T, in []byte) {
		var p, again Packet
		if p.Parse(in) == nil {
			if out, err := p.AppendBinary(nil); err == nil {
				p.Auth = nil
				// A payload without a type can begin with anything after v=0; with one it is told by the type.
				if err := again.Parse(out); err != nil || again.Delete != p.Delete || again.Hash != p.Hash || again.Source != p.Source || !bytes.Equal(again.Payload, p.Payload) {
					t.Errorf("%x\nread    %+v\nread it %+v, %v", in, p, again, err)
				}
			}
		}
		l := NewListener(ListenerConfig{MaxEntries: 2, MaxPerSource: 1, MaxBytes: 1 << 10})
		for i, b := range [][]byte{announce(t, 1, 1, nil), in, deletion(t, 1, 1), in} {
			l.Handle(t0.Add(time.Duration(i)*time.Minute), host, b)
			if len(l.entries) > 2 || l.bytes > 1<<10 || l.Announcements() > len(l.entries) {
				t.Errorf("%d entries, %d bytes", len(l.entries), l.bytes)
			}
		}
	})
}

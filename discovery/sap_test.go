package discovery

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/discovery/sap"
	"github.com/multicast-upgrade/tool/discovery/sdp"
	"github.com/multicast-upgrade/tool/internal/tshark"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest/hub"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/trace"
)

func testSession(group string, serial uint64) *manifest.Session {
	start := time.Date(2026, 12, 24, 2, 0, 0, 0, time.UTC)
	return &manifest.Session{
		Campaign: manifest.CampaignID{0xab, 1}, Serial: serial, Issued: start, Expires: start.AddDate(0, 0, 7), Manifest: manifest.Digest{9},
		Group: netip.MustParseAddrPort(group), NodeID: 77, Objects: manifest.ObjectsFor(1),
		FEC:   manifest.FEC{ID: 5, BlockSize: 64, Parity: 32, SegmentSize: 1400, Dialect: manifest.DialectRFC},
		Start: start, VoteDeadline: start.Add(time.Hour), Hold: time.Hour, Report: "https://192.0.2.1:8443",
	}
}

func testAnnouncement(t *testing.T, key *manifest.PrivateKey, serial uint64) *Announcement {
	t.Helper()
	a := NewAnnouncement(testSession("239.1.2.3:6003", serial), key.Public(), "router 2.1")
	a.TTL, a.GroupSize = 1, 500
	return &a
}

// X8866-5.7-01
func TestAnnouncementSurvivesSDP(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	for _, test := range []struct{ group, source, host string }{
		{"239.1.2.3:6003", "", "192.0.2.1"}, {"232.1.2.3:6003", "192.0.2.1", "192.0.2.1"},
		{"[ff15::7]:6003", "", "2001:db8::1"}, {"[ff3e::8000:7]:6003", "2001:db8::1", "2001:db8::1"},
	} {
		s := testSession(test.group, 3)
		if test.source != "" {
			s.Source = netip.MustParseAddr(test.source)
		}
		a := NewAnnouncement(s, key.Public(), "router 2.1")
		if a.GroupSize = 500; s.Group.Addr().Is4() {
			a.TTL = 16
		}
		text, err := a.Describe(netip.MustParseAddr(test.host)).AppendText(nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := sdp.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseAnnouncement(d)
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%s: %v, got\n%+v, want\n%+v, from\n%s", test.group, err, got, a, text)
		}
		if got.Session != s.Digest() || got.Manifest != s.Manifest || got.Key != key.Public().Fingerprint() || len(text) > 800 {
			t.Errorf("%s: digests or key differ, or %d bytes are many", test.group, len(text))
		}
		// Without any of its attributes it is no campaign.
		for _, line := range strings.SplitAfter(string(text), "\r\n") {
			if !strings.HasPrefix(line, "a=upgrade-rendezvous") && !strings.HasPrefix(line, "a=upgrade-server") && !strings.HasPrefix(line, "a=source") && strings.HasPrefix(line, "a=") {
				if d, err := sdp.Parse(bytes.Replace(text, []byte(line), nil, 1)); err != nil {
					t.Error(err)
				} else if got, err := ParseAnnouncement(d); err == nil {
					t.Errorf("without %q it is still %+v", line, got)
				}
			}
		}
	}
}

// N-1.2-06: group, sender and FTI of a session come from SDP, and an object is received with them: the sender sends no
// EXT_FTI. Its size is what an application has to know from elsewhere, here as from a manifest.
func TestSessionFromAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, err := testAnnouncement(t, generate(t, manifest.RoleServer), 1).Describe(netip.MustParseAddr("192.0.2.1")).AppendText(nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := sdp.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ParseAnnouncement(d)
		if err != nil {
			t.Fatal(err)
		}
		net, content := new(hub.Hub), bytes.Repeat([]byte("firmware"), 50_000)
		tx, err := session.Open(session.Config{Conn: net.Open(netip.MustParseAddrPort("192.0.2.1:7000")), Send: &norm.SenderConfig{
			Node: 77, Instance: 1, Group: netip.MustParseAddrPort("239.1.2.3:6003"), GRTT: 20 * time.Millisecond, GroupSize: 10, Rate: 50e6,
			FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 64, MaxParity: 32}, SegmentSize: 1400, FTI: norm.FTINone}})
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Close()
		rx, err := session.Open(session.Config{Conn: net.Open(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), a.Group.Port())),
			Receive: &norm.ReceiverConfig{Node: 5, Group: a.Group, Sender: norm.NodeID(a.NodeID)}})
		if err != nil {
			t.Fatal(err)
		}
		defer rx.Close()
		sink := make(memory, len(content))
		code := fec.Params{ID: a.FEC.ID, MaxBlockLen: int(a.FEC.BlockSize), MaxParity: int(a.FEC.Parity), SegmentSize: int(a.FEC.SegmentSize)}
		want, err := rx.Expect(t.Context(), norm.Preset{Sender: norm.NodeID(a.NodeID), Kind: norm.Data, Size: int64(len(content)), FEC: code}, sink)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tx.Send(t.Context(), norm.Object{Kind: norm.Data, Size: int64(len(content))}, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		for {
			e, err := rx.Next(t.Context())
			if err != nil || e.Kind == norm.ObjectAborted {
				t.Fatalf("%v, %v", e.Err, err)
			}
			if e.Kind == norm.ObjectComplete && e.Object == want {
				break
			}
		}
		if !bytes.Equal(sink, content) {
			t.Error("received something else")
		}
	})
}

// A memory is a sink.
type memory []byte

func (m memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }
func (m memory) ReadAt(b []byte, off int64) (int, error)  { return copy(b, m[off:]), nil }

// capture returns a file of packets that were sent to a SAP group.
func capture(t *testing.T, packets [][]byte, from netip.Addr, group netip.AddrPort) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := trace.NewWriter(&file, "test")
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.Interface(trace.LinkRaw, "sap", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range packets {
		frame := trace.AppendFrame(nil, trace.Datagram{From: netip.AddrPortFrom(from, 40000), To: group, B: b})
		if err := w.Packet(id, trace.Packet{Time: time.Unix(1, 0), Data: frame}); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

// TestTsharkReadsOurAnnouncements compares field by field what another implementation reads. X2974-3-01, X8866-5.7-01
func TestTsharkReadsOurAnnouncements(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	for _, test := range []struct{ group, source, sap, address, ttl, filter string }{
		{"232.1.2.3:6003", "192.0.2.1", "224.2.127.254", "232.1.2.3", "1", " incl IN IP4 232.1.2.3 192.0.2.1"},
		{"[ff3e::8000:7]:6003", "2001:db8::1", "ff0e::2:7ffe", "ff3e::8000:7", "", " incl IN IP6 ff3e::8000:7 2001:db8::1"},
	} {
		s := testSession(test.group, 3)
		s.Source = netip.MustParseAddr(test.source)
		a := NewAnnouncement(s, key.Public(), "router 2.1")
		if s.Group.Addr().Is4() {
			a.TTL = 1
		}
		group, err := sap.Group(s.Group.Addr())
		if err != nil {
			t.Fatal(err)
		}
		var packets [][]byte
		synctest.Test(t, func(t *testing.T) {
			air := new(hub.Hub)
			air.Lose(func(_, _ netip.AddrPort, b []byte) bool { packets = append(packets, bytes.Clone(b)); return true })
			defer air.Open(netip.MustParseAddrPort("192.0.2.2:9875")).Close()
			announcer, err := AnnounceSAP(air.Open(netip.MustParseAddrPort("192.0.2.1:40000")), s.Source, a)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			announcer.End(t.Context(), true)
		})
		if len(packets) != 6 {
			t.Fatalf("%d packets, want three announcements and three deletions", len(packets))
		}
		d := a.Describe(s.Source)
		want := map[string]string{
			"udp.dstport": "9875", "ip.dst": "", "ipv6.dst": "", "sap.flags.v": "1", "sap.flags.a": "0", "sap.flags.t": "0", "sap.flags.e": "0", "sap.flags.c": "0",
			"sap.auth.len": "0", "sap.originating_source": "", "sap.originating_source.ipv6": "", "sap.payload_type": "application/sdp",
			"sdp.owner.sessionid": fmt.Sprint(d.Origin.ID), "sdp.owner.version": "3", "sdp.owner.address": test.source, "sdp.session_name": "router 2.1",
			"sdp.connection_info.address": test.address, "sdp.connection_info.ttl": test.ttl,
			"sdp.time.start": fmt.Sprint(s.Start.Unix() + 2208988800), "sdp.time.stop": fmt.Sprint(s.Expires.Unix() + 2208988800),
			"sdp.media.media": "application", "sdp.media.port": "6003", "sdp.media.proto": "udp",
		}
		if s.Source.Is4() {
			want["sap.originating_source"], want["ip.dst"] = test.source, test.sap
		} else {
			want["sap.flags.a"], want["sap.originating_source.ipv6"], want["ipv6.dst"] = "1", test.source, test.sap
		}
		fields := append(slices.Sorted(maps.Keys(want)), "sap.message_identifier_hash", "sdp.session_attr", "sdp.media_attr")
		read := tshark.Read(t, capture(t, packets, s.Source, group), nil, fields...)
		if len(read) != len(packets) {
			t.Fatalf("tshark reads %d packets of %d", len(read), len(packets))
		}
		for i, values := range read {
			p := map[string]string{}
			for field, v := range values {
				p[field] = strings.Join(v, ",")
			}
			if i >= 3 { // a deletion: its o= line is all there is
				if p["sap.flags.t"] != "1" || p["sdp.owner.sessionid"] != want["sdp.owner.sessionid"] || p["sdp.session_name"] != "" {
					t.Errorf("%s: deletion %d is %v to tshark", test.group, i, p)
				}
				continue
			}
			for field, w := range want {
				if p[field] != w {
					t.Errorf("%s: %s is %q to tshark, want %q", test.group, field, p[field], w)
				}
			}
			if h := p["sap.message_identifier_hash"]; h == "" || h == "0x0000" || h != read[0]["sap.message_identifier_hash"][0] {
				t.Errorf("%s: message identifier hash %q", test.group, h)
			}
			for _, attr := range []string{"source-filter:" + test.filter, "upgrade-campaign:" + s.Campaign.String() + " 3", "upgrade-session:sha-256 " + s.Digest().String()} {
				if !strings.Contains(p["sdp.session_attr"], attr) {
					t.Errorf("%s: attributes %q lack %q", test.group, p["sdp.session_attr"], attr)
				}
			}
			if !strings.Contains(p["sdp.media_attr"], "norm-node:77") {
				t.Errorf("%s: attributes of the medium %q", test.group, p["sdp.media_attr"])
			}
		}
	}
}

// A hinted device is a client that listens, and a server that counts how often it was asked, in virtual time.
type hinted struct {
	hints *Hints
	polls atomic.Int64
}

func newHinted(t *testing.T, server manifest.PublicKey, devices int) *hinted {
	d := &hinted{hints: NewHints(HintsConfig{Servers: func() []manifest.PublicKey { return []manifest.PublicKey{server} }, GroupSize: devices})}
	h := NewHandler(&backend{})
	c, err := NewClient("http://server", inMemory{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.polls.Add(1)
		h.ServeHTTP(w, r)
	})})
	if err != nil {
		t.Fatal(err)
	}
	c.Hints = d.hints
	go c.Follow(t.Context(), func(*Notice) {}, func(err error) { t.Error(err) })
	synctest.Wait()
	return d
}

func TestHintLeadsToOnePoll(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	synctest.Test(t, func(t *testing.T) {
		d := newHinted(t, key.Public(), 10)
		a := testAnnouncement(t, key, 2)
		before := d.polls.Load()
		if !d.hints.Hear(time.Now(), *a) {
			t.Error("the first announcement is no news")
		}
		time.Sleep(time.Second) // the announcement speaks of 500 devices
		if n := d.polls.Load() - before; n != 1 {
			t.Errorf("%d polls within a second of the announcement, want 1", n)
		}
		// Heard again, though the server did not confirm it: no news for an hour.
		if d.hints.Hear(time.Now(), *a) || !d.hints.Hear(time.Now().Add(askAgain), *a) {
			t.Error("an announcement that the server did not confirm is asked for again at once, or never again")
		}
		d.hints.Know(testSession("239.1.2.3:6003", 2))
		if s := d.hints.Stats(); s.Confirmed != 1 {
			t.Errorf("what the server has signed confirms no hint: %+v", s)
		}
	})
}

func TestWithoutHintsPollsAreRare(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	synctest.Test(t, func(t *testing.T) {
		d := newHinted(t, key.Public(), 10)
		time.Sleep(24 * time.Hour)
		if n := d.polls.Load(); n < 60 || n > 150 {
			t.Errorf("%d polls in a day, want about 96", n)
		}
	})
}

// TestAttackReplayedAnnouncement: a serial that is known, or an older one, is no news, whoever sends it.
func TestAttackReplayedAnnouncement(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	synctest.Test(t, func(t *testing.T) {
		d := newHinted(t, key.Public(), 10)
		d.hints.Know(testSession("239.1.2.3:6003", 5))
		before := d.polls.Load()
		for serial := uint64(1); serial <= 5; serial++ {
			if d.hints.Hear(time.Now(), *testAnnouncement(t, key, serial)) {
				t.Errorf("serial %d is news after serial 5", serial)
			}
		}
		d.hints.Know(testSession("239.1.2.3:6003", 4)) // does not bring it back
		if d.hints.Hear(time.Now(), *testAnnouncement(t, key, 5)) {
			t.Error("the serial went back")
		}
		time.Sleep(time.Minute)
		if n := d.polls.Load() - before; n != 0 {
			t.Errorf("%d polls for replays", n)
		}
	})
}

// TestAttackForeignAnnouncement: what names another server key is none of this device's.
func TestAttackForeignAnnouncement(t *testing.T) {
	key, foreign := generate(t, manifest.RoleServer), generate(t, manifest.RoleServer)
	synctest.Test(t, func(t *testing.T) {
		d := newHinted(t, key.Public(), 10)
		before := d.polls.Load()
		if d.hints.Hear(time.Now(), *testAnnouncement(t, foreign, 1)) {
			t.Error("it is news")
		}
		time.Sleep(time.Minute)
		if n := d.polls.Load() - before; n != 0 || d.hints.Stats().Foreign != 1 {
			t.Errorf("%d polls for a foreign announcement, %+v", n, d.hints.Stats())
		}
	})
}

// TestAttackFloodOfHints: a hundred different forged announcements a second for an hour cost a poll a minute, and a true
// one is not put off by more than that.
func TestAttackFloodOfHints(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	synctest.Test(t, func(t *testing.T) {
		d := newHinted(t, key.Public(), 10)
		before := d.polls.Load()
		forged := *testAnnouncement(t, key, 1)
		forged.GroupSize = 1<<32 - 1 // as if to put all polls off
		for i := range 360_000 {
			forged.Campaign = manifest.CampaignID{1, byte(i), byte(i >> 8), byte(i >> 16)}
			forged.Session = manifest.Digest{byte(i), byte(i >> 8), byte(i >> 16)}
			d.hints.Hear(time.Now(), forged)
			time.Sleep(10 * time.Millisecond)
		}
		if n := d.polls.Load() - before; n < 10 || n > 70 {
			t.Errorf("%d polls in an hour of forged announcements, want at most one a minute and a few", n)
		}
		truly := d.polls.Load()
		d.hints.Hear(time.Now(), *testAnnouncement(t, key, 1))
		time.Sleep(pollEvery + time.Second)
		if d.polls.Load() == truly {
			t.Errorf("a true announcement was not followed within %v", pollEvery)
		}
		if d.hints.mu.Lock(); len(d.hints.asked) > remembered || len(d.hints.pending) > remembered {
			t.Errorf("%d and %d hints are remembered", len(d.hints.asked), len(d.hints.pending))
		}
		d.hints.mu.Unlock()
	})
}

// A fleet hears an announcement in the same instant, and asks in turn, even if the announcement claims that it is small.
func TestAttackStampede(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	now := time.Unix(0, 0)
	a := *testAnnouncement(t, key, 1)
	a.GroupSize = 1
	const devices = 100_000
	perSecond := map[int64]int{}
	for range devices {
		h := NewHints(HintsConfig{Servers: func() []manifest.PublicKey { return []manifest.PublicKey{key.Public()} }, GroupSize: devices})
		h.Hear(now, a)
		at, _ := h.next()
		perSecond[at.Unix()]++
	}
	for second, n := range perSecond {
		if n > 1200 {
			t.Errorf("%d devices ask in second %d, want about 1000", n, second)
		}
	}
	if len(perSecond) != 100 {
		t.Errorf("they take %d s, want 100", len(perSecond))
	}
}

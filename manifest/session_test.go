package manifest

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

func testSession(t testing.TB) *Session {
	return &Session{
		Campaign: CampaignID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Serial: 1,
		Issued: testNow.Add(-time.Hour), Expires: testNow.Add(240 * time.Hour),
		Manifest: smallManifest(t).Digest(), Targets: Digest{7}, Target: "2 routers of site north",
		Group: netip.MustParseAddrPort("239.1.2.3:6003"), NodeID: 1, Objects: ObjectsFor(1),
		FEC:   FEC{ID: 5, BlockSize: 64, Parity: 32, SegmentSize: 1400, Dialect: DialectRFC},
		Start: testNow, VoteDeadline: testNow.Add(time.Hour), Hold: DefaultHold, Report: "https://updates.example:8443/",
	}
}

func signSession(t testing.TB, s *Session, key *PrivateKey) []byte {
	t.Helper()
	signed, err := s.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestSessionRoundTrip(t *testing.T) {
	key := testKey(t, RoleServer, 1)
	full := testSession(t)
	full.Group = netip.MustParseAddrPort("[ff15::1]:6003")
	full.Source = netip.MustParseAddr("2001:db8::1")
	full.MinRate = 1_000_000
	full.Objects = Objects{Hashes: 9, Images: []uint16{10, 65535, 0}, Decision: 12}
	full.FEC = FEC{ID: 129, BlockSize: 200, Parity: 55, SegmentSize: 1024, Dialect: DialectNRL}
	unicast := testSession(t)
	unicast.Group = netip.MustParseAddrPort("127.0.0.1:6003")
	unicast.Target = ""
	words := testSession(t)
	words.FEC = FEC{ID: 2, BlockSize: 1000, Parity: 200, SegmentSize: 1400, Dialect: DialectRFC, FieldSize: 16}
	split := testSession(t)
	split.Repairs = netip.MustParseAddrPort("239.1.2.4:6003")
	segments := testSession(t)
	segments.Segments = Segments{Object: 65535, Digest: Digest{1}}
	for _, s := range []*Session{testSession(t), full, unicast, words, split, segments} {
		got, err := OpenSession(signSession(t, s, key), key.Public(), nil, testNow)
		if err != nil {
			t.Error(err)
			continue
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("opened\n%+v\nwant\n%+v", got, s)
		}
		if got.Digest() != s.Digest() || got.Digest() == (Digest{}) {
			t.Errorf("digest %v after opening, %v before", got.Digest(), s.Digest())
		}
	}
}

func TestAttackReplayedSession(t *testing.T) {
	key := testKey(t, RoleServer, 1)
	current := testSession(t)
	current.Serial = 5
	open := func(change func(*Session)) error {
		s := testSession(t)
		change(s)
		got, err := OpenSession(signSession(t, s, key), key.Public(), current, testNow)
		if (got == nil) == (err == nil) {
			t.Errorf("session %v with error %v", got, err)
		}
		return err
	}
	for _, tt := range []struct {
		name   string
		change func(*Session)
		want   error
	}{
		{"higher serial", func(s *Session) { s.Serial = 6 }, nil},
		{"the very same", func(s *Session) { s.Serial = 5 }, nil},
		{"lower serial", func(s *Session) { s.Serial = 4 }, ErrRollback},
		{"same serial, other content", func(s *Session) { s.Serial, s.MinRate = 5, 1 }, ErrRollback},
		{"other campaign", func(s *Session) { s.Serial, s.Campaign = 1, CampaignID{9} }, nil},
	} {
		if err := open(tt.change); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestExpiredSessionRefused(t *testing.T) {
	key := testKey(t, RoleServer, 1)
	s := testSession(t)
	signed := signSession(t, s, key)
	if _, err := OpenSession(signed, key.Public(), nil, s.Expires); !errors.Is(err, ErrExpired) {
		t.Errorf("at expiry: %v, want ErrExpired", err)
	}
	if _, err := OpenSession(signed, key.Public(), nil, s.Expires.Add(-1)); err != nil {
		t.Errorf("just before expiry: %v", err)
	}
}

func TestAttackSessionOfAnotherKey(t *testing.T) {
	server, release := testKey(t, RoleServer, 1), testKey(t, RoleRelease, 2)
	s := testSession(t)
	if _, err := s.Sign(release); !errors.Is(err, ErrKeyRole) {
		t.Errorf("a release key signing a session: %v, want ErrKeyRole", err)
	}
	signed := signSession(t, s, server)
	if _, err := OpenSession(signed, release.Public(), nil, testNow); !errors.Is(err, ErrKeyRole) {
		t.Errorf("a release key trusted for sessions: %v, want ErrKeyRole", err)
	}
	if _, err := OpenSession(signed, testKey(t, RoleServer, 3).Public(), nil, testNow); !errors.Is(err, ErrSignature) {
		t.Errorf("another server key: %v, want ErrSignature", err)
	}
	payload, _ := s.encode()
	other, _ := server.Sign("decision", payload)
	if _, err := OpenSession(other, server.Public(), nil, testNow); !errors.Is(err, ErrSignature) {
		t.Errorf("signed for another purpose: %v, want ErrSignature", err)
	}
}

func TestAttackAlteredSession(t *testing.T) {
	key := testKey(t, RoleServer, 1)
	signed := signSession(t, testSession(t), key)
	for i := range signed {
		for bit := range 8 {
			bad := bytes.Clone(signed)
			bad[i] ^= 1 << bit
			if s, err := OpenSession(bad, key.Public(), nil, testNow); s != nil || !errors.Is(err, ErrSignature) {
				t.Fatalf("bit %d of byte %d flipped: %v, want ErrSignature", bit, i, err)
			}
		}
		if s, err := OpenSession(signed[:i], key.Public(), nil, testNow); s != nil || !errors.Is(err, ErrSignature) {
			t.Fatalf("cut to %d bytes: %v, want ErrSignature", i, err)
		}
	}
	if _, err := OpenSession(make([]byte, MaxSession+1), key.Public(), nil, testNow); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too long: %v, want ErrTooLarge", err)
	}
}

func TestInvalidSessionRefused(t *testing.T) {
	key := testKey(t, RoleServer, 1)
	group := func(s string) func(*Session) {
		return func(d *Session) { d.Group = netip.MustParseAddrPort(s) }
	}
	source := func(s string) func(*Session) {
		return func(d *Session) { d.Source = netip.MustParseAddr(s) }
	}
	for name, spoil := range map[string]func(*Session){
		"no campaign":              func(s *Session) { s.Campaign = CampaignID{} },
		"serial 0":                 func(s *Session) { s.Serial = 0 },
		"expires at issue":         func(s *Session) { s.Expires = s.Issued },
		"no issue":                 func(s *Session) { s.Issued = time.Time{} },
		"deadline at start":        func(s *Session) { s.VoteDeadline = s.Start },
		"no start":                 func(s *Session) { s.Start = time.Time{} },
		"fraction":                 func(s *Session) { s.Start = s.Start.Add(1) },
		"no manifest":              func(s *Session) { s.Manifest = Digest{} },
		"target with control code": func(s *Session) { s.Target = "a\x1b[2J" },
		"target long":              func(s *Session) { s.Target = strings.Repeat("x", 257) },
		"target not UTF-8":         func(s *Session) { s.Target = "\xff" },
		"no group":                 func(s *Session) { s.Group = netip.AddrPort{} },
		"port 0":                   group("239.1.2.3:0"),
		"unspecified":              group("0.0.0.0:6003"),
		"broadcast":                group("255.255.255.255:6003"),
		"zone":                     group("[ff02::1%eth0]:6003"),
		"mapped":                   group("[::ffff:239.1.2.3]:6003"),
		"source of other family":   source("2001:db8::1"),
		"source a group":           source("239.1.1.1"),
		"source unspecified":       source("0.0.0.0"),
		"source of a host": func(s *Session) {
			group("127.0.0.1:6003")(s)
			source("127.0.0.1")(s)
		},
		"node none":           func(s *Session) { s.NodeID = 0 },
		"node any":            func(s *Session) { s.NodeID = 0xffffffff },
		"no images":           func(s *Session) { s.Objects.Images = nil },
		"many images":         func(s *Session) { s.Objects = ObjectsFor(MaxImages + 1) },
		"transport id twice":  func(s *Session) { s.Objects.Decision = 0 },
		"image twice":         func(s *Session) { s.Objects.Images = []uint16{1, 1} },
		"FEC id":              func(s *Session) { s.FEC.ID = 6 },
		"FEC instance":        func(s *Session) { s.FEC.ID, s.FEC.Instance = 129, 1 },
		"block of none":       func(s *Session) { s.FEC.BlockSize = 0 },
		"block too long":      func(s *Session) { s.FEC.BlockSize, s.FEC.Parity = 200, 56 },
		"block too long, m 8": func(s *Session) { s.FEC.ID, s.FEC.BlockSize, s.FEC.Parity = 2, 200, 56 },
		"block too long, m 16": func(s *Session) {
			s.FEC.ID, s.FEC.FieldSize, s.FEC.BlockSize, s.FEC.Parity = 2, 16, 65000, 536
		},
		"field size":           func(s *Session) { s.FEC.ID, s.FEC.FieldSize = 2, 12 },
		"field size of id 5":   func(s *Session) { s.FEC.FieldSize = 16 },
		"odd segments, m 16":   func(s *Session) { s.FEC.ID, s.FEC.FieldSize, s.FEC.SegmentSize = 2, 16, 1399 },
		"parity without FEC":   func(s *Session) { s.FEC.ID = 0 },
		"segment 0":            func(s *Session) { s.FEC.SegmentSize = 0 },
		"segment beyond UDP":   func(s *Session) { s.FEC.SegmentSize = 65500 },
		"dialect":              func(s *Session) { s.FEC.Dialect = "" },
		"hold 0":               func(s *Session) { s.Hold = 0 },
		"hold of an age":       func(s *Session) { s.Hold = maxDuration + time.Second },
		"no report":            func(s *Session) { s.Report = "" },
		"report to a file":     func(s *Session) { s.Report = "file:///etc/passwd" },
		"report with password": func(s *Session) { s.Report = "https://u:p@host/" },
		"segment hashes later": func(s *Session) { s.Segments = Segments{Object: 7, Digest: Digest{1}} },
		"segment hashes twice": func(s *Session) {
			s.Segments, s.Objects.Images = Segments{Object: 65535, Digest: Digest{1}}, []uint16{65535}
		},
		"segment hashes decide": func(s *Session) {
			s.Segments, s.Objects.Decision = Segments{Object: 65535, Digest: Digest{1}}, 65535
		},
		"repairs to a host":    func(s *Session) { s.Repairs = netip.MustParseAddrPort("10.0.0.1:6003") },
		"repairs to the group": func(s *Session) { s.Repairs = s.Group },
		"repairs by IPv6":      func(s *Session) { s.Repairs = netip.MustParseAddrPort("[ff15::1]:6003") },
		"repairs without port": func(s *Session) { s.Repairs = netip.AddrPortFrom(s.Group.Addr().Next(), 0) },
		"report with query":    func(s *Session) { s.Report = "https://host/?x" },
		"report with fragment": func(s *Session) { s.Report = "https://host/#" },
		"report without host":  func(s *Session) { s.Report = "https://:8443/" },
		"report with newline":  func(s *Session) { s.Report = "https://host/\n" },
		"report long":          func(s *Session) { s.Report = "https://host/" + strings.Repeat("x", 500) },
	} {
		s := testSession(t)
		spoil(s)
		if s.validate() == nil {
			t.Errorf("%s: valid", name)
		}
		if _, err := s.Sign(key); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// A server that signs a payload this package would not have written gains nothing.
func TestForeignSessionRefused(t *testing.T) {
	key := testKey(t, RoleServer, 1)
	payload, _ := testSession(t).encode()
	for _, tt := range []struct {
		name   string
		change func(map[int]any)
		want   error
	}{
		{"version 4", func(f map[int]any) { f[0], f[70] = 4, true }, ErrUnsupported},
		{"version 0", func(f map[int]any) { f[0] = 0 }, ErrUnsupported},
		{"version 2 without a repair group", func(f map[int]any) { f[0] = 2 }, ErrMalformed},
		{"version 1 with one", func(f map[int]any) { f[21], f[22] = []byte{239, 1, 2, 4}, 6003 }, ErrMalformed},
		{"repair group of 5 bytes", func(f map[int]any) { f[0], f[21], f[22] = 2, []byte{239, 1, 2, 4, 5}, 6003 }, ErrMalformed},
		{"repair port alone", func(f map[int]any) { f[22] = 6003 }, ErrMalformed},
		{"unknown field", func(f map[int]any) { f[70] = true }, ErrMalformed},
		{"campaign short", func(f map[int]any) { f[1] = []byte{1} }, ErrMalformed},
		{"digest short", func(f map[int]any) { f[5] = []byte{1} }, ErrMalformed},
		{"targets short", func(f map[int]any) { f[6] = []byte{1} }, ErrMalformed},
		{"group of 5 bytes", func(f map[int]any) { f[8] = []byte{239, 1, 2, 3, 4} }, ErrMalformed},
		{"source of 5 bytes", func(f map[int]any) { f[10] = []byte{239, 1, 2, 3, 4} }, ErrMalformed},
		{"source empty", func(f map[int]any) { f[10] = []byte{} }, ErrMalformed},
		{"port beyond 16 bits", func(f map[int]any) { f[9] = 70000 }, ErrMalformed},
		{"hold negative", func(f map[int]any) { f[17] = -1 }, ErrMalformed},
		{"report absent", func(f map[int]any) { delete(f, 18) }, ErrMalformed},
	} {
		var fields map[int]any
		if err := cbor.Unmarshal(payload, &fields); err != nil {
			t.Fatal(err)
		}
		tt.change(fields)
		changed, err := encMode.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := key.Sign(sessionContext, changed)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := OpenSession(signed, key.Public(), nil, testNow); s != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestRepairGroupIsAVersionOfItsOwn: a program that knows the first version only says so of a session with a repair group, of
// which it would never hear a repair; one without it can read.
func TestRepairGroupIsAVersionOfItsOwn(t *testing.T) {
	s := testSession(t)
	for repairs, want := range map[string]error{"": nil, "239.1.2.4:6003": ErrUnsupported} {
		if repairs != "" {
			s.Repairs = netip.MustParseAddrPort(repairs)
		}
		payload, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := decodeExact(payload, formatVersion, new(wireSession)); !errors.Is(err, want) {
			t.Errorf("repair group %q: a program of version 1 says %v, want %v", repairs, err, want)
		}
		s = testSession(t)
	}
}

func TestSessionDescribesItsManifest(t *testing.T) {
	s := testSession(t)
	m := smallManifest(t)
	if err := s.Describes(m); err != nil {
		t.Error(err)
	}
	m.Sequence++
	if err := s.Describes(m); !errors.Is(err, ErrMalformed) {
		t.Errorf("another release: %v, want ErrMalformed", err)
	}
	m.Sequence--
	s.Objects = ObjectsFor(2)
	if err := s.Describes(m); !errors.Is(err, ErrMalformed) {
		t.Errorf("another number of images: %v, want ErrMalformed", err)
	}
	if o := ObjectsFor(2); o.Hashes != 0 || !slices.Equal(o.Images, []uint16{1, 2}) || o.Decision != 3 {
		t.Errorf("ObjectsFor(2) = %+v", o)
	}
}

func TestCampaignIDText(t *testing.T) {
	want := testSession(t).Campaign
	if got, err := ParseCampaignID(want.String()); err != nil || got != want {
		t.Errorf("ParseCampaignID(%q) = %v, %v", want.String(), got, err)
	}
	for _, s := range []string{"", "0", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("g", 32)} {
		if _, err := ParseCampaignID(s); err == nil {
			t.Errorf("ParseCampaignID(%q) succeeds", s)
		}
	}
}

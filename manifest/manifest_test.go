package manifest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/merkle"
)

var (
	testCreated = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	testExpires = time.Date(2027, 5, 1, 12, 0, 0, 0, time.UTC)
	testNow     = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
)

// testBytes returns n bytes that depend on seed alone: SHA-256("SEED 0"), SHA-256("SEED 1") and so on, in decimal.
func testBytes(n int, seed uint64) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", seed, i))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// imageCache holds what testImage made: hashing the same megabytes for each test is waste.
var imageCache = map[string]cachedImage{}

type cachedImage struct {
	im     Image
	leaves []merkle.Hash
}

func testImage(t testing.TB, name string, size int, seed uint64) (Image, []merkle.Hash) {
	t.Helper()
	key := fmt.Sprint(name, size, seed)
	c, ok := imageCache[key]
	if !ok {
		var err error
		if c.im, c.leaves, err = NewImage(name, bytes.NewReader(testBytes(size, seed)), int64(size)); err != nil {
			t.Fatal(err)
		}
		imageCache[key] = c
	}
	im := c.im
	im.Nodes = slices.Clone(im.Nodes) // tests spoil them
	return im, c.leaves
}

// smallManifest is a release with every optional field left out.
func smallManifest(t testing.TB) *Manifest {
	im, _ := testImage(t, "fw.bin", 100_000, 1)
	return &Manifest{
		Product: "router", Hardware: []string{"ar9331"}, Version: "2.1.0", Sequence: 7, Epoch: 2,
		Created: testCreated, Expires: testExpires, Images: []Image{im},
	}
}

// fullManifest is a release with everything.
func fullManifest(t testing.TB) *Manifest {
	m := smallManifest(t)
	m.Hardware = []string{"ar9331", "mt7621"}
	im, _ := testImage(t, "rootfs.img", 70*merkle.MinLeafSize+1, 2)
	m.Images = append(m.Images, im)
	m.Activation = Activation{NotBefore: testCreated.Add(time.Hour), NotAfter: testExpires, MinSpread: 10 * time.Minute}
	m.Approvers = []PublicKey{testKey(t, RoleApprover, 11).Public(), testKey(t, RoleApprover, 12).Public()}
	m.Approvals = 1
	m.Extensions = map[string][]byte{"com.example.note": []byte("hello"), "com.example.must": {0xf5}}
	m.Critical = []string{"com.example.must"}
	return m
}

func trust(threshold int, keys ...*PrivateKey) Keys {
	k := Keys{Threshold: threshold}
	for _, key := range keys {
		k.Keys = append(k.Keys, key.Public())
	}
	return k
}

func testDevice() Device {
	return Device{Product: "router", Hardware: "ar9331", Floor: Floor{Sequence: 7, Epoch: 2}, Now: testNow}
}

func mustSign(t testing.TB, m *Manifest, keys ...*PrivateKey) []byte {
	t.Helper()
	signed, err := m.Sign(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestRoundTrip(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	for name, m := range map[string]*Manifest{"small": smallManifest(t), "full": fullManifest(t)} {
		signed := mustSign(t, m, key)
		device := testDevice()
		device.Extensions = []string{"com.example.must"}
		got, err := Open(signed, trust(1, key), device)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%s: opened\n%v\nwant\n%v", name, got, m)
		}
		if got.Digest() != m.Digest() || got.Digest() == (Digest{}) {
			t.Errorf("%s: digest %v after opening, %v before signing", name, got.Digest(), m.Digest())
		}
		if again := mustSign(t, got, key); !bytes.Equal(again, signed) {
			t.Errorf("%s: signing what was opened gives other bytes", name)
		}
	}
}

// The limits together stay within the size of a file, or signing says so.
func TestLargestManifest(t *testing.T) {
	m := smallManifest(t)
	big := m.Images[0]
	leaves := make([]merkle.Hash, merkle.MaxLeaves)
	big.Size, big.Root = merkle.MaxLeaves*merkle.MinLeafSize, merkle.Root(leaves)
	big.Nodes = merkle.PiecesFor(len(leaves), MaxNodes).Nodes(leaves)
	if len(big.Nodes) != MaxNodes {
		t.Fatalf("%d nodes, want %d", len(big.Nodes), MaxNodes)
	}
	m.Images = nil
	for i := range MaxImages {
		big.Name = strings.Repeat(string(rune('a'+i)), 64)
		m.Images = append(m.Images, big)
	}
	m.Hardware = nil
	for i := range MaxHardware {
		m.Hardware = append(m.Hardware, strings.Repeat("h", 60)+string(rune('0'+i/10))+string(rune('0'+i%10)))
	}
	var keys []*PrivateKey
	for i := range MaxSignatures {
		keys = append(keys, testKey(t, RoleRelease, byte(i)))
	}
	signed := mustSign(t, m, keys...)
	if len(signed) > MaxFile {
		t.Errorf("%d bytes, limit %d", len(signed), MaxFile)
	}
	if _, err := OpenSigned(signed, trust(MaxSignatures, keys...)); err != nil {
		t.Error(err)
	}
	if _, err := AddSignature(signed, testKey(t, RoleRelease, 99)); err == nil {
		t.Errorf("signature %d was added", MaxSignatures+1)
	}
	m.Extensions = map[string][]byte{"large": make([]byte, MaxFile)}
	if _, err := m.Sign(keys[0]); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an extension as large as the file: %v, want ErrTooLarge", err)
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "fw.bin": true, "R2-D2_v1.0+b": true, strings.Repeat("x", 64): true,
		"": false, ".": false, "..": false, ".hidden": false, "-rf": false, "+x": false, "_x": false,
		"a/b": false, `a\b`: false, "../../etc/passwd": false, "/etc/passwd": false, "a b": false, "a\nb": false, "a\x00": false,
		"ä": false, "C:": false, strings.Repeat("x", 65): false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v, want %v", name, got, want)
		}
	}
}

// TestInvalidManifestRefused: what must not be opened cannot be signed either, and the other way round.
func TestInvalidManifestRefused(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	for name, spoil := range map[string]func(m *Manifest){
		"product":                   func(m *Manifest) { m.Product = "../router" },
		"no product":                func(m *Manifest) { m.Product = "" },
		"version":                   func(m *Manifest) { m.Version = "1.0\x1b[2J" },
		"no hardware":               func(m *Manifest) { m.Hardware = nil },
		"hardware twice":            func(m *Manifest) { m.Hardware = []string{"a", "a"} },
		"any and one":               func(m *Manifest) { m.Hardware = []string{"ar9331", AnyHardware} },
		"much hardware":             func(m *Manifest) { m.Hardware = make([]string, MaxHardware+1) },
		"expires before created":    func(m *Manifest) { m.Expires = m.Created },
		"no expiry":                 func(m *Manifest) { m.Expires = time.Time{} },
		"year 10000":                func(m *Manifest) { m.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"activation window reverse": func(m *Manifest) { m.Activation.NotAfter = m.Activation.NotBefore.Add(-time.Second) },
		"spread negative":           func(m *Manifest) { m.Activation.MinSpread = -time.Second },
		"spread of an age":          func(m *Manifest) { m.Activation.MinSpread = 200 * 365 * 24 * time.Hour },
		"too many approvals":        func(m *Manifest) { m.Approvals = 3 },
		"approvers without count":   func(m *Manifest) { m.Approvals = 0 },
		"approver twice":            func(m *Manifest) { m.Approvers[1] = m.Approvers[0] },
		"no image":                  func(m *Manifest) { m.Images = nil },
		"many images":               func(m *Manifest) { m.Images = make([]Image, MaxImages+1) },
		"image name":                func(m *Manifest) { m.Images[0].Name = "../../etc/passwd" },
		"image name empty":          func(m *Manifest) { m.Images[0].Name = "" },
		"image names equal":         func(m *Manifest) { m.Images[1].Name = "FW.BIN" },
		"empty image":               func(m *Manifest) { m.Images[0].Size = 0 },
		"negative image":            func(m *Manifest) { m.Images[0].Size = -1 },
		"absurd image":              func(m *Manifest) { m.Images[0].Size = 1 << 48 },
		"leaf size 0":               func(m *Manifest) { m.Images[0].LeafSize = 0 },
		"leaf size small":           func(m *Manifest) { m.Images[0].LeafSize = 32 << 10 },
		"leaf size odd":             func(m *Manifest) { m.Images[0].LeafSize = 3 << 16 },
		"too many leaves":           func(m *Manifest) { m.Images[0].Size = merkle.MaxLeaves*merkle.MinLeafSize + 1 },
		"other root":                func(m *Manifest) { m.Images[1].Root[0] ^= 1 },
		"other node":                func(m *Manifest) { m.Images[1].Nodes[3][0] ^= 1 },
		"node missing":              func(m *Manifest) { m.Images[1].Nodes = m.Images[1].Nodes[1:] },
		"extension name":            func(m *Manifest) { m.Extensions["a b"] = nil },
		"critical but absent":       func(m *Manifest) { m.Critical = []string{"absent"} },
		"critical twice":            func(m *Manifest) { m.Critical = append(m.Critical, m.Critical[0]) },
	} {
		m := fullManifest(t)
		spoil(m)
		if m.validate() == nil {
			t.Errorf("%s: valid", name)
		}
		if _, err := m.Sign(key); err == nil {
			t.Errorf("%s: signed", name)
		}
		if d := m.Digest(); d != (Digest{}) {
			t.Errorf("%s: digest %v, want none", name, d)
		}
	}
	m := fullManifest(t)
	m.Approvers[0] = testKey(t, RoleServer, 3).Public()
	if _, err := m.Sign(key); !errors.Is(err, ErrKeyRole) {
		t.Errorf("a server key as approver: %v, want ErrKeyRole", err)
	}
	m = fullManifest(t)
	m.Created = m.Created.Add(time.Nanosecond)
	if _, err := m.Sign(key); err == nil {
		t.Error("a time with a fraction of a second was signed")
	}
}

func TestActivationLimits(t *testing.T) {
	at := func(h int) time.Time { return testCreated.Add(time.Duration(h) * time.Hour) }
	limits := Activation{NotBefore: at(1), NotAfter: at(9), MinSpread: time.Hour}
	for _, tt := range []struct {
		name                string
		notBefore, notAfter time.Time
		spread              time.Duration
		ok                  bool
	}{
		{"within", at(2), at(8), 2 * time.Hour, true},
		{"on the bounds", at(1), at(9), time.Hour, true},
		{"too early", at(0), at(8), time.Hour, false},
		{"no beginning", time.Time{}, at(8), time.Hour, false},
		{"too late", at(2), at(10), time.Hour, false},
		{"no end", at(2), time.Time{}, time.Hour, false},
		{"all at once", at(2), at(8), 0, false},
	} {
		if err := limits.Check(tt.notBefore, tt.notAfter, tt.spread); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", tt.name, err, tt.ok)
		}
	}
	if err := (Activation{}).Check(time.Time{}, time.Time{}, 0); err != nil {
		t.Errorf("no limits: %v", err)
	}
}

func TestImageReadOnce(t *testing.T) {
	b := testBytes(200_000, 5)
	im, leaves := testImage(t, "fw.bin", len(b), 5)
	if len(leaves) != 4 || im.Leaves() != 4 || im.Root != merkle.Root(leaves) {
		t.Errorf("%d leaves, root %v; want 4 and %v", len(leaves), im.Root, merkle.Root(leaves))
	}
	got, err := im.Match(bytes.NewReader(b))
	if err != nil || !reflect.DeepEqual(got, leaves) {
		t.Errorf("Match of the same bytes: %v", err)
	}
	for i, other := range [][]byte{b[1:], b[:len(b)-1], append(bytes.Clone(b), 0), testBytes(len(b), 6), nil} {
		if _, err := im.Match(bytes.NewReader(other)); !errors.Is(err, ErrImage) {
			t.Errorf("other bytes %d: %v, want ErrImage", i, err)
		}
		if _, _, err := NewImage("fw.bin", bytes.NewReader(other), int64(len(b))); len(other) != len(b) && !errors.Is(err, ErrImage) {
			t.Errorf("%d bytes announced as %d: %v, want ErrImage", len(other), len(b), err)
		}
	}
	if _, _, err := NewImage("fw.bin", bytes.NewReader(nil), 0); err == nil {
		t.Error("an empty image was taken")
	}
	if _, _, err := NewImage("a/b", bytes.NewReader(b), int64(len(b))); err == nil {
		t.Error("an image named a/b was taken")
	}
}

package manifest

import (
	"bytes"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// signRaw signs any payload as if it were a manifest, as a broken or hostile signer could.
func signRaw(t testing.TB, payload []byte, keys ...*PrivateKey) []byte {
	t.Helper()
	var signatures [][]byte
	for _, k := range keys {
		s, err := k.signDetached(manifestContext, payload)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, s)
	}
	return joinFile(payload, signatures)
}

// wantRefused checks that Open gives the error and no manifest.
func wantRefused(t *testing.T, what string, signed []byte, trusted Keys, d Device, want error) {
	t.Helper()
	m, err := Open(signed, trusted, d)
	if m != nil || !errors.Is(err, want) {
		t.Errorf("%s: manifest %v, error %v; want none, %v", what, m != nil, err, want)
	}
}

func TestAttackRollback(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	signed := mustSign(t, smallManifest(t), key)
	d := testDevice()
	d.Floor.Sequence = 8
	wantRefused(t, "sequence 7 below 8", signed, trust(1, key), d, ErrRollback)
	d = testDevice()
	d.Floor.Epoch = 3
	wantRefused(t, "epoch 2 below 3", signed, trust(1, key), d, ErrRollback)
	d.Floor = Floor{}
	if _, err := Open(signed, trust(1, key), d); err != nil {
		t.Errorf("a new device: %v", err)
	}
}

func TestAttackWrongHardware(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	m := smallManifest(t)
	d := testDevice()
	d.Hardware = "ar9332"
	wantRefused(t, "other hardware", mustSign(t, m, key), trust(1, key), d, ErrHardware)
	d.Hardware = ""
	wantRefused(t, "hardware unknown", mustSign(t, m, key), trust(1, key), d, ErrHardware)
	m.Hardware = []string{AnyHardware}
	if _, err := Open(mustSign(t, m, key), trust(1, key), d); err != nil {
		t.Errorf("any hardware: %v", err)
	}
}

func TestOtherProductRefused(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	d := testDevice()
	d.Product = "phone"
	wantRefused(t, "other product", mustSign(t, smallManifest(t), key), trust(1, key), d, ErrProduct)
}

func TestAttackExpiredManifest(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	signed := mustSign(t, smallManifest(t), key)
	d := testDevice()
	d.Now = testExpires
	wantRefused(t, "at expiry", signed, trust(1, key), d, ErrExpired)
	d.Now = testExpires.Add(-time.Nanosecond)
	if _, err := Open(signed, trust(1, key), d); err != nil {
		t.Errorf("just before expiry: %v", err)
	}
}

func TestAttackReleaseSignedByTheServerKey(t *testing.T) {
	release, server := testKey(t, RoleRelease, 1), testKey(t, RoleServer, 2)
	m := smallManifest(t)
	if _, err := m.Sign(server); !errors.Is(err, ErrKeyRole) {
		t.Errorf("signing with a server key: %v, want ErrKeyRole", err)
	}
	signed := mustSign(t, m, release)
	if _, err := AddSignature(signed, server); !errors.Is(err, ErrKeyRole) {
		t.Errorf("adding a server key's signature: %v, want ErrKeyRole", err)
	}
	payload, _ := m.encode()
	forged := signRaw(t, payload, server)
	wantRefused(t, "signed by the server key", forged, trust(1, release), testDevice(), ErrSignature)
	wantRefused(t, "a server key trusted for releases", forged, trust(1, server), testDevice(), ErrKeyRole)
}

func TestAttackSessionSignatureAsRelease(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	payload, _ := smallManifest(t).encode()
	s, err := key.signDetached(sessionContext, payload)
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "signed for another purpose", joinFile(payload, [][]byte{s}), trust(1, key), testDevice(), ErrSignature)
}

func TestAttackStrangersSignature(t *testing.T) {
	key, stranger := testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2)
	m := smallManifest(t)
	wantRefused(t, "unknown key", mustSign(t, m, stranger), trust(1, key), testDevice(), ErrSignature)
	wantRefused(t, "no signature", mustSign(t, m, key)[:len(fileHead)], trust(1, key), testDevice(), ErrSignature)
	payload, _ := m.encode()
	wantRefused(t, "empty list of signatures", joinFile(payload, nil), trust(1, key), testDevice(), ErrSignature)
	// A stranger beside a trusted key does no harm: it may be a new key that others trust already.
	if _, err := Open(mustSign(t, m, stranger, key), trust(1, key), testDevice()); err != nil {
		t.Errorf("trusted and unknown key: %v", err)
	}
}

func TestSameKeyTwiceCountsOnce(t *testing.T) {
	a, b := testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2)
	m := smallManifest(t)
	payload, _ := m.encode()
	wantRefused(t, "one signer signing twice", signRaw(t, payload, a, a), trust(2, a, b), testDevice(), ErrSignature)
	if _, err := m.Sign(a, a); err == nil {
		t.Error("a key signed twice")
	}
	if _, err := Open(mustSign(t, m, a), trust(2, a, a), testDevice()); err == nil {
		t.Error("one key trusted twice reached a threshold of 2")
	}
}

func TestThreshold(t *testing.T) {
	a, b, c := testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2), testKey(t, RoleRelease, 3)
	m := smallManifest(t)
	one := mustSign(t, m, a)
	wantRefused(t, "1 of 2 of 3", one, trust(2, a, b, c), testDevice(), ErrSignature)
	two, err := AddSignature(one, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(two, trust(2, a, b, c), testDevice()); err != nil {
		t.Errorf("2 of 3: %v", err)
	}
	wantRefused(t, "3 of 3 with two", two, trust(3, a, b, c), testDevice(), ErrSignature)
	for threshold := range 6 {
		if k := trust(threshold, a, b, c); (k.check() == nil) != (threshold >= 1 && threshold <= 3) {
			t.Errorf("%d of 3: %v", threshold, k.check())
		}
	}
	wantRefused(t, "a second signature from another release", mixSignatures(t, one, b), trust(2, a, b), testDevice(), ErrSignature)
}

// mixSignatures adds to signed what key signed under another release.
func mixSignatures(t *testing.T, signed []byte, key *PrivateKey) []byte {
	other := smallManifest(t)
	other.Sequence++
	_, stolen, err := splitFile(mustSign(t, other, key))
	if err != nil {
		t.Fatal(err)
	}
	payload, own, _ := splitFile(signed)
	return joinFile(payload, append(own, stolen...))
}

func TestAttackAlteredManifest(t *testing.T) {
	a, b := testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2)
	signed := mustSign(t, smallManifest(t), a, b)
	trusted, d := trust(2, a, b), testDevice()
	for i := range signed {
		for bit := range 8 {
			bad := bytes.Clone(signed)
			bad[i] ^= 1 << bit
			wantRefused(t, "bit flipped", bad, trusted, d, ErrSignature)
		}
		wantRefused(t, "cut", signed[:i], trusted, d, ErrSignature)
	}
	wantRefused(t, "trailing byte", append(bytes.Clone(signed), 0), trusted, d, ErrSignature)
	wantRefused(t, "too long", make([]byte, MaxFile+1), trusted, d, ErrTooLarge)
}

func TestUnknownFormatRefused(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	m := smallManifest(t)
	payload, _ := m.encode()
	var fields map[int]any
	if err := cbor.Unmarshal(payload, &fields); err != nil {
		t.Fatal(err)
	}
	image := func(field int, value any) func(map[int]any) {
		return func(f map[int]any) {
			im := maps.Clone(f[14].([]any)[0].(map[any]any))
			im[uint64(field)] = value
			f[14] = []any{im}
		}
	}
	encode := func(change func(map[int]any)) []byte {
		changed := maps.Clone(fields)
		change(changed)
		b, err := encMode.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if same := encode(func(map[int]any) {}); !bytes.Equal(same, payload) {
		t.Fatal("the fields do not give the payload back")
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		want    error
	}{
		{"version 2", encode(func(f map[int]any) { f[0] = 2 }), ErrUnsupported},
		{"version 2 with other fields", encode(func(f map[int]any) { f[0], f[99] = 2, []any{"new"} }), ErrUnsupported},
		{"version absent", encode(func(f map[int]any) { delete(f, 0) }), ErrUnsupported},
		{"version negative", encode(func(f map[int]any) { f[0] = -1 }), ErrMalformed},
		{"unknown field", encode(func(f map[int]any) { f[99] = 1 }), ErrMalformed},
		{"sequence absent", encode(func(f map[int]any) { delete(f, 5) }), ErrMalformed},
		{"sequence a text", encode(func(f map[int]any) { f[5] = "7" }), ErrMalformed},
		{"sequence null", encode(func(f map[int]any) { f[5] = nil }), ErrMalformed},
		{"optional field written empty", encode(func(f map[int]any) { f[1] = []string{} }), ErrMalformed},
		{"images absent", encode(func(f map[int]any) { delete(f, 14) }), ErrMalformed},
		{"image digest short", encode(image(2, make([]byte, 31))), ErrMalformed},
		{"image digest long", encode(image(2, make([]byte, 33))), ErrMalformed},
		{"root short", encode(image(4, make([]byte, 31))), ErrMalformed},
		{"root long", encode(image(4, append(m.Images[0].Root[:], 0))), ErrMalformed},
		{"nodes long", encode(image(5, append(appendHashes(nil, m.Images[0].Nodes), 0))), ErrMalformed},
		{"unknown image field", encode(image(9, 1)), ErrMalformed},
		{"names not valid", encode(func(f map[int]any) { f[2] = "../x" }), ErrMalformed},
		{"approver not a key", encode(func(f map[int]any) { f[12], f[13] = [][]byte{{1}}, 1 }), ErrMalformed},
		{"expiry beyond int64", encode(func(f map[int]any) { f[8] = uint64(1) << 63 }), ErrMalformed},
		{"spread overflowing", encode(func(f map[int]any) { f[11] = int64(1) << 40 }), ErrMalformed},
		{"approvals overflowing", encode(func(f map[int]any) { f[13] = uint64(1) << 63 }), ErrMalformed},
		{"extra byte", append(bytes.Clone(payload), 0), ErrMalformed},
		{"indefinite length", append(append([]byte{0xbf}, payload[1:]...), 0xff), ErrMalformed},
		{"tagged", append([]byte{0xd9, 0xd9, 0xf7}, payload...), ErrMalformed},
		{"not a map", []byte{0x01}, ErrMalformed},
		{"empty", nil, ErrMalformed},
		{"deep", append(bytes.Repeat([]byte{0x81}, 1000), 0), ErrMalformed},
		{"array of 2^32", []byte{0xa1, 0x00, 0x9a, 0xff, 0xff, 0xff, 0xff}, ErrMalformed},
	} {
		wantRefused(t, tt.name, signRaw(t, tt.payload, key), trust(1, key), testDevice(), tt.want)
	}

	// The same content with one length written in two bytes: a second encoding would be a second digest.
	if payload[1] != 0x00 || payload[2] != 0x01 {
		t.Fatalf("payload starts % x, want the format version", payload[:3])
	}
	longer := append([]byte{payload[0], 0x00, 0x18, 0x01}, payload[3:]...)
	wantRefused(t, "long integer", signRaw(t, longer, key), trust(1, key), testDevice(), ErrMalformed)
}

func TestUnknownCriticalExtensionRefused(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	m := fullManifest(t)
	signed := mustSign(t, m, key)
	wantRefused(t, "critical extension", signed, trust(1, key), testDevice(), ErrUnsupported)
	d := testDevice()
	d.Extensions = []string{"com.example.must"}
	got, err := Open(signed, trust(1, key), d)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Extensions["com.example.note"]) != "hello" {
		t.Errorf("extensions %v: the one that is not critical is lost", got.Extensions)
	}
}

// AddSignature must not put a name to what is no manifest.
func TestAddSignatureToGarbageRefused(t *testing.T) {
	a, b := testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2)
	if _, err := AddSignature(signRaw(t, []byte("pay 100"), a), b); !errors.Is(err, ErrMalformed) {
		t.Errorf("garbage payload: %v, want ErrMalformed", err)
	}
	if _, err := AddSignature([]byte("garbage"), b); !errors.Is(err, ErrSignature) {
		t.Errorf("garbage file: %v, want ErrSignature", err)
	}
	if _, err := smallManifest(t).Sign(); err == nil {
		t.Error("signed without a key")
	}
}

func TestOpenUnverified(t *testing.T) {
	a, b := testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2)
	m, ids, err := OpenUnverified(mustSign(t, smallManifest(t), a, b))
	if err != nil || m.Product != "router" || len(ids) != 2 || ids[0] != a.Public().ID() || ids[1] != b.Public().ID() {
		t.Errorf("%v, keys %v, %v", m, ids, err)
	}
	if _, _, err := OpenUnverified([]byte("garbage")); err == nil {
		t.Error("garbage was opened")
	}
}

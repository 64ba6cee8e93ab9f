package manifest

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// testRoot names release keys 1, 2 and 3, of whom two have to sign, and server key 4.
func testRoot(t testing.TB) *Root {
	return &Root{
		Version: 1, Issued: testNow.Truncate(time.Second), Expires: testNow.Truncate(time.Second).AddDate(1, 0, 0),
		Release: rootKeys(t, 2, 1, 2, 3), Servers: []PublicKey{testKey(t, RoleServer, 4).Public()},
	}
}

// fullRoot follows testRoot: it replaces release key 3 by 5, has the next server key beside the old one, and approvers.
func fullRoot(t testing.TB) *Root {
	r := testRoot(t)
	r.Version, r.Issued = 2, r.Issued.AddDate(0, 6, 0)
	r.Expires = r.Issued.AddDate(1, 0, 0)
	r.Release = rootKeys(t, 2, 1, 2, 5)
	r.Servers = append(r.Servers, testKey(t, RoleServer, 6).Public())
	r.Approvers = []PublicKey{testKey(t, RoleApprover, 11).Public(), testKey(t, RoleApprover, 12).Public()}
	r.Approvals = 1
	return r
}

func rootKeys(t testing.TB, threshold int, seeds ...byte) (k Keys) {
	k.Threshold = threshold
	for _, seed := range seeds {
		k.Keys = append(k.Keys, testKey(t, RoleRelease, seed).Public())
	}
	return k
}

// signRoot signs a root with the release keys of these seeds.
func signRoot(t testing.TB, r *Root, seeds ...byte) []byte {
	t.Helper()
	var keys []*PrivateKey
	for _, seed := range seeds {
		keys = append(keys, testKey(t, RoleRelease, seed))
	}
	signed, err := r.Sign(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// follows returns a root that names these release keys and comes after r.
func (r *Root) follows(keys Keys) *Root {
	next := *r
	next.Version++
	next.Release = keys
	return &next
}

func TestRootRotation(t *testing.T) {
	first, err := OpenRoot(signRoot(t, testRoot(t), 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, testRoot(t)) {
		t.Errorf("opened as %+v", first)
	}
	// A, B and C become D, E and F: two of the old ones sign and two of the new ones, though nobody holds all four.
	next := first.follows(rootKeys(t, 2, 7, 8, 9))
	signed := signRoot(t, next, 1)
	for _, seed := range []byte{8, 3, 9} {
		if r, err := first.Next(signed); r != nil || !errors.Is(err, ErrSignature) {
			t.Errorf("with keys missing: %v, %v", r, err)
		}
		if signed, err = AddRootSignature(signed, testKey(t, RoleRelease, seed)); err != nil {
			t.Fatal(err)
		}
	}
	second, err := first.Next(signed)
	if err != nil {
		t.Fatal(err)
	}
	// From then on the new keys count and the old ones do not.
	m := smallManifest(t)
	old, fresh := mustSign(t, m, testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2)), mustSign(t, m, testKey(t, RoleRelease, 7), testKey(t, RoleRelease, 9))
	wantRefused(t, "signed by keys left out", old, second.Release, testDevice(), ErrSignature)
	if _, err := Open(fresh, second.Release, testDevice()); err != nil {
		t.Errorf("signed by the new keys: %v", err)
	}
	third := second.follows(rootKeys(t, 1, 9))
	if _, err := second.Next(signRoot(t, third, 1, 2, 9)); !errors.Is(err, ErrSignature) {
		t.Errorf("a root signed by keys left out before: %v", err)
	}
	if _, err := second.Next(signRoot(t, third, 7, 9)); err != nil {
		t.Errorf("the third root: %v", err)
	}
}

// TestRootRotationFromConfiguration: keys that a device was given by flags sign the first root.
func TestRootRotationFromConfiguration(t *testing.T) {
	given := &Root{Release: rootKeys(t, 1, 1, 2), Servers: []PublicKey{testKey(t, RoleServer, 4).Public()}}
	if err := given.CheckExpiry(testNow.AddDate(50, 0, 0)); err != nil {
		t.Errorf("what was configured expires: %v", err)
	}
	if _, err := given.Next(signRoot(t, testRoot(t), 2, 3)); err != nil {
		t.Errorf("signed by one of the configured keys and two of its own: %v", err)
	}
	if _, err := given.Next(signRoot(t, testRoot(t).follows(rootKeys(t, 1, 1)), 1)); !errors.Is(err, ErrRollback) {
		t.Errorf("root 2 in place of root 1: %v", err)
	}
}

func TestAttackRootRotationByOldKeysAlone(t *testing.T) {
	root := testRoot(t)
	next := root.follows(rootKeys(t, 2, 7, 8))
	for name, seeds := range map[string][]byte{
		"old keys alone":                  {1, 2, 3},
		"old keys, and too few new ones":  {1, 2, 3, 7},
		"new keys alone":                  {7, 8},
		"new keys, and too few old ones":  {1, 7, 8},
		"strangers beside too few of all": {1, 7, 9, 10},
	} {
		if r, err := root.Next(signRoot(t, next, seeds...)); r != nil || !errors.Is(err, ErrSignature) {
			t.Errorf("%s: root %v, error %v", name, r != nil, err)
		}
	}
	if r, err := OpenRoot(signRoot(t, next, 1, 2, 3)); r != nil || !errors.Is(err, ErrSignature) {
		t.Errorf("as a first root: root %v, error %v", r != nil, err)
	}
	// A signature counts once, and only where it was made: neither twice in one root, nor taken from another.
	payload, _ := next.encode()
	a, _ := testKey(t, RoleRelease, 1).signDetached(rootContext, payload)
	c, _ := testKey(t, RoleRelease, 7).signDetached(rootContext, payload)
	if r, err := root.Next(rootFile.join(payload, [][]byte{a, a, c, c})); r != nil || !errors.Is(err, ErrSignature) {
		t.Errorf("each key twice: root %v, error %v", r != nil, err)
	}
	_, stolen, _ := splitRoot(signRoot(t, root, 1, 2))
	_, own, _ := splitRoot(signRoot(t, next, 7, 8))
	if r, err := root.Next(rootFile.join(payload, append(own, stolen...))); r != nil || !errors.Is(err, ErrSignature) {
		t.Errorf("signatures of the root before: root %v, error %v", r != nil, err)
	}
}

// TestAttackRollbackOfTheRoot: neither an old one nor one that leaves some out follows, so that a device that is shown the
// past keeps what it has, and nobody can use up the version numbers.
func TestAttackRollbackOfTheRoot(t *testing.T) {
	first := testRoot(t)
	second, err := first.Next(signRoot(t, fullRoot(t), 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	far := second.follows(second.Release)
	far.Version = 1<<64 - 1
	for name, signed := range map[string][]byte{
		"the first again": signRoot(t, first, 1, 2),
		"the same again":  signRoot(t, fullRoot(t), 1, 2),
		"one left out":    signRoot(t, second.follows(second.Release).follows(second.Release), 1, 2),
		"the last number": signRoot(t, far, 1, 2),
	} {
		if r, err := second.Next(signed); r != nil || !errors.Is(err, ErrRollback) {
			t.Errorf("%s: root %v, error %v", name, r != nil, err)
		}
	}
}

func TestRootExpires(t *testing.T) {
	r := testRoot(t)
	if err := r.CheckExpiry(r.Expires.Add(-time.Nanosecond)); err != nil {
		t.Error(err)
	}
	if err := r.CheckExpiry(r.Expires); !errors.Is(err, ErrExpired) {
		t.Errorf("at its expiry: %v", err)
	}
	// Whoever slept over it follows it nevertheless.
	if _, err := r.Next(signRoot(t, fullRoot(t), 1, 2)); err != nil {
		t.Errorf("after a root that has expired: %v", err)
	}
}

func TestServerKeyOfARoot(t *testing.T) {
	r := fullRoot(t)
	for _, seed := range []byte{4, 6} {
		signed, _ := testKey(t, RoleServer, seed).Sign("x", nil)
		if k := r.Server(signed); k != testKey(t, RoleServer, seed).Public() {
			t.Errorf("key %d is not found: %s", seed, k)
		}
	}
	signed, _ := testKey(t, RoleServer, 9).Sign("x", nil)
	if _, err := r.Server(signed).Verify("x", signed); !errors.Is(err, ErrSignature) {
		t.Errorf("a key that the root does not name: %v", err)
	}
	if k := KeyFor(signed, nil); !k.IsZero() {
		t.Errorf("a key of none: %s", k)
	}
}

func TestRootBitFlipsRefused(t *testing.T) {
	r, signed := testRoot(t), signRoot(t, fullRoot(t), 1, 2)
	for i := range signed {
		for bit := range 8 {
			bad := bytes.Clone(signed)
			bad[i] ^= 1 << bit
			if _, err := r.Next(bad); err == nil {
				t.Fatalf("byte %d bit %d flipped: taken", i, bit)
			}
		}
		if _, err := r.Next(signed[:i]); !errors.Is(err, ErrSignature) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := r.Next(append(bytes.Clone(signed), 0)); !errors.Is(err, ErrSignature) {
		t.Errorf("trailing byte: %v", err)
	}
	if _, err := r.Next(make([]byte, MaxRoot+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
}

// TestAttackReleaseSignaturesOnARoot: what was signed as a release is no root, nor the other way round.
func TestAttackReleaseSignaturesOnARoot(t *testing.T) {
	payload, _ := testRoot(t).encode()
	var signatures [][]byte
	for _, seed := range []byte{1, 2} {
		s, err := testKey(t, RoleRelease, seed).signDetached(manifestContext, payload)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, s)
	}
	if r, err := OpenRoot(rootFile.join(payload, signatures)); r != nil || !errors.Is(err, ErrSignature) {
		t.Errorf("root %v, error %v", r != nil, err)
	}
	if _, err := OpenSigned(signRoot(t, testRoot(t), 1, 2), testRoot(t).Release); !errors.Is(err, ErrSignature) {
		t.Errorf("a root as a release: %v", err)
	}
}

func TestInvalidRootRefused(t *testing.T) {
	key := func(role Role, seed byte) PublicKey { return testKey(t, role, seed).Public() }
	for name, spoil := range map[string]func(*Root){
		"version 0":            func(r *Root) { r.Version = 0 },
		"no expiry":            func(r *Root) { r.Expires = time.Time{} },
		"expires before":       func(r *Root) { r.Expires = r.Issued },
		"parts of a second":    func(r *Root) { r.Issued = r.Issued.Add(1) },
		"no release key":       func(r *Root) { r.Release.Keys = nil },
		"threshold 0":          func(r *Root) { r.Release.Threshold = 0 },
		"threshold too high":   func(r *Root) { r.Release.Threshold = 4 },
		"nine release keys":    func(r *Root) { r.Release = rootKeys(t, 1, 21, 22, 23, 24, 25, 26, 27, 28, 29) },
		"release key twice":    func(r *Root) { r.Release = rootKeys(t, 1, 1, 1) },
		"server key releases":  func(r *Root) { r.Release.Keys[0] = key(RoleServer, 1) },
		"no server key":        func(r *Root) { r.Servers = nil },
		"server key twice":     func(r *Root) { r.Servers = append(r.Servers, r.Servers[0]) },
		"release key serves":   func(r *Root) { r.Servers = []PublicKey{key(RoleRelease, 30)} },
		"one key in two roles": func(r *Root) { r.Servers = []PublicKey{key(RoleServer, 1)} },
		"approvers of no use":  func(r *Root) { r.Approvers = []PublicKey{key(RoleApprover, 11)} },
		"too many approvals":   func(r *Root) { r.Approvers, r.Approvals = []PublicKey{key(RoleApprover, 11)}, 2 },
		"approver of a server": func(r *Root) { r.Approvers, r.Approvals = []PublicKey{key(RoleServer, 11)}, 1 },
	} {
		r := testRoot(t)
		spoil(r)
		if _, err := r.Sign(testKey(t, RoleRelease, 1)); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := AddRootSignature(signRoot(t, testRoot(t), 1), testKey(t, RoleServer, 4)); !errors.Is(err, ErrKeyRole) {
		t.Errorf("signed by a server key: %v", err)
	}
	if _, err := AddRootSignature(mustSign(t, smallManifest(t), testKey(t, RoleRelease, 1)), testKey(t, RoleRelease, 2)); !errors.Is(err, ErrSignature) {
		t.Errorf("added to a release: %v", err)
	}
}

// TestForeignRootRefused has roots that keys signed which would never write them.
func TestForeignRootRefused(t *testing.T) {
	payload, _ := testRoot(t).encode()
	var fields map[int]any
	if err := cbor.Unmarshal(payload, &fields); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(map[int]any)
		want   error
	}{
		"version 2":        {func(f map[int]any) { f[0] = 2 }, ErrUnsupported},
		"unknown field":    {func(f map[int]any) { f[9] = 1 }, ErrMalformed},
		"not a key":        {func(f map[int]any) { f[4] = [][]byte{{1}} }, ErrMalformed},
		"threshold 2^63":   {func(f map[int]any) { f[5] = uint64(1) << 63 }, ErrMalformed},
		"approvals 2^63":   {func(f map[int]any) { f[8] = uint64(1) << 63 }, ErrMalformed},
		"empty approvers":  {func(f map[int]any) { f[7] = [][]byte{} }, ErrMalformed},
		"expiry overflows": {func(f map[int]any) { f[3] = uint64(1) << 63 }, ErrMalformed},
	} {
		changed := maps.Clone(fields)
		tt.change(changed)
		b, err := encMode.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		before := &Root{Release: rootKeys(t, 2, 1, 2, 3)}
		if r, err := before.Next(signRawRoot(t, b, 1, 2)); r != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: root %v, error %v, want %v", name, r != nil, err, tt.want)
		}
	}
}

// signRawRoot signs any payload as if it were a root, as a broken or hostile signer could.
func signRawRoot(t testing.TB, payload []byte, seeds ...byte) []byte {
	t.Helper()
	var signatures [][]byte
	for _, seed := range seeds {
		s, err := testKey(t, RoleRelease, seed).signDetached(rootContext, payload)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, s)
	}
	return rootFile.join(payload, signatures)
}

// TestLargestRoot: keys of two full roots have room to sign, within the limit.
func TestLargestRoot(t *testing.T) {
	old := testRoot(t)
	old.Release = rootKeys(t, 8, 31, 32, 33, 34, 35, 36, 37, 38)
	next := old.follows(rootKeys(t, 8, 41, 42, 43, 44, 45, 46, 47, 48))
	next.Servers = nil
	for seed := range byte(MaxServerKeys) {
		next.Servers = append(next.Servers, testKey(t, RoleServer, 51+seed).Public())
	}
	for seed := range byte(MaxApprovers) {
		next.Approvers = append(next.Approvers, testKey(t, RoleApprover, 61+seed).Public())
	}
	next.Approvals = MaxApprovers
	signed := signRoot(t, next, 31, 32, 33, 34, 35, 36, 37, 38, 41, 42, 43, 44, 45, 46, 47, 48)
	if _, err := old.Next(signed); err != nil {
		t.Errorf("%d bytes: %v", len(signed), err)
	}
}

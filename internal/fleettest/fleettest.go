// Package fleettest is what tests of a fleet server share, whichever of its faces they look at: keys, releases, databases,
// devices in the registry, agents, and a network in memory between them.
package fleettest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/doctor"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/seal"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var (
	ServerKey  = Key(manifest.RoleServer, "server")
	ReleaseKey = Key(manifest.RoleRelease, "release")
	Trust      = manifest.Keys{Keys: []manifest.PublicKey{ReleaseKey.Public()}, Threshold: 1}

	// Groups are what servers give their campaigns.
	Groups = []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:6003"), netip.MustParseAddrPort("239.1.2.4:6003")}
)

// Key makes the key that belongs to a name, so that a failing test fails the same way again. That of a device is its own.
func Key(role manifest.Role, name string) *manifest.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key, err := manifest.GenerateKey(role, bytes.NewReader(seed))
	if err != nil {
		panic(err)
	}
	return key
}

// Image returns n bytes, no two stretches of which are alike.
func Image(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Release returns the signed manifest of a release for phones with one image. Change may be nil.
func Release(t testing.TB, key *manifest.PrivateKey, image string, content []byte, change func(*manifest.Manifest)) []byte {
	t.Helper()
	im, _, err := manifest.NewImage(image, bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	m := &manifest.Manifest{Product: "phone", Hardware: []string{manifest.AnyHardware}, Version: "2.0", Sequence: 5,
		Created: now, Expires: now.AddDate(0, 6, 0), Images: []manifest.Image{im}}
	if change != nil {
		change(m)
	}
	signed, err := m.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Sealed returns the signed manifest of a release with one sealed image, what is sent of it, and its file key.
func Sealed(t testing.TB, key *manifest.PrivateKey, image string, content []byte) (signed, sent []byte, fileKey manifest.FileKey) {
	t.Helper()
	var b bytes.Buffer
	fileKey, sealed, err := seal.Encrypt(&b, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return Release(t, key, image, b.Bytes(), func(m *manifest.Manifest) { m.Images[0].Sealed = sealed }), b.Bytes(), fileKey
}

// FileKeys returns file keys as the file has them that normsend sign writes.
func FileKeys(t testing.TB, keys ...manifest.FileKey) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fw.seal")
	err := manifest.WriteFileKeys(path, keys)
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Databases return the URL of an empty database of each kind.
var Databases = map[string]func(testing.TB) string{"sqlite": SQLite, "postgres": pgtest.New}

// SQLite returns the URL of a database that is not there yet.
func SQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "fleet.db") }

// OnBoth runs f on an empty database of each kind.
func OnBoth(t *testing.T, f func(t *testing.T, database func(testing.TB) string)) {
	t.Helper()
	for name, database := range Databases {
		t.Run(name, func(t *testing.T) { f(t, database) })
	}
}

// Open opens a store until the test ends.
func Open(t testing.TB, url string) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// Config returns the configuration of a server on a store and a network.
func Config(st *store.Store, n *Network) fleet.Config {
	return fleet.Config{
		Store: st, Key: ServerKey, Trust: Trust, URL: "http://127.0.0.1:8443", Groups: Groups,
		Conn:      func(_ store.Campaign, group netip.AddrPort) (session.Conn, error) { return n.Open(group), nil },
		Responder: func(doctor.ResponderConfig) (fleet.Responder, error) { return silent{}, nil },
	}
}

// silent is who answers nobody that examines the network: in memory there is none.
type silent struct{}

func (silent) Run(ctx context.Context) { <-ctx.Done() }
func (silent) Addr() netip.Addr        { return netip.Addr{} }
func (silent) Close()                  {}

// Healthy is an examination of the network that finds nothing wrong.
func Healthy(_ context.Context, c doctor.Config) (*doctor.Report, error) {
	return &doctor.Report{Heard: true, Findings: []doctor.Finding{
		{Check: "group", Verdict: doctor.OK, Seen: c.Group.String()},
		{Check: "reception", Verdict: doctor.OK, Seen: "the sender is heard"},
	}}, nil
}

// Deaf is one to which the sender does not come.
func Deaf(_ context.Context, c doctor.Config) (*doctor.Report, error) {
	return &doctor.Report{Findings: []doctor.Finding{
		{Check: "group", Verdict: doctor.OK, Seen: c.Group.String()},
		{Check: "reception", Verdict: doctor.Fault, Seen: "nothing comes by the group", Remedy: "route the group to this site"},
		{Check: "querier", Verdict: doctor.Warning, Seen: "no query for members", Remedy: "have the router ask for members"},
	}}, nil
}

// By is something that a person does now.
func By(actor string) store.By { return store.By{Actor: actor, At: time.Now().UTC()} }

// Sighting is a phone that shows itself now.
func Sighting(name string) store.Sighting {
	return store.Sighting{Device: name, Product: "phone", Hardware: "rev-a", Version: "1.0", At: time.Now()}
}

// Enrol takes devices into the registry with their keys approved.
func Enrol(t testing.TB, st *store.Store, site string, names ...string) {
	t.Helper()
	for _, name := range names {
		by := By("anna")
		_, secret, err := st.CreateEnrolment(t.Context(), store.Enrolment{Device: name, Site: site, Expires: by.At.Add(time.Hour)}, by)
		if err == nil {
			err = st.Enrol(t.Context(), secret, Sighting(name), Key(manifest.RoleDevice, name).Public(), by.At)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Agent returns the configuration of a phone that trusts the keys here and reaches a server.
func Agent(t testing.TB, n *Network, server, name string) upgrade.AgentConfig {
	return upgrade.AgentConfig{
		Server: server, Trust: Trust, TrustServer: ServerKey.Public(), Product: "phone", Hardware: "rev-a", Device: name,
		Key: Key(manifest.RoleDevice, name), Dir: filepath.Join(t.TempDir(), name), Boot: "boot-1",
		Conn: func(s *manifest.Session) (session.Conn, error) { return n.Open(s.Group), nil }, Examine: Healthy,
	}
}

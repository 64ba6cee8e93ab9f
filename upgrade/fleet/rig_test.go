package fleet_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/normtest/hub"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/wire"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var (
	serverKey  = testKey(manifest.RoleServer, "server")
	releaseKey = testKey(manifest.RoleRelease, "release")
	group      = netip.MustParseAddrPort("239.1.2.3:6003")
)

// testKey makes the key that belongs to a name, so that a failing test fails the same way again.
func testKey(role manifest.Role, name string) *manifest.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key, err := manifest.GenerateKey(role, bytes.NewReader(seed))
	if err != nil {
		panic(err)
	}
	return key
}

// A rig is a fleet in virtual time: servers on one store, a network in memory, and devices that reach whichever server is
// in front.
type rig struct {
	*testing.T
	store   *store.Store
	release manifest.Digest
	image   []byte
	groups  map[string]*hub.Hub // by address
	agents  sync.WaitGroup

	mu    sync.Mutex // guards all below
	front http.Handler
	peers map[string]http.Handler // what servers ask of each other, by name
	last  byte
	lost  float64
	data  int // bytes of NORM_DATA that went to devices, and
	heard int // datagrams of the sender
	// nackers are the NormNodeIds of those who have sent a NORM_NACK.
	nackers map[uint32]bool
	rng     *rand.Rand
}

// newSQLite returns the URL of a database that is not there yet.
func newSQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "fleet.db") }

// databases are what servers share a store on.
var databases = map[string]func(testing.TB) string{"sqlite": newSQLite, "postgres": pgtest.New}

func newRig(t *testing.T, db string) *rig {
	st, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return &rig{T: t, store: st, groups: map[string]*hub.Hub{}, peers: map[string]http.Handler{}, nackers: map[uint32]bool{}, rng: rand.New(rand.NewPCG(1, 2)), image: pattern(300_000)}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// RoundTrip is what devices reach: the server in front, if there is one.
func (r *rig) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	front := r.front
	r.mu.Unlock()
	return reach(front, req)
}

// reach has a server answer, if there is one.
func reach(server http.Handler, req *http.Request) (*http.Response, error) {
	if server == nil {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	server.ServeHTTP(w, req)
	return w.Result(), req.Context().Err()
}

// A reacher is an http.RoundTripper.
type reacher func(*http.Request) (*http.Response, error)

func (f reacher) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// at is what devices reach that ask one server, whichever is in front.
func at(s *server) reacher {
	return func(req *http.Request) (*http.Response, error) { return reach(s.Handler(), req) }
}

// toPeer is what servers reach of each other.
func (r *rig) toPeer(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	peer := r.peers[req.URL.Host]
	r.mu.Unlock()
	return reach(peer, req)
}

// cut has no other server reach one any more.
func (r *rig) cut(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, name)
}

func (r *rig) open(group netip.AddrPort) session.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.groups[group.String()]
	if h == nil {
		h = new(hub.Hub)
		h.Lose(func(_, _ netip.AddrPort, b []byte) bool { return r.loses(b) })
		r.groups[group.String()] = h
	}
	r.last++
	return h.Open(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, r.last}), 6003))
}

func (r *rig) loses(b []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch typ := b[0] & 0x0f; typ {
	case uint8(wire.TypeNack):
		r.nackers[binary.BigEndian.Uint32(b[4:])] = true // source_id (RFC 5740, Section 4.1)
	case uint8(wire.TypeData):
		r.data += len(b)
		fallthrough
	case uint8(wire.TypeInfo), uint8(wire.TypeCmd):
		r.heard++
	}
	return r.rng.Float64() < r.lost
}

// A server is one of a rig.
type server struct {
	*fleet.Server
	stop func() // and wait
}

const leaseTime = 6 * time.Second

// serve runs a server and puts it in front.
func (r *rig) serve(name string) *server {
	r.Helper()
	s, err := fleet.Open(r.Context(), fleet.Config{
		Store: r.store, Key: serverKey, Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1},
		URL: "http://127.0.0.1:8443", Name: name, PeerURL: "http://" + name, Peers: reacher(r.toPeer), Lease: leaseTime, MaxPending: 50,
		Groups: []netip.AddrPort{group, netip.MustParseAddrPort("239.1.2.4:6003")},
		Conn:   func(_ store.Campaign, group netip.AddrPort) (session.Conn, error) { return r.open(group), nil },
	})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	r.mu.Lock()
	r.front, r.peers[name] = s.Handler(), s.PeerHandler()
	r.mu.Unlock()
	return &server{s, sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.Error(err)
		}
	})}
}

// upload adds the release and its image.
func (r *rig) upload(s *server) {
	r.Helper()
	r.release = r.addRelease(s, 5)
	if err := s.AddImage(r.Context(), r.release, "fw", bytes.NewReader(r.image), "alice"); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) addRelease(s *server, sequence uint64) manifest.Digest {
	r.Helper()
	rel, err := s.AddRelease(r.Context(), r.signed(releaseKey, sequence), "alice")
	if err != nil {
		r.Fatal(err)
	}
	return rel.ID
}

func (r *rig) signed(key *manifest.PrivateKey, sequence uint64) []byte {
	im, _, err := manifest.NewImage("fw", bytes.NewReader(r.image), int64(len(r.image)))
	if err != nil {
		r.Fatal(err)
	}
	return r.sign(key, sequence, im)
}

func (r *rig) sign(key *manifest.PrivateKey, sequence uint64, im manifest.Image) []byte {
	now := time.Now().UTC().Truncate(time.Second)
	m := &manifest.Manifest{Product: "phone", Hardware: []string{manifest.AnyHardware}, Version: "2.0", Sequence: sequence,
		Created: now, Expires: now.AddDate(0, 6, 0), Images: []manifest.Image{im}}
	signed, err := m.Sign(key)
	if err != nil {
		r.Fatal(err)
	}
	return signed
}

// enrol takes devices into the registry with their keys approved.
func (r *rig) enrol(names ...string) {
	r.Helper()
	for _, name := range names {
		by := store.By{Actor: "alice", At: time.Now()}
		_, secret, err := r.store.CreateEnrolment(r.Context(), store.Enrolment{Device: name, Site: "berlin", Expires: by.At.Add(time.Hour)}, by)
		if err == nil {
			err = r.store.Enrol(r.Context(), secret, store.Sighting{Device: name, Product: "phone", Hardware: "rev-a", At: by.At}, testKey(manifest.RoleDevice, name).Public(), by.At)
		}
		if err != nil {
			r.Fatal(err)
		}
	}
}

// settings are those of a campaign for all phones.
func settings(change func(*store.CampaignSettings)) store.CampaignSettings {
	s := store.CampaignSettings{
		Targets:   store.Selector{Products: []string{"phone"}},
		Transport: store.Transport{Rate: 2e6, GRTT: 20 * time.Millisecond},
		Policy:    store.Policy{Waves: []store.Wave{{ReadyTimeout: 10 * time.Minute}}},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func (r *rig) create(s *server, name string, change func(*store.CampaignSettings)) store.Campaign {
	r.Helper()
	c, err := s.Create(r.Context(), name, r.release, settings(change), "alice")
	if err != nil {
		r.Fatal(err)
	}
	return c
}

func (r *rig) start(s *server, c store.Campaign) {
	r.Helper()
	if _, err := s.Start(r.Context(), c.ID, c.Revision, "alice"); err != nil {
		r.Fatal(err)
	}
}

// An agent is a real one, which runs until one campaign has ended on it.
type agent struct {
	mu     sync.Mutex // guards all below
	events []upgrade.Event
	err    error
	ended  bool
}

func (r *rig) agent(name string, change func(*upgrade.AgentConfig)) *agent {
	r.Helper()
	a := &agent{}
	cfg := r.agentConfig(name, a)
	if change != nil {
		change(&cfg)
	}
	device, err := upgrade.NewAgent(cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.agents.Go(func() {
		err := device.Run(r.Context())
		a.mu.Lock()
		defer a.mu.Unlock()
		a.err, a.ended = err, true
	})
	return a
}

func (r *rig) agentConfig(name string, a *agent) upgrade.AgentConfig {
	return upgrade.AgentConfig{
		Server: "http://127.0.0.1:8443", Transport: r, Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1},
		TrustServer: serverKey.Public(), Product: "phone", Hardware: "rev-a", Device: name, Key: testKey(manifest.RoleDevice, name),
		Dir: filepath.Join(r.TempDir(), name), Boot: "boot-1", Once: true,
		Conn:  func(s *manifest.Session) (session.Conn, error) { return r.open(s.Group), nil },
		Event: a.note,
	}
}

func (a *agent) note(e upgrade.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

func (a *agent) did(kind upgrade.EventKind) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// until waits, in virtual time.
func (r *rig) until(within time.Duration, what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("%s: not within %v", what, within)
		}
	}
}

func (r *rig) snapshot(s *server, id commit.CampaignID) fleet.Snapshot {
	r.Helper()
	snap, err := s.Snapshot(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	return snap
}

func (r *rig) devices(s *server, id commit.CampaignID) []fleet.View {
	r.Helper()
	l, err := s.CampaignDevices(r.Context(), id, fleet.TargetFilter{}, store.Page{Limit: 1000})
	if err != nil {
		r.Fatal(err)
	}
	return l.Items
}

func (r *rig) phase(id commit.CampaignID) store.CampaignPhase {
	r.Helper()
	c, err := r.store.Campaign(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	return c.Phase
}

// kill ends a server as a crash does: nothing that it still wants to write is kept, and its leases last.
func (r *rig) kill(s *server, id commit.CampaignID) {
	r.Helper()
	c, err := r.store.Campaign(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	if (c.Phase == store.PhaseRunning || c.Phase == store.PhasePaused) && c.Lease.Owner != "" {
		ends := time.Now().Add(leaseTime)
		if _, err := r.store.TakeLease(r.Context(), id, "dead", c.Lease.Until, ends.Sub(c.Lease.Until)); err != nil {
			r.Fatal(err)
		}
	}
	r.mu.Lock()
	r.front = nil
	r.mu.Unlock()
	s.stop()
}

func virtual(t *testing.T, f func(t *testing.T, r *rig)) { virtualOn(t, newSQLite, f) }

func virtualOn(t *testing.T, database func(testing.TB) string, f func(t *testing.T, r *rig)) {
	db := database(t) // in real time
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, db)
		f(t, r)
		r.agents.Wait()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("phone-%02d", i))
	}
	return all
}

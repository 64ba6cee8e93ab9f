package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A rig is a fleet in virtual time: servers on one store, a network in memory, and devices that reach whichever server is
// in front.
type rig struct {
	*testing.T
	store   *store.Store
	release manifest.Digest
	image   []byte
	net     fleettest.Network
	agents  sync.WaitGroup

	mu    sync.Mutex // guards all below
	front http.Handler
	peers map[string]http.Handler // what servers ask of each other, by name
}

func newRig(t *testing.T, db string) *rig {
	return &rig{T: t, store: fleettest.Open(t, db), peers: map[string]http.Handler{}, image: fleettest.Image(300_000)}
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

// A server is one of a rig.
type server struct {
	*fleet.Server
	stop func() // and wait
}

const leaseTime = 6 * time.Second

// serve runs a server and puts it in front.
func (r *rig) serve(name string) *server {
	r.Helper()
	cfg := fleettest.Config(r.store, &r.net)
	cfg.Name, cfg.Lease, cfg.MaxPending = name, leaseTime, 50
	cfg.PeerURL, cfg.Peers = "http://"+name, reacher(r.toPeer)
	s, err := fleet.Open(r.Context(), cfg)
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
	rel, err := s.AddRelease(r.Context(), r.signed(fleettest.ReleaseKey, sequence), "alice")
	if err != nil {
		r.Fatal(err)
	}
	return rel.ID
}

func (r *rig) signed(key *manifest.PrivateKey, sequence uint64) []byte {
	return fleettest.Release(r.T, key, "fw", r.image, func(m *manifest.Manifest) { m.Sequence = sequence })
}

func (r *rig) enrol(names ...string) { fleettest.Enrol(r.T, r.store, "berlin", names...) }

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
	cfg := fleettest.Agent(r.T, &r.net, "http://127.0.0.1:8443", name)
	cfg.Transport, cfg.Once, cfg.Event = r, true, a.note
	return cfg
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

// virtual runs f in virtual time, on each database.
func virtual(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	fleettest.OnBoth(t, func(t *testing.T, database func(testing.TB) string) { virtualOn(t, database, f) })
}

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

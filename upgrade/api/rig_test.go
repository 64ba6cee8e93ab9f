package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// plenty is for tests that ask much.
var plenty = api.Limits{PerToken: 1e5, PerAddress: 1e5, Guesses: 1e5}

// A rig is a server with its API, people with tokens, and a network in memory.
type rig struct {
	*testing.T
	store  *store.Store
	fleet  *fleet.Server
	api    *api.API
	url    string
	tokens map[string]string // secrets by name
	image  []byte
	net    fleettest.Network

	mu   sync.Mutex              // guards seen
	seen map[string]map[int]bool // answers of operations: "GET /releases" 200
}

// people are who uses the rig's server; device-1 is a device.
var people = map[string]store.Role{
	"vera": store.RoleViewer, "anna": store.RoleOperator, "otto": store.RoleOperator, "carl": store.RoleApprover, "alma": store.RoleAdmin,
	"device-1": store.RoleDevice,
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := pgtest.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// onBoth runs f with a rig on each database.
func onBoth(t *testing.T, f func(t *testing.T, r *rig)) {
	fleettest.OnBoth(t, func(t *testing.T, database func(testing.TB) string) { f(t, newRigOn(t, database, plenty)) })
}

func newRig(t *testing.T, limits api.Limits) *rig { return newRigOn(t, fleettest.SQLite, limits) }

func newRigOn(t *testing.T, database func(testing.TB) string, limits api.Limits) *rig {
	t.Helper()
	st := fleettest.Open(t, database(t))
	var err error
	r := &rig{T: t, store: st, tokens: map[string]string{}, seen: map[string]map[int]bool{}, image: fleettest.Image(100_000)}
	for name, role := range people {
		if _, r.tokens[name], err = st.CreateToken(t.Context(), name, role, fleettest.By("console")); err != nil {
			t.Fatal(err)
		}
	}
	r.fleet = r.server("one")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.fleet.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	r.api, r.url = r.serve(r.fleet, limits)
	return r
}

func (r *rig) server(name string) *fleet.Server {
	r.Helper()
	cfg := fleettest.Config(r.store, &r.net)
	cfg.Name, cfg.Linger = name, 10*time.Millisecond
	s, err := fleet.Open(r.Context(), cfg)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// serve puts the API, and the rendezvous, in front of a server.
func (r *rig) serve(s *fleet.Server, limits api.Limits) (*api.API, string) {
	a := api.New(api.Config{Fleet: s, Key: fleettest.ServerKey.Public(), URL: "http://127.0.0.1:8443", Version: "test", Limits: limits})
	mux := http.NewServeMux()
	mux.Handle("/api/", a)
	mux.Handle("/v1/", s.Handler())
	mux.Handle("/metrics", a.Metrics())
	mux.Handle("/healthz", a.Health())
	web := httptest.NewServer(mux)
	r.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return a, web.URL
}

// An answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) problem(t *testing.T) (p rest.Problem) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q of %s", got, a.body)
	}
	if err := json.Unmarshal(a.body, &p); err != nil || p.Status != a.status || p.Reason == "" || p.Title == "" || !p.Reason.Valid() {
		t.Errorf("problem %s of an answer with %d", a.body, a.status)
	}
	return p
}

func decode[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields() // what the contract has not must not be told
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %d %s", err, a.status, a.body)
	}
	return v
}

// ask makes a request of an operation, such as "GET /devices/{device}/history?limit=3" with "lamp" for {device}, as one of
// the people; headers are names and values in turn. The body is JSON, or bytes.
func (r *rig) ask(who, operation string, body any, headers ...string) answer {
	r.Helper()
	return r.askAt(r.url, who, operation, body, headers...)
}

func (r *rig) askAt(at, who, operation string, body any, headers ...string) answer {
	r.Helper()
	method, path, _ := strings.Cut(operation, " ")
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		in = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			r.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	q, err := http.NewRequestWithContext(r.Context(), method, at+"/api/v1"+path, in)
	if err != nil {
		r.Fatal(err)
	}
	if token, ok := r.tokens[who]; ok {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		if a.body, err = io.ReadAll(resp.Body); err != nil {
			r.Fatal(err)
		}
	}
	r.note(method, q.URL.Path, a.status)
	if a.status >= 400 {
		a.problem(r.T)
	}
	return a
}

// note remembers that an operation has answered so.
func (r *rig) note(method, path string, status int) {
	mux := http.NewServeMux()
	for _, op := range api.Operations() {
		mux.HandleFunc(op.Method+" /api/v1"+op.Path, func(http.ResponseWriter, *http.Request) {})
	}
	q := &http.Request{Method: method, URL: &url.URL{Path: path}}
	_, pattern := mux.Handler(q)
	key := strings.Replace(pattern, "/api/v1", "", 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] == nil {
		r.seen[key] = map[int]bool{}
	}
	r.seen[key][status] = true
}

// want makes a request that has to be answered with a status, and a reason if that is a refusal.
func (r *rig) want(status int, reason rest.Reason, who, operation string, body any, headers ...string) answer {
	r.Helper()
	a := r.ask(who, operation, body, headers...)
	if a.status != status {
		r.Fatalf("%s: %d %s, want %d", operation, a.status, a.body, status)
	}
	if reason != "" {
		if p := a.problem(r.T); p.Reason != reason {
			r.Fatalf("%s: reason %q (%s), want %q", operation, p.Reason, p.Detail, reason)
		}
	}
	return a
}

func (r *rig) signed(key *manifest.PrivateKey, version string, image []byte, expires time.Time) []byte {
	r.Helper()
	return fleettest.Release(r.T, key, "fw", image, func(m *manifest.Manifest) {
		m.Version, m.Created, m.Expires = version, expires.AddDate(0, -6, 0), expires
	})
}

func soon() time.Time { return time.Now().UTC().Truncate(time.Second).AddDate(0, 6, 0) }

// upload adds a release with its image and returns its digest.
func (r *rig) upload(version string) string {
	r.Helper()
	release := decode[rest.Release](r.T, r.want(201, "", "anna", "POST /releases", r.signed(fleettest.ReleaseKey, version, r.image, soon())))
	r.want(204, "", "anna", "PUT /releases/"+release.Id+"/images/fw", r.image)
	return release.Id
}

// enrol takes devices into the registry with their keys approved.
func (r *rig) enrol(names ...string) {
	r.Helper()
	for _, name := range names {
		made := decode[rest.EnrolmentSecret](r.T, r.want(201, "", "anna", "POST /enrolments", rest.NewEnrolment{Device: name, Site: "berlin", Expires: time.Now().Add(time.Hour)}))
		err := r.store.Enrol(r.Context(), made.Secret, fleettest.Sighting(name), fleettest.Key(manifest.RoleDevice, name).Public(), time.Now())
		if err != nil {
			r.Fatal(err)
		}
	}
}

// draft is a campaign for some devices.
func draft(name, release string, devices ...string) rest.Draft {
	return rest.Draft{Name: name, Release: release, Settings: rest.Settings{
		Targets:   rest.Selector{Devices: devices},
		Transport: rest.Transport{Rate: 50e6, Grtt: int64(10 * time.Millisecond)},
		Policy:    rest.Policy{Waves: []rest.Wave{{ReadyTimeout: int64(time.Minute), Ask: true}}},
	}}
}

func later(d rest.Draft) rest.Draft {
	d.Settings.Schedule.At = time.Now().UTC().Add(time.Hour)
	return d
}

func (r *rig) create(d rest.Draft) rest.Campaign {
	r.Helper()
	return decode[rest.Campaign](r.T, r.want(201, "", "anna", "POST /campaigns", d))
}

func (r *rig) start(d rest.Draft) rest.Campaign {
	r.Helper()
	c := r.create(d)
	return decode[rest.Campaign](r.T, r.want(200, "", "anna", "POST /campaigns/"+c.Id+"/start", nil, "If-Match", etag(c.Revision)))
}

func etag(revision int64) string { return fmt.Sprintf(`"%d"`, revision) }

func (r *rig) status(id string) rest.Status {
	r.Helper()
	return decode[rest.Status](r.T, r.want(200, "", "vera", "GET /campaigns/"+id+"/status", nil))
}

// until waits until a campaign is as it should be.
func (r *rig) until(id, what string, ok func(rest.Status) bool) {
	r.Helper()
	for !ok(r.status(id)) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
			r.Fatal(what)
		}
	}
}

// agent runs a device until the test ends.
func (r *rig) agent(name string) {
	r.Helper()
	device, err := upgrade.NewAgent(fleettest.Agent(r.T, &r.net, r.url, name))
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := device.Run(ctx); err != nil && ctx.Err() == nil {
			r.Error(err)
		}
	}()
	r.Cleanup(func() { cancel(); <-done })
}

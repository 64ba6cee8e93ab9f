package web_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/normtest/hub"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/multicast-upgrade/tool/upgrade/web"
)

var (
	serverKey  = testKey(manifest.RoleServer, "server")
	releaseKey = testKey(manifest.RoleRelease, "release")
	trust      = manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}
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

// A rig is a fleet server with its page on loopback, and a network of devices in memory.
type rig struct {
	*testing.T
	store *store.Store
	fleet *fleet.Server
	http  *httptest.Server
	image []byte
	cut   atomic.Bool // what keeps pages up to date is refused

	mu   sync.Mutex // guards all below
	hub  hub.Hub
	last byte
	rng  *rand.Rand
	lost float64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, store: st, rng: rand.New(rand.NewPCG(1, 2)), image: make([]byte, 400_000)}
	for i := range r.image {
		r.image[i] = byte(r.rng.Uint32())
	}
	r.hub.Lose(func(_, _ netip.AddrPort, _ []byte) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.rng.Float64() < r.lost
	})
	mux := http.NewServeMux()
	ctx, cancel := context.WithCancel(context.Background())
	r.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.cut.Load() && strings.HasSuffix(req.URL.Path, "/live") {
			panic(http.ErrAbortHandler) // the connection is reset
		}
		mux.ServeHTTP(w, req)
	}))
	r.http.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	r.http.Start()
	r.fleet, err = fleet.Open(t.Context(), fleet.Config{
		Store: st, Key: serverKey, Trust: trust, URL: r.http.URL, Name: "north",
		Groups: []netip.AddrPort{netip.MustParseAddrPort("239.192.0.1:6003"), netip.MustParseAddrPort("239.192.0.2:6003")},
		Conn:   func(store.Campaign, netip.AddrPort) (session.Conn, error) { return r.conn(), nil },
		Lead:   time.Second, Linger: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	site, err := web.New(web.Config{Fleet: r.fleet})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/v1/", r.fleet.Handler())
	mux.Handle("/", site)
	var work sync.WaitGroup
	work.Go(func() { r.fleet.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
		r.http.Close()
		st.Close()
	})
	r.until("the server runs", func() bool {
		answer, err := http.Get(r.http.URL + "/v1/")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode != http.StatusServiceUnavailable
	})
	return r
}

func (r *rig) conn() session.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return r.hub.Open(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, r.last}), 6003))
}

// until waits for something that is done elsewhere.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("%s: not within a minute", what)
		}
	}
}

func (r *rig) by(actor string) store.By { return store.By{Actor: actor, At: time.Now()} }

// signed returns the manifest of a release with the image of the rig.
func (r *rig) signed(version string, sequence uint64) []byte {
	r.Helper()
	im, _, err := manifest.NewImage("fw.bin", bytes.NewReader(r.image), int64(len(r.image)))
	if err != nil {
		r.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	m := &manifest.Manifest{Product: "phone", Hardware: []string{manifest.AnyHardware}, Version: version, Sequence: sequence,
		Created: now, Expires: now.AddDate(0, 6, 0), Images: []manifest.Image{im}}
	signed, err := m.Sign(releaseKey)
	if err != nil {
		r.Fatal(err)
	}
	return signed
}

// upload adds a whole release.
func (r *rig) upload() store.Release {
	r.Helper()
	rel, err := r.fleet.AddRelease(r.Context(), r.signed("2.0", 5), "anna")
	if err == nil {
		err = r.fleet.AddImage(r.Context(), rel.ID, "fw.bin", bytes.NewReader(r.image), "anna")
	}
	if err != nil {
		r.Fatal(err)
	}
	return rel
}

// enrol takes devices into the registry with their keys approved.
func (r *rig) enrol(site string, names ...string) {
	r.Helper()
	for _, name := range names {
		_, secret, err := r.store.CreateEnrolment(r.Context(), store.Enrolment{Device: name, Site: site, Expires: time.Now().Add(time.Hour)}, r.by("anna"))
		if err == nil {
			err = r.store.Enrol(r.Context(), secret, sighting(name), testKey(manifest.RoleDevice, name).Public(), time.Now())
		}
		if err != nil {
			r.Fatal(err)
		}
	}
}

// show has devices show keys that nobody has approved.
func (r *rig) show(names ...string) {
	r.Helper()
	for _, name := range names {
		err := r.store.SeeDevices(r.Context(), sighting(name))
		if err == nil {
			err = r.store.ShowKey(r.Context(), name, testKey(manifest.RoleDevice, name).Public(), time.Now())
		}
		if err != nil {
			r.Fatal(err)
		}
	}
}

func sighting(name string) store.Sighting {
	return store.Sighting{Device: name, Product: "phone", Hardware: "rev-a", Version: "1.0", At: time.Now()}
}

// agent runs a device until its campaign has ended.
func (r *rig) agent(name string) {
	r.Helper()
	device, err := upgrade.NewAgent(upgrade.AgentConfig{
		Server: r.http.URL, Trust: trust, TrustServer: serverKey.Public(), Product: "phone", Hardware: "rev-a", Device: name,
		Key: testKey(manifest.RoleDevice, name), Dir: filepath.Join(r.TempDir(), name), Boot: "boot-1", Once: true,
		Conn: func(*manifest.Session) (session.Conn, error) { return r.conn(), nil },
	})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		device.Run(ctx)
	}()
	r.Cleanup(func() { cancel(); <-done })
}

func (r *rig) token(name string, role store.Role) string {
	r.Helper()
	_, secret, err := r.store.CreateToken(r.Context(), name, role, r.by("setup"))
	if err != nil {
		r.Fatal(err)
	}
	return secret
}

// A person is a browser without scripts.
type person struct {
	*rig
	client http.Client
}

// person logs in with a new token.
func (r *rig) person(name string, role store.Role) *person {
	r.Helper()
	p := r.stranger()
	if status, _ := p.post("/login", url.Values{"token": {r.token(name, role)}}); status != http.StatusOK {
		r.Fatalf("login: %d", status)
	}
	return p
}

func (r *rig) stranger() *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.Fatal(err)
	}
	return &person{r, http.Client{Jar: jar}}
}

func (p *person) do(req *http.Request) (status int, body string) {
	p.Helper()
	answer, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		p.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func (p *person) get(path string) (status int, body string) {
	p.Helper()
	req, err := http.NewRequest("GET", p.http.URL+path, nil)
	if err != nil {
		p.Fatal(err)
	}
	return p.do(req)
}

// see gets a page that has to be there.
func (p *person) see(path string) string {
	p.Helper()
	status, body := p.get(path)
	if status != http.StatusOK {
		p.Fatalf("GET %s: %d\n%s", path, status, body)
	}
	return body
}

func (p *person) post(path string, form url.Values) (status int, body string) {
	p.Helper()
	req, err := http.NewRequest("POST", p.http.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return p.do(req)
}

// send uploads files: field, file name, and what is in it.
func (p *person) send(path string, files ...[3]string) (status int, body string) {
	p.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, f := range files {
		part, err := form.CreateFormFile(f[0], f[1])
		if err != nil {
			p.Fatal(err)
		}
		io.WriteString(part, f[2])
	}
	form.Close()
	req, err := http.NewRequest("POST", p.http.URL+path, &b)
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	return p.do(req)
}

var hiddenRevision = regexp.MustCompile(`name="revision" value="(\d+)"`)

// revision returns the one that a question was asked about.
func (p *person) revision(path string) string {
	p.Helper()
	found := hiddenRevision.FindStringSubmatch(p.see(path))
	if found == nil {
		p.Fatalf("%s has no revision", path)
	}
	return found[1]
}

// does answers a question with yes.
func (p *person) does(path string) (status int, body string) {
	p.Helper()
	return p.post(path, url.Values{"revision": {p.revision(path)}})
}

// draft makes one for all phones.
func (r *rig) draft(rel store.Release, name string, change func(*store.CampaignSettings)) store.Campaign {
	r.Helper()
	set := store.CampaignSettings{
		Targets:   store.Selector{Products: []string{"phone"}},
		Transport: store.Transport{Rate: 4e6, GRTT: 20 * time.Millisecond},
		Policy:    store.Policy{Waves: []store.Wave{{Ask: true}}},
	}
	if change != nil {
		change(&set)
	}
	c, err := r.fleet.Create(r.Context(), name, rel.ID, set, "anna")
	if err != nil {
		r.Fatal(err)
	}
	return c
}

func (r *rig) asks(id commit.CampaignID) func() bool {
	return func() bool {
		snap, err := r.fleet.Snapshot(r.Context(), id)
		return err == nil && snap.Asking
	}
}

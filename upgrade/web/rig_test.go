package web_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/multicast-upgrade/tool/upgrade/web"
)

// A rig is a fleet server with its page on loopback, and a network of devices in memory.
type rig struct {
	*testing.T
	store *store.Store
	fleet *fleet.Server
	http  *httptest.Server
	image []byte
	net   fleettest.Network
	cut   atomic.Bool // what keeps pages up to date is refused
}

func newRig(t *testing.T) *rig {
	t.Helper()
	st, err := store.Open(t.Context(), fleettest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, store: st, image: fleettest.Image(400_000)}
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
	cfg := fleettest.Config(st, &r.net)
	cfg.URL, cfg.Name, cfg.Lead, cfg.Linger = r.http.URL, "north", time.Second, time.Second
	r.fleet, err = fleet.Open(t.Context(), cfg)
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

// until waits for something that is done elsewhere.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("%s: not within a minute", what)
		}
	}
}

// signed returns the manifest of a release with the image of the rig.
func (r *rig) signed(version string, sequence uint64) []byte {
	r.Helper()
	return fleettest.Release(r.T, fleettest.ReleaseKey, "fw.bin", r.image, func(m *manifest.Manifest) { m.Version, m.Sequence = version, sequence })
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
func (r *rig) enrol(site string, names ...string) { fleettest.Enrol(r.T, r.store, site, names...) }

// agents enrols devices of a site, and has them work.
func (r *rig) agents(site string, names ...string) {
	r.Helper()
	r.enrol(site, names...)
	for _, name := range names {
		r.agent(name)
	}
}

// show has devices show keys that nobody has approved.
func (r *rig) show(names ...string) {
	r.Helper()
	for _, name := range names {
		err := r.store.SeeDevices(r.Context(), fleettest.Sighting(name))
		if err == nil {
			err = r.store.ShowKey(r.Context(), name, fleettest.Key(manifest.RoleDevice, name).Public(), time.Now())
		}
		if err != nil {
			r.Fatal(err)
		}
	}
}

// agent runs a device until its campaign has ended.
func (r *rig) agent(name string, change ...func(*upgrade.AgentConfig)) {
	r.Helper()
	cfg := fleettest.Agent(r.T, &r.net, r.http.URL, name)
	cfg.Once = true
	for _, f := range change {
		f(&cfg)
	}
	device, err := upgrade.NewAgent(cfg)
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
	_, secret, err := r.store.CreateToken(r.Context(), name, role, fleettest.By("setup"))
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

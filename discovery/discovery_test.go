package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// backend answers from its fields and keeps what it is told.
type backend struct {
	hello   Hello
	status  Status
	vote    Statement
	outcome Statement
	adopted []byte
	refuse  error
	decided []byte
	object  []byte
}

func (b *backend) Hello(_ context.Context, h Hello) error       { b.hello = h; return b.refuse }
func (b *backend) Status(_ context.Context, s Status) error     { b.status = s; return b.refuse }
func (b *backend) Vote(_ context.Context, s Statement) error    { b.vote = s; return b.refuse }
func (b *backend) Outcome(_ context.Context, s Statement) error { b.outcome = s; return b.refuse }
func (b *backend) FileKeys(_ context.Context, r FileKeyRequest) ([]byte, error) {
	return nil, ErrUnknown
}

func (b *backend) GroupKey(_ context.Context, r KeyRequest) ([]byte, error) {
	if r.Campaign != "ours" {
		return nil, ErrUnknown
	}
	return []byte("secret of " + r.Device), b.refuse
}

func (b *backend) Timestamp() []byte { return []byte("noon") }

func (b *backend) Decision(_ context.Context, campaign string, _ uint32) ([]byte, error) {
	if campaign != "ours" {
		return nil, ErrUnknown
	}
	if b.decided == nil {
		return nil, ErrUndecided
	}
	return b.decided, nil
}

func (b *backend) Adopt(_ context.Context, _ string, _ uint32, d []byte) error {
	b.adopted = d
	return b.refuse
}

func (b *backend) Brake(_ context.Context, campaign string) ([]byte, error) {
	if campaign != "ours" {
		return nil, ErrUnknown
	}
	return nil, nil
}

func (b *backend) Object(_ context.Context, campaign string, toi uint16) (io.ReaderAt, int64, error) {
	if campaign != "ours" || toi != 1 {
		return nil, 0, ErrUnknown
	}
	return bytes.NewReader(b.object), int64(len(b.object)), nil
}

func start(t *testing.T, b *backend) (*Handler, *Client) {
	t.Helper()
	h := NewHandler(b)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL, srv.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	return h, c
}

func TestPollTellsNewsAtOnce(t *testing.T) {
	h, c := start(t, &backend{})
	c.Wait = time.Second
	n, etag, err := c.Poll(t.Context(), "")
	if n != nil || err != nil || etag == "" {
		t.Fatalf("poll before anything is announced: %v, %q, %v", n, etag, err)
	}
	// The poll below is at the server before Publish, or it is not: either way it must bring the news.
	c.Wait = time.Minute
	type result struct {
		n   *Notice
		err error
	}
	got := make(chan result)
	go func() {
		n, _, err := c.Poll(t.Context(), etag)
		got <- result{n, err}
	}()
	h.Publish(Notice{Manifest: []byte("m"), Session: []byte("s"), Timestamp: []byte("forged")})
	r := <-got
	if r.err != nil || r.n == nil || string(r.n.Manifest) != "m" || string(r.n.Session) != "s" || string(r.n.Timestamp) != "noon" {
		t.Fatalf("poll: %+v, %v", r.n, r.err)
	}
}

func TestPollWithTheSameEtagBringsNothing(t *testing.T) {
	h, c := start(t, &backend{})
	h.Publish(Notice{Manifest: []byte("m")})
	_, etag, err := c.Poll(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	h.Publish(Notice{Manifest: []byte("m")}) // the same again wakes nobody
	c.Wait = time.Second
	n, again, err := c.Poll(t.Context(), etag)
	if n != nil || again != etag || err != nil {
		t.Errorf("second poll: %v, %q (was %q), %v; want nothing new", n, again, etag, err)
	}
}

func TestTooManyWaitersAreSentAway(t *testing.T) {
	h, c := start(t, &backend{})
	h.MaxWaiters = 1
	h.board.waiters = 1
	_, _, err := c.Poll(t.Context(), `"none"`)
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Status != http.StatusServiceUnavailable || refusal.retryAfter < 1 || refusal.retryAfter > 10 {
		t.Errorf("poll beyond MaxWaiters: %v; want a refusal to come back within 10 s", err)
	}
}

func TestMessagesArrive(t *testing.T) {
	b := &backend{}
	_, c := start(t, b)
	ctx := t.Context()
	for name, err := range map[string]error{
		"hello":   c.Hello(ctx, Hello{Device: "d1", Product: "p", Hardware: "h"}),
		"status":  c.Status(ctx, Status{Device: "d2", State: "receiving", Bytes: 5, Total: 7}),
		"vote":    c.Vote(ctx, Statement{Device: "d3", Signed: true, Body: []byte("v")}),
		"outcome": c.Outcome(ctx, Statement{Device: "d4", Body: []byte("o")}),
		"adopt":   c.Adopt(ctx, "ours", 3, []byte("decision")),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.hello.Device != "d1" || b.status.Total != 7 || !b.vote.Signed || string(b.outcome.Body) != "o" || string(b.adopted) != "decision" {
		t.Errorf("the backend got %+v", b)
	}
}

func TestRefusalReachesTheDevice(t *testing.T) {
	_, c := start(t, &backend{refuse: &Refusal{Status: http.StatusForbidden, Reason: "not-a-target", Detail: "device d1 is not on the list"}})
	err := c.Hello(t.Context(), Hello{Device: "d1"})
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Reason != "not-a-target" || refusal.Status != http.StatusForbidden {
		t.Errorf("Hello: %v; want the refusal", err)
	}
}

func TestInternalErrorsAreNotTold(t *testing.T) {
	_, c := start(t, &backend{refuse: errors.New("/secret/path: no space left")})
	err := c.Hello(t.Context(), Hello{})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Hello: %v; want an error without what happened inside", err)
	}
}

func TestDecision(t *testing.T) {
	b := &backend{}
	_, c := start(t, b)
	if _, err := c.Decision(t.Context(), "ours", 0); !errors.Is(err, ErrUndecided) {
		t.Errorf("before the decision: %v", err)
	}
	if _, err := c.Decision(t.Context(), "lost", 0); !errors.Is(err, ErrUnknown) {
		t.Errorf("of a campaign the server lost: %v", err)
	}
	b.decided = []byte("COMMIT")
	if got, err := c.Decision(t.Context(), "ours", 0); string(got) != "COMMIT" || err != nil {
		t.Errorf("after the decision: %q, %v", got, err)
	}
	if got, err := c.Brake(t.Context(), "ours"); len(got) != 0 || err != nil {
		t.Errorf("no brake: %q, %v", got, err)
	}
}

func TestFetchReadsARange(t *testing.T) {
	b := &backend{object: []byte("0123456789")}
	_, c := start(t, b)
	got := make([]byte, 4)
	if err := c.Fetch(t.Context(), "ours", 1, got, 3); err != nil || string(got) != "3456" {
		t.Errorf("Fetch: %q, %v", got, err)
	}
	if err := c.Fetch(t.Context(), "ours", 1, got, 8); err == nil {
		t.Error("a range beyond the end was read")
	}
	if err := c.Fetch(t.Context(), "ours", 2, got, 0); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown object: %v", err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	b := &backend{}
	h := NewHandler(b)
	for name, r := range map[string]*http.Request{
		"no CBOR":        httptest.NewRequest("POST", "/v1/hello", strings.NewReader("\xff\xff")),
		"too long":       httptest.NewRequest("POST", "/v1/hello", bytes.NewReader(make([]byte, maxBody+1))),
		"wave no number": httptest.NewRequest("GET", "/v1/campaigns/ours/decision/x", nil),
		"toi too large":  httptest.NewRequest("GET", "/v1/campaigns/ours/objects/65536", nil),
		"array bomb":     httptest.NewRequest("POST", "/v1/vote", strings.NewReader("\x9b\x7f\xff\xff\xff\xff\xff\xff\xff")),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if b.hello.Device != "" || b.vote.Body != nil {
		t.Errorf("the backend was given %+v", b.hello)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other origin was asked") }))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	c, _ := NewClient(srv.URL, nil)
	if err := c.Hello(t.Context(), Hello{Device: "d"}); err == nil {
		t.Error("a redirect was taken for an answer")
	}
}

// inMemory is a network without sockets, so that waiting passes in the time of synctest.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

// A device that finds no place among those who wait comes back when it was told to, not before, and goes on.
func TestFollowGoesOnAfterTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHandler(&backend{})
		h.MaxWaiters, h.board.waiters = 1, 1 // no place
		c, err := NewClient("http://server", inMemory{h})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		var sentAway time.Time
		var asked time.Duration
		err = c.Follow(ctx, func(n *Notice) {
			seen = append(seen, string(n.Manifest))
			if waited := time.Since(sentAway); waited < asked || waited > asked+5*time.Second {
				t.Errorf("it came back after %v; the server asked for %v", waited, asked)
			}
			cancel()
		}, func(err error) {
			refusal, _ := errors.AsType[*Refusal](err)
			sentAway, asked = time.Now(), time.Duration(refusal.retryAfter)*time.Second
			h.board.waiters--
			h.Publish(Notice{Manifest: []byte("m")})
		})
		if !errors.Is(err, context.Canceled) || len(seen) != 1 || seen[0] != "m" {
			t.Errorf("Follow: %v, saw %q", err, seen)
		}
	})
}

// Devices that lose their server together do not come back together.
func TestFollowBacksOffAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		c, _ := NewClient("http://server", inMemory{broken})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var polls []time.Time
		c.Follow(ctx, func(*Notice) {}, func(error) { polls = append(polls, time.Now()) })
		gaps := make(map[time.Duration]bool)
		for i := 1; i < len(polls); i++ {
			gaps[polls[i].Sub(polls[i-1])] = true
		}
		if n := len(polls); n < 60 || n > 300 || len(gaps) < n/2 {
			t.Errorf("%d polls in an hour with %d different gaps; want one in about half a minute, each at random", n, len(gaps))
		}
	})
}

func TestBadServerAddress(t *testing.T) {
	for _, base := range []string{"", "updates.example.net", "ftp://h", "https://", "https://u:p@h", "https://h?x=1"} {
		if _, err := NewClient(base, nil); err == nil {
			t.Errorf("NewClient(%q) did not fail", base)
		}
	}
}

func TestOnlyTheServerKeyIsTrusted(t *testing.T) {
	key := generate(t, manifest.RoleServer)
	impostor := generate(t, manifest.RoleServer)
	now := func() time.Time { return time.Time{} }
	for _, test := range []struct {
		name  string
		made  *manifest.PrivateKey
		host  string
		trust manifest.PublicKey
		ok    bool
	}{
		{"our server", key, "127.0.0.1", key.Public(), true},
		{"another server key", impostor, "127.0.0.1", key.Public(), false},
		{"another host", key, "10.0.0.1", key.Public(), false},
		{"no key", key, "127.0.0.1", manifest.PublicKey{}, false},
	} {
		srv := httptest.NewUnstartedServer(NewHandler(&backend{}))
		config, err := ServerTLS(test.made, []string{test.host, "localhost"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		srv.Listener = tls.NewListener(srv.Listener, config)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Start()
		base := strings.Replace(srv.URL, "http:", "https:", 1)
		c, err := NewClient(base, &http.Transport{TLSClientConfig: ClientTLS(test.trust, "127.0.0.1", now)})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Hello(t.Context(), Hello{Device: "d"})
		if test.ok && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if !test.ok && !errors.Is(err, ErrServerCertificate) {
			t.Errorf("%s: %v; want ErrServerCertificate", test.name, err)
		}
		srv.Close()
	}
}

func generate(t testing.TB, role manifest.Role) *manifest.PrivateKey {
	t.Helper()
	k, err := manifest.GenerateKey(role, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
)

// A counted transport counts the bytes of the objects that come over it.
type counted struct {
	http.RoundTripper
	bytes atomic.Int64
	paths func(path string) // told of each; may be nil
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.paths != nil {
		c.paths(r.URL.Path)
	}
	resp, err := c.RoundTripper.RoundTrip(r)
	if err == nil && strings.Contains(r.URL.Path, "/objects/") && resp.StatusCode == http.StatusPartialContent {
		c.bytes.Add(resp.ContentLength)
	}
	return resp, err
}

// direct carries HTTP to a handler.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	resp := w.Result()
	resp.ContentLength = int64(w.Body.Len())
	return resp, nil
}

func noMulticast(*manifest.Session) (session.Conn, error) {
	return nil, errors.New("no multicast here")
}

// TestBranchBehindAGatewayCrossesTheLineOnce has five devices and a gateway where there is no multicast.
func TestBranchBehindAGatewayCrossesTheLineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"gateway", "d1", "d2", "d3", "d4", "d5"}
		rel := makeRelease(t, nil, testImage(600_000, 1), testImage(70_000, 2))
		s := newServer(t, rel, commit.Policy{}, names...)
		origin := &counted{RoundTripper: s}
		var agents []running
		var handler http.Handler
		for _, name := range names {
			w := new(watcher)
			cfg := s.config(t.TempDir(), name, w)
			cfg.Conn, cfg.Transport = noMulticast, origin
			if handler != nil {
				cfg.Tail, cfg.TailTransport = "http://gateway", &counted{RoundTripper: direct{handler}, paths: func(path string) {
					if !strings.HasPrefix(path, "/v1/campaigns/") || !strings.Contains(path, "/objects/") {
						t.Errorf("the gateway is asked for %s", path)
					}
				}}
			}
			a, err := NewAgent(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if handler == nil {
				handler = a.Gateway().Handler()
			}
			agents = append(agents, start(t, a, w))
		}
		s.publish()
		for i, a := range agents {
			eventually(t, 5*time.Minute, "READY of "+names[i], a.has(EventReady))
		}
		if got, want := origin.bytes.Load(), int64(len(rel.hashes)+600_000+70_000); got != want {
			t.Errorf("%d bytes came from the origin, want %d", got, want)
		}
		eventually(t, time.Minute, "a vote of each", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.votes) == len(names) })
		s.decideAndTell()
		for i, a := range agents {
			eventually(t, 5*time.Minute, "activation of "+names[i], a.has(EventActivated))
			a.stop()
		}
	})
}

// TestLaggardGetsWhatTheGatewayRuns: the gateway has committed, and still serves the campaign, also after a restart.
func TestLaggardGetsWhatTheGatewayRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(300_000, 1)), commit.Policy{Quorum: 50}, "gateway", "d1")
		origin, dir := &counted{RoundTripper: s}, t.TempDir()
		begin := func(name, dir string, tail http.Handler) (running, *Agent) {
			w := new(watcher)
			cfg := s.config(dir, name, w)
			cfg.Conn, cfg.Transport = noMulticast, origin
			if tail != nil {
				cfg.Tail, cfg.TailTransport = "http://gateway", direct{tail}
			}
			a, err := NewAgent(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return start(t, a, w), a
		}
		g, _ := begin("gateway", dir, nil)
		s.publish()
		s.decideAndTell()
		eventually(t, 5*time.Minute, "activation", g.has(EventActivated))
		g.stop()
		g, gateway := begin("gateway", dir, nil)
		before := origin.bytes.Load()
		d, _ := begin("d1", t.TempDir(), gateway.Gateway().Handler())
		eventually(t, 5*time.Minute, "activation", d.has(EventActivated))
		if got := origin.bytes.Load() - before; got != 0 {
			t.Errorf("%d bytes came from the origin", got)
		}
		g.stop()
		d.stop()
	})
}

// TestAttackGatewayGivesWrongBytes: what a gateway gives is proved; from one that lies nothing more is taken.
func TestAttackGatewayGivesWrongBytes(t *testing.T) {
	for _, object := range []string{"/objects/0", "/objects/1"} {
		t.Run(object, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rel := makeRelease(t, nil, testImage(300_000, 1))
				s := newServer(t, rel, commit.Policy{}, "d1")
				asked := 0
				liar := direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, object) {
						s.handler.ServeHTTP(w, r)
						return
					}
					asked++
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 300_000)))
				})}
				w, dir := new(watcher), t.TempDir()
				cfg := s.config(dir, "d1", w)
				cfg.Conn, cfg.Tail, cfg.TailTransport = noMulticast, "http://gateway", liar
				a := run(t, cfg, w)
				s.publish()
				s.decideAndTell()
				eventually(t, 5*time.Minute, "activation", w.has(EventActivated))
				if asked != 1 {
					t.Errorf("the gateway that lies was asked %d times", asked)
				}
				if got := readFile(t, dir, "current/fw0"); !bytes.Equal(got, rel.images[0]) {
					t.Error("the image is another")
				}
				a.stop()
			})
		})
	}
}

// committedGateway is a gateway that runs a release of one image, fw0.
func committedGateway(t *testing.T, image []byte) (handler http.Handler, g *Gateway, s *server, a running) {
	t.Helper()
	s = newServer(t, makeRelease(t, nil, image), commit.Policy{}, "d1")
	w := new(watcher)
	agent, err := NewAgent(s.config(t.TempDir(), "d1", w))
	if err != nil {
		t.Fatal(err)
	}
	a = start(t, agent, w)
	s.publish()
	s.decideAndTell()
	eventually(t, 5*time.Minute, "activation", w.has(EventActivated))
	g = agent.Gateway()
	return g.Handler(), g, s, a
}

func get(h http.Handler, path, ranges string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://gateway/", nil)
	r.URL.Path = path
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGatewayServesCommittedImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := testImage(100_000, 1)
		h, g, s, a := committedGateway(t, image)
		sum := fmt.Sprintf("%x", s.rel.m.Images[0].SHA256[:])
		if w := get(h, "/images/fw0", ""); w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), image) ||
			w.Header().Get("ETag") != `"`+sum+`"` || !strings.HasPrefix(w.Header().Get("Repr-Digest"), "sha-256=:") {
			t.Errorf("status %d, %d bytes, header %v", w.Code, w.Body.Len(), w.Header())
		}
		if w := get(h, "/images/fw0", "bytes=1000-1999"); w.Code != http.StatusPartialContent || !bytes.Equal(w.Body.Bytes(), image[1000:2000]) {
			t.Errorf("a range: status %d, %d bytes", w.Code, w.Body.Len())
		}
		if w := get(h, "/images/SHA256SUMS", ""); w.Body.String() != sum+"  fw0\n" {
			t.Errorf("%q", w.Body)
		}
		f, err := g.OpenImage("fw0")
		if err != nil {
			t.Fatal(err)
		}
		// What is in the place of the image, and is not what was signed, is not served.
		spoilt := bytes.Clone(image)
		spoilt[50_000] ^= 1
		time.Sleep(time.Second) // of virtual time; the file's is that of the system
		writeCurrent(t, g, spoilt)
		if w := get(h, "/images/fw0", ""); w.Code != http.StatusServiceUnavailable {
			t.Errorf("a file that was not signed: status %d, %d bytes", w.Code, w.Body.Len())
		}
		if got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20)); err != nil || !bytes.Equal(got, image) {
			t.Errorf("the one that was open has changed: %v", err)
		}
		f.Close()
		a.stop()
	})
}

func writeCurrent(t *testing.T, g *Gateway, b []byte) {
	t.Helper()
	f, err := g.a.fs.OpenFile("new", openReadWrite, 0o644)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err := errors.Join(err, f.Close(), g.a.fs.Rename("new", "current/fw0")); err != nil {
		t.Fatal(err)
	}
}

// A meteredFS counts the bytes that are read of its files.
type meteredFS struct {
	disk.FS
	read int64
}

type meteredFile struct {
	disk.File
	fs *meteredFS
}

func (m *meteredFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := m.FS.OpenFile(name, flag, perm)
	return meteredFile{f, m}, err
}

func (f meteredFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.fs.read += int64(n)
	return n, err
}

// TestAttackGatewayHashesOverAndOver asks for an image again and again whose file is another one by now, of the same length.
func TestAttackGatewayHashesOverAndOver(t *testing.T) {
	d := diskfault.New(1)
	metered := &meteredFS{FS: d}
	g := (&Agent{fs: metered}).Gateway()
	image := testImage(100_000, 1)
	im, _, err := manifest.NewImage("fw0", bytes.NewReader(image), int64(len(image)))
	if err == nil {
		err = d.Mkdir("current", 0o700)
	}
	for _, size := range []int{len(image), len(image) - 1} {
		if err == nil {
			err = disk.WriteFile(d, "current/fw0", testImage(size, 2), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := g.openProved(&im); !errors.Is(err, errBeingReplaced) {
				t.Fatalf("%v, want that it is being replaced", err)
			}
		}
	}
	if metered.read > int64(len(image)) {
		t.Errorf("%d bytes were read for 200 requests", metered.read)
	}
}

func TestAttackGatewayRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g, s, a := committedGateway(t, testImage(100_000, 1))
		campaign := "/v1/campaigns/" + s.sess.Campaign.String()
		for _, path := range []string{"/", "/images/", "/images/fw1", "/images/..", "/images/../running", "/images/../device.key", "/images/fw0/x",
			"/images/" + strings.Repeat("a", 5<<10), "/images/fw0\x00", "/current/fw0", "/commit.log", "/v1/notice", "/v1/hello", "/v1/status",
			campaign + "/decision/0", campaign + "/objects/7", campaign + "/objects/65536", campaign + "/objects/-1", campaign + "/objects/../../x",
			"/v1/campaigns/" + strings.Repeat("0", 32) + "/objects/1"} {
			if w := get(h, path, "bytes=0-1"); w.Code < 300 {
				t.Errorf("%.60q: status %d", path, w.Code)
			}
		}
		for _, ranges := range []string{"bytes=0-100000", "bytes=5-4", "bytes=-1", "bytes=0-1,2-3", "bytes=0-", "bits=0-1", "bytes=99999999999999999999-1"} {
			if w := get(h, campaign+"/objects/1", ranges); w.Code != http.StatusRequestedRangeNotSatisfiable {
				t.Errorf("%s: status %d", ranges, w.Code)
			}
		}
		for _, name := range []string{"", ".", "..", "../running", "/etc/passwd", "current/fw0", strings.Repeat("a", 5<<10)} {
			if _, err := g.OpenImage(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%.60q: %v", name, err)
			}
		}
		for _, path := range []string{"/v1/vote", "/v1/outcome", "/v1/hello", "/images/fw0"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://gateway"+path, strings.NewReader("x")))
			if w.Code < 400 {
				t.Errorf("POST %s: status %d", path, w.Code)
			}
		}
		a.stop()
	})
}

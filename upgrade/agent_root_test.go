package upgrade

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
)

var (
	nextReleaseKey = testKey(manifest.RoleRelease, "next release")
	nextServerKey  = testKey(manifest.RoleServer, "next server")
)

// makeRoot signs a root that names releaseKey and serverKey for a year, unless change makes it another.
func makeRoot(t *testing.T, version uint64, change func(*manifest.Root), keys ...*manifest.PrivateKey) []byte {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	r := manifest.Root{Version: version, Issued: now, Expires: now.AddDate(1, 0, 0), Servers: []manifest.PublicKey{serverKey.Public()},
		Release: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}}
	if change != nil {
		change(&r)
	}
	if keys == nil {
		keys = []*manifest.PrivateKey{releaseKey}
	}
	signed, err := r.Sign(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// nextRelease replaces the release key, nextServer the server key.
func nextRelease(r *manifest.Root) { r.Release.Keys = []manifest.PublicKey{nextReleaseKey.Public()} }
func nextServer(r *manifest.Root)  { r.Servers = []manifest.PublicKey{nextServerKey.Public()} }

// offer serves root documents by their versions, and announces the last from the next publish on. It checks nothing.
func (s *server) offer(t *testing.T, roots ...[]byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	h := discovery.NewHandler(s)
	h.Roots = map[uint64][]byte{}
	for _, signed := range roots {
		r, _, err := manifest.OpenRootUnverified(signed)
		if err != nil {
			t.Fatal(err)
		}
		h.Roots[r.Version], s.root = signed, signed
	}
	s.handler.Close() // as a restart of the server does it
	s.handler = h
}

// rooted is the config of a device that was given a root document.
func (s *server) rooted(dir, device string, w *watcher, root []byte) AgentConfig {
	cfg := s.config(dir, device, w)
	cfg.Trust, cfg.TrustServer, cfg.Root = manifest.Keys{}, manifest.PublicKey{}, root
	return cfg
}

func (r *testRelease) signBy(t *testing.T, keys ...*manifest.PrivateKey) {
	t.Helper()
	var err error
	if r.signed, err = r.m.Sign(keys...); err != nil {
		t.Fatal(err)
	}
}

// signAllBy has another key sign all that the server says, in a campaign that starts anew.
func (s *server) signAllBy(key *manifest.PrivateKey, devices ...string) {
	s.key = key
	s.start(commit.Policy{}, devices...)
}

// wantRoot checks which root a device goes by, as a person sees it.
func wantRoot(t *testing.T, dir string, want uint64) {
	t.Helper()
	st, err := Status(dir)
	if err != nil || st.Root != want {
		t.Errorf("the device goes by root %d, %v; want %d", st.Root, err, want)
	}
}

// wantInstalled checks that the image runs; wantNotInstalled that nothing does.
func wantInstalled(t *testing.T, dir string, rel *testRelease) {
	t.Helper()
	if !bytes.Equal(readFile(t, dir, "current/fw0"), rel.images[0]) {
		t.Error("the image does not run")
	}
}

func wantNotInstalled(t *testing.T, dir string) {
	t.Helper()
	if exist, _ := filepath.Glob(filepath.Join(dir, "current", "*")); len(exist) > 0 {
		t.Errorf("installed: %v", exist)
	}
}

// TestRootRotation: a device that has slept through two roots follows them, and then the release and the server of the last.
func TestRootRotation(t *testing.T) {
	for name, config := range map[string]func(*server, string, *watcher) AgentConfig{
		"from a root": func(s *server, dir string, w *watcher) AgentConfig {
			return s.rooted(dir, "d1", w, makeRoot(t, 1, nil))
		},
		"from keys, without roots": func(s *server, dir string, w *watcher) AgentConfig { return s.config(dir, "d1", w) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rel := makeRelease(t, nil, testImage(100_000, 1))
				rel.signBy(t, nextReleaseKey)
				s := newServer(t, rel, commit.Policy{}, "d1")
				s.signAllBy(nextServerKey, "d1")
				dir, w := t.TempDir(), new(watcher)
				cfg := config(s, dir, w)
				s.offer(t, makeRoot(t, 1, nil), makeRoot(t, 2, nextRelease, releaseKey, nextReleaseKey),
					makeRoot(t, 3, func(r *manifest.Root) { nextRelease(r); nextServer(r) }, nextReleaseKey))
				a := run(t, cfg, w)
				s.publish()
				s.decideAndTell()
				eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
				a.stop()
				wantInstalled(t, dir, rel)
				wantRoot(t, dir, 3)

				// What it was given once does not take it back.
				s.offer(t, makeRoot(t, 1, nil))
				w2 := new(watcher)
				cfg.Event = w2.add
				a = run(t, cfg, w2)
				eventually(t, time.Minute, "greeting", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.hellos) > 1 })
				a.stop()
				wantRoot(t, dir, 3)
			})
		})
	}
}

// TestRootRotationReplacesTheServerKeyOfTLS: a device whose server shows a certificate of another server key learns of that
// key by a root document, and talks to nobody else before.
func TestRootRotationReplacesTheServerKeyOfTLS(t *testing.T) {
	first := makeRoot(t, 1, nil)
	s := &server{t: t, key: nextServerKey}
	s.handler = discovery.NewHandler(s)
	h := discovery.NewHandler(s)
	h.Roots = map[uint64][]byte{2: makeRoot(t, 2, nextServer)}
	secure, err := discovery.ServerTLS(nextServerKey, []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	early := make(chan string, 100)
	var follows = make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-follows:
		default:
			early <- r.URL.Path
		}
		h.ServeHTTP(w, r)
	}))
	srv.Listener = tls.NewListener(srv.Listener, secure)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	defer srv.Close()
	greeted := make(chan struct{})
	dir := t.TempDir()
	agent, err := NewAgent(AgentConfig{Server: "https://" + srv.Listener.Addr().String(), Root: first, Product: "router", Hardware: "r1",
		Device: "d1", Dir: dir, Boot: "boot-1", Event: func(e Event) {
			if e.Kind == EventRoot {
				close(follows)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		defer close(greeted)
		<-follows
		agent.hello(ctx)
	}()
	done := make(chan struct{})
	go func() { defer close(done); agent.Run(ctx) }()
	<-greeted
	s.mu.Lock()
	met := len(s.hellos)
	s.mu.Unlock()
	cancel()
	<-done
	if met == 0 {
		t.Error("the device does not talk to the server whose key the root names")
	}
	for len(early) > 0 {
		if path := <-early; path != "/v1/roots/2" && path != "/v1/roots/3" {
			t.Errorf("asked for %s before it could know the server", path)
		}
	}
	wantRoot(t, dir, 2)
}

// TestAttackRevokedKey: what a key that was left out has signed is refused at every step up to activation.
func TestAttackRevokedKey(t *testing.T) {
	revoking := func(t *testing.T) [][]byte {
		return [][]byte{makeRoot(t, 1, nil), makeRoot(t, 2, nextRelease, releaseKey, nextReleaseKey)}
	}
	t.Run("before reception", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeRelease(t, nil, testImage(100_000, 1)), commit.Policy{}, "d1") // signed by the old key
			dir, w := t.TempDir(), new(watcher)
			cfg := s.rooted(dir, "d1", w, makeRoot(t, 1, nil))
			cfg.Conn = func(*manifest.Session) (session.Conn, error) {
				t.Error("the device joins the group")
				return nil, errors.New("no")
			}
			s.offer(t, revoking(t)...)
			a := run(t, cfg, w)
			s.publish()
			eventually(t, time.Minute, "vote", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.votes) > 0 })
			a.stop()
			if v := s.votes[0]; v.Ready || v.Reason != commit.ReasonSignature {
				t.Errorf("voted %+v", v)
			}
			wantNotInstalled(t, dir)
		})
	})
	// The rest is received, staged or READY when the root comes.
	for name, until := range map[string]EventKind{"while it is received": EventReceiving, "after READY": EventReady, "on hold after COMMIT": EventHeld} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rel := makeRelease(t, nil, testImage(100_000, 1))
				s := newServer(t, rel, commit.Policy{Ask: until == EventReady}, "d1")
				dir, w := t.TempDir(), new(watcher)
				cfg := s.rooted(dir, "d1", w, makeRoot(t, 1, nil))
				a := run(t, cfg, w)
				if until == EventReceiving {
					s.reach(true)
				}
				if until == EventHeld {
					if err := s.c.Hold(time.Now()); err != nil {
						t.Fatal(err)
					}
				}
				s.publish()
				if until != EventReceiving {
					s.sendTo(w)
				}
				if until == EventHeld {
					s.decideAndTell()
				}
				eventually(t, 2*time.Minute, string(until), w.has(until))
				s.offer(t, revoking(t)...)
				s.publish()
				eventually(t, 2*time.Minute, "root", w.has(EventRoot))
				// And now the server, which does not care, decides and lets all go on.
				s.mu.Lock()
				s.c.Approve(time.Now(), 0)
				s.c.Resume(time.Now())
				s.mu.Unlock()
				s.publish()
				if until == EventReceiving {
					s.send(1)
				}
				time.Sleep(30 * time.Minute)
				a.stop()
				s.stop()
				wantNotInstalled(t, dir)
				if until == EventReceiving {
					if w.has(EventReady)() || len(s.votes) != 1 || s.votes[0].Ready || s.votes[0].Reason != commit.ReasonRevoked {
						t.Errorf("votes %+v, events %v; want NO: revoked", s.votes, w.kinds())
					}
				} else if e, ok := w.find(EventReleased); !ok || e.Reason != commit.ReasonRevoked {
					t.Errorf("events %v; want released: revoked", w.kinds())
				}
			})
		})
	}
	t.Run("the agent stopped before it could act on it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeRelease(t, nil, testImage(100_000, 1)), commit.Policy{Ask: true}, "d1")
			dir, w := t.TempDir(), new(watcher)
			cfg := s.rooted(dir, "d1", w, makeRoot(t, 1, nil))
			a := run(t, cfg, w)
			s.publish()
			eventually(t, 2*time.Minute, "READY", w.has(EventReady))
			a.stop()
			store(t, dir, revoking(t)[1])
			w = new(watcher)
			cfg.Event = w.add
			a = run(t, cfg, w)
			eventually(t, time.Minute, "release", w.has(EventReleased))
			a.stop()
			wantNotInstalled(t, dir)
		})
	})
	t.Run("of the server, after READY", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeRelease(t, nil, testImage(100_000, 1)), commit.Policy{Ask: true}, "d1")
			dir, w := t.TempDir(), new(watcher)
			a := run(t, s.rooted(dir, "d1", w, makeRoot(t, 1, nil)), w)
			s.publish()
			eventually(t, 2*time.Minute, "READY", w.has(EventReady))
			s.offer(t, makeRoot(t, 2, nextServer))
			s.publish()
			eventually(t, 2*time.Minute, "release", w.has(EventReleased))
			s.mu.Lock()
			s.c.Approve(time.Now(), 0)
			s.mu.Unlock()
			s.publish()
			time.Sleep(30 * time.Minute)
			a.stop()
			wantNotInstalled(t, dir)
		})
	})
}

// store puts a root into the directory of an agent that does not run, as one that was cut off has left it.
func store(t *testing.T, dir string, root []byte) {
	t.Helper()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := disk.WriteFile(d, rootName, root, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRevokedServerKeyDoesNotStrandACommit: what was decided while the key counted is carried out, over a restart as well.
func TestRevokedServerKeyDoesNotStrandACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(100_000, 1))
		s := newServer(t, rel, commit.Policy{NotBefore: time.Now().Add(time.Hour)}, "d1")
		dir, w := t.TempDir(), new(watcher)
		cfg := s.rooted(dir, "d1", w, makeRoot(t, 1, nil))
		a := run(t, cfg, w)
		s.publish()
		s.decideAndTell()
		eventually(t, 2*time.Minute, "decision", w.has(EventDecision))
		a.stop()
		store(t, dir, makeRoot(t, 2, nextServer))
		s.key = nextServerKey // tells the time, and knows the campaign no more
		s.lost = true
		w = new(watcher)
		cfg.Event = w.add
		a = run(t, cfg, w)
		eventually(t, 2*time.Hour, "activation", w.has(EventActivated))
		a.stop()
		wantInstalled(t, dir, rel)
	})
}

// TestAttackFreeze: a server that keeps a newer root from a device keeps all releases from it when its root has expired.
func TestAttackFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(100_000, 1))
		s := newServer(t, rel, commit.Policy{Deadline: time.Now().Add(10 * time.Hour)}, "d1")
		dir, w := t.TempDir(), new(watcher)
		short := func(r *manifest.Root) { r.Expires = r.Issued.Add(time.Hour) }
		first := makeRoot(t, 1, short)
		next := makeRoot(t, 2, nil)
		cfg := s.rooted(dir, "d1", w, first)
		time.Sleep(time.Hour)
		a := run(t, cfg, w)
		s.offer(t, first)
		s.sess.VoteDeadline = time.Now().Truncate(time.Second).Add(9 * time.Hour)
		s.publish()
		eventually(t, time.Minute, "complaint", func() bool {
			e, ok := w.find(EventTrouble)
			return ok && e.Reason == commit.ReasonRootExpired
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.mu.Lock()
		voted, told := len(s.votes), slices.ContainsFunc(s.statuses, func(st discovery.Status) bool { return st.Reason == string(commit.ReasonRootExpired) })
		s.mu.Unlock()
		if voted > 0 || w.has(EventAnnounced)() || !told {
			t.Errorf("%d votes, events %v, the server is told why: %v; want nothing done", voted, w.kinds(), told)
		}
		// With the newer root the same campaign is taken.
		s.offer(t, first, next)
		s.publish()
		s.decideAndTell()
		eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
		a.stop()
		wantInstalled(t, dir, rel)
		wantRoot(t, dir, 2)
	})
}

// TestRootThatExpiresOnTheWay: READY is not given by a root that has expired since the release was accepted.
func TestRootThatExpiresOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(100_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		cfg := s.rooted(dir, "d1", w, makeRoot(t, 1, func(r *manifest.Root) { r.Expires = r.Issued.Add(time.Hour) }))
		verifying := make(chan struct{})
		hooks := &recordedHooks{has: []Step{StepVerify}, on: func(Step) { <-verifying }}
		cfg.Hooks = hooks
		a := run(t, cfg, w)
		s.publish()
		eventually(t, 2*time.Minute, "verification", w.has(EventStaged))
		time.Sleep(time.Hour)
		close(verifying)
		eventually(t, 2*time.Minute, "refusal", w.has(EventRefused))
		a.stop()
		if e, _ := w.find(EventRefused); e.Reason != commit.ReasonRootExpired || w.has(EventReady)() {
			t.Errorf("refused for %s, events %v", e.Reason, w.kinds())
		}
	})
}

// TestAttackRollbackOfTheRoot: neither an old root nor one that is not signed by the right keys takes the place of a newer
// one, be it offered by the server or given to the agent.
func TestAttackRollbackOfTheRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		two := makeRoot(t, 2, nextRelease, releaseKey, nextReleaseKey)
		s.offer(t, two)
		a := run(t, s.rooted(dir, "d1", w, makeRoot(t, 1, nil)), w)
		s.publish()
		eventually(t, time.Minute, "root", w.has(EventRoot))
		for name, root := range map[string][]byte{
			"by the keys left out": makeRoot(t, 3, nil),
			"a wrong version":      makeRoot(t, 2, nil),
		} {
			s.offer(t, root)
			s.handler.Roots = map[uint64][]byte{3: root} // under the number that is asked for
			s.root = makeRoot(t, 9, nil)
			s.publish()
			time.Sleep(10 * time.Minute)
			if wantRoot(t, dir, 2); t.Failed() {
				t.Fatal(name)
			}
		}
		a.stop()
		w = new(watcher)
		a = run(t, s.rooted(dir, "d1", w, makeRoot(t, 1, nil)), w)
		a.stop()
		wantRoot(t, dir, 2)
	})
}

// TestAttackEndlessRoots: whoever answers in the server's place can neither fill the device's memory nor keep it busy.
func TestAttackEndlessRoots(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked, sent atomic.Int64
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		chunk := bytes.Repeat([]byte{0x83}, 64<<10)
		for { // for as long as anybody reads
			n, err := w.Write(chunk)
			if sent.Add(int64(n)) > 256<<20 || err != nil {
				return
			}
		}
	})}
	defer srv.Close()
	go srv.Serve(listener)
	s := &server{t: t, key: serverKey}
	cfg := s.rooted(t.TempDir(), "d1", new(watcher), makeRoot(t, 1, nil))
	cfg.Server, cfg.Transport = "http://"+listener.Addr().String(), nil
	a, err := NewAgent(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.ctx = t.Context()
	if end, err := a.catchUp(t.Context()); end || err == nil {
		t.Errorf("end %v, error %v", end, err)
	}
	srv.Close()
	if asked.Load() != 1 || sent.Load() > 16<<20 || a.trust().Version != 1 {
		t.Errorf("asked %d times, %d bytes sent, root %d", asked.Load(), sent.Load(), a.trust().Version)
	}
}

// TestManyRoots: a device that has slept for longer than one visit allows goes on at the next.
func TestManyRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(1000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		var roots [][]byte
		for version := range uint64(2*maxRoots + 3) {
			roots = append(roots, makeRoot(t, version+1, nil))
		}
		s.offer(t, roots...)
		a := run(t, s.rooted(dir, "d1", w, roots[0]), w)
		s.publish()
		s.decideAndTell()
		eventually(t, 10*time.Minute, "activation", w.has(EventActivated))
		a.stop()
		wantRoot(t, dir, uint64(len(roots)))
	})
}

// TestPowerCutWhileRootsAreFollowed cuts the power at each operation on the disk while a device follows two roots: after it
// the device goes by the one or the other, never by an older one than before, and never by none.
func TestPowerCutWhileRootsAreFollowed(t *testing.T) {
	roots := [][]byte{makeRoot(t, 1, nil), makeRoot(t, 2, nil), makeRoot(t, 3, nil)}
	follow := func(fsys *diskfault.Disk, given []byte) (version uint64, err error) {
		s := &server{t: t, key: serverKey}
		cfg := s.rooted("", "d1", new(watcher), given)
		cfg.FS = fsys
		a, err := NewAgent(cfg)
		if err != nil {
			return 0, err
		}
		defer a.Close()
		before := a.trust().Version
		for _, signed := range roots[before:] {
			if err := a.takeRoot(time.Now(), signed); err != nil {
				break
			}
			before = a.trust().Version
		}
		return before, nil
	}
	whole := newFaultDisk(1)
	if version, err := follow(whole, roots[0]); version != 3 || err != nil {
		t.Fatalf("root %d, %v", version, err)
	}
	for n := 1; n <= whole.Ops(); n++ {
		fsys := newFaultDisk(uint64(n))
		fsys.CrashAt(n)
		believed, _ := follow(fsys, roots[0])
		fsys.Restart()
		stored, err := readRoot(fsys)
		if err != nil || stored == nil && believed > 0 || stored != nil && stored.Version < believed {
			t.Errorf("cut at %d: root %d was believed, and %+v is stored: %v", n, believed, stored, err)
		}
		if version, err := follow(fsys, roots[0]); version != 3 || err != nil {
			t.Errorf("cut at %d: then root %d, %v", n, version, err)
		}
	}
}

// TestDamagedRootStopsTheAgent: without its root a device does not know what keys are revoked, so it does not guess.
func TestDamagedRootStopsTheAgent(t *testing.T) {
	s := &server{t: t, key: serverKey}
	dir := t.TempDir()
	store(t, dir, []byte("root"))
	if _, err := NewAgent(s.rooted(dir, "d1", new(watcher), makeRoot(t, 1, nil))); !errors.Is(err, manifest.ErrSignature) {
		t.Errorf("started: %v", err)
	}
	cfg := s.config(t.TempDir(), "d1", new(watcher))
	cfg.Root = makeRoot(t, 1, nil)
	if _, err := NewAgent(cfg); err == nil {
		t.Error("started with a root and with keys")
	}
}

// TestInstalledStageOfAnotherCampaign: what is tidied up when a campaign has ended is not what another one of the same release has begun
// to receive, whether the agent was given a root or keys.
func TestInstalledStageOfAnotherCampaign(t *testing.T) {
	rel := makeRelease(t, nil, testImage(1000, 1))
	s := newServer(t, rel, commit.Policy{}, "d1")
	for name, cfg := range map[string]AgentConfig{
		"root": s.rooted(t.TempDir(), "d1", new(watcher), makeRoot(t, 1, nil)),
		"keys": s.config(t.TempDir(), "d1", new(watcher)),
	} {
		a, err := NewAgent(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		dir := stageDir(rel.m.Digest())
		signed, err := s.sess.Sign(serverKey)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{stagesDir, dir} {
			if err := a.fs.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
		}
		for file, content := range map[string][]byte{"/release": rel.signed, "/session": signed} {
			if err := disk.WriteFile(a.fs, dir+file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ended := commit.Round{Campaign: commit.CampaignID{1}, Manifest: commit.Digest(rel.m.Digest())}
		if a.installed(ended); !exists(a.fs, dir+"/session") {
			t.Errorf("%s: the stage of another campaign is gone", name)
		}
		ended.Campaign = commit.CampaignID(s.sess.Campaign)
		if a.installed(ended); exists(a.fs, dir+"/session") {
			t.Errorf("%s: the stage of a campaign that has ended is still there", name)
		}
	}
}

package upgrade

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
)

// installFloors makes a device commit a release first, so that its floors are those of it.
func installFloors(t *testing.T, dir string) {
	t.Helper()
	rel := makeRelease(t, nil, testImage(100, 9))
	s := newServer(t, rel, commit.Policy{}, "d1")
	w := new(watcher)
	a := run(t, s.config(dir, "d1", w), w)
	s.publish()
	s.decideAndTell()
	eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
	eventually(t, 2*time.Minute, "report", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.reports) > 0 })
	a.stop()
}

// TestAttackStolenServerKey: whoever has the server key can announce what he likes. What the device must not install it refuses
// before a byte of it is received.
func TestAttackStolenServerKey(t *testing.T) {
	tests := []struct {
		name   string
		change func(*manifest.Manifest)
		spoil  func(*testRelease)
		reason commit.Reason
		floors bool
	}{
		{name: "foreign content", spoil: func(r *testRelease) {
			r.signed, _ = r.m.Sign(testKey(manifest.RoleRelease, "mallory"))
		}, reason: commit.ReasonSignature},
		{name: "wrong signature", spoil: func(r *testRelease) { r.signed[len(r.signed)-1] ^= 1 }, reason: commit.ReasonSignature},
		{name: "expired", change: func(m *manifest.Manifest) {
			m.Created, m.Expires = m.Created.AddDate(-1, 0, 0), m.Created.Add(-time.Hour)
		}, reason: commit.ReasonExpired},
		{name: "lower sequence", change: func(m *manifest.Manifest) { m.Sequence = 4 }, reason: commit.ReasonSequence, floors: true},
		{name: "lower epoch", change: func(m *manifest.Manifest) { m.Sequence, m.Epoch = 6, 2 }, reason: commit.ReasonEpoch, floors: true},
		{name: "other product", change: func(m *manifest.Manifest) { m.Product = "phone" }, reason: commit.ReasonProduct},
		{name: "other hardware", change: func(m *manifest.Manifest) { m.Hardware = []string{"r2"} }, reason: commit.ReasonHardware},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				if test.floors {
					installFloors(t, dir)
				}
				rel := makeRelease(t, test.change, testImage(100_000, 1))
				if test.spoil != nil {
					test.spoil(rel)
				}
				s := newServer(t, rel, commit.Policy{}, "d1")
				w := new(watcher)
				cfg := s.config(dir, "d1", w)
				cfg.Once = true
				cfg.Conn = func(*manifest.Session) (session.Conn, error) {
					t.Error("the device joins the group")
					return nil, errors.New("no")
				}
				agent, err := NewAgent(cfg)
				if err != nil {
					t.Fatal(err)
				}
				s.publish()
				err = agent.Run(t.Context())
				if got, ok := errors.AsType[*NotInstalledError](err); !ok || got.State != commit.StateRefused || got.Reason != test.reason {
					t.Errorf("Run returned %v, want refused for %s", err, test.reason)
				}
				if len(s.votes) != 1 || s.votes[0].Ready || s.votes[0].Reason != test.reason {
					t.Errorf("votes %+v, want one NO for %s", s.votes, test.reason)
				}
				if e, ok := w.find(EventRefused); !ok || e.Reason != test.reason || e.Campaign != s.sess.Campaign.String() {
					t.Errorf("event %+v, want refused for %s", e, test.reason)
				}
				if len(s.fetches) > 0 {
					t.Errorf("requests by HTTP: %v", s.fetches)
				}
				// Told again, after a restart as well, it has nothing to add.
				w = new(watcher)
				cfg.Event, cfg.Once = w.add, false
				a := run(t, cfg, w)
				time.Sleep(10 * time.Second)
				if got := w.kinds(); !slices.Equal(got, []EventKind{EventListening}) || len(s.votes) != 1 {
					t.Errorf("again: events %v, %d votes", got, len(s.votes))
				}
				a.stop()
			})
		})
	}
}

func TestAttackAnnouncementOfAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(100, 1)), commit.Policy{}, "d1")
		w := new(watcher)
		cfg := s.config(t.TempDir(), "d1", w)
		cfg.TrustServer = testKey(manifest.RoleServer, "another").Public()
		a := run(t, cfg, w)
		s.publish()
		eventually(t, 10*time.Second, "refusal", w.has(EventRefused))
		time.Sleep(time.Minute)
		if got := w.kinds(); !slices.Equal(got, []EventKind{EventListening, EventRefused}) {
			t.Errorf("events %v", got)
		}
		if len(s.votes) > 0 {
			t.Errorf("votes %v for a campaign that is none", s.votes)
		}
		a.stop()
	})
}

func TestDeviceThatIsNotOnTheListStaysOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(100, 1)), commit.Policy{}, "d1")
		s.refuse["hello"] = &discovery.Refusal{Status: http.StatusForbidden, Reason: string(commit.ReasonNotTarget), Detail: "not on the list"}
		cfg := s.config(t.TempDir(), "d2", new(watcher))
		cfg.Once = true
		a, err := NewAgent(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.publish()
		err = a.Run(t.Context())
		if got, ok := errors.AsType[*NotInstalledError](err); !ok || got.Reason != commit.ReasonNotTarget {
			t.Errorf("Run returned %v, want refused: not a target", err)
		}
	})
}

func TestHooksAreCalledOnceInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(200_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		dir, w, hooks := t.TempDir(), new(watcher), new(recordedHooks)
		cfg := s.config(dir, "d1", w)
		cfg.Hooks = hooks
		a := run(t, cfg, w)
		s.publish()
		s.sendTo(w)
		s.decideAndTell()
		eventually(t, time.Minute, "activation", w.has(EventActivated))
		if got, want := hooks.steps(), []Step{StepVerify, StepActivate, StepHealth}; !slices.Equal(got, want) {
			t.Fatalf("hooks %v, want %v", got, want)
		}
		for i, c := range hooks.calls {
			if c.image != string(rel.images[0]) {
				t.Errorf("%s hook saw another image", c.step)
			}
			if (c.activation == "") != (i == 0) || i == 2 && c.activation != hooks.calls[1].activation {
				t.Errorf("%s hook had activation id %q", c.step, c.activation)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "current")); err == nil {
			t.Error("there is a current although a hook activates")
		}
		a.stop()
		s.stop()
	})
}

func TestActivationThatRestartsTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
		dir, w, hooks := t.TempDir(), new(watcher), new(recordedHooks)
		gone := make(chan struct{})
		hooks.on = func(step Step) {
			if step == StepActivate {
				hooks.mu.Unlock()
				<-gone // the system goes down: it does not return before
				hooks.mu.Lock()
			}
		}
		cfg := s.config(dir, "d1", w)
		cfg.Hooks = hooks
		a := run(t, cfg, w)
		s.publish()
		s.decideAndTell()
		eventually(t, 2*time.Minute, "activate hook", func() bool { return slices.Contains(hooks.steps(), StepActivate) })
		a.cancel()
		synctest.Wait()
		close(gone)
		a.stop()

		first, again := hooks.calls[1].activation, new(recordedHooks)
		cfg.Boot, cfg.Hooks = "boot-2", again
		w2 := new(watcher)
		cfg.Event = w2.add
		a = run(t, cfg, w2)
		eventually(t, time.Minute, "activation", w2.has(EventActivated))
		if got := again.steps(); !slices.Equal(got, []Step{StepHealth}) {
			t.Errorf("after a restart of the system: hooks %v, want health alone", got)
		}
		if again.calls[0].activation != first {
			t.Errorf("activation id %q became %q", first, again.calls[0].activation)
		}
		a.stop()
	})
}

func TestFailingHooks(t *testing.T) {
	for _, test := range []struct {
		name   string
		fail   []Step
		has    []Step
		steps  []Step
		state  commit.State
		reason commit.Reason
	}{
		{"verify", []Step{StepVerify}, nil, []Step{StepVerify}, commit.StateRefused, commit.ReasonVerifyHook},
		{"activate", []Step{StepActivate}, nil, []Step{StepVerify, StepActivate, StepRollback}, commit.StateRolledBack, commit.ReasonActivateHook},
		{"health", []Step{StepHealth}, nil, []Step{StepVerify, StepActivate, StepHealth, StepRollback}, commit.StateRolledBack, commit.ReasonHealth},
		{"rollback", []Step{StepHealth, StepRollback}, nil, []Step{StepVerify, StepActivate, StepHealth, StepRollback}, commit.StateFailed, commit.ReasonRollbackHook},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
				hooks := &recordedHooks{fail: map[Step]error{}}
				for _, step := range test.fail {
					hooks.fail[step] = errors.New("exit status 1")
				}
				w := new(watcher)
				cfg := s.config(t.TempDir(), "d1", w)
				cfg.Hooks, cfg.Once = hooks, true
				a := run(t, cfg, w)
				s.publish()
				s.decideAndTell()
				eventually(t, 10*time.Minute, "end", a.ended)
				err := *a.err
				got, ok := errors.AsType[*NotInstalledError](err)
				if !ok || got.State != test.state || got.Reason != test.reason {
					t.Errorf("Run returned %v, want %s (%s)", err, test.state, test.reason)
				}
				if got := hooks.steps(); !slices.Equal(got, test.steps) {
					t.Errorf("hooks %v, want %v", got, test.steps)
				}
				if test.state != commit.StateRefused && (len(s.reports) != 1 || s.reports[0].Outcome != test.state) {
					t.Errorf("reports %+v, want %s", s.reports, test.state)
				}
			})
		})
	}
}

func TestAbortedStageCannotBeActivatedAndItsLeavesServeTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := testImage(400_000, 1)
		rel := makeRelease(t, nil, image)
		s := newServer(t, rel, commit.Policy{}, "d1", "d2")
		dir, w, hooks := t.TempDir(), new(watcher), &recordedHooks{has: []Step{StepVerify}}
		cfg := s.config(dir, "d1", w)
		cfg.Hooks = hooks
		a := run(t, cfg, w)
		s.publish()
		s.sendTo(w)
		eventually(t, time.Minute, "READY", w.has(EventReady))
		stage := stageDir(rel.m.Digest())
		if b := readFile(t, dir, imageName(stage, "fw0")); !bytes.Equal(b, image) {
			t.Fatal("the stage does not have its name")
		}
		s.mu.Lock()
		err := s.c.Abort(time.Now(), 0)
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		s.tellDecision()
		eventually(t, time.Minute, "ABORT", w.has(EventAborted))
		s.stop()
		if readFile(t, dir, imageName(stage, "fw0")) != nil {
			t.Error("the stage still has the name of a verified one")
		}
		if slices.Contains(hooks.steps(), StepActivate) || readFile(t, dir, "current/fw0") != nil {
			t.Error("activated after ABORT")
		}

		// The next try is another release, the first two leaves and the last are the same.
		next := bytes.Clone(image)
		next[3*65536] ^= 1
		rel2 := makeRelease(t, func(m *manifest.Manifest) { m.Version, m.Sequence = "2.1", 6 }, next)
		s2 := newServer(t, rel2, commit.Policy{}, "d1")
		s.mu.Lock()
		s.c, s.sess, s.rel, s.decided, s.tx = s2.c, s2.sess, s2.rel, false, nil
		s.handler, s.fetches = discovery.NewHandler(s), map[uint16]int{}
		s.mu.Unlock()
		s.publish()
		s.decideAndTell() // nothing is sent: it falls back to HTTP
		eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
		s.mu.Lock()
		n := s.fetches[1]
		s.mu.Unlock()
		if n != 1 {
			t.Errorf("%d requests for the image, want 1, for the leaf that differs", n)
		}
		if !bytes.Equal(readFile(t, dir, "current/fw0"), next) {
			t.Error("the image is wrong")
		}
		a.stop()
	})
}

func TestHoldStopsActivationUntilResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.config(dir, "d1", w), w)
		if err := s.c.Hold(time.Now()); err != nil {
			t.Fatal(err)
		}
		s.publish()
		s.decideAndTell()
		eventually(t, 2*time.Minute, "decision", w.has(EventDecision))
		time.Sleep(10 * time.Minute)
		if w.has(EventActivated)() {
			t.Fatal("activated in spite of HOLD")
		}
		if st, err := Status(dir); err != nil || !st.Commit.Held || !st.Running {
			t.Errorf("status %+v, %v; want held and running", st, err)
		}
		s.mu.Lock()
		s.c.Resume(time.Now())
		s.mu.Unlock()
		// Not published: the device asks by itself.
		eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
		a.stop()
	})
}

func TestUnknownCampaignMeansWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.config(dir, "d1", w), w)
		s.publish()
		eventually(t, 2*time.Minute, "READY", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.votes) > 0 })
		s.mu.Lock()
		s.lost = true
		s.mu.Unlock()
		time.Sleep(20 * time.Hour) // past the deadline of votes as well
		if got := w.kinds(); got[len(got)-1] != EventReady {
			t.Fatalf("events %v, want the last to be ready", got)
		}
		s.mu.Lock()
		s.lost = false
		s.mu.Unlock()
		eventually(t, 3*time.Minute, "activation", w.has(EventActivated))
		a.stop()
	})
}

func TestDeviceCutOffAfterReadyGetsTheDecisionLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		cfg := s.config(dir, "d1", w)
		a := run(t, cfg, w)
		s.publish()
		eventually(t, 2*time.Minute, "READY", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.votes) > 0 })
		s.reach(false)
		time.Sleep(2 * time.Hour)
		a.stop()
		w2 := new(watcher)
		cfg.Event = w2.add
		a = run(t, cfg, w2)
		time.Sleep(time.Hour)
		s.reach(true)
		eventually(t, 3*time.Minute, "activation", w2.has(EventActivated))
		a.stop()
	})
}

func TestNoSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(3<<20, 1)), commit.Policy{}, "d1")
		w := new(watcher)
		cfg := s.config("", "d1", w)
		fsys := newFaultDisk(1)
		fsys.SetFree(3 << 20)
		cfg.FS = fsys
		a := run(t, cfg, w)
		s.publish()
		eventually(t, time.Minute, "refusal", w.has(EventRefused))
		eventually(t, time.Minute, "vote", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.votes) > 0 })
		if s.votes[0].Reason != commit.ReasonDiskFull || w.has(EventReceiving)() {
			t.Errorf("vote %+v, received %v; want NO for disk-full before reception", s.votes[0], w.has(EventReceiving)())
		}
		a.stop()
	})
}

func TestAbandonWhileAnAgentRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1", "d2")
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.config(dir, "d1", w), w)
		if done, err := Abandon(t.Context(), dir); err == nil || done {
			t.Errorf("nothing to abandon: %v, %v", done, err)
		}
		s.publish()
		eventually(t, 2*time.Minute, "READY", w.has(EventReady))
		if done, err := Abandon(t.Context(), dir); err != nil || !done {
			t.Errorf("abandon: %v, %v", done, err)
		}
		eventually(t, time.Minute, "report", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.reports) > 0 })
		if s.reports[0].Outcome != commit.StateReleased || s.reports[0].Reason != commit.ReasonAbandoned {
			t.Errorf("report %+v, want released, abandoned", s.reports[0])
		}
		s.sess.Serial++
		s.publish()
		time.Sleep(time.Minute)
		if got := w.kinds(); got[len(got)-1] != EventReleased {
			t.Errorf("events %v; it goes on with what was abandoned", got)
		}
		a.stop()
		if done, err := Abandon(t.Context(), dir); err != nil || done {
			t.Errorf("without an agent: %v, %v; want it noted", done, err)
		}
		st, err := Status(dir)
		if err != nil || st.Running || st.Commit.Last.State != commit.StateReleased || st.Latest.Kind != EventReleased {
			t.Errorf("status %+v, %v", st, err)
		}
	})
}

func TestOnlyOneAgentUsesADirectory(t *testing.T) {
	s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
	cfg := s.config(t.TempDir(), "d1", new(watcher))
	a, err := NewAgent(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewAgent(cfg); err == nil {
		t.Error("a second agent was made")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a, err = NewAgent(cfg); err != nil {
		t.Fatal("after Close:", err)
	}
	a.Close()
}

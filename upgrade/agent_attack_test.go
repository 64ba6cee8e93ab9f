package upgrade

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// readyAgent runs an agent until it is READY.
func (s *server) readyAgent(t *testing.T, dir string, w *watcher) (*Agent, running) {
	t.Helper()
	agent, err := NewAgent(s.config(dir, "d1", w))
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, agent, w)
	s.publish()
	eventually(t, 2*time.Minute, "READY", w.has(EventReady))
	return agent, a
}

// signDecision has whoever holds the server key decide the campaign, whatever its coordinator says.
func (s *server) signDecision(t *testing.T, change func(*commit.Decision)) []byte {
	t.Helper()
	d := commit.Decision{Round: commit.Round{Campaign: commit.CampaignID(s.sess.Campaign), Manifest: commit.Digest(s.sess.Manifest)},
		Targets: commit.Digest(s.sess.Targets), Verdict: commit.Commit}
	if change != nil {
		change(&d)
	}
	signed, err := d.Sign(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// force gives the agent a decision.
func force(a *Agent, signed []byte) {
	done := make(chan struct{})
	a.do(func(now time.Time) { a.decide(now, signed); close(done) })
	<-done
}

// TestAttackStolenServerKeySendsForeignContent: under a release that was signed he sends other bytes, by multicast and by
// HTTP, and decides to COMMIT. Nothing of it is ever staged.
func TestAttackStolenServerKeySendsForeignContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(300_000, 1))
		s := newServer(t, rel, commit.Policy{Ask: true}, "d1")
		rel.images[0] = testImage(300_000, 2)
		dir, w := t.TempDir(), new(watcher)
		agent, err := NewAgent(s.config(dir, "d1", w))
		if err != nil {
			t.Fatal(err)
		}
		a := start(t, agent, w)
		s.publish()
		s.sendTo(w)
		eventually(t, 10*time.Minute, "wrong leaf", w.has(EventLeafRejected))
		force(agent, s.signDecision(t, nil))
		time.Sleep(30 * time.Minute)
		s.mu.Lock()
		asked := s.fetches[1]
		s.mu.Unlock()
		a.stop()
		s.stop()
		if asked > 100 {
			t.Errorf("asked %d times for what is wrong each time", asked)
		}
		if w.has(EventReady)() || w.has(EventStaged)() {
			t.Errorf("events %v", w.kinds())
		}
		wantNotInstalled(t, dir)
	})
}

// TestAttackStolenServerKeyActivationLimits: he decides to COMMIT at a time that the release does not allow.
func TestAttackStolenServerKeyActivationLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC().Truncate(time.Second)
		from, until := now.Add(2*time.Hour), now.Add(20*time.Hour)
		rel := makeRelease(t, func(m *manifest.Manifest) {
			m.Activation = manifest.Activation{NotBefore: from, NotAfter: until, MinSpread: time.Hour}
		}, testImage(1000, 1))
		s := newServer(t, rel, commit.Policy{Ask: true, Deadline: now.Add(40 * time.Hour)}, "d1")
		dir, w := t.TempDir(), new(watcher)
		agent, a := s.readyAgent(t, dir, w)
		for name, change := range map[string]func(*commit.Decision){
			"at once":       nil,
			"too early":     func(d *commit.Decision) { d.NotBefore, d.NotAfter, d.Spread = now, until, time.Hour },
			"for ever":      func(d *commit.Decision) { d.NotBefore, d.Spread = from, time.Hour },
			"too late":      func(d *commit.Decision) { d.NotBefore, d.NotAfter, d.Spread = from, until.Add(time.Second), time.Hour },
			"all at a time": func(d *commit.Decision) { d.NotBefore, d.NotAfter = from, until },
			"nearly so":     func(d *commit.Decision) { d.NotBefore, d.NotAfter, d.Spread = from, until, time.Minute },
		} {
			force(agent, s.signDecision(t, change))
			if w.has(EventDecision)() {
				t.Fatalf("%s: it counts", name)
			}
		}
		time.Sleep(4 * time.Hour) // past the time from which it is allowed
		if w.has(EventActivated)() {
			t.Error("activated")
		}
		wantNotInstalled(t, dir)
		// Within the limits it does count.
		force(agent, s.signDecision(t, func(d *commit.Decision) { d.NotBefore, d.NotAfter, d.Spread = from, until, time.Hour }))
		eventually(t, time.Hour, "activation", w.has(EventActivated))
		a.stop()
		wantInstalled(t, dir, rel)
	})
}

// TestAttackMixAndMatch: parts of releases that are all signed make no release together.
func TestAttackMixAndMatch(t *testing.T) {
	t.Run("the session of another release", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rel, other := makeRelease(t, nil, testImage(1000, 1)), makeRelease(t, nil, testImage(1000, 2))
			s := newServer(t, rel, commit.Policy{}, "d1")
			rel.signed = other.signed // announced with the session of rel
			dir, w := t.TempDir(), new(watcher)
			a := run(t, s.config(dir, "d1", w), w)
			s.publish()
			eventually(t, time.Minute, "refusal", w.has(EventRefused))
			a.stop()
			if e, _ := w.find(EventRefused); e.Reason != commit.ReasonFormat || w.has(EventReceiving)() {
				t.Errorf("refused for %s, events %v", e.Reason, w.kinds())
			}
			wantNotInstalled(t, dir)
		})
	})
	t.Run("an image of another release", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rel := makeRelease(t, nil, testImage(100_000, 1), testImage(200_000, 2))
			older := makeRelease(t, func(m *manifest.Manifest) { m.Sequence = 4 }, testImage(100_000, 3), testImage(200_000, 4))
			s := newServer(t, rel, commit.Policy{Ask: true}, "d1")
			rel.images[1] = older.images[1]
			dir, w := t.TempDir(), new(watcher)
			a := run(t, s.config(dir, "d1", w), w)
			s.publish()
			s.sendTo(w)
			eventually(t, 10*time.Minute, "wrong leaf", w.has(EventLeafRejected))
			time.Sleep(10 * time.Second)
			a.stop()
			s.stop()
			if w.has(EventReady)() {
				t.Errorf("READY for a mixture; events %v", w.kinds())
			}
			wantNotInstalled(t, dir)
		})
	})
	t.Run("the decision of another release", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{Ask: true}, "d1")
			dir, w := t.TempDir(), new(watcher)
			agent, a := s.readyAgent(t, dir, w)
			other := makeRelease(t, nil, testImage(1000, 2))
			force(agent, s.signDecision(t, func(d *commit.Decision) { d.Manifest = commit.Digest(other.m.Digest()) }))
			time.Sleep(30 * time.Minute)
			a.stop()
			wantNotInstalled(t, dir)
		})
	})
}

// TestAttackTimeOfCheckTimeOfUse: whoever can write to the directory changes the image between READY and activation. It is
// read once more, and nothing of it is activated.
func TestAttackTimeOfCheckTimeOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(200_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		dir, w, hooks := t.TempDir(), new(watcher), new(recordedHooks)
		cfg := s.config(dir, "d1", w)
		cfg.Hooks = hooks
		a := run(t, cfg, w)
		s.publish()
		eventually(t, 2*time.Minute, "READY", w.has(EventReady))
		staged, err := filepath.Glob(filepath.Join(dir, "stage*", "*", "image", "fw0"))
		if err != nil || len(staged) != 1 {
			t.Fatalf("staged at %v, %v", staged, err)
		}
		spoiled := append([]byte(nil), rel.images[0]...)
		spoiled[123_456] ^= 1
		if err := os.WriteFile(staged[0], spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		s.decideAndTell()
		eventually(t, 2*time.Minute, "end", w.has(EventFailed))
		a.stop()
		if e, _ := w.find(EventFailed); e.Reason != commit.ReasonStageChanged {
			t.Errorf("failed for %s", e.Reason)
		}
		for _, c := range hooks.calls {
			if c.step == StepActivate {
				t.Error("the activate hook was given the image that was changed")
			}
		}
	})
}

// TestAttackStolenServerKeyWithoutApprovals: where people have to agree he decides without them, with what they have agreed to
// elsewhere, or with people whom the root has left out. Only the approvals of enough who are asked activate anything.
func TestAttackStolenServerKeyWithoutApprovals(t *testing.T) {
	anna, bert, carl := testKey(manifest.RoleApprover, "anna"), testKey(manifest.RoleApprover, "bert"), testKey(manifest.RoleApprover, "carl")
	keys := func(all ...*manifest.PrivateKey) (public []manifest.PublicKey) {
		for _, k := range all {
			public = append(public, k.Public())
		}
		return public
	}
	for name, asks := range map[string]struct {
		release func(*manifest.Manifest)
		root    func(*manifest.Root)
	}{
		"by the release": {release: func(m *manifest.Manifest) { m.Approvers, m.Approvals = keys(anna, bert), 2 }},
		"by the root":    {root: func(r *manifest.Root) { r.Approvers, r.Approvals = keys(anna, bert), 2 }},
		"by both, carl being left out": {release: func(m *manifest.Manifest) { m.Approvers, m.Approvals = keys(anna, bert, carl), 2 },
			root: func(r *manifest.Root) { r.Approvers, r.Approvals = keys(anna, bert), 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rel := makeRelease(t, asks.release, testImage(1000, 1))
				s := newServer(t, rel, commit.Policy{Ask: true}, "d1")
				dir, w := t.TempDir(), new(watcher)
				agent, err := NewAgent(s.rooted(dir, "d1", w, makeRoot(t, 1, asks.root)))
				if err != nil {
					t.Fatal(err)
				}
				a := start(t, agent, w)
				s.publish()
				eventually(t, 2*time.Minute, "READY", w.has(EventReady))
				round := commit.Round{Campaign: commit.CampaignID(s.sess.Campaign), Manifest: commit.Digest(s.sess.Manifest)}
				approve := func(key *manifest.PrivateKey, change func(*commit.Approval)) []byte {
					approval := commit.Approval{Round: round, Targets: commit.Digest(s.sess.Targets)}
					if change != nil {
						change(&approval)
					}
					signed, err := approval.Sign(key)
					if err != nil {
						t.Fatal(err)
					}
					return signed
				}
				for name, approvals := range map[string][][]byte{
					"nobody's":             nil,
					"one person's, twice":  {approve(anna, nil), approve(anna, nil)},
					"his own":              {approve(anna, nil), approve(testKey(manifest.RoleApprover, "mallory"), nil)},
					"of somebody left out": {approve(anna, nil), approve(carl, nil)},
					"of another campaign":  {approve(anna, nil), approve(bert, func(a *commit.Approval) { a.Campaign[0]++ })},
					"of another wave":      {approve(anna, nil), approve(bert, func(a *commit.Approval) { a.Wave++ })},
					"of another release":   {approve(anna, nil), approve(bert, func(a *commit.Approval) { a.Manifest[0]++ })},
					"of other devices":     {approve(anna, nil), approve(bert, func(a *commit.Approval) { a.Targets[0]++ })},
				} {
					force(agent, s.signDecision(t, func(d *commit.Decision) { d.Approvals = approvals }))
					if w.has(EventDecision)() {
						t.Fatalf("%s: the decision counts", name)
					}
				}
				time.Sleep(10 * time.Minute)
				wantNotInstalled(t, dir)
				force(agent, s.signDecision(t, func(d *commit.Decision) { d.Approvals = [][]byte{approve(bert, nil), approve(anna, nil)} }))
				eventually(t, time.Minute, "activation", w.has(EventActivated))
				a.stop()
				wantInstalled(t, dir, rel)
			})
		})
	}
}

package fleet_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// TestRestoredServerLearnsTheDecisionOfDevices restores a database from before a decision, which all devices have carried out
// and the server has heard of meanwhile. Nothing but what they show tells the server how it was decided; then it ends as it did.
func TestRestoredServerLearnsTheDecisionOfDevices(t *testing.T) {
	for name, test := range map[string]struct {
		decide func(*rig, *server, commit.CampaignID) error
		event  upgrade.EventKind
		state  commit.State
		want   string
	}{
		"COMMIT": {func(r *rig, s *server, id commit.CampaignID) error { return s.Commit(r.Context(), id, "bob") },
			upgrade.EventActivated, commit.StateCommitted, commit.Commit.String()},
		"ABORT": {func(r *rig, s *server, id commit.CampaignID) error { return s.Abort(r.Context(), id, "bob") },
			upgrade.EventAborted, commit.StateAborted, commit.Abort.String()},
	} {
		t.Run(name, func(t *testing.T) {
			virtualOn(t, fleettest.SQLite, func(t *testing.T, r *rig) {
				s := r.serve("one")
				r.upload(s)
				r.enrol(names(2)...)
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				var agents []*agent
				for _, name := range names(2) {
					agents = append(agents, r.lasting(ctx, name))
				}
				all := func(kind upgrade.EventKind) func() bool {
					return func() bool { return agents[0].did(kind) && agents[1].did(kind) }
				}
				c := r.create(s, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true })
				r.start(s, c)
				r.until(time.Minute, "asking", func() bool { return r.snapshot(s, c.ID).Asking })
				dir := r.TempDir()
				backup, file := filepath.Join(dir, "backup.db"), filepath.Join(dir, "fleet.db")
				if err := r.store.Backup(r.Context(), backup); err != nil {
					t.Fatal(err)
				}
				if err := test.decide(r, s, c.ID); err != nil {
					t.Fatal(err)
				}
				r.until(5*time.Minute, "the end", func() bool { return r.phase(c.ID) == store.PhaseClosed && all(test.event)() })
				s.stop()

				if err := store.Restore(r.Context(), backup, file, fleettest.By("alice")); err != nil {
					t.Fatal(err)
				}
				r.store.Close()
				r.store = fleettest.Open(r.T, "sqlite:"+file)
				s = r.serve("two")
				defer func() { s.stop() }()
				time.Sleep(5 * time.Minute)
				if snap := r.snapshot(s, c.ID); !snap.Restored || snap.Leader != "" || snap.Verdict != commit.Undecided.String() {
					t.Fatalf("after the restore: %+v", snap)
				}
				at, err := r.store.Campaign(r.Context(), c.ID)
				if err == nil {
					_, err = s.Resolve(r.Context(), c.ID, at.Revision, store.Adopting, "alice")
				}
				if err != nil {
					t.Fatal(err)
				}
				r.until(10*time.Minute, "closed again", func() bool { return r.phase(c.ID) == store.PhaseClosed })
				if snap := r.snapshot(s, c.ID); snap.Verdict != test.want {
					t.Errorf("the verdict is %q, want %s", snap.Verdict, test.want)
				}
				for _, d := range r.devices(s, c.ID) {
					if d.State != test.state {
						t.Errorf("%s is %s, want %s", d.Device, d.State, test.state)
					}
				}
				for i, a := range agents {
					if n := a.times(test.event); n != 1 {
						t.Errorf("agent %d did that %d times", i, n)
					}
				}
				cancel()
			})
		})
	}
}

// lasting runs an agent that goes on when a campaign has ended, until ctx ends.
func (r *rig) lasting(ctx context.Context, name string) *agent {
	r.Helper()
	a := &agent{}
	cfg := r.agentConfig(name, a)
	cfg.Once = false
	device, err := upgrade.NewAgent(cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.agents.Go(func() { device.Run(ctx) })
	return a
}

func (a *agent) times(kind upgrade.EventKind) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

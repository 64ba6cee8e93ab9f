package fleet_test

import (
	"errors"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A leader that dies at any moment is followed by another server, and the campaign ends as it would have.
func TestLeaderDies(t *testing.T) {
	for name, database := range fleettest.Databases {
		t.Run(name, func(t *testing.T) { leaderDies(t, database) })
	}
}

func leaderDies(t *testing.T, database func(testing.TB) string) {
	for name, moment := range map[string]func(r *rig, s *server, c store.Campaign, agents []*agent){
		"scheduled": func(*rig, *server, store.Campaign, []*agent) {},
		"transfer": func(r *rig, s *server, c store.Campaign, agents []*agent) {
			r.until(time.Minute, "some of it sent", func() bool {
				p := r.snapshot(s, c.ID).Sending
				return p.Sent > 0 && p.Sent < p.Total
			})
		},
		"first vote": func(r *rig, s *server, c store.Campaign, agents []*agent) {
			r.until(time.Minute, "a READY", func() bool { return r.snapshot(s, c.ID).Ready > 0 })
		},
		"asking": func(r *rig, s *server, c store.Campaign, agents []*agent) {
			r.until(time.Minute, "asking", func() bool { return r.snapshot(s, c.ID).Asking })
		},
		"committed": func(r *rig, s *server, c store.Campaign, agents []*agent) {
			r.until(time.Minute, "asking", func() bool { return r.snapshot(s, c.ID).Asking })
			if err := s.Commit(r.Context(), c.ID, "bob"); err != nil {
				r.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtualOn(t, database, func(t *testing.T, r *rig) {
				first := r.serve("one")
				r.upload(first)
				r.enrol(names(3)...)
				var agents []*agent
				for _, name := range names(3) {
					agents = append(agents, r.agent(name, nil))
				}
				c := r.create(first, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true })
				r.start(first, c)
				moment(r, first, c, agents)
				r.kill(first, c.ID)

				second := r.serve("two")
				defer second.stop()
				r.until(2*leaseTime+10*time.Second, "the other server leads", func() bool { return r.snapshot(second, c.ID).Leader == "two" })
				if name != "committed" {
					r.until(5*time.Minute, "asking", func() bool { return r.snapshot(second, c.ID).Asking })
					if err := second.Commit(r.Context(), c.ID, "bob"); err != nil {
						t.Fatal(err)
					}
				}
				r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
				if snap := r.snapshot(second, c.ID); snap.Verdict != "COMMIT" || snap.Committed != 3 {
					t.Errorf("%+v", snap)
				}
				for i, a := range agents {
					if !a.did(upgrade.EventActivated) {
						t.Errorf("agent %d: %v", i, a.err)
					}
				}
			})
		})
	}
}

// A leader that was paused while another took over can neither decide nor append.
func TestPausedLeaderIsFenced(t *testing.T) {
	for name, database := range fleettest.Databases {
		t.Run(name, func(t *testing.T) { pausedLeaderIsFenced(t, database) })
	}
}

func pausedLeaderIsFenced(t *testing.T, database func(testing.TB) string) {
	virtualOn(t, database, func(t *testing.T, r *rig) {
		old := r.serve("one")
		r.upload(old)
		r.enrol("phone-00")
		r.agent("phone-00", nil)
		c := r.create(old, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true })
		r.start(old, c)
		r.until(time.Minute, "asking", func() bool { return r.snapshot(old, c.ID).Asking })
		// While it was paused, its lease ended and somebody took it.
		at, err := r.store.Campaign(r.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.store.TakeLease(r.Context(), c.ID, "other", at.Lease.Until, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := old.Abort(r.Context(), c.ID, "bob"); !errors.Is(err, commit.ErrLog) {
			t.Errorf("ABORT by the old leader: %v; want the log to refuse it", err)
		}
		if d, err := r.store.Decisions(r.Context(), c.ID); err != nil || len(d) != 0 {
			t.Errorf("decided %+v, %v", d, err)
		}
		r.until(leaseTime, "the old leader lets go", func() bool {
			_, ok := errors.AsType[*fleet.NotLeaderError](old.Commit(r.Context(), c.ID, "bob"))
			return ok
		})
		old.stop()
		r.front = nil

		// The other is gone as well; the campaign goes on.
		next := r.serve("two")
		defer next.stop()
		r.until(2*time.Minute, "asking again", func() bool { return r.snapshot(next, c.ID).Asking && r.snapshot(next, c.ID).Leader == "two" })
		if err := next.Commit(r.Context(), c.ID, "bob"); err != nil {
			t.Fatal(err)
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
	})
}

// A server that ends gives its campaigns back, and the next goes on at once, in the middle of a transfer.
func TestGracefulRestart(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		r.upload(s)
		r.enrol(names(2)...)
		agents := []*agent{r.agent("phone-00", nil), r.agent("phone-01", nil)}
		c := r.create(s, "spring", nil)
		r.start(s, c)
		r.until(time.Minute, "some of it sent", func() bool { p := r.snapshot(s, c.ID).Sending; return p.Sent > 0 && p.Sent < p.Total })
		s.stop()
		next := r.serve("one")
		defer next.stop()
		if snap := r.snapshot(next, c.ID); snap.Leader != "one" {
			r.until(2*time.Second, "it leads again", func() bool { return r.snapshot(next, c.ID).Leader == "one" })
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
		for _, a := range agents {
			if !a.did(upgrade.EventActivated) || a.did(upgrade.EventFallback) {
				t.Error("an agent has not activated, or did not by multicast")
			}
		}
	})
}

// After a restore nothing is decided until an operator says so, and then only what a device shows.
func TestRestoredStoreWaitsForAnOperator(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		r.upload(s)
		r.enrol("phone-00")
		a := r.agent("phone-00", nil)
		c := r.create(s, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true })
		r.start(s, c)
		r.until(time.Minute, "asking", func() bool { return r.snapshot(s, c.ID).Asking })
		s.stop()
		if _, err := r.store.MarkRestored(r.Context(), store.By{Actor: "alice", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		s = r.serve("one")
		defer func() { s.stop() }()
		time.Sleep(time.Minute)
		snap := r.snapshot(s, c.ID)
		if !snap.Restored || snap.Leader != "" {
			t.Errorf("after the restore: %+v", snap)
		}
		if err := s.Commit(r.Context(), c.ID, "bob"); err == nil {
			t.Error("it was committed")
		}
		at, err := r.store.Campaign(r.Context(), c.ID)
		if err == nil {
			_, err = s.Resolve(r.Context(), c.ID, at.Revision, store.NotRestored, "alice")
		}
		if err != nil {
			t.Fatal(err)
		}
		r.until(time.Minute, "asking again", func() bool { return r.snapshot(s, c.ID).Asking })
		if err := s.Commit(r.Context(), c.ID, "bob"); err != nil {
			t.Fatal(err)
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed && a.did(upgrade.EventActivated) })
	})
}

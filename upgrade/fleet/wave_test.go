package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// canary makes the first device a wave of its own, and the others the second.
func canary(set *store.CampaignSettings) {
	set.Policy.Waves = []store.Wave{
		{Targets: store.Selector{Devices: []string{"phone-00"}}, ReadyTimeout: 10 * time.Minute, Soak: time.Minute},
		{ReadyTimeout: 10 * time.Minute},
	}
}

// steps returns where the waves of a campaign are.
func (r *rig) steps(s *server, id commit.CampaignID) string {
	var words []string
	snap := r.snapshot(s, id)
	for _, w := range snap.Waves {
		words = append(words, string(w.Step))
	}
	if snap.Paused {
		words = append(words, "paused:"+string(snap.Brake))
	}
	return strings.Join(words, " ")
}

// unwell is the hooks of a device on which the new image is not well, so that it takes the old one again.
type unwell struct{}

func (unwell) Has(step upgrade.Step) bool {
	return step == upgrade.StepActivate || step == upgrade.StepHealth
}

func (unwell) Run(_ context.Context, step upgrade.Step, _ upgrade.HookContext) error {
	if step == upgrade.StepHealth {
		return errors.New("unwell")
	}
	return nil
}

func sick(cfg *upgrade.AgentConfig) { cfg.Hooks = unwell{} }

// activated counts the agents that run the new image.
func activated(agents []*agent) (n int) {
	for _, a := range agents {
		if a.did(upgrade.EventActivated) {
			n++
		}
	}
	return n
}

func (r *rig) runAgents(n int, change func(i int, cfg *upgrade.AgentConfig)) (agents []*agent) {
	for i, name := range names(n) {
		agents = append(agents, r.agent(name, func(cfg *upgrade.AgentConfig) {
			if change != nil {
				change(i, cfg)
			}
		}))
	}
	return agents
}

func (r *rig) decisions(id commit.CampaignID) (words string) {
	r.Helper()
	all, err := r.store.Decisions(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	for _, d := range all {
		words += fmt.Sprintf("%d:%s ", d.Wave, d.Verdict)
	}
	return strings.TrimSpace(words)
}

// The images are sent once and staged by all; the second wave is decided a minute after the first runs them.
func TestWavesShareOneTransmission(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol(names(4)...)
		agents := r.runAgents(4, nil)
		c := r.create(s, "spring", canary)
		r.start(s, c)
		r.until(5*time.Minute, "the first wave runs the image", func() bool { return r.steps(s, c.ID) == "soaking waiting" })
		r.until(30*time.Second, "the others are READY in its soak", func() bool { return r.snapshot(s, c.ID).Ready == 3 })
		if n := activated(agents); n != 1 || r.decisions(c.ID) != "0:COMMIT" {
			t.Errorf("%d agents have activated, decided %s, in the soak of the first wave", n, r.decisions(c.ID))
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
		snap := r.snapshot(s, c.ID)
		if snap.Verdict != "COMMIT" || snap.Committed != 4 || snap.Waves[0].Committed != 1 || snap.Waves[1].Committed != 3 || len(snap.Laggards) != 0 {
			t.Errorf("%+v", snap)
		}
		if got := r.decisions(c.ID); activated(agents) != 4 || got != "0:COMMIT 1:COMMIT" {
			t.Errorf("%d agents have activated, decided %s", activated(agents), got)
		}
		sent, _ := r.net.Sent()
		if once := 4 * len(r.image); sent < once || sent > once*5/4 {
			t.Errorf("%d bytes of the image were heard by four devices, want about %d", sent, once)
		}
	})
}

// Two of four devices of the first wave are not well with the image: the campaign stops, says why, and the second wave,
// which is READY, is not decided; by a person's word, it goes on or ends.
func TestFailuresStopBeforeTheNextWave(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the race detector")
	}
	for name, tt := range map[string]struct {
		end       func(r *rig, s *server, id commit.CampaignID) error
		decisions string
		committed int
	}{
		"aborted": {func(r *rig, s *server, id commit.CampaignID) error { return s.Abort(r.Context(), id, "bob") }, "0:COMMIT 1:ABORT", 2},
		"resumed": {func(r *rig, s *server, id commit.CampaignID) error { return s.Resume(r.Context(), id, "bob") }, "0:COMMIT 1:COMMIT", 5},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r *rig) {
				s := r.serve("one")
				defer s.stop()
				r.upload(s)
				r.enrol(names(7)...)
				agents := r.runAgents(7, func(i int, cfg *upgrade.AgentConfig) {
					if i < 2 {
						sick(cfg)
					}
				})
				c := r.create(s, "spring", func(set *store.CampaignSettings) {
					canary(set)
					w := &set.Policy.Waves[0]
					w.Targets.Devices, w.Errors, w.Success = names(4), 25, 50
				})
				r.start(s, c)
				r.until(5*time.Minute, "stopped", func() bool { return r.phase(c.ID) == store.PhasePaused })
				time.Sleep(30 * time.Minute) // votes of the second wave would have ended after ten, soak and all
				if got := r.steps(s, c.ID); !strings.HasSuffix(got, "waiting paused:wave-errors") {
					t.Errorf("stopped as %q", got)
				}
				if got := r.decisions(c.ID); got != "0:COMMIT" {
					t.Errorf("decided %s", got)
				}
				for i, a := range agents[4:] {
					if a.did(upgrade.EventDecision) || a.did(upgrade.EventActivated) || !a.did(upgrade.EventReady) {
						t.Errorf("agent %d of the second wave is not READY and waiting", i+4)
					}
				}
				e, err := r.store.NewestEvent(r.Context(), store.EventFilter{Campaign: c.ID.String(), Action: "campaign.paused"})
				if err != nil || string(e.Detail) != `{"reason":"wave-errors"}` {
					t.Errorf("audit trail: %+v, %v", e, err)
				}
				if err := s.Commit(r.Context(), c.ID, "bob"); !errors.Is(err, commit.ErrPaused) {
					t.Errorf("committed while it is paused: %v", err)
				}
				if err := tt.end(r, s, c.ID); err != nil {
					t.Fatal(err)
				}
				if name == "aborted" { // who has the COMMIT of the first wave holds until somebody resumes
					r.until(time.Minute, "the brake alone", func() bool { return r.phase(c.ID) == store.PhaseRunning })
					if err := s.Resume(r.Context(), c.ID, "bob"); err != nil && !errors.Is(err, commit.ErrDecided) {
						t.Fatal(err)
					}
				}
				r.until(10*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
				if snap := r.snapshot(s, c.ID); r.decisions(c.ID) != tt.decisions || snap.Committed != tt.committed || activated(agents) != tt.committed {
					t.Errorf("decided %s, %d agents have activated: %+v", r.decisions(c.ID), activated(agents), snap)
				}
			})
		})
	}
}

// A leader that dies between any two steps of the waves is followed by another server, and the campaign ends as it would
// have, for the same reasons.
func TestLeaderDiesBetweenWaves(t *testing.T) {
	for name, database := range fleettest.Databases {
		t.Run(name, func(t *testing.T) { leaderDiesBetweenWaves(t, database) })
	}
}

func leaderDiesBetweenWaves(t *testing.T, database func(testing.TB) string) {
	step := func(want string) func(*rig, *server, store.Campaign) {
		return func(r *rig, s *server, c store.Campaign) {
			r.until(10*time.Minute, want, func() bool { return r.steps(s, c.ID) == want })
		}
	}
	for name, moment := range map[string]func(*rig, *server, store.Campaign){
		"voting": func(r *rig, s *server, c store.Campaign) {
			r.until(time.Minute, "a READY", func() bool { return r.snapshot(s, c.ID).Ready > 0 })
		},
		"soaking": step("soaking waiting"),
		"paused in the soak": func(r *rig, s *server, c store.Campaign) {
			step("soaking waiting")(r, s, c)
			if err := s.Pause(r.Context(), c.ID, "bob"); err != nil {
				r.Error(err)
			}
		},
		"second wave": func(r *rig, s *server, c store.Campaign) {
			r.until(10*time.Minute, "asking", func() bool { return r.snapshot(s, c.ID).Asking })
		},
		"second decision": func(r *rig, s *server, c store.Campaign) {
			r.until(10*time.Minute, "asking", func() bool { return r.snapshot(s, c.ID).Asking })
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
				agents := r.runAgents(3, nil)
				c := r.create(first, "spring", func(set *store.CampaignSettings) { canary(set); set.Policy.Waves[1].Ask = true })
				r.start(first, c)
				moment(r, first, c)
				paused := r.snapshot(first, c.ID).Paused
				r.kill(first, c.ID)

				second := r.serve("two")
				defer second.stop()
				r.until(2*leaseTime+10*time.Second, "the other server leads", func() bool { return r.snapshot(second, c.ID).Leader == "two" })
				if paused {
					time.Sleep(time.Hour)
					if got := r.steps(second, c.ID); got != "soaking waiting paused:operator" || r.phase(c.ID) != store.PhasePaused {
						t.Errorf("after an hour it is %q", got)
					}
					if err := second.Resume(r.Context(), c.ID, "bob"); err != nil {
						t.Fatal(err)
					}
				}
				if name != "second decision" {
					r.until(10*time.Minute, "asking", func() bool { return r.snapshot(second, c.ID).Asking })
					if n := activated(agents); n != 1 {
						t.Errorf("%d agents have activated before the second decision", n)
					}
					if err := second.CommitWave(r.Context(), c.ID, 0, "bob"); !errors.Is(err, commit.ErrDecided) {
						t.Errorf("the first wave committed again: %v", err)
					}
					if err := second.CommitWave(r.Context(), c.ID, 1, "bob"); err != nil {
						t.Fatal(err)
					}
				}
				r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
				if got := r.decisions(c.ID); got != "0:COMMIT 1:COMMIT" || activated(agents) != 3 {
					t.Errorf("decided %s, %d agents have activated", got, activated(agents))
				}
			})
		})
	}
}

// In a pause nothing is sent, the deadline stands still, and devices wait however long it takes: they know that the server
// is silent because it wants to be, and do not fetch by HTTP. A server that is killed meanwhile is followed by one that is
// silent as well.
func TestPauseStopsSending(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the race detector")
	}
	const pause = 20 * time.Minute
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprint("killed ", killed), func(t *testing.T) {
			virtual(t, func(t *testing.T, r *rig) {
				s := r.serve("one")
				defer func() { s.stop() }()
				r.upload(s)
				r.enrol(names(2)...)
				agents := r.runAgents(2, nil)
				c := r.create(s, "spring", nil)
				r.start(s, c)
				r.until(time.Minute, "some of it sent", func() bool { p := r.snapshot(s, c.ID).Sending; return p.Sent > 0 && p.Sent < p.Total })
				before := r.snapshot(s, c.ID).Deadline
				if err := s.Pause(r.Context(), c.ID, "bob"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // what is on its way
				if r.phase(c.ID) != store.PhasePaused {
					t.Errorf("the campaign is %s", r.phase(c.ID))
				}
				if killed {
					r.kill(s, c.ID)
					s = r.serve("two")
					r.until(2*leaseTime+10*time.Second, "the other server leads", func() bool { return r.snapshot(s, c.ID).Leader == "two" })
				}
				_, heard := r.net.Sent()
				time.Sleep(pause) // votes were to end after half of it
				if _, now := r.net.Sent(); now != heard {
					t.Errorf("%d datagrams of the server in a pause", now-heard)
				}
				if got := r.decisions(c.ID); got != "" {
					t.Errorf("decided %s", got)
				}
				if err := s.Resume(r.Context(), c.ID, "bob"); err != nil {
					t.Fatal(err)
				}
				r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
				if snap := r.snapshot(s, c.ID); snap.Verdict != "COMMIT" || snap.Deadline.Sub(before) < pause {
					t.Errorf("votes were to end at %v: %+v", before, snap)
				}
				for i, a := range agents {
					if !a.did(upgrade.EventActivated) || a.did(upgrade.EventFallback) {
						t.Errorf("agent %d has not activated, or did not by multicast", i)
					}
				}
			})
		})
	}
}

// A meddler is somebody between devices and server who changes what devices are told.
type meddler struct {
	*rig
	change func(n *discovery.Notice)
}

func (m meddler) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.rig.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(req.URL.Path, "/notice") {
		return resp, err
	}
	var n discovery.Notice
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = cbor.Unmarshal(b, &n)
	}
	if err != nil {
		return nil, err
	}
	m.change(&n)
	b, err = cbor.Marshal(n)
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp, err
}

// A device that is handed the seat of another, of another campaign, one that it made itself, or none, takes no part: it
// would vote in the wave of the canaries, and activate by their COMMIT.
func TestAttackForgedSeat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the race detector")
	}
	for name, change := range map[string]func(c commit.CampaignID, n *discovery.Notice){
		"none": func(_ commit.CampaignID, n *discovery.Notice) { n.Seat = nil },
		"of the canary": func(c commit.CampaignID, n *discovery.Notice) {
			n.Seat, _ = commit.Seat{Campaign: c, Device: "phone-00"}.Sign(fleettest.ServerKey)
		},
		"of another campaign": func(_ commit.CampaignID, n *discovery.Notice) {
			n.Seat, _ = commit.Seat{Campaign: commit.CampaignID{9}, Device: "phone-01"}.Sign(fleettest.ServerKey)
		},
		"past the last wave": func(c commit.CampaignID, n *discovery.Notice) {
			n.Seat, _ = commit.Seat{Campaign: c, Device: "phone-01", Wave: 2}.Sign(fleettest.ServerKey)
		},
		"its own": func(c commit.CampaignID, n *discovery.Notice) {
			n.Seat, _ = commit.Seat{Campaign: c, Device: "phone-01"}.Sign(fleettest.Key(manifest.RoleDevice, "phone-01"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r *rig) {
				s := r.serve("one")
				defer s.stop()
				r.upload(s)
				r.enrol(names(2)...)
				c := r.create(s, "spring", canary)
				good := r.agent("phone-00", nil)
				r.start(s, c)
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				fooled := new(agent)
				cfg := r.agentConfig("phone-01", fooled)
				cfg.Transport = meddler{r, func(n *discovery.Notice) { change(c.ID, n) }}
				device, err := upgrade.NewAgent(cfg)
				if err != nil {
					t.Fatal(err)
				}
				r.agents.Go(func() { device.Run(ctx) })
				r.until(5*time.Minute, "the canary runs the image", func() bool { return good.did(upgrade.EventActivated) })
				time.Sleep(5 * time.Minute)
				if !fooled.did(upgrade.EventRefused) || fooled.did(upgrade.EventReceiving) || fooled.did(upgrade.EventReady) || fooled.did(upgrade.EventActivated) {
					t.Errorf("the other device: %+v", fooled.events)
				}
				cancel()
				if err := s.Abort(r.Context(), c.ID, "bob"); err != nil && !errors.Is(err, commit.ErrDecided) {
					t.Fatal(err)
				}
				r.until(15*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
			})
		})
	}
}

// Which wave a device is in.
func TestAssignment(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol(names(40)...)
		tag := func(name string, tags ...string) {
			d, err := r.store.Device(r.Context(), name)
			if err == nil {
				err = r.store.PlaceDevice(r.Context(), name, d.Revision, "hall", tags, store.By{Actor: "alice", At: time.Now()})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		tag("phone-07", "brave")
		tag("phone-08", "brave")
		tag("phone-09")
		// waves starts a campaign and returns who is in each wave.
		waves := func(set ...store.Wave) (all [][]string, err error) {
			c := r.create(s, "spring", func(cs *store.CampaignSettings) {
				cs.Policy.Waves, cs.Schedule.At = set, time.Now().Add(time.Hour)
			})
			if c, err = s.Start(r.Context(), c.ID, c.Revision, "alice"); err != nil {
				return nil, err
			}
			st, err := r.store.CampaignStart(r.Context(), c.ID)
			all = make([][]string, len(set))
			for _, target := range st.Targets {
				all[target.Wave] = append(all[target.Wave], target.Device)
			}
			return all, errors.Join(err, s.Discard(r.Context(), c.ID, "alice"))
		}
		must := func(set ...store.Wave) [][]string {
			t.Helper()
			all, err := waves(set...)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		brave, hall := store.Selector{Tags: []string{"brave"}}, store.Selector{Sites: []string{"hall"}}
		if got := must(store.Wave{Targets: brave}, store.Wave{Targets: hall}, store.Wave{}); !slices.Equal(got[0], []string{"phone-07", "phone-08"}) || !slices.Equal(got[1], []string{"phone-09"}) || len(got[2]) != 37 {
			t.Errorf("by tag and site: %v", got)
		}
		// 1 % of 40 is one, 10 % are four, whoever they are; others go first in the next campaign.
		chosen := map[string]bool{}
		for range 10 {
			got := must(store.Wave{Percent: 1}, store.Wave{Percent: 10}, store.Wave{})
			if len(got[0]) != 1 || len(got[1]) != 4 || len(got[2]) != 35 {
				t.Fatalf("1 %%, 10 %%, rest of 40: %v", got)
			}
			chosen[got[0][0]] = true
		}
		if len(chosen) < 3 {
			t.Errorf("the canaries of ten campaigns are %v", chosen)
		}
		if got := must(store.Wave{Targets: hall, Percent: 50}, store.Wave{}); len(got[0]) != 2 || len(got[1]) != 38 {
			t.Errorf("50 %% of a site of three: %v", got)
		}
		preview, err := s.Preview(r.Context(), settings(func(cs *store.CampaignSettings) { cs.Policy.Waves = []store.Wave{{Percent: 10}, {}} }))
		if err != nil || len(preview.Waves) != 2 || preview.Waves[0].Targets != 4 || preview.Waves[1].Sites["berlin"]+preview.Waves[0].Sites["berlin"] != 37 {
			t.Errorf("preview %+v, %v", preview, err)
		}

		d, err := r.store.Device(r.Context(), "phone-03")
		if err == nil {
			err = s.RevokeDevice(r.Context(), "phone-03", d.Revision, "alice")
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			set  []store.Wave
			want error
			says string
		}{
			"emptied by a revoked device": {[]store.Wave{{Targets: store.Selector{Devices: []string{"phone-03"}}}, {}}, fleet.ErrNoTargets, "wave 1"},
			"nothing left for the last":   {[]store.Wave{{Percent: 100}, {}}, fleet.ErrNoTargets, "wave 2"},
			"devices in no wave":          {[]store.Wave{{Targets: brave}, {Percent: 50}}, fleet.ErrSettings, "in no wave"},
			"must-have of another wave":   {[]store.Wave{{Targets: brave, Must: []string{"phone-09"}}, {}}, fleet.ErrSettings, "phone-09 must be ready"},
		} {
			if _, err := waves(tt.set...); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q", name, err, tt.says)
			}
			p, err := s.Preview(r.Context(), settings(func(cs *store.CampaignSettings) { cs.Policy.Waves = tt.set }))
			if err != nil || !strings.Contains(p.Problem, tt.says) {
				t.Errorf("%s: preview %+v, %v", name, p, err)
			}
		}
		for name, w := range map[string]store.Wave{
			"percent": {Percent: 101}, "success": {Success: -1}, "errors": {Errors: 101}, "soak": {Soak: -1}, "outcome_timeout": {OutcomeTimeout: -1},
			"ready_timeout": {ReadyTimeout: time.Millisecond}, "quorum": {Quorum: 101}, "site_quorum": {SiteQuorum: 101},
		} {
			set := settings(func(cs *store.CampaignSettings) { cs.Policy.Waves = []store.Wave{{Percent: 10}, w} })
			if err := fleet.Check(set); !errors.Is(err, fleet.ErrSettings) || !strings.Contains(err.Error(), "wave 2: ") || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := fleet.Check(settings(func(cs *store.CampaignSettings) { cs.Policy.Waves[0].Percent = 10 })); !errors.Is(err, fleet.ErrSettings) {
			t.Errorf("a campaign for 10 %% of its targets: %v", err)
		}
	})
}

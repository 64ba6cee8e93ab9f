package upgrade_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
)

// agents runs a real agent for each target, and returns what waits for them.
func (r *campaignRig) agents(t *testing.T) (agents []*agentRig, wait func()) {
	var wg sync.WaitGroup
	for _, d := range r.devices {
		a := newAgentRig(t, r, d.name)
		agents = append(agents, a)
		wg.Go(func() {
			if err := a.run(t.Context()); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
		})
	}
	return agents, wg.Wait
}

// A campaign with a rendezvous of its own can have waves, and tells each device which one it is in.
func TestWavesOfOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 3, 0.05)
		r.cfg.Targets[1].Wave, r.cfg.Targets[2].Wave = 1, 1
		r.cfg.Commit = ""
		r.cfg.Waves = []upgrade.Wave{{Commit: upgrade.CommitAuto, Soak: time.Hour}, {Commit: upgrade.CommitAuto, Quorum: 50}}
		agents, wait := r.agents(t)
		began := time.Now()
		got, err := r.open().Run(t.Context())
		wait()
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		if took := time.Since(began); took < time.Hour {
			t.Errorf("it took %v, with a soak of an hour", took)
		}
		for i, a := range agents {
			kinds := a.kinds()
			if !slices.Contains(kinds, upgrade.EventActivated) || slices.Contains(kinds, upgrade.EventFallback) {
				t.Errorf("agent %d: %v", i, kinds)
			}
			for _, e := range a.events {
				if e.Kind == upgrade.EventDecision && e.Wave != r.cfg.Targets[i].Wave {
					t.Errorf("agent %d acts on the decision of wave %d", i, e.Wave)
				}
			}
		}
	})
}

// A pause from another terminal, where congestion control sets the rate: sending stops, and finds its rate again.
func TestPauseFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.Rate = 0
		c := r.open()
		agents, wait := r.agents(t)
		var person sync.WaitGroup
		defer person.Wait()
		person.Go(func() {
			control := openControl(t, r.cfg.State)
			control.DialWith(r.lan.dial)
			for {
				time.Sleep(50 * time.Millisecond)
				if s, err := control.Status(t.Context()); err == nil && s.Sending.Sent > 0 {
					break
				}
			}
			if err := control.Pause(t.Context()); err != nil {
				t.Error(err)
			}
			before, err := control.Status(t.Context())
			if err != nil || !before.Paused || before.Brake != commit.ReasonOperator || before.Sending.Sent == 0 || before.Sending.Sent >= before.Sending.Total {
				t.Errorf("paused: %+v, %v", before, err)
			}
			time.Sleep(3 * time.Hour)
			after, err := control.Status(t.Context())
			if err != nil || !after.Paused || after.Sending.Sent != before.Sending.Sent || after.Verdict != commit.Undecided.String() {
				t.Errorf("three hours later: %+v, %v", after, err)
			}
			if err := control.Commit(t.Context()); !errors.Is(err, commit.ErrPaused) {
				t.Errorf("commit in a pause: %v", err)
			}
			if err := control.Resume(t.Context()); err != nil {
				t.Error(err)
			}
		})
		got, err := c.Run(t.Context())
		wait()
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		for i, a := range agents {
			if slices.Contains(a.kinds(), upgrade.EventFallback) {
				t.Errorf("agent %d took the pause for a broken network: %v", i, a.kinds())
			}
		}
	})
}

func TestImpossibleWavesAreRefused(t *testing.T) {
	for name, change := range map[string]func(cfg *upgrade.CampaignConfig){
		"two policies":         func(cfg *upgrade.CampaignConfig) { cfg.Quorum = 50 },
		"a wave of nobody":     func(cfg *upgrade.CampaignConfig) { cfg.Targets[1].Wave = 0 },
		"success of 101 %":     func(cfg *upgrade.CampaignConfig) { cfg.Waves[0].Success = 101 },
		"errors of -1 %":       func(cfg *upgrade.CampaignConfig) { cfg.Waves[1].Errors = -1 },
		"a soak before now":    func(cfg *upgrade.CampaignConfig) { cfg.Waves[0].Soak = -1 },
		"no time for votes":    func(cfg *upgrade.CampaignConfig) { cfg.Waves[1].ReadyTimeout = 1 },
		"another commit":       func(cfg *upgrade.CampaignConfig) { cfg.Waves[1].Commit = "never" },
		"devices as they come": func(cfg *upgrade.CampaignConfig) { cfg.Targets, cfg.Expect = nil, 2 },
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newCampaignRig(t, 2, 0)
			r.cfg.Targets[1].Wave, r.cfg.Commit = 1, ""
			r.cfg.Waves = []upgrade.Wave{{}, {}}
			change(&r.cfg)
			c, err := upgrade.OpenCampaign(r.cfg)
			if err == nil {
				c.Close()
				t.Errorf("%s: it was opened", name)
			}
		})
	}
}

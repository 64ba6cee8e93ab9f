package upgrade_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/upgrade"
)

// lives runs the campaign, and again whenever the power fails, until it ends. Cut plans the power cut of a life.
func (r *campaignRig) lives(d *diskfault.Disk, cut func(life int, kill func())) upgrade.Result {
	r.t.Helper()
	r.cfg.FS, r.cfg.State = d, ""
	cfg := r.cfg
	for life := range 20 {
		ctx, kill := context.WithCancel(r.t.Context())
		cut(life, kill)
		r.cfg.Manifest, r.cfg.Images, r.cfg.Targets = cfg.Manifest, cfg.Images, cfg.Targets
		c, err := upgrade.OpenCampaign(r.cfg)
		var got upgrade.Result
		if err == nil {
			got, err = c.Run(ctx)
		}
		kill()
		if err == nil {
			r.deaths = life
			return got
		}
		if !errors.Is(err, diskfault.ErrCrashed) && !errors.Is(err, context.Canceled) {
			r.t.Fatalf("life %d: %v", life, err)
		}
		d.Restart()
		time.Sleep(3 * time.Second) // the server boots
	}
	r.t.Fatal("the campaign does not end")
	return upgrade.Result{}
}

// wantSame checks that all devices did the same, once.
func (r *campaignRig) wantSame(got upgrade.Result) {
	r.t.Helper()
	r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
	r.wantActivations(1, 1)
	for _, d := range r.devices {
		for _, verdict := range d.verdicts() {
			if verdict != commit.Commit {
				r.t.Errorf("%s was told %s", d.name, verdict)
			}
		}
	}
	r.check()
}

func TestPowerCutAtAnyWriteEndsTheSame(t *testing.T) {
	// How many writes a campaign makes.
	writes := 0
	synctest.Test(t, func(t *testing.T) {
		r, d := newCampaignRig(t, 2, 0), diskfault.New(1)
		defer r.start(r.devices...)()
		r.wantSame(r.lives(d, func(int, func()) {}))
		writes = d.Ops()
	})
	if writes < 20 {
		t.Fatalf("a campaign makes %d writes: the test sees too few", writes)
	}
	deaths := 0
	for n := 1; n <= writes; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, d := newCampaignRig(t, 2, 0), diskfault.New(uint64(n))
				defer r.start(r.devices...)()
				r.wantSame(r.lives(d, func(life int, _ func()) {
					if life < 2 { // and in the next life at the same write
						d.CrashAt(n)
					}
				}))
				deaths += r.deaths
			})
		})
	}
	// A second life has less to write, and votes that meet share a write.
	if deaths < writes {
		t.Errorf("%d cuts in %d campaigns: want one in each at least", deaths, writes)
	}
}

func TestPowerCutAtAnyTimeEndsTheSame(t *testing.T) {
	for cut := 100 * time.Millisecond; cut < 3500*time.Millisecond; cut += 150 * time.Millisecond {
		t.Run(cut.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, d := newCampaignRig(t, 2, 0.05), diskfault.New(uint64(cut))
				r.cfg.Rate = 2e6 // so that sending takes a while
				defer r.start(r.devices...)()
				r.wantSame(r.lives(d, func(life int, kill func()) {
					if life == 0 {
						time.AfterFunc(cut, func() { d.Crash(); kill() })
					}
				}))
				if r.deaths != 1 {
					t.Errorf("the power was cut %d times", r.deaths)
				}
			})
		})
	}
}

func TestCampaignThatEndedTellsItsResultAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		first := r.run()
		begun := time.Now()
		again, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(again, first.Verdict, first.Reason, upgrade.ExitCommitted)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A decision that the server has lost, with all it knew, comes back from the device that heard it.
func TestServerThatLostItsLogDoesNotStartAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := newCampaignRig(t, 1, 0), diskfault.New(1)
		defer r.start(r.devices...)()
		r.wantVerdict(r.lives(d, func(int, func()) {}), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		if err := d.Remove("log"); err != nil {
			t.Fatal(err)
		}
		if c, err := upgrade.OpenCampaign(r.cfg); err == nil {
			c.Close()
			t.Error("a campaign without its log was continued")
		}
	})
}

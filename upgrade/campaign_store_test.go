package upgrade_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A fleetRig is a campaign whose state and images are in a database.
type fleetRig struct {
	*campaignRig
	s  *store.Store
	id commit.CampaignID
}

func newFleetRig(t *testing.T, devices int) *fleetRig {
	t.Helper()
	r := &fleetRig{campaignRig: newCampaignRig(t, devices, 0.05), id: commit.CampaignID{1, 2, 3}}
	ctx, by := t.Context(), store.By{Actor: "operator", At: time.Now()}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.s, err = store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "fleet.db"))
	check(err)
	release, err := r.s.AddRelease(ctx, r.cfg.Manifest, by)
	check(err)
	image, err := os.Open(r.cfg.Images[0])
	check(err)
	defer image.Close()
	check(r.s.AddImage(ctx, release.ID, release.Missing[0], image, by))
	c, err := r.s.AddCampaign(ctx, store.Campaign{ID: r.id, Name: "c", Release: release.ID, Settings: store.CampaignSettings{
		Targets: store.Selector{Products: []string{"phone"}}, Policy: store.Policy{Waves: []store.Wave{{}}}}}, by)
	check(err)
	for _, phase := range []store.CampaignPhase{store.PhaseScheduled, store.PhaseRunning} {
		c, err = r.s.MoveCampaign(ctx, r.id, c.Revision, phase, by)
		check(err)
	}
	r.cfg.State, r.cfg.Images, r.cfg.ID = "", nil, r.id
	r.cfg.Open = func(name string) (upgrade.Content, error) { return r.s.OpenImage(t.Context(), release.ID, name) }
	return r
}

// lead takes the lead for a server, and returns the campaign as that one runs it.
func (r *fleetRig) lead(owner store.Owner) upgrade.CampaignConfig {
	r.t.Helper()
	lease, err := r.s.TakeLease(r.t.Context(), r.id, owner, time.Now(), time.Minute)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Store = r.s.CampaignState(r.t.Context(), lease)
	return cfg
}

func TestCampaignInADatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFleetRig(t, 2)
		defer r.s.Close()
		r.cfg = r.lead("server")
		r.wantSame(r.run())
		r.cfg = r.lead("server") // and says so when it is asked again
		got, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		if d, err := r.s.Decisions(t.Context(), r.id); err != nil || len(d) != 1 || d[0].Verdict != "COMMIT" {
			t.Errorf("decisions %v, %v", d, err)
		}
		r.cfg.ID = commit.CampaignID{9}
		if c, err := upgrade.OpenCampaign(r.cfg); err == nil {
			c.Close()
			t.Error("it was continued as another campaign")
		}
	})
}

// One server dies at some moment and another takes over, with nothing but the database.
func TestAnotherServerGoesOn(t *testing.T) {
	for cut := 100 * time.Millisecond; cut < 3500*time.Millisecond; cut += 300 * time.Millisecond {
		t.Run(cut.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFleetRig(t, 2)
				defer r.s.Close()
				r.cfg.Rate = 2e6 // so that sending takes a while
				defer r.start(r.devices...)()
				ctx, kill := context.WithTimeout(t.Context(), cut)
				defer kill()
				r.cfg = r.lead("first")
				if _, err := r.open().Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("the first server ended with %v", err)
				}
				time.Sleep(time.Minute) // until its lease is over
				r.cfg = r.lead("second")
				got, err := r.open().Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r.wantSame(got)
			})
		})
	}
}

// A server that was taken over from stops at its next step, and nothing that it would have decided is told.
func TestServerThatLostTheLeadStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFleetRig(t, 1)
		defer r.s.Close()
		r.cfg = r.lead("first")
		c := r.open()
		ended := make(chan error)
		go func() {
			_, err := c.Run(t.Context())
			ended <- err
		}()
		time.Sleep(time.Second)
		time.Sleep(time.Minute)
		r.lead("second")
		defer r.start(r.devices...)()
		if err := <-ended; !errors.Is(err, store.ErrFenced) {
			t.Errorf("it ended with %v", err)
		}
		if d, err := r.s.Decisions(t.Context(), r.id); err != nil || len(d) != 0 {
			t.Errorf("decisions %v, %v", d, err)
		}
		r.wantActivations(0)
	})
}

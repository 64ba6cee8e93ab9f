package upgrade_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

func TestOneNoAbortsWhereAllAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 3, 0)
		r.devices[1].refuse = commit.ReasonVerifyHook
		got := r.run()
		r.wantVerdict(got, commit.Abort, commit.ReasonQuorum, upgrade.ExitFailed)
		r.wantActivations(0, 0, 0)
		if d := got.Devices[1]; d.State != commit.StateRefused || d.Reason != commit.ReasonVerifyHook {
			t.Errorf("the device that voted NO is shown as %+v", d)
		}
		for i, d := range r.devices {
			if i != 1 && !slices.Contains(d.verdicts(), commit.Abort) {
				t.Errorf("%s was not told", d.name)
			}
		}
	})
}

func TestQuorumCommitsAndReportsTheLaggard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 4, 0.05)
		r.cfg.Quorum = 75
		r.devices[2].refuse = commit.ReasonDiskFull
		got := r.run()
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitLaggards)
		r.wantActivations(1, 1, 0, 1)
		if len(got.Laggards) != 1 || got.Laggards[0].Device != "d2" || got.Laggards[0].Reason != commit.ReasonDiskFull {
			t.Errorf("laggards %+v, want d2 for its full disk", got.Laggards)
		}
	})
}

func TestFailedActivationIsALaggardAndCanHoldTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 3, 0)
		r.cfg.MaxFailures, r.cfg.Spread, r.cfg.OutcomeTimeout = 1, 5*time.Minute, time.Minute
		for _, d := range r.devices {
			d.outcome = commit.ReasonActivateHook
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		defer r.start(r.devices...)()
		got, err := r.open().Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a campaign on hold ended: %v", err)
		}
		if !r.saw(upgrade.EventCampaign, upgrade.CampaignHeld, commit.ReasonMaxFailures) {
			t.Error("the brake was not put on")
		}
		failed := 0
		for _, d := range got.Laggards {
			if d.State == commit.StateFailed || d.State == commit.StateRolledBack {
				failed++
			}
		}
		if len(got.Laggards) != 3 || failed != 1 {
			t.Errorf("%d of %d laggards failed, want 1 of 3: %+v", failed, len(got.Laggards), got.Laggards)
		}
	})
}

func TestDeadlineAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.ReadyTimeout = 5 * time.Minute
		begun := time.Now()
		defer r.start(r.devices[0])() // the other one is off
		got, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Abort, commit.ReasonDeadline, upgrade.ExitTimedOut)
		if took := time.Since(begun); took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("it took %v", took)
		}
		r.wantActivations(0, 0)
		if d := got.Devices[1]; d.Reason != commit.ReasonNotHeard {
			t.Errorf("the device that is off is shown as %+v", d)
		}
	})
}

func TestCommitAsksAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.Commit = "" // asks by default
		asked := make(chan struct{}, 1)
		event := r.cfg.Event
		r.cfg.Event = func(e upgrade.Event) {
			event(e)
			if e.State == upgrade.CampaignAsking {
				asked <- struct{}{}
			}
		}
		c := r.open()
		early := make(chan error, 1)
		go func() {
			early <- c.Approve(t.Context())
			<-asked
			time.Sleep(10 * time.Minute)
			if s, err := c.Status(t.Context()); err != nil || !s.Asking || s.Verdict != "undecided" || s.Ready != 2 {
				t.Errorf("while it asks: %+v, %v", s, err)
			}
			if err := c.Approve(t.Context()); err != nil {
				t.Error(err)
			}
			if err := c.Abort(t.Context()); !errors.Is(err, commit.ErrDecided) {
				t.Errorf("Abort after the decision: %v, want ErrDecided", err)
			}
		}()
		got := r.runs(c)
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		if err := <-early; !errors.Is(err, commit.ErrNotReady) {
			t.Errorf("Approve before anybody is READY: %v, want ErrNotReady", err)
		}
		if err := c.Approve(t.Context()); !errors.Is(err, upgrade.ErrNotRunning) {
			t.Errorf("Approve after the end: %v, want ErrNotRunning", err)
		}
	})
}

func TestHoldStopsDevicesThatHaveNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.Commit, r.cfg.OutcomeTimeout = upgrade.CommitAsk, time.Minute
		c := r.open()
		go func() {
			time.Sleep(time.Minute)
			for _, act := range []func(context.Context) error{c.Hold, c.Approve} {
				if err := act(t.Context()); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(5 * time.Minute)
			r.wantActivations(0, 0)
			if s, _ := c.Status(t.Context()); !s.Held || s.Verdict != "COMMIT" {
				t.Errorf("on hold: %+v", s)
			}
			if err := c.Resume(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		got := r.runs(c)
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantActivations(1, 1)
	})
}

func TestReadyDeviceThatFallsSilentIsGivenUpAtLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.devices[1].pause = func(p *commit.Participant) bool { return p.Status().Committed } // its power fails
		got := r.run()
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitLaggards)
		if len(got.Laggards) != 1 || got.Laggards[0].Reason != commit.ReasonNoOutcome {
			t.Errorf("laggards %+v, want d1 without an outcome", got.Laggards)
		}
	})
}

func TestFirstDevicesAreTheTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 3, 0)
		r.cfg.Targets, r.cfg.Expect = nil, 2
		r.devices[0] = newFakeDevice(t, r.lan, "d0", false)
		r.devices[1].hello.Product = "toaster"
		r.devices[1].http = true
		r.devices[1].refuse = commit.ReasonProduct
		late := newFakeDevice(t, r.lan, "d3", false)
		wasRefused := func() bool { return slices.Contains(late.told(), string(commit.ReasonNotTarget)) }
		r.devices[0].pause = func(p *commit.Participant) bool { return !wasRefused() }
		defer r.start(r.devices...)()
		defer r.startAfter(10*time.Second, late)()
		got, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		var names []string
		unsigned := 0
		for _, d := range got.Devices {
			names = append(names, d.Device)
			if d.Unsigned {
				unsigned++
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"d0", "d2"}) || unsigned != 1 {
			t.Errorf("targets %v, %d of them unsigned; want d0 and d2, and d0 is", names, unsigned)
		}
		if !r.saw(upgrade.EventDevice, commit.StateRefused, commit.ReasonProduct) {
			t.Error("nobody was told of the device of another product")
		}
		if !slices.Contains(r.devices[1].told(), string(commit.ReasonProduct)) {
			t.Errorf("the device of another product was told %v", r.devices[1].told())
		}
	})
}

func TestVotesThatDoNotCount(t *testing.T) {
	forge := func(change func(*discovery.Statement)) func(*fakeDevice) {
		return func(d *fakeDevice) { d.vote = change }
	}
	other := testKey(manifest.RoleDevice, "somebody")
	for name, tt := range map[string]struct {
		change func(*fakeDevice)
		want   commit.Reason
	}{
		"flipped bit":          {forge(func(s *discovery.Statement) { s.Body[len(s.Body)-1] ^= 1 }), commit.ReasonSignature},
		"unsigned":             {forge(func(s *discovery.Statement) { s.Signed = false }), commit.ReasonUnsigned},
		"another device's key": {func(d *fakeDevice) { d.key = other }, commit.ReasonSignature},
		"for another device":   {forge(func(s *discovery.Statement) { s.Device = "d0" }), commit.ReasonSignature},
		"not on the list":      {forge(func(s *discovery.Statement) { s.Device = "d9" }), commit.ReasonNotTarget},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCampaignRig(t, 2, 0)
				r.cfg.ReadyTimeout = time.Minute
				tt.change(r.devices[1])
				defer r.start(r.devices...)()
				got, err := r.open().Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r.wantVerdict(got, commit.Abort, commit.ReasonDeadline, upgrade.ExitTimedOut)
				r.wantActivations(0, 0)
				if !slices.Contains(r.devices[1].told(), string(tt.want)) {
					t.Errorf("it was told %v, want %s", r.devices[1].told(), tt.want)
				}
			})
		})
	}
}

func TestUnsignedVotesCountWhereTheyAreAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.devices[1] = newFakeDevice(t, r.lan, "d1", false)
		r.cfg.Targets[1] = r.devices[1].target()
		if _, err := upgrade.OpenCampaign(r.cfg); err == nil {
			t.Error("a target without a key was taken")
		}
		r.cfg.AllowUnsigned = true
		r.wantVerdict(r.run(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
	})
}

func TestClonedDeviceIsNeverReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.ReadyTimeout = 10 * time.Minute
		clone := newFakeDevice(t, r.lan, "d1", true)
		clone.hello.Agent = []byte("another run, 16B")
		for _, d := range []*fakeDevice{r.devices[1], clone} {
			d.pause = func(*commit.Participant) bool { return true }
		}
		c := r.open()
		go func() {
			for range 4 { // both live, so each comes again after the other
				for _, d := range []*fakeDevice{r.devices[1], clone} {
					d.note(d.hello.Sign(d.key))
					d.client.Hello(t.Context(), d.hello)
					time.Sleep(time.Second)
				}
			}
		}()
		defer r.start(r.devices[0])()
		got, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Abort, commit.ReasonQuorum, upgrade.ExitFailed)
		if d := got.Devices[1]; !d.Duplicate || d.Reason != commit.ReasonDuplicate {
			t.Errorf("the cloned device is shown as %+v", d)
		}
	})
}

// A hello that shows a key it cannot prove must not make the device with that key a duplicate.
func TestAttackFalseDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		victim := r.devices[0]
		c, stolen := r.open(), victim.hello
		go func() {
			for i := range 6 {
				h := stolen
				h.Key, h.Agent = victim.key.Public().String(), slices.Repeat([]byte{byte(i % 2)}, 16)
				if err := victim.client.Hello(t.Context(), h); err == nil {
					t.Error("a hello without proof was taken")
				}
				h.Key = "" // and without a key it counts for nothing
				victim.client.Hello(t.Context(), h)
			}
		}()
		defer r.start(victim)()
		got, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
	})
}

func TestUnknownCampaignIsNeverAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		d := r.devices[0]
		c := r.open()
		defer r.background(c)()
		for _, campaign := range []string{commit.CampaignID{1}.String(), "nonsense"} {
			if _, err := d.client.Decision(t.Context(), campaign, 0); !errors.Is(err, discovery.ErrUnknown) {
				t.Errorf("decision of campaign %s: %v, want ErrUnknown", campaign, err)
			}
			if err := d.client.Status(t.Context(), discovery.Status{Device: "d0", Campaign: campaign}); !errors.Is(err, discovery.ErrUnknown) {
				t.Errorf("status of campaign %s: %v, want ErrUnknown", campaign, err)
			}
			if err := d.client.Fetch(t.Context(), campaign, 1, make([]byte, 1), 0); !errors.Is(err, discovery.ErrUnknown) {
				t.Errorf("object of campaign %s: %v, want ErrUnknown", campaign, err)
			}
		}
		if _, err := d.client.Decision(t.Context(), c.ID().String(), 0); !errors.Is(err, discovery.ErrUndecided) {
			t.Errorf("decision of this campaign: %v, want ErrUndecided", err)
		}
		if _, err := d.client.Decision(t.Context(), c.ID().String(), 1); !errors.Is(err, discovery.ErrUnknown) {
			t.Errorf("decision of another wave: %v, want ErrUnknown", err)
		}
	})
}

func TestLateDeviceGetsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 3, 0.05)
		defer r.start(r.devices[:2]...)()
		defer r.startAfter(10*time.Minute, r.devices[2])() // long after the first series of FLUSH behind the images
		got, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantActivations(1, 1, 1)
	})
}

func TestDeviceWithoutMulticastFetchesByHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.devices[1].http = true
		r.wantVerdict(r.run(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
	})
}

// A device that is still receiving when the others have activated is worth waiting for, as long as it makes progress.
func TestSlowDeviceIsWaitedForAfterCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 4, 0)
		r.cfg.Quorum = 75
		slow := r.devices[3]
		begun := time.Now()
		slow.pause = func(p *commit.Participant) bool { return time.Since(begun) < 5*time.Minute }
		c := r.open()
		go func() {
			for i := range int64(10) {
				time.Sleep(30 * time.Second)
				s := discovery.Status{Device: slow.name, Campaign: c.ID().String(), State: "receiving", Bytes: 1000 * i, Total: 300_000}
				if err := slow.client.Status(t.Context(), s); err != nil {
					t.Error(err)
				}
			}
		}()
		got := r.runs(c)
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantActivations(1, 1, 1, 1)
	})
}

// Progress needs no signature, so it must not keep a campaign open beyond the deadline of votes.
func TestClaimedProgressDoesNotKeepACampaignOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.Quorum, r.cfg.ReadyTimeout = 50, 10*time.Minute
		d := r.devices[0]
		c := r.open()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := int64(0); ctx.Err() == nil; i++ {
				d.client.Status(ctx, discovery.Status{Device: "d1", Campaign: c.ID().String(), State: "receiving", Bytes: i, Total: 300_000})
				time.Sleep(10 * time.Second)
			}
		}()
		begun := time.Now()
		stop := r.start(d)
		got, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitLaggards)
		if took := time.Since(begun); took < 9*time.Minute || took > 11*time.Minute {
			t.Errorf("it took %v, want until the deadline", took)
		}
		stop()
		cancel()
		<-done
	})
}

func TestStatusThatCannotBeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		c := r.open()
		defer r.background(c)()
		client, id := r.devices[0].client, c.ID().String()
		for _, tt := range []struct {
			status discovery.Status
			want   string
		}{
			{discovery.Status{Device: "d0", Campaign: id, Bytes: -1}, "format"},
			{discovery.Status{Device: "d0", Campaign: id, Bytes: 2, Total: 1}, "format"},
			{discovery.Status{Device: "d0", Campaign: id, Total: 1 << 60}, "format"},
			{discovery.Status{Device: "d9", Campaign: id}, "not-a-target"},
		} {
			err := client.Status(t.Context(), tt.status)
			if refusal, ok := errors.AsType[*discovery.Refusal](err); !ok || refusal.Reason != tt.want {
				t.Errorf("%+v: %v, want %s", tt.status, err, tt.want)
			}
		}
		// A state that only a vote can bring about is not taken from a status.
		for _, state := range []commit.State{commit.StateReady, commit.StateCommitted, "nonsense"} {
			if err := client.Status(t.Context(), discovery.Status{Device: "d0", Campaign: id, State: string(state), Reason: "nonsense"}); err != nil {
				t.Error(err)
			}
		}
		if s, err := c.Status(t.Context()); err != nil || s.Ready != 0 || s.Counts["not-heard"] != 1 || s.Devices[0].State != commit.StateNone {
			t.Errorf("after claims: %+v, %v", s, err)
		}
	})
}

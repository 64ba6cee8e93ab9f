package fleet_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func (r *rig) client() *discovery.Client {
	c, err := discovery.NewClient("http://127.0.0.1:8443", r)
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// hello is a device's, proven with its key; a new agent each time.
func hello(t *testing.T, device string, key *manifest.PrivateKey) discovery.Hello {
	h := discovery.Hello{Device: device, Product: "phone", Hardware: "rev-a", Version: "1.0", Agent: make([]byte, 16)}
	rand.Read(h.Agent)
	if key != nil {
		if err := h.Sign(key); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (r *rig) device(name string) store.Device {
	r.Helper()
	d, err := r.store.Device(r.Context(), name)
	if err != nil {
		r.Fatal(err)
	}
	return d
}

func wantRefused(t *testing.T, what string, err error, reason commit.Reason) {
	t.Helper()
	if refusal, ok := errors.AsType[*discovery.Refusal](err); !ok || refusal.Reason != string(reason) {
		t.Errorf("%s: %v, want %q", what, err, reason)
	}
}

// A device that made its own key counts once a person has approved it, and one with a token at once.
func TestEnrolment(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		by := store.By{Actor: "alice", At: time.Now()}
		_, secret, err := r.store.CreateEnrolment(r.Context(), store.Enrolment{Site: "paris", Expires: by.At.Add(time.Hour)}, by)
		if err != nil {
			t.Fatal(err)
		}
		own := func(cfg *upgrade.AgentConfig) { cfg.Key, cfg.MakeKey = nil, true }
		waits := r.agent("phone-00", own)
		enrolled := r.agent("phone-01", func(cfg *upgrade.AgentConfig) { own(cfg); cfg.EnrolToken = secret })
		known := func(name string) func() bool {
			return func() bool { d, err := r.store.Device(r.Context(), name); return err == nil && !d.Key.IsZero() }
		}
		r.until(time.Minute, "both are known", func() bool { return known("phone-00")() && known("phone-01")() })
		if d := r.device("phone-01"); d.KeyState != store.KeyApproved || d.Site != "paris" {
			t.Errorf("with a token: %+v", d)
		}
		d := r.device("phone-00")
		if d.KeyState != store.KeyPending || d.Hardware != "rev-a" {
			t.Errorf("without: %+v", d)
		}
		stolen := hello(t, "phone-02", nil)
		stolen.Token = secret
		if err := stolen.Sign(fleettest.Key(manifest.RoleDevice, "thief")); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, "a token used twice", r.client().Hello(r.Context(), stolen), "enrolment")
		if p, err := s.Preview(r.Context(), settings(nil)); err != nil || p.Targets != 1 || p.Pending != 1 {
			t.Errorf("preview %+v, %v", p, err)
		}
		if err := s.ApproveDevice(r.Context(), "phone-00", d.Revision, "bob"); err != nil {
			t.Fatal(err)
		}
		c := r.create(s, "spring", nil)
		r.start(s, c)
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
		if !waits.did(upgrade.EventActivated) || !enrolled.did(upgrade.EventActivated) {
			t.Error("not both activated")
		}
	})
}

// Strangers cost a bounded registry, another's identity is not believed, and a cloned key is seen.
func TestAttackStrangersAndTwins(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol("phone-00")
		c, ctx := r.client(), r.Context()
		full := 0
		for i := range 500 {
			if err := c.Hello(ctx, hello(t, fmt.Sprintf("stranger-%d", i), nil)); err != nil {
				wantRefused(t, "a stranger", err, "busy")
				full++
			}
		}
		counts, err := r.store.CountDevices(ctx, store.DeviceFilter{})
		if err != nil || counts[store.KeyNone] != 50 || full != 450 {
			t.Errorf("%v devices and %d sent away, %v; want 50 and 450", counts, full, err)
		}
		key := fleettest.Key(manifest.RoleDevice, "phone-00")
		wantRefused(t, "another's identity", c.Hello(ctx, hello(t, "phone-00", fleettest.Key(manifest.RoleDevice, "thief"))), commit.ReasonNotTarget)
		wantRefused(t, "its name without the key", c.Hello(ctx, hello(t, "phone-00", nil)), commit.ReasonNotTarget)
		forged := hello(t, "phone-00", key)
		forged.Version = "9.9"
		wantRefused(t, "a changed hello", c.Hello(ctx, forged), commit.ReasonSignature)
		if d := r.device("phone-00"); d.Duplicate || d.Version == "9.9" {
			t.Errorf("strangers changed it: %+v", d)
		}
		one, two := hello(t, "phone-00", key), hello(t, "phone-00", key)
		for i, h := range []discovery.Hello{one, two, one} {
			if err := c.Hello(ctx, h); err != nil {
				t.Fatal(err)
			}
			if d := r.device("phone-00"); d.Duplicate != (i == 2) {
				t.Errorf("after hello %d duplicate is %v", i, d.Duplicate)
			}
		}
		camp := r.create(s, "spring", nil)
		if _, err := s.Start(ctx, camp.ID, camp.Revision, "alice"); !errors.Is(err, fleet.ErrNoTargets) {
			t.Errorf("a campaign for a duplicate: %v", err)
		}
	})
}

// What is about a campaign that this server does not have, or not any more, is answered as what it is.
func TestForeignCampaignsAndLateQuestions(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol("phone-00")
		a := r.agent("phone-00", nil)
		c := r.create(s, "spring", nil)
		cl, ctx := r.client(), r.Context()
		foreign := commit.CampaignID{9}.String()
		if _, err := cl.Decision(ctx, foreign, 0); !errors.Is(err, discovery.ErrUnknown) {
			t.Errorf("decision of a foreign campaign: %v", err)
		}
		if _, err := cl.Decision(ctx, c.ID.String(), 0); !errors.Is(err, discovery.ErrUnknown) {
			t.Errorf("decision of a draft: %v", err)
		}
		for _, st := range []discovery.Statement{{Device: "phone-00", Campaign: foreign, Body: []byte{1}}, {Device: "phone-77", Body: []byte{1}}} {
			if err := cl.Vote(ctx, st); !errors.Is(err, discovery.ErrUnknown) {
				t.Errorf("vote %+v: %v", st, err)
			}
		}
		r.start(s, c)
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed && a.did(upgrade.EventActivated) })
		signed, err := cl.Decision(ctx, c.ID.String(), 0)
		if d, errOpen := commit.OpenDecision(signed, fleettest.ServerKey.Public()); err != nil || errOpen != nil || d.Verdict != commit.Commit {
			t.Errorf("the decision of a closed campaign: %v, %v, %v", d, err, errOpen)
		}
		wantRefused(t, "a late vote", cl.Vote(ctx, discovery.Statement{Device: "phone-00", Campaign: c.ID.String(), Signed: true, Body: []byte{1}}), "closed")
		n, _, err := cl.Poll(ctx, "")
		if n != nil || err != nil {
			t.Errorf("a closed campaign is announced: %v, %v", n, err)
		}
	})
}

// A READY that comes twice is confirmed twice and counts once.
func TestReadyTwice(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol(names(2)...)
		c := r.create(s, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].ReadyTimeout = time.Minute })
		r.start(s, c)
		r.until(10*time.Second, "a leader", func() bool { return r.snapshot(s, c.ID).Leader != "" })
		rel, err := r.store.Release(r.Context(), r.release)
		if err != nil {
			t.Fatal(err)
		}
		vote := commit.Vote{Round: commit.Round{Campaign: c.ID, Manifest: r.release}, Roots: []commit.Digest{commit.Digest(rel.Manifest.Images[0].Root)},
			Device: "phone-00", Ready: true, Counter: 1}
		signed, err := vote.Sign(fleettest.Key(manifest.RoleDevice, "phone-00"))
		if err != nil {
			t.Fatal(err)
		}
		st := discovery.Statement{Device: "phone-00", Signed: true, Body: signed} // without its campaign, as old agents send it
		for range 2 {
			if err := r.client().Vote(r.Context(), st); err != nil {
				t.Errorf("vote: %v", err)
			}
		}
		st.Device, st.Campaign = "phone-01", c.ID.String()
		if err := r.client().Vote(r.Context(), st); err == nil {
			t.Error("another's vote was taken")
		}
		if snap := r.snapshot(s, c.ID); snap.Ready != 1 {
			t.Errorf("%d are READY, want 1", snap.Ready)
		}
		r.until(3*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
	})
}

// Before a server has looked at its campaigns, and after it has ended, devices are asked to come back.
func TestDevicesAreSentAwayOutsideOfRun(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		s.stop()
		_, _, err := r.client().Poll(r.Context(), "")
		if refusal, ok := errors.AsType[*discovery.Refusal](err); !ok || refusal.Status != http.StatusServiceUnavailable {
			t.Errorf("poll after the end: %v", err)
		}
	})
}

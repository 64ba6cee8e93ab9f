package fleet_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func approverKey(name string) *manifest.PrivateKey { return fleettest.Key(manifest.RoleApprover, name) }

// uploadApproved adds a release that so many of these people have to agree to.
func (r *rig) uploadApproved(s *server, approvals int, names ...string) {
	r.Helper()
	signed := fleettest.Release(r.T, fleettest.ReleaseKey, "fw", r.image, func(m *manifest.Manifest) {
		for _, name := range names {
			m.Approvers = append(m.Approvers, approverKey(name).Public())
		}
		m.Approvals = approvals
	})
	rel, err := s.AddRelease(r.Context(), signed, "alice")
	if err == nil {
		r.release = rel.ID
		err = s.AddImage(r.Context(), rel.ID, "fw", bytes.NewReader(r.image), "alice")
	}
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) approvals(s *server, id commit.CampaignID) fleet.Approvals {
	r.Helper()
	a, err := s.Approvals(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	return a
}

// asked returns what is to be signed for a wave.
func (r *rig) asked(a fleet.Approvals, id commit.CampaignID, wave uint32) commit.Approval {
	r.Helper()
	list, err := manifest.ParseDigest(a.List)
	if err != nil {
		r.Fatal(err)
	}
	what := commit.Approval{Round: commit.Round{Campaign: id, Wave: wave, Manifest: commit.Digest(a.Manifest)}, Targets: commit.Digest(list)}
	if !bytes.Equal(what.Encode(), a.Waves[wave].Payload) {
		r.Errorf("wave %d: the payload is %x, want %x", wave, a.Waves[wave].Payload, what.Encode())
	}
	return what
}

func (r *rig) sign(name string, what commit.Approval) []byte {
	r.Helper()
	signed, err := what.Sign(approverKey(name))
	if err != nil {
		r.Fatal(err)
	}
	return signed
}

// Two of three people agree to each of two waves, at whichever server, over the death of the one that leads; devices activate
// by what those have signed, and by nothing less.
func TestApprovers(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		one, two := r.serve("one"), r.serve("two")
		defer two.stop()
		r.uploadApproved(one, 2, "anna", "bert", "carl")
		r.enrol(names(2)...)
		c := r.create(one, "spring", func(set *store.CampaignSettings) {
			set.Policy.Waves = []store.Wave{{Targets: store.Selector{Devices: []string{"phone-00"}}, ReadyTimeout: 30 * time.Minute}, {ReadyTimeout: 30 * time.Minute, Ask: true}}
		})
		if a := r.approvals(two, c.ID); len(a.Lists) != 1 || a.Lists[0].Threshold != 2 || len(a.Lists[0].Keys) != 3 || a.List != "" || a.Waves != nil {
			t.Errorf("of a draft: %+v", a)
		}
		if err := two.Agree(t.Context(), c.ID, []byte("agreed"), "bob"); !errors.Is(err, store.ErrState) {
			t.Errorf("of a draft: %v, want ErrState", err)
		}
		r.start(one, c)
		var agents []*agent
		for i, name := range names(2) {
			agents = append(agents, r.agent(name, func(cfg *upgrade.AgentConfig) {
				if i == 0 {
					cfg.Transport = at(two)
				}
			}))
		}
		r.until(5*time.Minute, "asking", func() bool { return r.snapshot(two, c.ID).Asking })
		a := r.approvals(two, c.ID)
		if len(a.Waves) != 2 || a.Waves[0].Missing != 2 || a.Waves[0].Verdict != "undecided" {
			t.Fatalf("asking: %+v", a)
		}
		first, second := r.asked(a, c.ID, 0), r.asked(a, c.ID, 1)
		for name, signed := range map[string][]byte{"nothing": nil, "of a stranger": r.sign("mallory", first), "not of an approver": a.Waves[0].Payload} {
			if err := two.Agree(t.Context(), c.ID, signed, "bob"); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
		other := first
		other.Manifest[0]++
		if err := two.Agree(t.Context(), c.ID, r.sign("anna", other), "bob"); !errors.Is(err, commit.ErrUnknown) {
			t.Errorf("of another release: %v, want ErrUnknown", err)
		}
		for range 2 { // the second time changes nothing
			if err := two.Agree(t.Context(), c.ID, r.sign("anna", first), "bob"); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []*server{one, two} {
			if err := s.Commit(t.Context(), c.ID, "bob"); !errors.Is(err, commit.ErrNotApproved) {
				t.Errorf("commit without bert: %v, want ErrNotApproved", err)
			}
		}
		r.kill(one, c.ID)
		r.mu.Lock()
		r.front = two.Handler()
		r.mu.Unlock()
		r.until(2*leaseTime+10*time.Second, "the other server leads", func() bool { return r.snapshot(two, c.ID).Leader == "two" })
		r.until(5*time.Minute, "asking again", func() bool { return r.snapshot(two, c.ID).Asking })
		a = r.approvals(two, c.ID)
		if w := a.Waves[0]; w.Missing != 1 || !slices.Equal(w.Approved, []manifest.PublicKey{approverKey("anna").Public()}) {
			t.Errorf("after the death of the leader: %+v", w)
		}
		if agents[0].did(upgrade.EventActivated) {
			t.Fatal("a device has activated with one approval")
		}
		for _, signed := range [][]byte{r.sign("bert", second), r.sign("carl", second), r.sign("bert", first)} { // some before its wave has begun
			if err := two.Agree(t.Context(), c.ID, signed, "bob"); err != nil {
				t.Fatal(err)
			}
		}
		r.until(5*time.Minute, "the second wave asks", func() bool { s := r.snapshot(two, c.ID); return s.Waves[1].Asking })
		if !agents[0].did(upgrade.EventActivated) || agents[1].did(upgrade.EventActivated) {
			t.Error("a device of the first wave has not activated, or one of the second has")
		}
		if err := two.Commit(t.Context(), c.ID, "bob"); err != nil { // a person is asked besides
			t.Fatal(err)
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed && agents[1].did(upgrade.EventActivated) })
		if err := two.Agree(t.Context(), c.ID, r.sign("carl", first), "bob"); !errors.Is(err, store.ErrState) {
			t.Errorf("when it is over: %v, want ErrState", err)
		}
		if a := r.approvals(two, c.ID); a.Waves[1].Missing != 0 || len(a.Waves[1].Approved) != 2 {
			t.Errorf("when it is over: %+v", a)
		}
		e, err := r.store.NewestEvent(t.Context(), store.EventFilter{Campaign: c.ID.String(), Action: "campaign.agree"})
		if want := `{"approver":"` + approverKey("bert").Public().ID().String() + `"}`; err != nil || e.Actor != "bob" || string(e.Detail) != want {
			t.Errorf("in the audit trail: %+v %s, %v", e, e.Detail, err)
		}
	})
}

// A root document that asks for approvals does so for each release, and may ask in vain.
func TestApproversOfTheRoot(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		now := time.Now().UTC().Truncate(time.Second)
		root := &manifest.Root{Version: 1, Issued: now, Expires: now.Add(24 * time.Hour), Release: fleettest.Trust, Servers: []manifest.PublicKey{fleettest.ServerKey.Public()},
			Approvers: []manifest.PublicKey{approverKey("dora").Public()}, Approvals: 1}
		signed, err := root.Sign(fleettest.ReleaseKey)
		if err != nil {
			t.Fatal(err)
		}
		roots, err := manifest.OpenRootChain(signed)
		if err != nil {
			t.Fatal(err)
		}
		cfg := fleettest.Config(r.store, &r.net)
		cfg.Trust, cfg.Roots, cfg.Name = manifest.Keys{}, roots, "rooted"
		rooted, err := fleet.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := &server{Server: rooted}
		r.upload(s)
		r.enrol(names(1)...)
		if a := r.approvals(s, r.create(s, "plain", nil).ID); len(a.Lists) != 1 || a.Lists[0].Keys[0] != approverKey("dora").Public() {
			t.Errorf("by the root: %+v", a)
		}
		r.uploadApproved(s, 1, "anna") // whom the root does not name
		c := r.create(s, "in vain", nil)
		if _, err := s.Start(t.Context(), c.ID, c.Revision, "alice"); !errors.Is(err, fleet.ErrSettings) {
			t.Errorf("a release that nobody can agree to: %v, want ErrSettings", err)
		}
	})
}

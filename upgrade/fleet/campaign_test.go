package fleet_test

import (
	"bytes"
	"errors"
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

// A whole campaign, from the upload to the last device: with losses, real agents, and a node id for each.
func TestCampaignReachesEveryDevice(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.net.Lose(0.02)
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol(names(3)...)
		var agents []*agent
		for _, name := range names(3) {
			agents = append(agents, r.agent(name, nil))
		}
		c := r.create(s, "spring", nil)
		r.start(s, c)
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
		for i, a := range agents {
			r.until(time.Minute, "end of the agent", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.ended })
			if a.err != nil || !a.did(upgrade.EventActivated) || a.did(upgrade.EventFallback) {
				t.Errorf("agent %d: %v", i, a.err)
			}
		}
		nodes := map[uint32]bool{}
		for _, name := range names(3) {
			nodes[r.device(name).Node] = true
		}
		nackers := r.net.Nackers()
		for node := range nackers {
			if !nodes[node] {
				t.Errorf("a NACK came from node %d, which is none of %v", node, nodes)
			}
		}
		if len(nodes) != 3 || len(nackers) == 0 {
			t.Errorf("nodes %v, NACKs of %v", nodes, nackers)
		}
		snap := r.snapshot(s, c.ID)
		if snap.Verdict != "COMMIT" || snap.Committed != 3 || snap.Targets != 3 || len(snap.Laggards) != 0 {
			t.Errorf("snapshot of the closed campaign: %+v", snap)
		}
		// And what the server has of it proves itself.
		evidence := r.evidence(s, c.ID)
		trusted := &manifest.Root{Release: fleettest.Trust, Servers: []manifest.PublicKey{fleettest.ServerKey.Public()}}
		audit, _, err := auditEvidence(evidence, trusted)
		if err != nil || !audit.Holds() || audit.Campaign() != c.ID || audit.Waves()[0].Decision != commit.ProofVerified {
			t.Fatalf("audit: %v, %+v", err, audit)
		}
		// A session description that another server has signed is none of it.
		notice, err := r.store.FirstNotice(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		announced, err := discovery.ParseNotice(notice)
		if err != nil || len(announced.Session) == 0 || !bytes.Contains(evidence, announced.Session) {
			t.Fatalf("the session description is not in the evidence: %v", err)
		}
		forged := bytes.Clone(announced.Session)
		forged[len(forged)-1] ^= 1
		if _, _, err := auditEvidence(bytes.Replace(evidence, announced.Session, forged, 1), trusted); !errors.Is(err, manifest.ErrSignature) {
			t.Errorf("with a forged session description: %v, want ErrSignature", err)
		}
		for _, d := range audit.Devices() {
			if d.State != commit.StateCommitted || d.Vote != commit.ProofVerified || d.Result != commit.ProofVerified {
				t.Errorf("audit of a device: %+v", d)
			}
		}
	})
}

// evidence returns what a server has of a campaign, for auditors.
func (r *rig) evidence(s *server, id commit.CampaignID) []byte {
	r.Helper()
	var b bytes.Buffer
	write, err := s.Evidence(r.Context(), id)
	if err == nil {
		err = write(&b)
	}
	if err != nil {
		r.Fatal(err)
	}
	return b.Bytes()
}

func auditEvidence(file []byte, trusted *manifest.Root) (*commit.Audit, *manifest.Root, error) {
	e, err := upgrade.OpenEvidence(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	return e.Audit(trusted)
}

func TestStartRefuses(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		ctx := t.Context()
		r.upload(s)
		later := func(set *store.CampaignSettings) { set.Schedule.At = time.Now().Add(time.Hour) }
		empty := r.create(s, "empty", nil)
		if _, err := s.Start(ctx, empty.ID, empty.Revision, "alice"); !errors.Is(err, fleet.ErrNoTargets) {
			t.Errorf("without devices: %v", err)
		}
		r.enrol(names(2)...)
		first := r.create(s, "first", later)
		r.start(s, first)
		second := r.create(s, "second", later)
		_, err := s.Start(ctx, second.ID, second.Revision, "alice")
		overlap, ok := errors.AsType[*store.OverlapError](err)
		if !ok || overlap.Devices[0].Name != "first" {
			t.Errorf("overlapping: %v; want the other's name", err)
		}
		if _, err := s.Evidence(ctx, second.ID); !errors.Is(err, store.ErrState) {
			t.Errorf("evidence of a draft: %v, want ErrState", err)
		}
		p, err := s.Preview(ctx, settings(nil))
		if err != nil || p.Targets != 2 || len(p.Overlap) != 2 || p.Sites["berlin"] != 2 {
			t.Errorf("preview %+v, %v", p, err)
		}
		if err := s.Discard(ctx, first.ID, "alice"); err != nil {
			t.Error(err)
		}
		two := r.create(s, "two people", func(set *store.CampaignSettings) { later(set); set.Policy.TwoPeople = true })
		if _, err := s.Start(ctx, two.ID, two.Revision, "alice"); !errors.Is(err, store.ErrNotApproved) {
			t.Errorf("not approved: %v", err)
		}
		if _, err := s.Approve(ctx, two.ID, two.Revision, "alice"); !errors.Is(err, store.ErrSamePerson) {
			t.Errorf("approved by its maker: %v", err)
		}
		if two, err = s.Approve(ctx, two.ID, two.Revision, "bob"); err != nil {
			t.Fatal(err)
		}
		r.start(s, two)

		missing := r.addRelease(s, 6)
		c, err := s.Create(ctx, "without image", missing, settings(later), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Start(ctx, c.ID, c.Revision, "alice"); !errors.Is(err, fleet.ErrImages) {
			t.Errorf("images missing: %v", err)
		}
		bad := settings(func(set *store.CampaignSettings) { set.Policy.Waves[0].Quorum, set.Transport.FEC = 101, "rs9" })
		if _, err := s.Create(ctx, "bad", r.release, bad, "alice"); !errors.Is(err, fleet.ErrSettings) {
			t.Errorf("bad settings: %v", err)
		}
	})
}

func TestBadUploadsLeaveNothing(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		ctx := t.Context()
		if _, err := s.AddRelease(ctx, r.signed(fleettest.Key(manifest.RoleRelease, "stranger"), 5), "alice"); !errors.Is(err, manifest.ErrSignature) {
			t.Errorf("signed by a stranger: %v", err)
		}
		id := r.addRelease(s, 5)
		other := bytes.Clone(r.image)
		other[len(other)-1] ^= 1
		for name, image := range map[string][]byte{
			"other": other, "short": r.image[:len(r.image)-1], "long": append(bytes.Clone(r.image), 0), "empty": nil,
		} {
			if err := s.AddImage(ctx, id, "fw", bytes.NewReader(image), "alice"); err == nil {
				t.Errorf("%s image was taken", name)
			}
		}
		rel, err := r.store.Release(ctx, id)
		if err != nil || len(rel.Missing) != 1 {
			t.Errorf("missing %q, %v", rel.Missing, err)
		}
		if err := s.AddImage(ctx, id, "fw", bytes.NewReader(r.image), "alice"); err != nil {
			t.Error(err)
		}

		// A manifest that has the hash of this image and the leaves of another: no device could ever verify it.
		odd, err := s.AddRelease(ctx, fleettest.Release(t, fleettest.ReleaseKey, "fw", other, func(m *manifest.Manifest) {
			m.Sequence, m.Images[0].SHA256 = 6, rel.Manifest.Images[0].SHA256
		}), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddImage(ctx, odd.ID, "fw", bytes.NewReader(r.image), "alice"); !errors.Is(err, manifest.ErrImage) {
			t.Errorf("an image with other leaves: %v", err)
		}
		if rel, err := r.store.Release(ctx, odd.ID); err != nil || len(rel.Missing) != 1 {
			t.Errorf("missing %q, %v", rel.Missing, err)
		}
	})
}

// Two people at two terminals: one commits, the other aborts. One wins and the other is told.
func TestCommitAndAbortAtOnce(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol(names(2)...)
		for _, name := range names(2) {
			r.agent(name, nil)
		}
		c := r.create(s, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true })
		r.start(s, c)
		r.until(10*time.Second, "a leader", func() bool { return r.snapshot(s, c.ID).Leader == "one" && r.snapshot(s, c.ID).Step != "" })
		if err := s.Commit(t.Context(), c.ID, "alice"); !errors.Is(err, commit.ErrNotReady) {
			t.Errorf("COMMIT before anybody is ready: %v", err)
		}
		r.until(5*time.Minute, "asking", func() bool { return r.snapshot(s, c.ID).Asking })
		errs := make(chan error, 2)
		go func() { errs <- s.Commit(t.Context(), c.ID, "alice") }()
		go func() { errs <- s.Abort(t.Context(), c.ID, "bob") }()
		a, b := <-errs, <-errs
		if (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), commit.ErrDecided) {
			t.Errorf("%v and %v; want one to win and the other to be told", a, b)
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
		events, err := r.store.Events(t.Context(), store.EventFilter{Campaign: c.ID.String()}, store.Page{})
		decided := 0
		for _, e := range events.Items {
			if e.Action == "campaign.commit" || e.Action == "campaign.abort" {
				decided++
			}
		}
		if decided != 1 || err != nil {
			t.Errorf("%d decisions of people in the audit trail, %v", decided, err)
		}
	})
}

// A campaign begins when enough of its devices wait, and several run at once, each to its own devices and group.
func TestSchedulesAndSeveralAtOnce(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		r.enrol(names(4)...)
		of := func(devices ...string) func(*store.CampaignSettings) {
			return func(set *store.CampaignSettings) {
				set.Targets.Devices, set.Schedule.Joined, set.Transport.Rate = devices, len(devices), 0
			}
		}
		left, right := r.create(s, "left", of(names(4)[:2]...)), r.create(s, "right", of(names(4)[2:]...))
		r.start(s, left)
		r.start(s, right)
		agents := []*agent{r.agent("phone-00", nil)}
		time.Sleep(time.Minute)
		if snap := r.snapshot(s, left.ID); snap.Phase != store.PhaseScheduled || snap.Joined != 1 || snap.Targets != 2 {
			t.Errorf("with one of two: %+v", snap)
		}
		for _, name := range names(4)[1:] {
			agents = append(agents, r.agent(name, nil))
		}
		r.until(time.Minute, "both run", func() bool {
			return r.phase(left.ID) == store.PhaseRunning && r.phase(right.ID) == store.PhaseRunning
		})
		r.until(10*time.Second, "shared rate", func() bool {
			a, b := r.snapshot(s, left.ID).Sending.Rate, r.snapshot(s, right.ID).Sending.Rate
			return a == 5e6 && b == 5e6
		})
		for _, c := range []store.Campaign{left, right} {
			r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
			if snap := r.snapshot(s, c.ID); snap.Committed != 2 {
				t.Errorf("%s: %+v", c.Name, snap)
			}
		}
		for _, a := range agents {
			if !a.did(upgrade.EventActivated) || a.did(upgrade.EventFallback) {
				t.Error("an agent has not activated, or did not by multicast")
			}
		}
	})
}

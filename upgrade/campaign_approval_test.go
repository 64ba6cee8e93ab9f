package upgrade_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

// TestApproversDecideFromOutside: a campaign that needs nobody at the server waits for the people whom the release names.
func TestApproversDecideFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		anna, bert := testKey(manifest.RoleApprover, "anna"), testKey(manifest.RoleApprover, "bert")
		r.cfg.Manifest, r.cfg.Images = signRelease(t, make([]byte, 100_000), func(m *manifest.Manifest) {
			m.Approvers, m.Approvals = []manifest.PublicKey{anna.Public(), bert.Public()}, 2
		})
		r.cfg.Commit = upgrade.CommitAuto
		c := r.open()
		approve := func(key *manifest.PrivateKey) []byte {
			signed, err := commit.Approval{Round: commit.Round{Campaign: c.ID(), Manifest: commit.Digest(c.Manifest().Digest())},
				Targets: commit.TargetsDigest(r.cfg.Targets)}.Sign(key)
			if err != nil {
				t.Fatal(err)
			}
			return signed
		}
		go func() {
			time.Sleep(time.Second)
			control := openControl(t, r.cfg.State)
			control.DialWith(r.lan.dial)
			if err := control.Agree(t.Context(), approve(anna)); err != nil { // before the votes
				t.Error(err)
			}
			time.Sleep(time.Minute)
			r.wantActivations(0, 0)
			s, err := control.Status(t.Context())
			if err != nil || s.Verdict != "undecided" || s.Waves[0].MissingApprovals != 1 || s.List != commit.TargetsDigest(r.cfg.Targets).String() {
				t.Errorf("status %+v, %v", s, err)
			}
			if err := control.Commit(t.Context()); !errors.Is(err, commit.ErrNotApproved) {
				t.Errorf("commit without bert: %v, want ErrNotApproved", err)
			}
			if err := control.Agree(t.Context(), []byte("agreed")); err == nil {
				t.Error("an approval that is none was taken")
			}
			if err := control.Agree(t.Context(), approve(bert)); err != nil {
				t.Error(err)
			}
		}()
		got := r.runs(c)
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantActivations(1, 1)
		trusted := &manifest.Root{Release: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}, Servers: []manifest.PublicKey{serverKey.Public()}}
		audit, _, err := openControl(t, r.cfg.State).Audit(trusted)
		if err != nil || !audit.Holds() || audit.Waves()[0].Approvals != commit.ProofVerified || audit.Devices()[1].Result != commit.ProofVerified {
			t.Errorf("audit: %v, %+v", err, audit)
		}
	})
}

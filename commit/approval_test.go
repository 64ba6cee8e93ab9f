package commit_test

import (
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

func approverKey(name string) *manifest.PrivateKey { return testKey(manifest.RoleApprover, name) }

// approvers is a list of which so many have to agree.
func approvers(threshold int, names ...string) manifest.Approvers {
	by := manifest.Approvers{Threshold: threshold}
	for _, name := range names {
		by.Keys = append(by.Keys, approverKey(name).Public())
	}
	return by
}

// approval is what a person signs for a campaign of these devices.
func approval(name string, change func(*commit.Approval), devices ...string) []byte {
	a := commit.Approval{Round: round, Targets: commit.TargetsDigest(targets(devices...))}
	if change != nil {
		change(&a)
	}
	return sign(a, approverKey(name))
}

// TestApprovers: two of three for the fleet and one for the release have to agree before COMMIT, in whatever order the votes
// and they come, and over restarts; the decision carries what they have signed.
func TestApprovers(t *testing.T) {
	asked := []manifest.Approvers{approvers(2, "anna", "bert", "carl"), approvers(1, "dora")}
	log := &memoryLog{}
	p := plan("d1", "d2")
	p.Approvers = asked
	c := startCoordinator(t, log, p)
	must(t, c.Agree(at(1), approval("dora", nil, "d1", "d2")))
	must(t, receive(t, c, at(2), ready("d1", 1)))
	must(t, c.Agree(at(3), approval("carl", nil, "d1", "d2")))
	must(t, c.Agree(at(3), approval("carl", nil, "d1", "d2"))) // again, which counts once
	must(t, receive(t, c, at(4), ready("d2", 1)))
	c = openCoordinator(t, log)
	wantVerdict(t, c, at(5), commit.Undecided)
	s := c.Status()
	if w := s.Waves[0]; w.MissingApprovals != 1 || !w.Asking || !slices.Equal(w.Approved, []manifest.PublicKey{approverKey("carl").Public(), approverKey("dora").Public()}) {
		t.Errorf("status %+v, want one approval missing", w)
	}
	if s.List != commit.TargetsDigest(p.Targets) || len(s.Approvers) != 2 {
		t.Errorf("to be agreed to: %s by %v", s.List, s.Approvers)
	}
	wantErr(t, c.Approve(at(5), 0), commit.ErrNotApproved) // whoever is at the server cannot do without
	must(t, c.Agree(at(6), approval("anna", nil, "d1", "d2")))
	answer := wantVerdict(t, c, at(6), commit.Commit)
	d, err := commit.OpenDecision(answer.Signed, serverKey.Public())
	must(t, err)
	if len(d.Approvals) != 3 {
		t.Errorf("%d approvals", len(d.Approvals))
	}
	must(t, d.CheckApprovals(asked))
	wantErr(t, c.Agree(at(7), approval("bert", nil, "d1", "d2")), commit.ErrDecided)

	// A device that shows the decision to a server which has forgotten it shows the approvals as well.
	log = &memoryLog{}
	c = startCoordinator(t, log, p)
	must(t, c.Adopt(answer.Signed))
	wantVerdict(t, openCoordinator(t, log), at(8), commit.Commit)
}

// TestApproversAreLate: nobody agreed in time, so nothing is activated.
func TestApproversAreLate(t *testing.T) {
	p := plan("d1")
	p.Approvers = []manifest.Approvers{approvers(1, "anna")}
	c := startCoordinator(t, &memoryLog{}, p)
	must(t, receive(t, c, at(1), ready("d1", 1)))
	wantVerdict(t, c, at(59), commit.Undecided)
	wantVerdict(t, c, at(60), commit.Abort)
	if w := c.Status().Waves[0]; w.Reason != commit.ReasonNotApproved {
		t.Errorf("aborted for %s", w.Reason)
	}
	wantErr(t, c.Agree(at(61), approval("anna", nil, "d1")), commit.ErrDecided)
}

// TestApprovalOfAListThatGrows: nobody can agree to devices that are still to come.
func TestApprovalOfAListThatGrows(t *testing.T) {
	p := plan()
	p.Expect, p.Approvers = 1, []manifest.Approvers{approvers(1, "anna")}
	c := startCoordinator(t, &memoryLog{}, p)
	wantErr(t, c.Agree(at(1), approval("anna", nil)), commit.ErrNotReady)
	must(t, c.Announce(at(1), commit.Presence{Device: "d1", Key: deviceKey("d1").Public()}))
	must(t, receive(t, c, at(2), ready("d1", 1)))
	must(t, c.Agree(at(3), approval("anna", nil, "d1")))
	wantVerdict(t, c, at(3), commit.Commit)
	if got := c.Status().List; got != commit.TargetsDigest(targets("d1")) {
		t.Errorf("the digest of the list is %s", got)
	}
}

// notTheApproval are messages that are not anna's agreement to COMMIT round on d1 and d2.
func notTheApproval() map[string][]byte {
	a := commit.Approval{Round: round, Targets: commit.TargetsDigest(targets("d1", "d2"))}
	flipped := approval("anna", nil, "d1", "d2")
	flipped[len(flipped)-1] ^= 1
	return map[string][]byte{
		"of somebody who is not asked": approval("mallory", nil, "d1", "d2"),
		"of another campaign":          approval("anna", func(a *commit.Approval) { a.Campaign[0]++ }, "d1", "d2"),
		"of another wave":              approval("anna", func(a *commit.Approval) { a.Wave++ }, "d1", "d2"),
		"of another release":           approval("anna", func(a *commit.Approval) { a.Manifest[0]++ }, "d1", "d2"),
		"of other devices":             approval("anna", nil, "d1", "d3"),
		"signed for another purpose":   must2(approverKey("anna").Sign("multicast-upgrade commit decision 1", a.Encode())),
		"signed by the server":         sign(a, serverKey),
		"with a bit flipped":           flipped,
		"too long":                     make([]byte, commit.MaxApproval+1),
		"nothing":                      nil,
	}
}

func must2(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestAttackForgedApproval(t *testing.T) {
	asked := []manifest.Approvers{approvers(1, "anna")}
	log := &memoryLog{}
	p := plan("d1", "d2")
	p.Approvers = asked
	c := startCoordinator(t, log, p)
	must(t, receive(t, c, at(1), ready("d1", 1)))
	must(t, receive(t, c, at(1), ready("d2", 1)))
	d := commit.Decision{Round: round, Targets: commit.TargetsDigest(targets("d1", "d2")), Verdict: commit.Commit}
	for name, signed := range notTheApproval() {
		unchanged(t, log, func() {
			if err := c.Agree(at(2), signed); err == nil {
				t.Errorf("%s: taken by the server", name)
			}
		})
		d.Approvals = [][]byte{signed, signed}
		if err := d.CheckApprovals(asked); err == nil {
			t.Errorf("%s: taken by a device", name)
		}
	}
	wantVerdict(t, c, at(3), commit.Undecided)
	// One person who agrees twice is one person.
	d.Approvals = [][]byte{approval("anna", nil, "d1", "d2"), approval("anna", nil, "d1", "d2")}
	must(t, d.CheckApprovals(asked))
	wantErr(t, d.CheckApprovals([]manifest.Approvers{approvers(2, "anna", "bert")}), commit.ErrNotApproved)
	// Without anybody who is asked there is nothing to agree to.
	c = startCoordinator(t, &memoryLog{}, plan("d1", "d2"))
	wantErr(t, c.Agree(at(1), approval("anna", nil, "d1", "d2")), commit.ErrUnknown)
}

package web_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// agreed returns the manifest of a release that so many of these people have to agree to.
func (r *rig) agreed(approvals int, keys ...*manifest.PrivateKey) []byte {
	r.Helper()
	return fleettest.Release(r.T, fleettest.ReleaseKey, "fw.bin", r.image, func(m *manifest.Manifest) {
		for _, key := range keys {
			m.Approvers = append(m.Approvers, key.Public())
		}
		m.Approvals = approvals
	})
}

// sign returns the agreement of somebody to COMMIT the first wave of a campaign.
func (r *rig) sign(id commit.CampaignID, by *manifest.PrivateKey) string {
	r.Helper()
	a, err := r.fleet.Approvals(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	list, err := manifest.ParseDigest(a.List)
	if err != nil {
		r.Fatal(err)
	}
	signed, err := commit.Approval{Round: commit.Round{Campaign: id, Manifest: commit.Digest(a.Manifest)}, Targets: commit.Digest(list)}.Sign(by)
	if err != nil {
		r.Fatal(err)
	}
	return string(signed)
}

// The page says who has to sign what, takes it as a file and as text, and has no Commit before that. What came of it can be
// taken away and proved.
func TestSigning(t *testing.T) {
	r := newRig(t)
	p := r.person("otto", store.RoleOperator)
	keys := map[string]*manifest.PrivateKey{}
	for _, name := range []string{"bert", "dora", "emil", "mallory"} {
		keys[name] = fleettest.Key(manifest.RoleApprover, name)
	}
	_, body := p.send("/releases", [3]string{"manifest", "fw.manifest", string(r.agreed(2, keys["bert"], keys["dora"], keys["emil"]))}, [3]string{"images", "fw.bin", string(r.image)})
	for _, name := range []string{"bert", "dora", "emil"} {
		if !strings.Contains(body, keys[name].Public().ID().String()) {
			t.Errorf("the page of the release does not name %s:\n%s", name, body)
		}
	}
	l, err := r.store.Releases(t.Context(), "", store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	r.agents("berlin", "phone-01")
	c := r.draft(l.Items[0], "spring", nil)
	page := "/campaigns/" + c.ID.String()
	if body := p.see(page); strings.Contains(body, "Bring a signature") || strings.Contains(body, "/evidence") || !strings.Contains(body, "Has to be signed by") {
		t.Errorf("the draft:\n%s", body)
	}
	p.does(page + "/start")
	r.until("asking", r.asks(c.ID))
	sign := func(name string) string { return r.sign(c.ID, keys[name]) }
	body = p.see(page)
	for _, want := range []string{"The policy is met. 2 approvers have to sign before COMMIT.", "2 more have to sign", "--targets ", "Bring a signature of an approver", "2 of 3:"} {
		if !strings.Contains(body, want) {
			t.Errorf("before the first one the page lacks %q:\n%s", want, body)
		}
	}
	if strings.Contains(body, page+"/commit") {
		t.Error("it can be committed without approvers")
	}
	for name, tt := range map[string]struct {
		files [][3]string
		want  string
	}{
		"nothing":       {nil, "Choose the file that normsend approve has written"},
		"of a stranger": {[][3]string{{"approvals", "x", sign("mallory")}}, "is not of somebody who is asked"},
		"no signature":  {[][3]string{{"text", "", "agreed!"}}, "The text is no signature"},
	} {
		if status, body := p.send(page+"/approvals", tt.files...); status != http.StatusUnprocessableEntity || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d\n%s", name, status, body)
		}
	}
	if _, body := p.send(page+"/approvals", [3]string{"approvals", "dora.approval", sign("dora")}, [3]string{"text", "", ""}); !strings.Contains(body, "1 signature is taken.") || !strings.Contains(body, "1 more has to sign") {
		t.Errorf("the first one:\n%s", body)
	}
	text := base64.StdEncoding.EncodeToString([]byte(sign("bert")))
	if _, body := p.send(page+"/approvals", [3]string{"text", "", text[:76] + "\n" + text[76:] + "\n"}); !strings.Contains(body, "All that are needed are here.") || !strings.Contains(body, page+"/commit") {
		t.Errorf("the last one:\n%s", body)
	}
	if _, body := p.does(page + "/commit"); !strings.Contains(body, "You committed.") {
		t.Errorf("commit:\n%s", body)
	}
	r.until("closed", func() bool {
		now, err := r.store.Campaign(t.Context(), c.ID)
		return err == nil && now.Phase == store.PhaseClosed
	})
	if body := p.see(page); strings.Contains(body, "Bring a signature") || !strings.Contains(body, page+"/evidence") {
		t.Errorf("when it is over:\n%s", body)
	}
	e, err := upgrade.OpenEvidence(strings.NewReader(p.see(page + "/evidence")))
	if err != nil {
		t.Fatal(err)
	}
	audit, _, err := e.Audit(&manifest.Root{Release: fleettest.Trust, Servers: []manifest.PublicKey{fleettest.ServerKey.Public()}})
	if err != nil || !audit.Holds() || audit.Waves()[0].Approvals != commit.ProofVerified {
		t.Errorf("audit: %+v, %v", audit, err)
	}
	if status, _ := r.person("vera", store.RoleViewer).send(page+"/approvals", [3]string{"approvals", "x", "x"}); status != http.StatusForbidden {
		t.Errorf("a viewer may bring signatures: %d", status)
	}
}

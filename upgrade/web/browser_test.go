package web_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var (
	update = flag.Bool("update", false, "renew the pictures in docs/images")
	shots  = flag.String("shots", "", "directory for pictures of all pages in all looks")
)

// pictures are those that docs/administrator.md shows.
var pictures = []string{
	"login-desktop-light", "overview-desktop-light", "overview-phone-dark", "approve-device-desktop-light", "devices-desktop-light", "enrolments-desktop-light", "network-desktop-light", "releases-desktop-light",
	"draft-desktop-light", "review-desktop-light", "start-desktop-light", "campaign-sending-desktop-light", "campaign-sending-phone-light",
	"campaign-plots-desktop-light", "campaign-asking-desktop-dark", "commit-desktop-light", "campaign-committed-desktop-light",
	"not-live-phone-dark", "audit-desktop-light",
}

// requireBrowser returns where node and a browser are. Without them the test is skipped, unless REQUIRE_BROWSER=1 says
// that they have to be there.
func requireBrowser(t *testing.T) (node, chromium string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err == nil {
		chromium, err = exec.LookPath("chromium")
	}
	if err == nil {
		_, err = os.Stat("browsertest/node_modules/playwright-core")
	}
	if err == nil {
		return node, chromium
	}
	if os.Getenv("REQUIRE_BROWSER") == "1" {
		t.Fatal(err)
	}
	t.Skipf("needs node, chromium, and npm install in browsertest: %v", err)
	return "", ""
}

// outages returns the URL of a switch that cuts what keeps pages up to date (/cut), and mends it (/mend).
func (r *rig) outages() string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.cut.Store(req.URL.Path == "/cut"); req.URL.Path == "/cut" {
			r.http.CloseClientConnections()
		}
	}))
	r.Cleanup(s.Close)
	return s.URL
}

// A whole upgrade as a person does it, in a browser: log in, upload, approve a device, write a campaign, have a second person
// approve it, start, watch, commit, and see COMMITTED. On each page nothing serious keeps anybody from using it, nothing is
// wider than the screen, no script is in trouble, and nothing is fetched from elsewhere.
func TestBrowser(t *testing.T) {
	node, chromium := requireBrowser(t)
	if testing.Short() {
		t.Skip("starts a browser")
	}
	r := newRig(t)
	for len(r.image) < 4_000_000 { // some twenty seconds at the rate of the campaign
		r.image = append(r.image, r.image[:400_000]...)
	}
	r.net.Lose(0.03)
	dir := t.TempDir()
	manifestFile, imageFile := filepath.Join(dir, "fw.manifest"), filepath.Join(dir, "fw.bin")
	for name, content := range map[string][]byte{manifestFile: r.signed("2.0", 5), imageFile: r.image} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.enrol("berlin", "phone-01", "phone-02", "phone-03", "phone-05") // the last one is switched off
	r.enrol("rome", "phone-11", "phone-12")
	r.show("phone-04", "phone-21")
	r.agent("phone-01")
	r.agent("phone-02")
	r.agent("phone-03", func(cfg *upgrade.AgentConfig) { cfg.Examine = fleettest.Deaf })
	pictureDir := *shots
	if *update && pictureDir == "" {
		pictureDir = t.TempDir()
	}
	walk := exec.Command(node, "walk.mjs")
	walk.Dir = "browsertest"
	walk.Env = append(os.Environ(), "BASE="+r.http.URL, "OPERATOR="+r.token("anna", store.RoleAdmin), "APPROVER="+r.token("bert", store.RoleApprover),
		"MANIFEST="+manifestFile, "IMAGE="+imageFile, "CHROMIUM="+chromium, "SHOTS="+pictureDir, "SWITCH="+r.outages())
	if out, err := walk.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !*update {
		return
	}
	for _, name := range pictures {
		b, err := os.ReadFile(filepath.Join(pictureDir, name+".png"))
		if err == nil {
			err = os.WriteFile(filepath.Join("../../docs/images", name+".png"), b, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

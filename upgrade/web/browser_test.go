package web_test

import (
	"encoding/base64"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
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
	"campaign-plots-desktop-light", "campaign-signing-desktop-light", "campaign-asking-desktop-dark", "commit-desktop-light", "campaign-committed-desktop-light",
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

// beside returns the URL of what is done beside the browser: what keeps pages up to date is cut (/cut) and mended (/mend), and
// an approver signs (/sign/campaigns/ID).
func (r *rig) beside(approver *manifest.PrivateKey) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/cut", func(http.ResponseWriter, *http.Request) {
		r.cut.Store(true)
		r.http.CloseClientConnections()
	})
	mux.HandleFunc("/mend", func(http.ResponseWriter, *http.Request) { r.cut.Store(false) })
	mux.HandleFunc("/sign/campaigns/{id}", func(w http.ResponseWriter, req *http.Request) {
		id, err := manifest.ParseCampaignID(req.PathValue("id"))
		if err != nil {
			r.Error(err)
		}
		io.WriteString(w, base64.StdEncoding.EncodeToString([]byte(r.sign(id, approver))))
	})
	s := httptest.NewServer(mux)
	r.Cleanup(s.Close)
	return s.URL
}

// A whole upgrade as a person does it, in a browser: log in, upload, approve a device, write a campaign, have a second person
// approve it, start, watch, bring the signature of an approver, commit, and see COMMITTED. On each page nothing serious keeps anybody from using it, nothing is
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
	dora, emil := fleettest.Key(manifest.RoleApprover, "dora"), fleettest.Key(manifest.RoleApprover, "emil")
	for name, content := range map[string][]byte{manifestFile: r.agreed(1, dora, emil), imageFile: r.image} {
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
		"MANIFEST="+manifestFile, "IMAGE="+imageFile, "CHROMIUM="+chromium, "SHOTS="+pictureDir, "BESIDE="+r.beside(dora))
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

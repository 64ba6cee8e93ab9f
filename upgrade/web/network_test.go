package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// An operator has devices examine their network, and sees by site and by device what they find.
func TestNetwork(t *testing.T) {
	r := newRig(t)
	otto, vera := r.person("otto", store.RoleOperator), r.person("vera", store.RoleViewer)
	if body := vera.see("/network"); !strings.Contains(body, "No device was asked yet.") || strings.Contains(body, `action="/network"`) {
		t.Errorf("a viewer, before any was:\n%s", body)
	}
	for field, value := range map[string]string{"per_site": "many", "group": "here", "sites": "nowhere"} {
		status, body := otto.post("/network", url.Values{"tags": {"hall"}, field: {value}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(body, "This has to be corrected") || !strings.Contains(body, `value="hall"`) {
			t.Errorf("%s %q: %d\n%s", field, value, status, body)
		}
	}
	r.agents("berlin", "phone-01")
	r.enrol("rome", "phone-11")
	r.agent("phone-11", func(cfg *upgrade.AgentConfig) { cfg.Examine = fleettest.Deaf })
	r.until("both wait", func() bool { return r.fleet.Online("phone-01") && r.fleet.Online("phone-11") })
	if strings.Contains(otto.see("/devices/phone-01"), "Its network") {
		t.Error("a device that was not asked has a network")
	}
	if status, body := otto.post("/network", url.Values{}); status != http.StatusOK || !strings.Contains(body, "2 devices are asked") || !strings.Contains(body, "the last begins at") {
		t.Errorf("%d\n%s", status, body)
	}
	if status, body := otto.does("/devices/phone-01/examine"); status != http.StatusConflict || !strings.Contains(body, "devices examine their network until") {
		t.Errorf("one more at the same time: %d\n%s", status, body)
	}
	r.until("both have answered", func() bool {
		return !strings.Contains(vera.see("/devices/phone-01")+vera.see("/devices/phone-11"), "has not answered")
	})
	if body := vera.see("/network"); !strings.Contains(body, `reception at <a href="/devices/phone-11">phone-11</a>: route the group to this site`) || strings.Index(body, ">rome<") > strings.Index(body, ">berlin<") {
		t.Errorf("the sites:\n%s", body)
	}
	if body := vera.see("/devices/phone-11"); !strings.Contains(body, `<span class="tag bad">fault</span>`) || !strings.Contains(body, "nothing comes by the group") {
		t.Errorf("the device:\n%s", body)
	}
	if status, _ := vera.post("/devices/phone-01/examine", url.Values{"revision": {"1"}}); status != http.StatusForbidden {
		t.Errorf("a viewer has a device examine: %d", status)
	}
}

// What a device says of its network is text, whatever it says.
func TestAttackFindingsAreText(t *testing.T) {
	r := newRig(t)
	r.enrol("berlin", "phone-01")
	now := time.Now()
	err := r.store.AddExamination(t.Context(), store.Examination{ID: "e", Signed: []byte("signed"), Until: now.Add(time.Minute)}, []string{"phone-01"}, fleettest.By("otto"))
	if err == nil {
		evil := `<script>alert(1)</script>`
		err = r.store.Diagnose(t.Context(), "phone-01", "e", []store.Finding{{Check: evil, Verdict: store.VerdictFault, Seen: evil, Remedy: evil}}, now.Add(time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/network", "/devices/phone-01"} {
		if body := r.person("vera", store.RoleViewer).see(path); strings.Contains(body, "<script>alert") || !strings.Contains(body, "&lt;script&gt;alert") {
			t.Errorf("%s:\n%s", path, body)
		}
	}
}

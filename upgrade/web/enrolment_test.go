package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// An enrolment lets a device in, its secret is shown once, and one that was not used can be revoked.
func TestEnrolments(t *testing.T) {
	r := newRig(t)
	p, viewer := r.person("otto", store.RoleOperator), r.person("vera", store.RoleViewer)
	if body := viewer.see("/enrolments"); !strings.Contains(body, "None yet.") || strings.Contains(body, "<form method=\"post\" action=\"/enrolments\"") {
		t.Errorf("a viewer, before there is one:\n%s", body)
	}
	for field, value := range map[string]string{"device": "no name", "site": "<b>", "tags": "a, <i>", "valid": "soon"} {
		status, body := p.post("/enrolments", url.Values{"device": {"phone-01"}, field: {value}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(body, "This has to be corrected") || !strings.Contains(body, `value="phone-01"`) && field != "device" {
			t.Errorf("%s %q: %d\n%s", field, value, status, body)
		}
	}
	secret := regexp.MustCompile(`id="secret">([^<]+)<`)
	status, body := p.post("/enrolments", url.Values{"device": {"phone-01"}, "site": {"berlin"}, "tags": {"new"}})
	made := secret.FindStringSubmatch(body)
	if status != http.StatusOK || made == nil {
		t.Fatalf("make one: %d\n%s", status, body)
	}
	if body := p.see("/enrolments"); strings.Contains(body, made[1]) || !strings.Contains(body, "phone-01") {
		t.Errorf("the secret is shown again, or its enrolment is not:\n%s", body)
	}
	l, err := r.store.Enrolments(t.Context(), store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(l.Items[0].Expires); left < 6*24*time.Hour || left > 8*24*time.Hour {
		t.Errorf("good for %v, want a week", left)
	}
	if err := r.store.Enrol(t.Context(), made[1], fleettest.Sighting("phone-01"), fleettest.Key(manifest.RoleDevice, "phone-01").Public(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if body := p.see("/devices/phone-01"); !strings.Contains(body, "approved") || !strings.Contains(body, "berlin") {
		t.Errorf("the device that came:\n%s", body)
	}
	if _, body := p.post("/enrolments", url.Values{"valid": {"1h"}}); !strings.Contains(body, "for the first device that shows it") {
		t.Errorf("one for any device:\n%s", body)
	}
	link := regexp.MustCompile(`href="(/enrolments/\w+/revoke)\?device="`).FindStringSubmatch(p.see("/enrolments"))
	if body := p.see("/enrolments"); link == nil || !strings.Contains(body, `used by <a href="/devices/phone-01">`) {
		t.Fatalf("the list:\n%s", body)
	}
	if strings.Contains(viewer.see("/enrolments"), "/revoke") {
		t.Error("a viewer may revoke")
	}
	if status, _ := viewer.post(link[1], nil); status != http.StatusForbidden {
		t.Errorf("a viewer revokes: %d", status)
	}
	if body := p.see(link[1]); !strings.Contains(body, "Whoever has it cannot let a device in") {
		t.Errorf("the question:\n%s", body)
	}
	if status, body := p.post(link[1], nil); status != http.StatusOK || !strings.Contains(body, "The enrolment is revoked.") {
		t.Errorf("revoke: %d\n%s", status, body)
	}
	if status, body := p.post("/enrolments/"+l.Items[0].ID+"/revoke", nil); status != http.StatusConflict || !strings.Contains(body, "phone-01") {
		t.Errorf("revoke one that was used: %d\n%s", status, body)
	}
	for query, want := range map[string]string{"action=enrolment.revoke": "any device", "action=enrolment.create": "phone-01"} {
		if body := p.see("/audit?" + query); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q:\n%s", query, want, body)
		}
	}
}

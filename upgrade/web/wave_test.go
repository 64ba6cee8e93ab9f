package web_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A person writes a line for each wave, and finds them again.
func TestDraftOfWaves(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01", "phone-02")
	r.enrol("rome", "phone-03")
	p := r.person("otto", store.RoleOperator)
	form := url.Values{"name": {"spring"}, "release": {rel.ID.String()}, "sites": {"berlin, rome"}, "start": {"now"}, "ask": {"on"},
		"waves": {"site=rome\r\n\r\n 50% \r\n"}, "success": {"90"}, "errors": {"5"}, "soak": {"1h"}, "outcome_timeout": {"30m"}}
	for field, value := range map[string]string{"waves": "half", "success": "101", "errors": "many", "soak": "soon", "must": "phone-01"} {
		bad := url.Values{}
		for k, v := range form {
			bad[k] = v
		}
		bad.Set(field, value)
		if status, body := p.post("/campaigns", bad); status != http.StatusUnprocessableEntity {
			t.Errorf("%s %q: %d\n%s", field, value, status, body)
		}
	}
	_, body := p.post("/campaigns/review", form)
	for _, want := range []string{"It cannot start as it is", "wave 3 of 3", "site=rome, then 50%, then the rest"} {
		if !strings.Contains(body, want) {
			t.Errorf("the review lacks %q:\n%s", want, body)
		}
	}
	form.Set("waves", "site=rome\r\n1%")
	if _, body = p.post("/campaigns/review", form); strings.Contains(body, "cannot start") {
		t.Errorf("the review:\n%s", body)
	}
	for _, want := range []string{"Wave 1: 1 device", "Wave 2: 1 device", "Wave 3: 1 device"} {
		if !strings.Contains(body, want) {
			t.Errorf("the review lacks %q:\n%s", want, body)
		}
	}
	if status, body := p.post("/campaigns", form); status != http.StatusOK {
		t.Fatalf("make the draft: %d\n%s", status, body)
	}
	read := func() store.Campaign {
		l, err := r.store.Campaigns(t.Context(), store.CampaignFilter{}, store.Page{})
		if err != nil || len(l.Items) != 1 {
			t.Fatalf("%+v, %v", l, err)
		}
		return l.Items[0]
	}
	c := read()
	rest := store.Wave{Ask: true, Success: 90, Errors: 5, Soak: time.Hour, OutcomeTimeout: 30 * time.Minute}
	want := []store.Wave{rest, rest, rest}
	want[0].Targets.Sites, want[1].Percent = []string{"rome"}, 1
	if got := c.Settings.Policy.Waves; !reflect.DeepEqual(got, want) {
		t.Errorf("waves %+v", got)
	}
	page := "/campaigns/" + c.ID.String()
	if body := p.see(page + "/change"); !strings.Contains(body, "site=rome\n1%</textarea>") || !strings.Contains(body, `placeholder="0s" value="1h0m0s"`) {
		t.Errorf("the form does not show the waves:\n%s", body)
	}
	// What the form has no room for is not lost by it.
	set := c.Settings
	set.Policy.Waves[0].Quorum = 50
	if _, err := r.store.ChangeCampaign(t.Context(), store.Campaign{ID: c.ID, Revision: c.Revision, Name: c.Name, Release: c.Release, Settings: set}, fleettest.By("otto")); err != nil {
		t.Fatal(err)
	}
	change := form
	change.Set("id", c.ID.String())
	change.Set("revision", "2")
	if status, body := p.post("/campaigns", change); status != http.StatusUnprocessableEntity || read().Settings.Policy.Waves[0].Quorum != 50 {
		t.Errorf("waves that differ were changed by a form that has one of all: %d\n%s", status, body)
	}
}

// A person sees where the waves are, commits each, and pauses and resumes in between.
func TestPageOfWaves(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	names := []string{"phone-01", "phone-02"}
	r.agents("berlin", names...)
	c := r.draft(rel, "spring", func(set *store.CampaignSettings) {
		set.Policy.Waves = []store.Wave{{Targets: store.Selector{Devices: names[:1]}, Ask: true}, {Ask: true}}
	})
	page := "/campaigns/" + c.ID.String()
	anna, vera := r.person("anna", store.RoleOperator), r.person("vera", store.RoleViewer)
	does := func(verb string) {
		t.Helper()
		if status, body := anna.does(page + "/" + verb); status != http.StatusOK {
			t.Fatalf("%s: %d\n%s", verb, status, body)
		}
	}
	sees := func(path string, all ...string) {
		t.Helper()
		body := anna.see(path)
		for _, want := range all {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q:\n%s", path, want, body)
			}
		}
	}
	sees(page+"/start", "They go one after the other: device=phone-01, then the rest.")
	does("start")
	r.until("asks", r.asks(c.ID))
	sees(page, `<h2>Waves</h2>`, "device=phone-01", "somebody has to agree to COMMIT", "waits for the one before", page+"/pause")
	sees(page+"/commit", "Wave 1 of 2: 1 of 1 device are ready", `name="wave" value="0"`)
	if body := vera.see(page); strings.Contains(body, page+"/pause") {
		t.Error("a viewer may pause")
	}

	sees(page+"/pause", "Nothing is sent or decided until somebody resumes")
	does("pause")
	sees(page, "Paused. Somebody has paused it.", page+"/resume", page+"/abort")
	if body := anna.see(page); strings.Contains(body, page+"/commit") || strings.Contains(body, page+"/pause") {
		t.Error("a paused campaign can be committed, or paused")
	}
	sees("/campaigns?phase=paused", "spring")
	sees(page+"/resume", "Sending and votes go on where they stopped.")
	does("resume")
	r.until("asks", r.asks(c.ID))
	does("commit")
	r.until("asks about the second wave", r.asks(c.ID))
	sees(page+"/abort", "The campaign ends for all 1 device", "1 device of waves that are committed")
	stale := url.Values{"revision": {anna.revision(page + "/commit")}, "wave": {"0"}}
	if status, body := anna.post(page+"/commit", stale); status != http.StatusConflict {
		t.Errorf("a question about the first wave was answered while the second is open: %d\n%s", status, body)
	}
	sees(page+"/commit", "Wave 2 of 2: 1 of 1 device are ready")
	does("commit")
	r.until("closed", func() bool {
		c, err := r.store.Campaign(t.Context(), c.ID)
		return err == nil && c.Phase == store.PhaseClosed
	})
	sees(page, "Over: COMMIT. 2 of 2 devices run the new release.")
	sees("/audit?campaign="+c.ID.String(), "paused", "resumed")
}

// A draft whose waves the form cannot show says so where the button would be.
func TestWavesThatDoNotFitTheForm(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01", "phone-02")
	otto := r.person("otto", store.RoleOperator)
	for soak, fits := range map[time.Duration]bool{0: true, time.Hour: false} {
		c := r.draft(rel, "spring", func(set *store.CampaignSettings) {
			rest := set.Policy.Waves[0]
			first := rest
			first.Percent, first.Soak = 50, soak
			set.Policy.Waves = []store.Wave{first, rest}
		})
		page := "/campaigns/" + c.ID.String()
		body := otto.see(page)
		if button, said := strings.Contains(body, page+"/change"), strings.Contains(body, "cannot be changed here"); button != fits || said == fits {
			t.Errorf("soak %v: the button is there: %v, and it is said: %v", soak, button, said)
		}
		if status, _ := otto.get(page + "/change"); (status == http.StatusOK) != fits {
			t.Errorf("soak %v: the form: %d", soak, status)
		}
	}
}

package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestUpload(t *testing.T) {
	r := newRig(t)
	p := r.person("otto", store.RoleOperator)
	signed, image := string(r.signed("2.0", 5)), string(r.image)
	if status, body := p.send("/releases", [3]string{"manifest", "fw.manifest", "no manifest"}); status != http.StatusUnprocessableEntity || !strings.Contains(body, "not a signed manifest") {
		t.Errorf("no manifest: %d\n%s", status, body)
	}
	if status, body := p.send("/releases", [3]string{"images", "fw.bin", image}); status != http.StatusUnprocessableEntity || !strings.Contains(body, "Choose the signed manifest") {
		t.Errorf("without manifest: %d\n%s", status, body)
	}
	wrong := image[:len(image)-1] + "!"
	if _, body := p.send("/releases", [3]string{"manifest", "fw.manifest", signed}, [3]string{"images", "fw.bin", wrong}); !strings.Contains(body, "fw.bin was not taken") || !strings.Contains(body, "Images that are missing") {
		t.Errorf("wrong image:\n%s", body)
	}
	if _, body := p.send("/releases", [3]string{"manifest", "fw.manifest", signed}, [3]string{"images", `C:\build\fw.bin`, image}); !strings.Contains(body, "The release is complete") {
		t.Errorf("again with the right image:\n%s", body)
	}
	if body := p.see("/releases"); !strings.Contains(body, ">2.0</a>") || strings.Contains(body, "missing</span>") {
		t.Errorf("the list:\n%s", body)
	}
}

var campaignLink = regexp.MustCompile(`/campaigns/([0-9a-f]{32})/start`)

// A person writes a campaign without scripts: form, what is wrong, review, back, draft, change.
func TestDraft(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01", "phone-02")
	r.enrol("rome", "phone-03")
	r.show("phone-04")
	p := r.person("otto", store.RoleOperator)
	form := url.Values{"name": {"spring"}, "release": {rel.ID.String()}, "sites": {"berlin, rome"}, "start": {"joined"}, "joined": {"2"}, "wait": {"30m"},
		"quorum": {"90"}, "site_quorum": {"80"}, "must": {"phone-01"}, "ask": {"on"}, "ready_timeout": {"2h"}, "spread": {"10m"}, "hold": {"2d"},
		"not_before": {"2030-01-02T03:04"}, "group": {"239.192.0.9:6100"}, "rate": {"2.5"}}
	for field, value := range map[string]string{"quorum": "101", "joined": "many", "wait": "soon", "group": "239.192.0.9", "rate": "-1", "not_before": "tomorrow", "name": "", "release": "", "sites": "<b>"} {
		bad := url.Values{}
		for k, v := range form {
			bad[k] = v
		}
		bad.Set(field, value)
		if status, body := p.post("/campaigns", bad); status != http.StatusUnprocessableEntity {
			t.Errorf("%s %q: %d\n%s", field, value, status, body)
		}
	}
	status, body := p.post("/campaigns/review", form)
	for _, want := range []string{"<h1>Review: spring</h1>", "3 devices", "berlin 2", "rome 1", "as soon as 2 devices wait, or after 30 min", "when 90 % of the devices are ready, and 80 % of each site", "2.5 Mbit/s", "2030-01-02 03:04"} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("the review, %d, lacks %q:\n%s", status, want, body)
		}
	}
	if _, body := p.post("/campaigns/new", form); !strings.Contains(body, `name="site_quorum" inputmode="numeric" placeholder="not asked" value="80"`) {
		t.Errorf("back from the review the form has lost a field:\n%s", body)
	}
	_, body = p.post("/campaigns/preview", url.Values{"release": {rel.ID.String()}})
	if !strings.Contains(body, "<strong>3 devices</strong>") || !strings.Contains(body, "1 device matches but cannot") || strings.Contains(body, "<html") {
		t.Errorf("preview:\n%s", body)
	}
	status, body = p.post("/campaigns", form)
	link := campaignLink.FindStringSubmatch(body)
	if status != http.StatusOK || link == nil {
		t.Fatalf("make the draft: %d\n%s", status, body)
	}
	page := "/campaigns/" + link[1]
	// What the form shows of the draft makes the same draft again.
	c, err := r.store.Campaigns(t.Context(), store.CampaignFilter{}, store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := json.Marshal(c.Items[0].Settings)
	change := url.Values{}
	for _, field := range regexp.MustCompile(`<(?:input|textarea)[^>]*name="(\w+)"[^>]*>([^<]*)`).FindAllStringSubmatch(p.see(page+"/change"), -1) {
		tag := field[0]
		isChoice := strings.Contains(tag, "radio") || strings.Contains(tag, "checkbox")
		if isChoice && !strings.Contains(tag, " checked") {
			continue
		}
		value := field[2]
		if v := regexp.MustCompile(`value="([^"]*)"`).FindStringSubmatch(tag); v != nil {
			value = v[1]
		} else if isChoice {
			value = "on"
		}
		change.Set(field[1], value)
	}
	change.Set("release", rel.ID.String())
	change.Set("name", "summer")
	if status, body := p.post("/campaigns", change); status != http.StatusOK || !strings.Contains(body, "<h1>summer</h1>") {
		t.Errorf("change: %d\n%s", status, body)
	}
	if c, err = r.store.Campaigns(t.Context(), store.CampaignFilter{}, store.Page{}); err != nil || len(c.Items) != 1 {
		t.Fatalf("%v, %v", c, err)
	}
	if after, _ := json.Marshal(c.Items[0].Settings); string(after) != string(before) {
		t.Errorf("settings\n%s, want\n%s", after, before)
	}
	if status, body := p.post("/campaigns", change); status != http.StatusConflict {
		t.Errorf("changed by somebody else meanwhile: %d\n%s", status, body)
	}
}

// Of two people of whom one commits and the other aborts, the one who is late is told who was quicker.
func TestCommitAndAbort(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	names := []string{"phone-01", "phone-02"}
	r.enrol("berlin", names...)
	for _, name := range names {
		r.agent(name)
	}
	c := r.draft(rel, "spring", nil)
	page := "/campaigns/" + c.ID.String()
	anna, bert := r.person("anna", store.RoleOperator), r.person("bert", store.RoleOperator)
	if status, body := anna.does(page + "/start"); status != http.StatusOK {
		t.Fatalf("start: %d\n%s", status, body)
	}
	r.until("asks", r.asks(c.ID))
	if body := anna.see(page); !strings.Contains(body, "Somebody has to agree to COMMIT") || !strings.Contains(body, page+"/commit") {
		t.Errorf("the page does not ask:\n%s", body)
	}
	question := bert.see(page + "/abort")
	if !strings.Contains(question, "for all 2 devices") {
		t.Errorf("the question does not say for how many:\n%s", question)
	}
	if body := anna.see(page + "/commit"); !strings.Contains(body, "2 of 2 devices are ready") || !strings.Contains(body, "phone 2.0") {
		t.Errorf("the question does not say what will happen:\n%s", body)
	}
	if status, body := anna.does(page + "/commit"); status != http.StatusOK {
		t.Fatalf("commit: %d\n%s", status, body)
	}
	status, body := bert.post(page+"/abort", url.Values{"revision": {hiddenRevision.FindStringSubmatch(question)[1]}})
	if status != http.StatusConflict || !regexp.MustCompile(`anna committed at \d\d:\d\d UTC`).MatchString(body) {
		t.Errorf("abort after commit: %d\n%s", status, body)
	}
	r.until("closed", func() bool {
		now, err := r.store.Campaign(t.Context(), c.ID)
		return err == nil && now.Phase == store.PhaseClosed
	})
	if body := bert.see(page); !strings.Contains(body, "Over: COMMIT. 2 of 2 devices run the new release.") || strings.Contains(body, page+"/abort") {
		t.Errorf("the closed campaign:\n%s", body)
	}
	if body := bert.see(page + "/devices"); !strings.Contains(body, "phone-02") || !strings.Contains(body, "committed") {
		t.Errorf("its devices:\n%s", body)
	}
}

// The page is kept up to date by server-sent events, and the stream ends with the session.
func TestLive(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01")
	c := r.draft(rel, "spring", nil)
	p := r.person("vera", store.RoleViewer)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", r.http.URL+"/campaigns/"+c.ID.String()+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("stream of type %s", kind)
	}
	lines := bufio.NewScanner(answer.Body)
	await := func(what string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data:") && strings.Contains(lines.Text(), what) {
				return
			}
		}
		t.Fatalf("the stream ended without %q: %v", what, lines.Err())
	}
	await("It can be started")
	if err := r.fleet.Discard(t.Context(), c.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	await("Closed before anybody was told of it")
	await("over")
	if lines.Scan(); lines.Scan() {
		t.Errorf("the stream of a closed campaign goes on: %q", lines.Text())
	}
}

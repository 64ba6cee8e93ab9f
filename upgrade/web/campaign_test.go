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

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
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

// A sealed release is uploaded as normsend sign has written it, its file keys too.
func TestUploadSealed(t *testing.T) {
	r := newRig(t)
	p := r.person("otto", store.RoleOperator)
	signed, sent, key := fleettest.Sealed(t, fleettest.ReleaseKey, "fw.bin", r.image)
	send := func(files ...[3]string) string {
		_, body := p.send("/releases", append([][3]string{{"manifest", "fw.manifest", string(signed)}}, files...)...)
		return body
	}
	if body := send([3]string{"images", "fw.bin.age", string(sent)}); !strings.Contains(body, "their file keys, fw.seal, are still to be uploaded") ||
		!strings.Contains(body, "File keys are missing") || strings.Contains(body, "New campaign</a>") {
		t.Errorf("without keys:\n%s", body)
	}
	if body := send([3]string{"images", "fw.seal", string(fleettest.FileKeys(t, manifest.FileKey{1}))}); !strings.Contains(body, "They are the file keys of another release") {
		t.Errorf("with those of another:\n%s", body)
	}
	if body := send([3]string{"images", "fw.seal", "no key"}); !strings.Contains(body, "The file holds no file keys") {
		t.Errorf("with no keys at all:\n%s", body)
	}
	if body := send([3]string{"images", "fw.seal", string(fleettest.FileKeys(t, key))}); !strings.Contains(body, "The release is complete") ||
		!strings.Contains(body, "New campaign</a>") || !strings.Contains(body, "here, sealed") {
		t.Errorf("with its keys:\n%s", body)
	}
}

var campaignLink = regexp.MustCompile(`/campaigns/([0-9a-f]{32})/start`)

// sealKey is the key of some group.
func sealKey(t *testing.T) manifest.Recipient {
	t.Helper()
	k, err := manifest.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return k.Recipient()
}

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
		"not_before": {"2030-01-02T03:04"}, "group": {"239.192.0.9:6100"}, "rate": {"2.5"}, "segment_hashes": {"on"}, "seal_to": {sealKey(t).String() + "\n" + sealKey(t).String()}, "seal_devices": {"on"}}
	for field, value := range map[string]string{"quorum": "101", "joined": "many", "wait": "soon", "group": "239.192.0.9", "rate": "-1", "not_before": "tomorrow", "name": "", "release": "", "sites": "<b>", "seal_to": "phones.pub"} {
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
	for _, want := range []string{"<h1>Review: spring</h1>", "3 devices", "berlin 2", "rome 1", "as soon as 2 devices wait, or after 30 min", "when 90 % of the devices are ready, and 80 % of each site", "2.5 Mbit/s", "2030-01-02 03:04", "Segment hashes", "the group of key", "and by each target that proves its key"} {
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
	r.agents("berlin", names...)
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

// After a restore of the database a campaign waits, and an operator says on the page how it goes on.
func TestRestored(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01")
	r.enrol("rome", "phone-02")
	p, viewer := r.person("otto", store.RoleOperator), r.person("vera", store.RoleViewer)
	for name, c := range map[string]struct {
		device, verb, says string
		want               store.RestoredMark
	}{
		"adopts":  {"phone-01", "adopt", "takes any signed decision that a device shows", store.Adopting},
		"goes on": {"phone-02", "vouch", "You vouch that no server has signed anything", store.NotRestored},
	} {
		d := r.draft(rel, name, func(set *store.CampaignSettings) {
			set.Targets.Devices = []string{c.device}
			set.Schedule.At = time.Now().Add(time.Hour)
		})
		if _, err := r.fleet.Start(t.Context(), d.ID, d.Revision, "anna"); err != nil {
			t.Fatal(err)
		}
		page := "/campaigns/" + d.ID.String()
		if status, _ := p.get(page + "/" + c.verb); status != http.StatusConflict {
			t.Errorf("%s before there was a restore: %d", c.verb, status)
		}
		if _, err := r.store.MarkRestored(t.Context(), fleettest.By("console")); err != nil {
			t.Fatal(err)
		}
		if body := p.see("/"); !strings.Contains(body, "The database was restored from a backup") || !strings.Contains(body, "waits after a restore") {
			t.Errorf("the overview:\n%s", body)
		}
		if body := p.see(page); !strings.Contains(body, "Nothing happens before somebody says") || !strings.Contains(body, page+"/"+c.verb) || strings.Contains(body, page+"/discard") {
			t.Errorf("the campaign:\n%s", body)
		}
		if strings.Contains(viewer.see(page), page+"/"+c.verb) {
			t.Error("a viewer may say how it goes on")
		}
		if body := p.see(page + "/" + c.verb); !strings.Contains(body, c.says) {
			t.Errorf("the question:\n%s", body)
		}
		if status, body := p.does(page + "/" + c.verb); status != http.StatusOK || strings.Contains(body, page+"/"+c.verb) {
			t.Errorf("%s: %d\n%s", c.verb, status, body)
		}
		if now, err := r.store.Campaign(t.Context(), d.ID); err != nil || now.Restored != c.want {
			t.Errorf("%s: restored %q, %v", name, now.Restored, err)
		}
		if err := r.fleet.Discard(t.Context(), d.ID, "anna"); err != nil {
			t.Fatal(err)
		}
	}
}

// A campaign says of each site how far its devices are, and of each device, sorted and filtered.
func TestSites(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01", "phone-02")
	r.enrol("rome", "phone-03", "phone-04")
	r.agent("phone-01")
	r.agent("phone-02")
	r.agent("phone-03")
	c := r.draft(rel, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Quorum = 75 })
	page := "/campaigns/" + c.ID.String()
	p := r.person("otto", store.RoleOperator)
	if body := p.see(page + "/sites"); !strings.Contains(body, "There are no targets before the campaign is started") {
		t.Errorf("before the start:\n%s", body)
	}
	p.does(page + "/start")
	r.until("asks", r.asks(c.ID))
	for device, want := range map[string]string{"phone-01": "<br>ready", "phone-04": "not heard: never joined"} {
		if body := p.see("/devices/" + device); !strings.Contains(body, page) || !strings.Contains(body, want) {
			t.Errorf("%s lacks %q:\n%s", device, want, body)
		}
	}
	if body := p.see(page); !strings.Contains(body, "239.1.2.") {
		t.Errorf("the group is not told:\n%s", body)
	}
	site := func(name string, columns ...string) string {
		text := `<th scope="row"><a href="` + page + `/devices\?site=` + name + `">` + name + `</a></th>`
		for _, c := range columns {
			text += `\s*<td class="n[^"]*" data-label="[^"]+">` + c
		}
		return text
	}
	berlin, rome := site("berlin", "2</td>", "2</td>", "2 <[^<]*100 %</span></td>", "0</td>", "0</td>", "0</td>"), site("rome", "2</td>", "1</td>", "1 <[^<]*50 %</span></td>", "0</td>", "0</td>", "1</td>")
	for path, want := range map[string]string{page: rome + `[\s\S]*` + berlin, page + "/sites": rome + `[\s\S]*` + berlin, page + "/sites?order=id": berlin + `[\s\S]*` + rome} {
		if body := p.see(path); !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("%s lacks\n%s:\n%s", path, want, body)
		}
	}
	for query, want := range map[string]string{"": "phone-01 phone-02 phone-03 phone-04", "?site=rome": "phone-03 phone-04", "?state=ready": "phone-01 phone-02 phone-03",
		"?cause=never-joined": "phone-04", "?order=-id": "phone-04 phone-03 phone-02 phone-01", "?order=-site": "phone-04 phone-03 phone-02 phone-01"} {
		if got := strings.Join(listed(p.see(page+"/devices"+query), "devices"), " "); got != want {
			t.Errorf("devices%s: %s, want %s", query, got, want)
		}
	}
	var series struct{ Time, Loss, Worst, Nacks, Repairs, Rate []*float64 }
	r.until("there is something to plot", func() bool {
		if err := json.Unmarshal([]byte(p.see(page+"/series")), &series); err != nil {
			t.Fatal(err)
		}
		return len(series.Time) > 0
	})
	for name, column := range map[string][]*float64{"loss": series.Loss, "worst": series.Worst, "nacks": series.Nacks, "repairs": series.Repairs, "rate": series.Rate} {
		if len(column) != len(series.Time) {
			t.Errorf("%d values of %s at %d times", len(column), name, len(series.Time))
		}
	}
}

package web_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// listed returns what the links to things of a kind name, in their order.
func listed(body, kind string) (names []string) {
	for _, m := range regexp.MustCompile(`<th scope="row">(?:<a[^>]* href="/`+kind+`/([^"/]+)")`).FindAllStringSubmatch(body, -1) {
		names = append(names, m[1])
	}
	return names
}

// The links in the heads of a list sort all of it, not what is on the page, and keep what it is filtered by.
func TestSorting(t *testing.T) {
	r := newRig(t)
	const devices = 230
	var seen []store.Sighting
	for i := range devices {
		seen = append(seen, store.Sighting{Device: fmt.Sprintf("d-%03d", i), Product: "phone", Hardware: "rev-a", At: time.Now().Add(-time.Duration(i*7%devices) * time.Hour)})
	}
	if err := r.store.SeeDevices(t.Context(), seen...); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(seen, func(a, b store.Sighting) int { return a.At.Compare(b.At) })
	p := r.person("vera", store.RoleViewer)
	head := regexp.MustCompile(`<th scope="col"(?: aria-sort="(\w+)")?><a href="([^"]+)">Last seen</a>`)
	path := "/devices?product=phone"
	for _, want := range []string{"", "ascending", "descending"} {
		body := p.see(path)
		found := head.FindStringSubmatch(body)
		if found == nil || found[1] != want {
			t.Fatalf("%s: head %v, want it sorted %q", path, found, want)
		}
		names := listed(body, "devices")
		for len(names) <= devices {
			_, rest, more := strings.Cut(body, `href="/devices?after=`)
			if !more {
				break
			}
			next, _, _ := strings.Cut(rest, `"`)
			body = p.see("/devices?after=" + html.UnescapeString(next))
			names = append(names, listed(body, "devices")...)
			if !strings.Contains(body, "230 devices") || !strings.Contains(body, `value="phone"`) {
				t.Errorf("a later page has lost the filter:\n%s", body)
			}
		}
		if want == "descending" {
			slices.Reverse(names)
		}
		if want != "" && !slices.EqualFunc(names, seen, func(name string, s store.Sighting) bool { return name == s.Device }) {
			t.Errorf("%s: %d %v", want, len(names), names)
		}
		path = html.UnescapeString(found[2])
	}
	if status, body := p.get("/devices?order=colour"); status != http.StatusUnprocessableEntity || !strings.Contains(body, "<html") {
		t.Errorf("an order that is not there: %d\n%s", status, body)
	}
	if status, _ := p.get("/devices?order=seen&after=x"); status != http.StatusUnprocessableEntity {
		t.Errorf("a page that is not there: %d", status)
	}
}

// The audit trail is read newest first, to its end, and by who did what to what.
func TestAudit(t *testing.T) {
	r := newRig(t)
	p := r.person("vera", store.RoleViewer)
	start := time.Now().UTC().Add(-time.Hour).Truncate(time.Minute)
	var events []store.Event
	for i := range 1200 { // more than a page, and more than the last thousand
		events = append(events, store.Event{At: start.Add(time.Duration(i) * time.Second), Actor: fmt.Sprint("person-", i%2), Action: "device.place", Subject: fmt.Sprint("d-", i), Detail: []byte(`{"site":"rome","tags":["a","b"],"old":null,"none":""}`)})
	}
	if err := r.store.AddEvents(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	body := p.see("/audit?actor=person-0")
	if first, last := strings.Index(body, "d-1198"), strings.Index(body, "d-1000<"); first < 0 || last < first || strings.Contains(body, "d-1199") || strings.Contains(body, "d-998<") {
		t.Errorf("the newest of person-0, %d before %d:\n%s", first, last, body)
	}
	if !strings.Contains(body, "none none, site rome, tags a b") {
		t.Errorf("the detail is not told:\n%s", body)
	}
	_, rest, _ := strings.Cut(body, `href="/audit?actor=person-0&amp;after=`)
	next, _, _ := strings.Cut(rest, `"`)
	if body := p.see("/audit?actor=person-0&after=" + next); !strings.Contains(body, "d-998<") || !strings.Contains(body, "First page") {
		t.Errorf("the next page:\n%s", body)
	}
	for query, want := range map[string]string{
		"order=id":                           "created",
		"subject=d-7":                        ">d-7<",
		"action=device.place&actor=person-1": ">d-1199<",
		"since=" + url.QueryEscape(start.Add(19*time.Minute).Format("2006-01-02T15:04")) + "&order=id": ">d-1140<",
		"action=campaign.abort":                       "Nothing that fits",
		"campaign=" + (commit.CampaignID{1}).String(): "Nothing that fits",
	} {
		if want == "created" {
			want = "made a token for"
		}
		if body := p.see("/audit?" + query); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q:\n%s", query, want, body)
		}
	}
	if status, body := p.get("/audit?since=yesterday"); status != http.StatusUnprocessableEntity || !strings.Contains(body, "write a time in UTC") {
		t.Errorf("since yesterday: %d\n%s", status, body)
	}
}

// Whatever goes wrong is said on a page that leads on, and not as bare text or JSON.
func TestErrorPages(t *testing.T) {
	r := newRig(t)
	p := r.person("otto", store.RoleAdmin)
	for path, want := range map[string]int{
		"/nowhere": 404, "/static/nothing.js": 404, "/devices/nobody": 404, "/campaigns/x": 404, "/campaigns/" + strings.Repeat("0", 32): 404,
		"/campaigns/" + strings.Repeat("0", 32) + "/series": 404, "/releases/x": 404, "/tokens/x/revoke": 404, "/devices?state=golden": 422, "/campaigns?order=-": 422,
	} {
		status, body := p.get(path)
		if status != want || !strings.Contains(body, "<h1 id=\"ask-title\">That did not work</h1>") || !strings.Contains(body, `role="alert"`) {
			t.Errorf("%s: %d\n%s", path, status, body)
		}
	}
	for path, want := range map[string]int{"/devices": 404, "/enrolments/x/revoke": 404, "/campaigns/x/start": 404, "/devices/nobody/remove": 422} {
		if status, body := p.post(path, nil); status != want && status != 409 || !strings.Contains(body, "That did not work") {
			t.Errorf("POST %s: %d\n%s", path, status, body)
		}
	}
	req, err := http.NewRequest("POST", r.http.URL+"/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, body := p.do(req); status != http.StatusForbidden || !strings.Contains(body, "Another site had your browser send this") || !strings.Contains(body, "<html") {
		t.Errorf("from another site: %d\n%s", status, body)
	}
}

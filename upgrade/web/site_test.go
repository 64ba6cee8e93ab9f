package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/multicast-upgrade/tool/upgrade/web"
)

// Each role sees the buttons it may press, and is refused the others when it asks for them all the same.
func TestRoles(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01")
	r.show("phone-02")
	draft := r.draft(rel, "spring", func(set *store.CampaignSettings) { set.Policy.TwoPeople = true })
	page := "/campaigns/" + draft.ID.String()
	viewer, operator, approver := r.person("vera", store.RoleViewer), r.person("otto", store.RoleOperator), r.person("arno", store.RoleApprover)
	admin := r.person("alma", store.RoleAdmin)
	for _, c := range []struct {
		path, button          string
		viewer, operator, app bool
	}{
		{"/campaigns", "/campaigns/new", false, true, true},
		{"/releases", "Upload a release", false, true, true},
		{"/devices/phone-02", "Approve key", false, true, true},
		{"/devices/phone-01", "Save", false, true, true},
		{page, page + "/discard", false, true, true},
		{page, page + "/approve", false, false, true},
		{page, page + "/start", false, false, false}, // nobody has approved it
		{"/", ">Tokens<", false, false, false},       // an admin's
		{"/enrolments", "Make an enrolment", false, true, true},
	} {
		for _, who := range []struct {
			*person
			name string
			sees bool
		}{{viewer, "viewer", c.viewer}, {operator, "operator", c.operator}, {approver, "approver", c.app}} {
			if got := strings.Contains(who.see(c.path), c.button); got != who.sees {
				t.Errorf("%s on %s: %q shown is %v", who.name, c.path, c.button, got)
			}
		}
	}
	for _, c := range []struct {
		person *person
		paths  []string
	}{
		{viewer, []string{page + "/start", page + "/abort", page + "/commit", page + "/approve", page + "/discard", "/devices/phone-02/approve",
			"/devices/phone-01/revoke", "/devices/phone-01/place", "/releases", "/releases/" + rel.ID.String() + "/remove", "/tokens", "/campaigns", "/campaigns/review",
			"/enrolments", "/enrolments/x/revoke", page + "/adopt", page + "/vouch"}},
		{operator, []string{page + "/approve"}},
	} {
		for _, path := range c.paths {
			if status, _ := c.person.post(path, url.Values{"revision": {"1"}}); status != http.StatusForbidden {
				t.Errorf("POST %s: %d, want it refused", path, status)
			}
		}
	}
	if status, _ := viewer.get("/tokens"); status != http.StatusForbidden {
		t.Errorf("a viewer at the tokens: %d", status)
	}
	for _, p := range []*person{operator, approver} {
		if status, _ := p.post("/tokens", url.Values{"name": {"x"}, "role": {"viewer"}}); status != http.StatusForbidden {
			t.Errorf("somebody gives a token who is no admin: %d", status)
		}
	}
	if !strings.Contains(admin.see("/"), ">Tokens<") {
		t.Error("an admin is not shown the tokens")
	}
	if status, body := admin.post("/tokens", url.Values{"name": {"x"}, "role": {"approver"}}); status != http.StatusOK || !strings.Contains(body, "x") {
		t.Errorf("an admin gives the role of an approver: %d\n%s", status, body)
	}
	if status, body := approver.does(page + "/approve"); status != http.StatusOK || !strings.Contains(body, "is approved") {
		t.Errorf("approve: %d\n%s", status, body)
	}
	if !strings.Contains(operator.see(page), page+"/start") {
		t.Error("an approved draft cannot be started")
	}
}

func TestLogin(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/", "/devices", "/live", "/campaigns/new", "/nothing"} {
		if _, body := r.stranger().get(path); !strings.Contains(body, "<h1>Log in</h1>") {
			t.Errorf("%s without a session:\n%s", path, body)
		}
	}
	for name, secret := range map[string]string{"wrong": "no such token", "empty": "", "device": r.token("phone-01", store.RoleDevice)} {
		if status, body := r.stranger().post("/login", url.Values{"token": {secret}}); status != http.StatusUnauthorized || !strings.Contains(body, "No such token") {
			t.Errorf("%s token: %d", name, status)
		}
	}
	p := r.stranger()
	secret := r.token("vera", store.RoleViewer)
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for to, want := range map[string]string{"/devices?site=a": "/devices?site=a", "//evil.example/": "/", "https://evil.example": "/", `/\evil.example`: "/"} {
		req, _ := http.NewRequest("POST", r.http.URL+"/login", strings.NewReader(url.Values{"token": {secret}, "next": {to}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("Location"); got != want {
			t.Errorf("login for %s leads to %s", to, got)
		}
		cookie := answer.Header.Get("Set-Cookie")
		if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") || strings.Contains(cookie, secret) {
			t.Errorf("cookie %s", cookie)
		}
	}
	v := r.person("vera", store.RoleViewer)
	other, err := web.New(web.Config{Fleet: r.fleet}) // another server on the store, or the same after a restart
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(r.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h1>Overview</h1>", "<h1>Log in</h1>"} {
		req := httptest.NewRequest("GET", "/", nil)
		for _, c := range v.client.Jar.Cookies(base) {
			req.AddCookie(c)
		}
		w := httptest.NewRecorder()
		other.ServeHTTP(w, req)
		if body := w.Body.String(); !strings.Contains(body, want) && !(w.Code == http.StatusSeeOther && want == "<h1>Log in</h1>") {
			t.Errorf("at another server: %d\n%s\nwant %s", w.Code, body, want)
		}
		if err := r.store.EndSession(t.Context(), v.client.Jar.Cookies(base)[0].Value); err != nil {
			t.Fatal(err)
		}
	}
	v = r.person("vera", store.RoleViewer)
	v.post("/logout", nil)
	if _, body := v.get("/"); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Error("a session outlives its logout")
	}
	v = r.person("walter", store.RoleViewer)
	v.see("/")
	tokens, err := r.store.Tokens(t.Context(), "walter", store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.RevokeToken(t.Context(), tokens.Items[0].ID, fleettest.By("anna")); err != nil {
		t.Fatal(err)
	}
	if _, body := v.get("/"); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Error("a session outlives its token")
	}
}

// What another site has a browser send is refused, whatever the cookie.
func TestOtherSites(t *testing.T) {
	r := newRig(t)
	p := r.person("otto", store.RoleOperator)
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		req, _ := http.NewRequest("POST", r.http.URL+"/tokens", strings.NewReader("name=mallory&role=operator"))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set(header[0], header[1])
		if status, _ := p.do(req); status != http.StatusForbidden {
			t.Errorf("%s: %s: %d", header[0], header[1], status)
		}
	}
	if tokens, err := r.store.Tokens(t.Context(), "mallory", store.Page{}); err != nil || len(tokens.Items) > 0 {
		t.Errorf("a token was made: %v, %v", tokens, err)
	}
}

func TestHeaders(t *testing.T) {
	r := newRig(t)
	p := r.person("vera", store.RoleViewer)
	for _, path := range []string{"/", "/login", "/nothing", "/static/page.js", "/devices"} {
		answer, err := p.client.Get(r.http.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		csp := answer.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, answer.Header)
		}
		if want := map[bool]string{true: "no-cache", false: "no-store"}[strings.HasPrefix(path, "/static/")]; answer.Header.Get("Cache-Control") != want {
			t.Errorf("%s: Cache-Control %q", path, answer.Header.Get("Cache-Control"))
		}
	}
}

const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`

// Names that people and networks choose are text wherever they are shown.
func TestAttackHostileNames(t *testing.T) {
	r := newRig(t)
	rel := r.upload()
	r.enrol("berlin", "phone-01")
	p := r.person(hostile, store.RoleAdmin)
	draft := r.draft(rel, hostile, nil)
	later := r.draft(rel, hostile+"2", func(set *store.CampaignSettings) { set.Schedule.At = time.Now().Add(time.Hour) })
	if _, err := r.fleet.Start(t.Context(), later.ID, later.Revision, hostile); err != nil {
		t.Fatal(err)
	}
	page := "/campaigns/" + draft.ID.String()
	shown := 0
	look := func(where, body string) {
		t.Helper()
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") {
			t.Errorf("%s has a name as HTML:\n%s", where, body)
		}
		shown += strings.Count(body, "&lt;script&gt;alert")
	}
	for _, path := range []string{"/", "/campaigns", page, page + "/change", page + "/start", page + "/discard", "/campaigns/" + later.ID.String(), "/audit", "/tokens",
		"/releases/" + rel.ID.String(), "/devices/phone-01", "/devices?find=" + url.QueryEscape(hostile), "/devices?product=" + url.QueryEscape(hostile) + "&site=" + url.QueryEscape(hostile),
		"/audit?actor=" + url.QueryEscape(hostile), "/login?next=" + url.QueryEscape("/"+hostile)} {
		_, body := p.get(path)
		look(path, body)
	}
	_, body := p.post("/campaigns/review", url.Values{"name": {hostile}, "release": {rel.ID.String()}, "interface": {hostile}, "must": {hostile}})
	look("review", body)
	_, body = p.post("/campaigns/review", url.Values{"name": {hostile}, "sites": {hostile}, "quorum": {hostile}})
	look("what is wrong", body)
	_, body = p.post("/campaigns/"+draft.ID.String()+"/start", url.Values{"revision": {fmt.Sprint(draft.Revision)}})
	look("overlap", body)
	_, body = p.post("/enrolments", url.Values{"device": {hostile}, "site": {hostile}, "tags": {hostile}, "valid": {hostile}})
	look("enrolment", body)
	if err := r.store.AddEvents(t.Context(), store.Event{At: time.Now(), Actor: hostile, Action: hostile, Subject: "phone-01", Detail: []byte(`{"` + "<script>alert(1)</script>" + `": "` + "<script>alert(1)</script>" + `"}`)}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/audit", "/", "/devices/phone-01", "/enrolments/x/revoke?device=" + url.QueryEscape(hostile), "/devices?order=" + url.QueryEscape(hostile),
		"/campaigns/" + later.ID.String() + "/devices?site=" + url.QueryEscape(hostile) + "&order=" + url.QueryEscape(hostile), "/audit?subject=" + url.QueryEscape(hostile) + "&since=" + url.QueryEscape(hostile),
		"/releases?product=" + url.QueryEscape(hostile), "/campaigns?phase=" + url.QueryEscape(hostile)} {
		_, body := p.get(path)
		look(path, body)
	}
	_, body = p.send("/releases", [3]string{"manifest", hostile, hostile})
	look("upload", body)
	if shown < 20 {
		t.Errorf("the name was shown %d times: the test does not see where it is", shown)
	}
}

// A long list comes in pages that hold each device once.
func TestPaging(t *testing.T) {
	r := newRig(t)
	const devices = 250
	var seen []store.Sighting
	for i := range devices {
		seen = append(seen, store.Sighting{Device: fmt.Sprintf("phone-%03d", i), Product: "phone", Hardware: "rev-a", At: time.Now()})
	}
	if err := r.store.SeeDevices(t.Context(), seen...); err != nil {
		t.Fatal(err)
	}
	p := r.person("vera", store.RoleViewer)
	found := map[string]int{}
	path, pages := "/devices?product=phone", 0
	for ; path != ""; pages++ {
		body := p.see(path)
		if !strings.Contains(body, "250 devices") {
			t.Errorf("%s does not say how many there are", path)
		}
		for _, s := range seen {
			found[s.Device] += strings.Count(body, `href="/devices/`+s.Device+`"`)
		}
		_, rest, more := strings.Cut(body, `href="/devices?after=`)
		path = ""
		if more {
			link, _, _ := strings.Cut(rest, `"`)
			path = "/devices?after=" + strings.ReplaceAll(link, "&amp;", "&")
		}
	}
	for _, s := range seen {
		if found[s.Device] != 1 {
			t.Errorf("%s was listed %d times", s.Device, found[s.Device])
		}
	}
	if pages != 3 {
		t.Errorf("%d pages", pages)
	}
	if body := p.see("/devices?find=phone-123"); !strings.Contains(body, "<h1>phone-123</h1>") {
		t.Error("a device is not found by its name")
	}
	if body := p.see("/devices?find=phone-12"); !strings.Contains(body, "10 devices") || !strings.Contains(body, "/devices/phone-129") || strings.Contains(body, "/devices/phone-130") {
		t.Error("the beginning of a name does not lead to those that begin so")
	}
	if body := p.see("/devices?find=phone-1230"); !strings.Contains(body, "None that fits") {
		t.Error("a name that is not there is not said to be none")
	}
	if body := p.see("/devices?state=approved"); !strings.Contains(body, "0 devices") {
		t.Error("the filter of keys does not filter")
	}
}

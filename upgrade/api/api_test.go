package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestOfTwoPeopleOneWins(t *testing.T) { onBoth(t, testOfTwoPeopleOneWins) }

func testOfTwoPeopleOneWins(t *testing.T, r *rig) {
	c := r.create(draft("spring", r.upload("2.0"), "c-1"))
	answers := make([]answer, 2)
	var both sync.WaitGroup
	for i, who := range []string{"anna", "otto"} {
		both.Go(func() {
			answers[i] = r.ask(who, "PUT /campaigns/"+c.Id, draft("of "+who, c.Release, "c-1"), "If-Match", etag(c.Revision))
		})
	}
	both.Wait()
	winner, loser := 0, 1
	if answers[1].status == 200 {
		winner, loser = 1, 0
	}
	if answers[winner].status != 200 || answers[loser].status != 412 {
		t.Fatalf("answers %d and %d", answers[0].status, answers[1].status)
	}
	name := []string{"anna", "otto"}[winner]
	if p := answers[loser].problem(t); p.By != name || p.At.IsZero() {
		t.Errorf("the loser is told %+v; %s was quicker", p, name)
	}
	if now := decode[rest.Campaign](t, r.want(200, "", "vera", "GET /campaigns/"+c.Id, nil)); now.Name != "of "+name || now.Changed != name {
		t.Errorf("campaign %+v", now)
	}
}

// COMMIT and ABORT at once: one is done, and the other is told.
func TestCommitAgainstAbort(t *testing.T) { onBoth(t, testCommitAgainstAbort) }

func testCommitAgainstAbort(t *testing.T, r *rig) {
	release := r.upload("2.0")
	r.enrol("device-1")
	r.agent("device-1")
	c := r.start(draft("spring", release, "device-1"))
	r.until(c.Id, "asks", func(st rest.Status) bool { return st.Asking })
	answers := make([]answer, 2)
	var both sync.WaitGroup
	for i, act := range []string{"commit", "abort"} {
		both.Go(func() { answers[i] = r.ask([]string{"anna", "otto"}[i], "POST /campaigns/"+c.Id+"/"+act, nil) })
	}
	both.Wait()
	verdict := "COMMIT"
	if answers[1].status == 204 {
		verdict = "ABORT"
		answers[0], answers[1] = answers[1], answers[0]
	}
	if answers[0].status != 204 || answers[1].status != 409 {
		t.Fatalf("answers %d and %d", answers[0].status, answers[1].status)
	}
	if p := answers[1].problem(t); p.Reason != rest.ReasonDecided && p.Reason != rest.ReasonState {
		t.Errorf("the loser is told %+v", p)
	}
	r.until(c.Id, "closed", func(st rest.Status) bool { return st.Phase == rest.PhaseClosed })
	if st := r.status(c.Id); st.Verdict != verdict {
		t.Errorf("verdict %s, and %s was acknowledged", st.Verdict, verdict)
	}
}

func TestIdempotencyKey(t *testing.T) { onBoth(t, testIdempotencyKey) }

func testIdempotencyKey(t *testing.T, r *rig) {
	d := draft("spring", r.upload("2.0"), "c-1")
	first := r.want(201, "", "anna", "POST /campaigns", d, "Idempotency-Key", "k1")
	again := r.want(201, "", "anna", "POST /campaigns", d, "Idempotency-Key", "k1")
	if string(first.body) != string(again.body) || again.header.Get("ETag") != first.header.Get("ETag") || again.header.Get("Content-Type") != "application/json" {
		t.Errorf("again: %v %s", again.header, again.body)
	}
	if l := decode[rest.CampaignList](t, r.ask("anna", "GET /campaigns", nil)); len(l.Items) != 1 {
		t.Errorf("%d campaigns were made", len(l.Items))
	}
	d.Name = "autumn"
	r.want(409, rest.ReasonReused, "anna", "POST /campaigns", d, "Idempotency-Key", "k1")
	r.want(201, "", "otto", "POST /campaigns", d, "Idempotency-Key", "k1") // whose key it is not
	// A refusal is kept as well, and secrets are not.
	r.want(404, rest.ReasonNotFound, "anna", "POST /campaigns", draft("x", noRelease, "c-1"), "Idempotency-Key", "k2")
	r.want(404, rest.ReasonNotFound, "anna", "POST /campaigns", draft("x", noRelease, "c-1"), "Idempotency-Key", "k2")
	r.want(400, rest.ReasonInvalid, "alma", "POST /tokens", rest.NewToken{Name: "x", Role: rest.RoleViewer}, "Idempotency-Key", "k3")
}

// Names that mean something to a shell, a path, SQL or HTML are text, or are refused.
func TestAttackHostileNames(t *testing.T) { onBoth(t, testHostileNames) }

func testHostileNames(t *testing.T, r *rig) {
	release := r.upload("2.0")
	for _, name := range []string{"'; DROP TABLE campaigns; --", "<script>alert(1)</script>", "../../etc/passwd", "a\nb", `"`, "\u202e", strings.Repeat("n", 256), "%2e%2e"} {
		c := r.create(draft(name, release, "c-1"))
		if got := decode[rest.Campaign](t, r.want(200, "", "vera", "GET /campaigns/"+c.Id, nil)); got.Name != name {
			t.Errorf("name %q became %q", name, got.Name)
		}
	}
	r.want(400, rest.ReasonInvalid, "anna", "POST /campaigns", draft(strings.Repeat("n", 257), release, "c-1"))
	r.want(400, rest.ReasonInvalid, "anna", "POST /campaigns", draft("a\x00b", release, "c-1"))
	for _, device := range []string{"../x", "a b", "<b>", "'", ""} {
		r.want(400, rest.ReasonInvalid, "anna", "POST /campaigns", draft("x", release, device))
		r.want(400, rest.ReasonInvalid, "anna", "POST /enrolments", rest.NewEnrolment{Device: "x" + device + "/", Expires: time.Now().Add(time.Hour)})
	}
	for _, path := range []string{"/devices/%2e%2e%2f%2e%2e", "/devices/%00", "/devices/%27%20OR%201=1", "/devices/%ff"} {
		r.want(404, rest.ReasonNotFound, "vera", "GET "+path, nil)
	}
	r.want(404, rest.ReasonNotFound, "anna", "PUT /releases/"+release+"/images/%2e%2e%2ffw", r.image)
	r.want(400, rest.ReasonInvalid, "vera", "GET /events?actor=%00", nil)
	if l := decode[rest.EventList](t, r.want(200, "", "vera", "GET /events?actor=%27%20OR%201=1%20--", nil)); len(l.Items) != 0 {
		t.Errorf("events of nobody: %+v", l)
	}
}

// Whoever guesses tokens is slowed down, and whoever has one and comes from elsewhere is not.
func TestAttackGuesses(t *testing.T) {
	r := newRig(t, api.Limits{PerToken: 1e5, PerAddress: 1e5, Guesses: 0.4})
	for range 2 {
		r.want(401, rest.ReasonToken, "nobody", "GET /server", nil, "Authorization", "Bearer guess")
	}
	a := r.want(429, rest.ReasonTooMany, "nobody", "GET /server", nil, "Authorization", "Bearer guess")
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
}

// A said is a server-sent event.
type said struct{ id, kind, data string }

// stream reads events until stop is called.
func (r *rig) stream(who, query string, headers ...string) (events <-chan said, stop func()) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/events/stream"+query, nil)
	if err != nil {
		r.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+r.tokens[who])
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil || resp.StatusCode != 200 {
		r.Fatal(err, resp.StatusCode)
	}
	out := make(chan said, 1000)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		var e said
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "":
				if e.kind != "" {
					out <- e
				}
				e = said{}
			}
		}
	}()
	r.Cleanup(cancel)
	return out, cancel
}

func (r *rig) next(events <-chan said, ok func(said) bool) said {
	r.Helper()
	for {
		select {
		case e, open := <-events:
			if !open {
				r.Fatal("the stream has ended")
			}
			if ok(e) {
				return e
			}
		case <-r.Context().Done():
			r.Fatal("the event never came")
		}
	}
}

func audit(action string) func(said) bool {
	return func(e said) bool {
		var v rest.Event
		return e.kind == "audit" && json.Unmarshal([]byte(e.data), &v) == nil && v.Action == action
	}
}

func TestStream(t *testing.T) {
	r := newRig(t, plenty)
	events, stop := r.stream("vera", "")
	release := r.upload("2.0")
	seen := r.next(events, audit("release.add"))
	r.next(events, func(e said) bool { return e.kind == "releases" })
	stop()

	// Who comes back misses nothing of the audit trail.
	one := r.create(draft("one", release, "c-1"))
	events, _ = r.stream("vera", "", "Last-Event-ID", seen.id)
	r.next(events, audit("image.add"))
	r.next(events, audit("campaign.add"))

	// Only one campaign, with where it is first.
	only, _ := r.stream("vera", "?campaign="+one.Id)
	r.next(only, func(e said) bool { return e.kind == "campaign" })
	two := r.create(draft("two", release, "c-1"))
	r.want(204, "", "anna", "DELETE /campaigns/"+one.Id, nil)
	for e := range only {
		if strings.Contains(e.data, two.Id) || e.kind == "releases" {
			t.Errorf("the stream of one campaign says %+v", e)
		}
		if audit("campaign.closed")(e) {
			break
		}
	}
}

// A stream ends when its token is revoked.
func TestRevokedTokenEndsStream(t *testing.T) {
	r := newRig(t, plenty)
	r.api.SetHeartbeat(10 * time.Millisecond)
	made := decode[rest.TokenSecret](t, r.want(201, "", "alma", "POST /tokens", rest.NewToken{Name: "ann", Role: rest.RoleViewer}))
	r.tokens["ann"] = made.Secret
	events, _ := r.stream("ann", "?campaign="+r.create(draft("one", r.upload("2.0"), "c-1")).Id)
	r.want(204, "", "alma", "DELETE /tokens/"+made.Token.Id, nil)
	for range events { // ends, or the test does not
	}
}

func (r *rig) get(path, who string) (int, string) {
	r.Helper()
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		r.Fatal(err)
	}
	if token := r.tokens[who]; token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPageAndContractAreForEverybody(t *testing.T) {
	r := newRig(t, plenty)
	status, page := r.get("/api/", "")
	for _, op := range api.Operations() {
		if line := "<code>" + op.Method + " " + op.Path + "</code><td>"; !strings.Contains(page, line) || strings.Contains(page, line+"<td>") {
			t.Errorf("%s %s has no line on the page, or no summary", op.Method, op.Path)
		}
	}
	if status != 200 || strings.Contains(page, "http:") || strings.Contains(page, "https:") {
		t.Errorf("%d; the page has links to elsewhere", status)
	}
	if status, text := r.get("/api/openapi.yaml", ""); status != 200 || text != string(api.Contract()) {
		t.Errorf("contract: %d", status)
	}
}

func TestMetricsAndHealth(t *testing.T) {
	r := newRig(t, plenty)
	release := r.upload("2.0")
	r.enrol("c-1")
	c := r.start(later(draft(`a "name" of`+"\n"+`two \ lines`, release, "c-1")))
	if status, _ := r.get("/metrics", ""); status != 401 {
		t.Errorf("metrics without a token: %d", status)
	}
	status, text := r.get("/metrics", "vera")
	for _, want := range []string{
		"# TYPE normsend_devices gauge\n", "normsend_devices{key=\"approved\"} 1\n",
		`normsend_campaign_targets{campaign="` + c.Id + `",name="a \"name\" of\ntwo \\ lines"} `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%d; metrics without %q:\n%s", status, want, text)
		}
	}
	if status, text := r.get("/healthz", ""); status != 200 || text != "ok\n" {
		t.Errorf("healthz: %d %s", status, text)
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	if status, _ := r.get("/healthz", ""); status != 503 {
		t.Errorf("healthz without a store: %d", status)
	}
}

// What strangers and other devices say at the rendezvous changes nothing.
func TestRendezvousRefusesOthers(t *testing.T) {
	r := newRig(t, plenty)
	release := r.upload("2.0")
	r.enrol("device-1", "device-2")
	c := r.start(draft("spring", release, "device-1"))
	r.until(c.Id, "runs", func(st rest.Status) bool { return st.Step != "" })
	client, err := discovery.NewClient(r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	// device-2 says hello as device-1, with its own key.
	h := discovery.Hello{Device: "device-1", Product: "phone", Hardware: "rev-a"}
	if err := h.Sign(fleettest.Key(manifest.RoleDevice, "device-2")); err != nil {
		t.Fatal(err)
	}
	if err := client.Hello(ctx, h); err == nil {
		t.Error("another's name was taken")
	}
	for _, st := range []discovery.Statement{
		{Device: "device-1", Campaign: c.Id, Body: []byte("READY")},                               // unsigned
		{Device: "device-1", Campaign: noCampaign, Signed: true, Body: []byte("READY")},           // of no campaign
		{Device: "device-2", Campaign: c.Id, Signed: true, Body: []byte("READY")},                 // of no target
		{Device: "device-1", Campaign: "../" + c.Id, Signed: true, Body: []byte("not a message")}, // of no name
	} {
		if err := client.Vote(ctx, st); err == nil {
			t.Errorf("the vote %+v was taken", st)
		}
	}
	if st := r.status(c.Id); st.Ready != 0 {
		t.Errorf("status %+v", st)
	}
	if d := r.device("device-1"); d.Duplicate || d.KeyState != rest.KeyStateApproved || d.Key != fleettest.Key(manifest.RoleDevice, "device-1").Public().String() {
		t.Errorf("device %+v", d)
	}
}

// A person who made a campaign cannot approve it, whatever the role.
func TestTwoPeople(t *testing.T) { onBoth(t, testTwoPeople) }

func testTwoPeople(t *testing.T, r *rig) {
	release := r.upload("2.0")
	r.enrol("device-1")
	d := later(draft("spring", release, "device-1"))
	d.Settings.Policy.TwoPeople = true
	c := decode[rest.Campaign](t, r.want(201, "", "carl", "POST /campaigns", d))
	start := "POST /campaigns/" + c.Id + "/start"
	r.want(409, rest.ReasonNotApproved, "carl", start, nil, "If-Match", etag(c.Revision))
	r.want(403, rest.ReasonSamePerson, "carl", "POST /campaigns/"+c.Id+"/approve", nil, "If-Match", etag(c.Revision))
	var err error
	if _, r.tokens["dora"], err = r.store.CreateToken(t.Context(), "dora", store.RoleApprover, fleettest.By("console")); err != nil {
		t.Fatal(err)
	}
	// One person is one person, with whatever token.
	for i, name := range []string{"carl", "Carl", " carl "} {
		again := fmt.Sprint("carl's token ", i)
		if _, r.tokens[again], err = r.store.CreateToken(t.Context(), name, store.RoleAdmin, fleettest.By("console")); err != nil {
			t.Fatal(err)
		}
		r.want(403, rest.ReasonSamePerson, again, "POST /campaigns/"+c.Id+"/approve", nil, "If-Match", etag(c.Revision))
	}
	c = decode[rest.Campaign](t, r.want(200, "", "dora", "POST /campaigns/"+c.Id+"/approve", nil, "If-Match", etag(c.Revision)))
	if c.Approved.Actor != "dora" {
		t.Errorf("campaign %+v", c)
	}
	r.want(200, "", "carl", start, nil, "If-Match", etag(c.Revision))
}

// Long lists of devices come one after the other, and all of them come.
func TestLargeDrafts(t *testing.T) {
	r := newRig(t, plenty)
	release := r.upload("2.0")
	many := make([]string, 40_000)
	for i := range many {
		many[i] = fmt.Sprintf("a-device-with-a-rather-long-name-%06d", i)
	}
	var writers sync.WaitGroup
	for i := range 6 {
		writers.Go(func() {
			a := r.ask("anna", "POST /campaigns", draft(fmt.Sprint("large ", i), release, many...), "Idempotency-Key", fmt.Sprint(i))
			if a.status != 201 {
				t.Errorf("%d %.200s", a.status, a.body)
			}
		})
	}
	writers.Wait()
	l := decode[rest.CampaignList](t, r.want(200, "", "vera", "GET /campaigns", nil))
	if len(l.Items) != 6 || len(l.Items[0].Settings.Targets.Devices) != 0 {
		t.Fatalf("%d campaigns, with %d devices in the list", len(l.Items), len(l.Items[0].Settings.Targets.Devices))
	}
	if c := decode[rest.Campaign](t, r.want(200, "", "vera", "GET /campaigns/"+l.Items[0].Id, nil)); len(c.Settings.Targets.Devices) != len(many) {
		t.Errorf("%d devices came back", len(c.Settings.Targets.Devices))
	}
}

package api_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// documented returns the answers of each operation of the contract. It reads YAML as our file is laid out.
func documented() map[string][]int {
	answers := map[string][]int{}
	var path, op string
	for line := range strings.Lines(string(api.Contract())) {
		text := strings.TrimSpace(line)
		switch indent := len(line) - len(strings.TrimLeft(line, " ")); {
		case indent == 2 && strings.HasPrefix(text, "/"):
			path = strings.TrimSuffix(text, ":")
		case indent == 4 && strings.HasSuffix(text, ":") && path != "":
			op = strings.ToUpper(strings.TrimSuffix(text, ":")) + " " + path
		case indent == 8 && strings.HasPrefix(text, "'"):
			status, err := strconv.Atoi(text[1:4])
			if err == nil {
				answers[op] = append(answers[op], status)
			}
		case strings.HasPrefix(line, "components:"):
			return answers
		}
	}
	return answers
}

func TestOperationsAreThoseOfTheContract(t *testing.T) {
	answers := documented()
	for _, op := range api.Operations() {
		if answers[op.Method+" "+op.Path] == nil {
			t.Errorf("%s %s is not in the contract", op.Method, op.Path)
		}
		delete(answers, op.Method+" "+op.Path)
	}
	for op := range answers {
		t.Errorf("%s is in the contract, and in no rule", op)
	}
}

// The contract is a valid OpenAPI document, as another program sees it.
func TestContractIsValid(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the validator")
	}
	c := exec.Command("go", "tool", "-modfile=../../tools/go.mod", "validate", "--", "openapi.yaml")
	c.Env = append(os.Environ(), "GOPROXY=off")
	said, err := c.CombinedOutput()
	switch {
	case err != nil && strings.Contains(string(said), "GOPROXY=off"):
		t.Skip("the validator is not at hand")
	case err != nil:
		t.Errorf("%v\n%s", err, said)
	}
}

// The generated files are those of the contract. Without the tool at hand, as in a module cache that has not fetched it,
// there is nothing to compare with.
func TestGeneratedIsCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generator")
	}
	out := filepath.Join(t.TempDir(), "rest.gen.go")
	c := exec.Command("go", "tool", "-modfile=../../../tools/go.mod", "oapi-codegen", "-config", "oapi-codegen.yaml", "-o", out, "../openapi.yaml")
	c.Dir = "rest"
	c.Env = append(os.Environ(), "GOPROXY=off")
	said, err := c.CombinedOutput()
	switch {
	case err != nil && strings.Contains(string(said), "GOPROXY=off"):
		t.Skip("the generator is not at hand")
	case err != nil:
		t.Fatalf("%v\n%s", err, said)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("rest/rest.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("rest/rest.gen.go is not what openapi.yaml says now; go generate ./upgrade/api/rest")
	}
}

// fields puts something into the placeholders of a path.
var fields = strings.NewReplacer("{release}", strings.Repeat("0", 64), "{image}", "fw", "{device}", "nobody", "{campaign}", strings.Repeat("0", 32), "{token}", "0", "{enrolment}", "0")

// TestRoles asks for each operation as everybody, and as nobody.
func TestRoles(t *testing.T) { onBoth(t, testRoles) }

func testRoles(t *testing.T, r *rig) {
	rank := map[store.Role]int{"": 0, store.RoleViewer: 1, store.RoleOperator: 2, store.RoleApprover: 3, store.RoleAdmin: 4}
	for _, op := range api.Operations() {
		if op.Path == "/events/stream" {
			continue // in TestStream
		}
		key := op.Method + " " + fields.Replace(op.Path)
		r.want(401, rest.ReasonToken, "nobody", key, nil)
		r.want(401, rest.ReasonToken, "nobody", key, nil, "Authorization", "Bearer wrong")
		r.want(401, rest.ReasonToken, "nobody", key, nil, "Authorization", "Basic "+r.tokens["anna"])
		for name, role := range people {
			may := rank[role] >= rank[op.Role]
			if role == store.RoleDevice {
				may = op.Device && op.Path != "/devices/{device}" // that is another one
			}
			a := r.ask(name, key, nil)
			refused := a.status == http.StatusForbidden
			if refused == may || a.status == http.StatusUnauthorized {
				t.Errorf("%s as %s, %s: %d %s", key, name, role, a.status, a.body)
			}
		}
	}
	r.enrol("device-1", "device-2")
	r.want(200, "", "device-1", "GET /devices/device-1", nil)
	r.want(403, rest.ReasonRole, "device-1", "GET /devices/device-2", nil)
	for _, role := range []rest.Role{rest.RoleViewer, rest.RoleAdmin, rest.RoleDevice} {
		r.want(403, rest.ReasonRole, "carl", "POST /tokens", rest.NewToken{Name: "carl's friend", Role: role})
		r.want(201, "", "alma", "POST /tokens", rest.NewToken{Name: "friend", Role: role})
	}
}

// TestEveryAnswer sees each answer that the contract has for each operation, and no other.
func TestEveryAnswer(t *testing.T) { onBoth(t, testEveryAnswer) }

func testEveryAnswer(t *testing.T, r *rig) {
	for _, op := range api.Operations() {
		if op.Path != "/events/stream" {
			key := op.Method + " " + fields.Replace(op.Path)
			r.want(401, rest.ReasonToken, "nobody", key, nil)
			if op.Role != "" {
				r.want(403, rest.ReasonRole, "device-1", key, nil)
			}
		}
	}
	r.want(401, rest.ReasonToken, "nobody", "GET /events/stream", nil)
	r.want(403, rest.ReasonRole, "device-1", "GET /events/stream", nil)
	r.limited()
	r.lists()
	release := r.releases()
	r.devices()
	r.examinations()
	r.campaigns(release)
	r.enrolmentsAndTokens()
	r.streams()

	for op, answers := range documented() {
		for _, status := range answers {
			if !r.seen[op][status] {
				t.Errorf("%s never answered %d", op, status)
			}
			delete(r.seen[op], status)
		}
		for status := range r.seen[op] {
			t.Errorf("%s answered %d, which is not in the contract", op, status)
		}
	}
}

// limited asks a server whose patience is short.
func (r *rig) limited() {
	_, url := r.serve(r.fleet, api.Limits{PerToken: 0.01})
	if a := r.askAt(url, "alma", "GET /server", nil); a.status != 200 {
		r.Fatal(a.status)
	}
	for _, op := range api.Operations() {
		a := r.askAt(url, "alma", op.Method+" "+fields.Replace(op.Path), nil)
		if p := a.problem(r.T); a.status != 429 || p.Reason != rest.ReasonTooMany || a.header.Get("Retry-After") == "" {
			r.Errorf("%s %s beyond the limit: %d", op.Method, op.Path, a.status)
		}
	}
}

func (r *rig) lists() {
	for _, path := range []string{"/releases", "/devices", "/enrolments", "/campaigns", "/events", "/tokens"} {
		r.want(200, "", "alma", "GET "+path+"?limit=3", nil)
		r.want(400, rest.ReasonInvalid, "alma", "GET "+path+"?limit=1001", nil)
		r.want(400, rest.ReasonFormat, "alma", "GET "+path+"?limit=three", nil)
		if path != "/tokens" {
			r.want(200, "", "alma", "GET "+path+"?order=-id", nil)
			r.want(400, rest.ReasonInvalid, "alma", "GET "+path+"?order=colour", nil)
		}
	}
	r.want(200, "", "vera", "GET /server", nil)
	r.want(400, rest.ReasonInvalid, "vera", "GET /devices?key=golden", nil)
	r.want(400, rest.ReasonInvalid, "vera", "GET /events?after=x", nil)
}

const noRelease = "0000000000000000000000000000000000000000000000000000000000000000"

func (r *rig) releases() (id string) {
	signed := r.signed(fleettest.ReleaseKey, "2.0", r.image, soon())
	r.want(422, rest.ReasonSignature, "anna", "POST /releases", []byte("nonsense"))
	r.want(400, rest.ReasonInvalid, "anna", "POST /releases", signed, "Idempotency-Key", strings.Repeat("k", 256))
	r.want(413, rest.ReasonTooLarge, "anna", "POST /releases", make([]byte, 65<<10))
	r.want(422, rest.ReasonSignature, "anna", "POST /releases", r.signed(fleettest.Key(manifest.RoleRelease, "other"), "2.0", r.image, soon()))
	r.want(422, rest.ReasonExpired, "anna", "POST /releases", r.signed(fleettest.ReleaseKey, "1.0", r.image, time.Now().UTC().Truncate(time.Second).Add(-time.Hour)))
	release := decode[rest.Release](r.T, r.want(201, "", "anna", "POST /releases", signed))
	if release.Product != "phone" || release.Images[0].Present || release.Images[0].Size != int64(len(r.image)) || release.Uploaded.Actor != "anna" {
		r.Errorf("release %+v", release)
	}
	r.want(409, rest.ReasonExists, "anna", "POST /releases", signed)

	image := "PUT /releases/" + release.Id + "/images/fw"
	r.want(413, rest.ReasonTooLarge, "anna", image, append(r.image[:len(r.image):len(r.image)], 1))
	r.want(422, rest.ReasonImage, "anna", image, r.image[1:])
	r.want(422, rest.ReasonImage, "anna", image, make([]byte, len(r.image)))
	r.want(404, rest.ReasonNotFound, "anna", "PUT /releases/"+release.Id+"/images/other", r.image)
	r.want(404, rest.ReasonNotFound, "anna", "PUT /releases/"+noRelease+"/images/fw", r.image)
	r.want(400, rest.ReasonFormat, "anna", "PUT /releases/x/images/fw", r.image)
	free := r.api.FillUploads()
	r.want(503, rest.ReasonBusy, "anna", image, r.image)
	free()
	r.want(204, "", "anna", image, r.image)
	r.want(204, "", "anna", image, r.image) // again

	release = decode[rest.Release](r.T, r.want(200, "", "vera", "GET /releases/"+release.Id, nil))
	if !release.Images[0].Present {
		r.Error("the image is not there")
	}
	r.want(404, rest.ReasonNotFound, "vera", "GET /releases/"+noRelease, nil)
	r.want(400, rest.ReasonFormat, "vera", "GET /releases/x", nil)

	r.fileKeys(release.Id)
	other := r.upload("2.1")
	r.want(204, "", "anna", "DELETE /releases/"+other, nil)
	r.want(404, rest.ReasonNotFound, "anna", "DELETE /releases/"+other, nil)
	r.want(400, rest.ReasonFormat, "anna", "DELETE /releases/x", nil)
	r.create(draft("keeps the release", release.Id, "nobody"))
	r.want(409, rest.ReasonState, "anna", "DELETE /releases/"+release.Id, nil)
	return release.Id
}

// fileKeys gives a sealed release the keys of its images, and tries what is none. Nobody is shown them.
func (r *rig) fileKeys(plain string) {
	signed, sent, key := fleettest.Sealed(r.T, fleettest.ReleaseKey, "fw", r.image)
	release := decode[rest.Release](r.T, r.want(201, "", "anna", "POST /releases", signed))
	if !release.Images[0].Sealed || release.FileKeys {
		r.Errorf("sealed release %+v", release)
	}
	r.want(204, "", "anna", "PUT /releases/"+release.Id+"/images/fw", sent)
	c := r.create(draft("sealed", release.Id, "nobody"))
	r.want(409, rest.ReasonFileKeys, "anna", "POST /campaigns/"+c.Id+"/start", nil, "If-Match", etag(c.Revision))
	r.want(204, "", "anna", "DELETE /campaigns/"+c.Id, nil)

	keys, text := "/releases/"+release.Id+"/file-keys", fleettest.FileKeys(r.T, key)
	r.want(400, rest.ReasonFormat, "anna", "PUT "+keys, []byte("no key"))
	r.want(400, rest.ReasonFormat, "anna", "PUT "+keys, []byte("private:group:hkdf-sha256:AAAA"))
	r.want(413, rest.ReasonTooLarge, "anna", "PUT "+keys, make([]byte, 65<<10))
	r.want(404, rest.ReasonNotFound, "anna", "PUT /releases/"+noRelease+"/file-keys", text)
	r.want(422, rest.ReasonFileKeys, "anna", "PUT "+keys, fleettest.FileKeys(r.T, manifest.FileKey{1}))
	r.want(422, rest.ReasonFileKeys, "anna", "PUT /releases/"+plain+"/file-keys", text)
	r.want(204, "", "anna", "PUT "+keys, text)
	r.want(204, "", "anna", "PUT "+keys, text) // again
	a := r.want(200, "", "vera", "GET /releases/"+release.Id, nil)
	if release = decode[rest.Release](r.T, a); !release.FileKeys || bytes.Contains(a.body, key[:]) {
		r.Errorf("with its keys: %s", a.body)
	}
}

// device asks for a device and returns it.
func (r *rig) device(id string) rest.Device {
	r.Helper()
	a := r.want(200, "", "vera", "GET /devices/"+id, nil)
	d := decode[rest.Device](r.T, a)
	if a.header.Get("ETag") != etag(d.Revision) {
		r.Errorf("ETag %s of revision %d", a.header.Get("ETag"), d.Revision)
	}
	return d
}

func (r *rig) devices() {
	ctx, now := r.Context(), time.Now()
	for _, name := range []string{"p-1", "p-2"} {
		err := r.store.SeeDevices(ctx, store.Sighting{Device: name, Product: "phone", Hardware: "rev-a", At: now})
		if err == nil {
			err = r.store.ShowKey(ctx, name, fleettest.Key(manifest.RoleDevice, name).Public(), now)
		}
		if err != nil {
			r.Fatal(err)
		}
	}
	place := rest.Place{Site: "rome", Tags: []string{"b", "a"}}
	for _, change := range []struct {
		op   string
		body any
	}{{"POST /devices/%/approve", nil}, {"POST /devices/%/revoke", nil}, {"POST /devices/%/replace-key", nil}, {"PUT /devices/%/place", place}, {"DELETE /devices/%", nil}} {
		to := strings.Replace(change.op, "%", "p-1", 1)
		r.want(428, rest.ReasonUnconditional, "anna", to, change.body)
		for _, match := range []string{"1", "*", `W/"1"`, `"x"`} {
			r.want(400, rest.ReasonFormat, "anna", to, change.body, "If-Match", match)
		}
		r.want(412, rest.ReasonChanged, "anna", to, change.body, "If-Match", `"99"`)
		r.want(404, rest.ReasonNotFound, "anna", strings.Replace(change.op, "%", "nobody", 1), change.body, "If-Match", `"1"`)
	}
	r.want(413, rest.ReasonTooLarge, "anna", "PUT /devices/p-1/place", make([]byte, 65<<10))
	r.want(400, rest.ReasonFormat, "anna", "PUT /devices/p-1/place", map[string]any{"site": "rome", "tags": []string{}, "sight": "x"}, "If-Match", `"1"`)

	d := r.device("p-1")
	if d.KeyState != rest.KeyStatePending || d.Fingerprint == "" || d.Node == 0 {
		r.Errorf("device %+v", d)
	}
	d = decode[rest.Device](r.T, r.want(200, "", "anna", "PUT /devices/p-1/place", place, "If-Match", etag(d.Revision)))
	d = decode[rest.Device](r.T, r.want(200, "", "anna", "POST /devices/p-1/approve", nil, "If-Match", etag(d.Revision)))
	if d.Site != "rome" || len(d.Tags) != 2 || d.Tags[0] != "a" || d.KeyState != rest.KeyStateApproved {
		r.Errorf("device %+v", d)
	}
	r.want(409, rest.ReasonState, "anna", "POST /devices/p-1/approve", nil, "If-Match", etag(d.Revision))
	if l := decode[rest.DeviceList](r.T, r.want(200, "", "vera", "GET /devices?site=rome&site=oslo&tag=a&key=approved&product=phone", nil)); len(l.Items) != 1 {
		r.Errorf("filtered: %+v", l)
	}
	if l := decode[rest.DeviceList](r.T, r.want(200, "", "vera", "GET /devices?limit=1", nil)); len(l.Items) != 1 || l.Next != "p-1" {
		r.Errorf("first page: %+v", l)
	} else if l := decode[rest.DeviceList](r.T, r.want(200, "", "vera", "GET /devices?limit=1&after="+l.Next, nil)); len(l.Items) != 1 || l.Items[0].Id != "p-2" || l.Next != "" {
		r.Errorf("last page: %+v", l)
	}
	for query, want := range map[string]string{"order=-id": "p-2 p-1", "order=site": "p-2 p-1", "order=-site": "p-1 p-2", "order=product": "p-1 p-2", "prefix=p-2": "p-2", "prefix=p": "p-1 p-2", "prefix=q": ""} {
		var got []string
		for _, d := range decode[rest.DeviceList](r.T, r.want(200, "", "vera", "GET /devices?"+query, nil)).Items {
			got = append(got, d.Id)
		}
		if strings.Join(got, " ") != want {
			r.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	if n := decode[rest.Summary](r.T, r.want(200, "", "vera", "GET /summary", nil)); n.Devices != 2 || n.Approved != 1 || n.Pending != 1 {
		r.Errorf("summary %+v", n)
	}
	d = decode[rest.Device](r.T, r.want(200, "", "anna", "POST /devices/p-1/revoke", nil, "If-Match", etag(d.Revision)))
	r.want(409, rest.ReasonState, "anna", "POST /devices/p-1/revoke", nil, "If-Match", etag(d.Revision))
	d = decode[rest.Device](r.T, r.want(200, "", "anna", "POST /devices/p-1/replace-key", nil, "If-Match", etag(d.Revision)))
	if d.KeyState != rest.KeyStateNone || d.Key != "" {
		r.Errorf("device %+v", d)
	}
	history := decode[rest.EventList](r.T, r.want(200, "", "vera", "GET /devices/p-1/history", nil))
	var actions []string
	for _, e := range history.Items {
		actions = append(actions, e.Action)
	}
	if got := strings.Join(actions, " "); got != "device.key device.place device.key-approved device.key-revoked device.key-removed" {
		r.Errorf("history: %s", got)
	}
	newest := decode[rest.EventList](r.T, r.want(200, "", "vera", "GET /devices/p-1/history?order=-id&limit=1", nil))
	if len(newest.Items) != 1 || newest.Items[0].Action != "device.key-removed" || newest.Next == "" {
		r.Errorf("the newest of the history: %+v", newest)
	}
	r.want(404, rest.ReasonNotFound, "vera", "GET /devices/nobody/history", nil)
	r.want(404, rest.ReasonNotFound, "vera", "GET /devices/nobody", nil)
	r.want(400, rest.ReasonInvalid, "vera", "GET /devices/p-1/history?limit=-1", nil)
	r.want(204, "", "anna", "DELETE /devices/p-1", nil, "If-Match", etag(d.Revision))
}

func (r *rig) examinations() {
	const order, list = "POST /examinations", "GET /diagnoses"
	r.want(413, rest.ReasonTooLarge, "anna", order, make([]byte, 65<<10))
	r.want(400, rest.ReasonFormat, "anna", order, map[string]any{"sight": "berlin"})
	r.want(409, rest.ReasonNoTargets, "anna", order, rest.NewExamination{Sites: []string{"nowhere"}})
	r.want(404, rest.ReasonNotFound, "anna", order, rest.NewExamination{Devices: []string{"nobody"}})
	for _, bad := range []rest.NewExamination{{Group: "here"}, {Group: "192.0.2.1:6003"}, {Group: "232.1.2.3:6003"}, {PerSite: -1}, {Rate: 1e12}, {SegmentSize: 70000}} {
		r.want(400, rest.ReasonInvalid, "anna", order, bad)
	}
	r.enrol("e-1", "e-2")
	r.want(404, rest.ReasonNotFound, "vera", "GET /devices/e-1/diagnosis", nil)
	made := decode[rest.Examination](r.T, r.want(201, "", "anna", order, rest.NewExamination{Devices: []string{"e-1"}}))
	if len(made.Devices) != 1 || made.Group == "" || !made.Until.After(time.Now()) {
		r.Errorf("examination %+v", made)
	}
	r.want(409, rest.ReasonState, "anna", order, rest.NewExamination{Devices: []string{"e-2"}}) // one at a time
	if d := decode[rest.Diagnosis](r.T, r.want(200, "", "vera", "GET /devices/e-1/diagnosis", nil)); !d.Waiting || len(d.Findings) != 0 {
		r.Errorf("before the device has answered: %+v", d)
	}
	err := r.store.Diagnose(r.Context(), "e-1", made.Id, []store.Finding{{Check: "group", Verdict: store.VerdictOK}, {Check: "ttl", Verdict: store.VerdictFault, Seen: "TTL is 1", Remedy: "send with --ttl 4"}}, time.Now())
	if err != nil {
		r.Fatal(err)
	}
	if d := decode[rest.Diagnosis](r.T, r.want(200, "", "vera", "GET /devices/e-1/diagnosis", nil)); d.Waiting || len(d.Findings) != 2 || d.Findings[1].Verdict != rest.VerdictFault {
		r.Errorf("after: %+v", d)
	}
	l := decode[rest.DiagnosisList](r.T, r.want(200, "", "vera", list+"?order=-wrong&limit=5", nil))
	if len(l.Items) != 1 || l.Items[0].Site != "berlin" || l.Items[0].Wrong != 1 || l.Items[0].Trouble[0].Remedy != "send with --ttl 4" || l.Items[0].Trouble[0].Example != "e-1" {
		r.Errorf("sites: %+v", l)
	}
	r.want(400, rest.ReasonInvalid, "vera", list+"?order=colour", nil)
}

const noCampaign = "11111111111111111111111111111111"

func (r *rig) campaigns(release string) {
	r.enrol("c-1", "c-2", "c-3")
	d := later(draft("spring", release, "c-1"))
	for _, op := range []string{"GET /campaigns/%", "GET /campaigns/%/status", "GET /campaigns/%/devices", "GET /campaigns/%/sites", "GET /campaigns/%/series", "GET /campaigns/%/approvals", "GET /campaigns/%/evidence", "DELETE /campaigns/%", "POST /campaigns/%/pause", "POST /campaigns/%/hold",
		"POST /campaigns/%/resume", "POST /campaigns/%/commit", "POST /campaigns/%/abort"} {
		r.want(400, rest.ReasonFormat, "anna", strings.Replace(op, "%", "x", 1), nil)
		r.want(404, rest.ReasonNotFound, "anna", strings.Replace(op, "%", noCampaign, 1), nil)
	}
	c := r.create(d)
	for _, change := range []struct {
		op   string
		who  string
		body any
	}{{"PUT /campaigns/%", "anna", d}, {"POST /campaigns/%/approve", "carl", nil}, {"POST /campaigns/%/start", "anna", nil}, {"POST /campaigns/%/resolve", "anna", rest.Resolution{}}} {
		to := strings.Replace(change.op, "%", c.Id, 1)
		r.want(428, rest.ReasonUnconditional, change.who, to, change.body)
		r.want(400, rest.ReasonFormat, change.who, to, change.body, "If-Match", "x")
		r.want(412, rest.ReasonChanged, change.who, to, change.body, "If-Match", `"99"`)
		r.want(404, rest.ReasonNotFound, change.who, strings.Replace(change.op, "%", noCampaign, 1), change.body, "If-Match", `"1"`)
	}
	for _, op := range []string{"POST /campaigns", "POST /campaigns/preview", "PUT /campaigns/" + c.Id} {
		r.want(413, rest.ReasonTooLarge, "anna", op, make([]byte, 64<<20+1))
		r.want(400, rest.ReasonFormat, "anna", op, []byte(`{"name": "x"} more`))
		r.want(400, rest.ReasonFormat, "anna", op, draft("x", "not a digest"))
	}
	r.want(404, rest.ReasonNotFound, "anna", "POST /campaigns", draft("x", noRelease, "c-1"))
	r.want(404, rest.ReasonNotFound, "anna", "POST /campaigns/preview", draft("x", noRelease, "c-1"))
	bad := draft("x", release, "c-1")
	bad.Settings.Policy.Waves[0].Quorum = 101
	r.want(400, rest.ReasonInvalid, "anna", "POST /campaigns", bad)
	bad = draft("x", release, "c-1")
	bad.Settings.Transport.Group = "nowhere"
	r.want(400, rest.ReasonInvalid, "anna", "POST /campaigns", bad)

	d.Name = "early spring"
	c = decode[rest.Campaign](r.T, r.want(200, "", "anna", "PUT /campaigns/"+c.Id, d, "If-Match", etag(c.Revision)))
	if c.Name != "early spring" || c.Revision != 2 || c.Settings.Targets.Devices[0] != "c-1" || c.Settings.Policy.Waves[0].ReadyTimeout != int64(time.Minute) {
		r.Errorf("campaign %+v", c)
	}
	r.want(409, rest.ReasonState, "anna", "POST /campaigns/"+c.Id+"/resolve", rest.Resolution{}, "If-Match", etag(c.Revision))
	for _, op := range []string{"pause", "hold", "resume", "commit", "abort"} {
		r.want(409, rest.ReasonState, "anna", "POST /campaigns/"+c.Id+"/"+op, nil)
	}
	c = decode[rest.Campaign](r.T, r.want(200, "", "carl", "POST /campaigns/"+c.Id+"/approve", nil, "If-Match", etag(c.Revision)))
	c = decode[rest.Campaign](r.T, r.want(200, "", "anna", "POST /campaigns/"+c.Id+"/start", nil, "If-Match", etag(c.Revision)))
	r.want(409, rest.ReasonState, "carl", "POST /campaigns/"+c.Id+"/approve", nil, "If-Match", etag(c.Revision))
	r.want(409, rest.ReasonState, "anna", "PUT /campaigns/"+c.Id, d, "If-Match", etag(c.Revision))
	r.want(409, rest.ReasonTarget, "anna", "DELETE /devices/c-1", nil, "If-Match", etag(r.device("c-1").Revision))

	// Overlapping targets, no targets, an expired release.
	second := r.create(draft("second", release, "c-1"))
	p := decode[rest.Preview](r.T, r.want(200, "", "vera", "POST /campaigns/preview", draft("second", release, "c-1", "c-2")))
	if p.Targets != 2 || p.Sites["berlin"] != 2 || len(p.Overlap) != 1 || p.Overlap[0].Name != "early spring" {
		r.Errorf("preview %+v", p)
	}
	refused := r.want(409, rest.ReasonOverlap, "anna", "POST /campaigns/"+second.Id+"/start", nil, "If-Match", etag(second.Revision)).problem(r.T)
	if len(refused.Overlap) != 1 || refused.Overlap[0].Campaign != c.Id {
		r.Errorf("overlap %+v", refused)
	}
	waves := draft("waves", release, "c-1", "c-2")
	waves.Settings.Policy.Waves = []rest.Wave{{Percent: 10, Success: 100, Errors: 1, Soak: 1, OutcomeTimeout: 1}, {}}
	p = decode[rest.Preview](r.T, r.want(200, "", "vera", "POST /campaigns/preview", waves))
	if len(p.Waves) != 2 || p.Waves[0].Targets != 1 || p.Waves[1].Sites["berlin"] != 1 || p.Problem != "" {
		r.Errorf("preview of waves %+v", p)
	}
	waves.Settings.Policy.Waves[0].Percent = 100
	if p = decode[rest.Preview](r.T, r.want(200, "", "vera", "POST /campaigns/preview", waves)); p.Problem == "" {
		r.Errorf("preview of an empty wave %+v", p)
	}
	waves.Settings.Policy.Waves[0].Success = 101
	r.want(400, rest.ReasonInvalid, "anna", "POST /campaigns", waves)
	none := r.create(draft("none", release, "nobody"))
	r.want(409, rest.ReasonNoTargets, "anna", "POST /campaigns/"+none.Id+"/start", nil, "If-Match", etag(none.Revision))
	old := r.create(draft("old", r.expired(), "c-2"))
	r.want(422, rest.ReasonExpired, "anna", "POST /campaigns/"+old.Id+"/start", nil, "If-Match", etag(old.Revision))
	r.want(204, "", "anna", "DELETE /campaigns/"+old.Id, nil)
	r.want(409, rest.ReasonAnnounced, "anna", "DELETE /campaigns/"+old.Id, nil)

	r.run(release)
	r.approvals()

	if _, err := r.store.MarkRestored(r.Context(), fleettest.By("console")); err != nil {
		r.Fatal(err)
	}
	c = decode[rest.Campaign](r.T, r.want(200, "", "vera", "GET /campaigns/"+c.Id, nil))
	if c.Restored != rest.CampaignRestoredUnresolved {
		r.Errorf("campaign %+v", c)
	}
	r.want(413, rest.ReasonTooLarge, "anna", "POST /campaigns/"+c.Id+"/resolve", make([]byte, 65<<10))
	r.want(200, "", "anna", "POST /campaigns/"+c.Id+"/resolve", rest.Resolution{Adopting: true}, "If-Match", etag(c.Revision))
	if l := decode[rest.CampaignList](r.T, r.want(200, "", "vera", "GET /campaigns?phase=scheduled&phase=closed&name=early+spring&release="+release, nil)); len(l.Items) != 1 {
		r.Errorf("filtered: %+v", l)
	}
}

// expired adds a release that the server would not take any more.
func (r *rig) expired() string {
	release, err := r.store.AddRelease(r.Context(), r.signed(fleettest.ReleaseKey, "0.9", r.image, time.Now().UTC().Truncate(time.Second).Add(-time.Hour)), fleettest.By("anna"))
	if err == nil {
		err = r.store.AddImage(r.Context(), release.ID, "fw", bytes.NewReader(r.image), fleettest.By("anna"))
	}
	if err != nil {
		r.Fatal(err)
	}
	return release.ID.String()
}

// approvals has a campaign run that one approver of two has to agree to, and whose image has segment hashes.
func (r *rig) approvals() {
	keys := map[string]*manifest.PrivateKey{}
	for _, name := range []string{"bert", "dora", "mallory"} {
		keys[name] = fleettest.Key(manifest.RoleApprover, name)
	}
	signed := fleettest.Release(r.T, fleettest.ReleaseKey, "fw", r.image, func(m *manifest.Manifest) {
		m.Version, m.Approvers, m.Approvals = "3.0", []manifest.PublicKey{keys["bert"].Public(), keys["dora"].Public()}, 1
	})
	release := decode[rest.Release](r.T, r.want(201, "", "anna", "POST /releases", signed))
	if len(release.Approvers) != 1 || release.Approvers[0].Threshold != 1 || release.Approvers[0].Keys[1] != keys["dora"].Public().String() {
		r.Errorf("approvers of the release: %+v", release.Approvers)
	}
	r.want(204, "", "anna", "PUT /releases/"+release.Id+"/images/fw", r.image)
	r.enrol("a-1")
	r.agent("a-1")
	d := draft("is agreed to", release.Id, "a-1")
	d.Settings.Transport.SegmentHashes, d.Settings.Transport.Group = true, "239.1.2.9:6003" // those of the server are taken
	c := r.create(d)
	ask, evidence := "/campaigns/"+c.Id+"/approvals", "GET /campaigns/"+c.Id+"/evidence"
	shown := func() rest.Approvals { return decode[rest.Approvals](r.T, r.want(200, "", "vera", "GET "+ask, nil)) }
	if a := shown(); len(a.Lists) != 1 || len(a.Waves) != 0 || a.List != "" || a.Manifest != release.Id {
		r.Errorf("approvals of a draft: %+v", a)
	}
	r.want(409, rest.ReasonState, "anna", "POST "+ask, []byte("agreed"))
	r.want(409, rest.ReasonState, "vera", evidence, nil)
	r.want(200, "", "anna", "POST /campaigns/"+c.Id+"/start", nil, "If-Match", etag(c.Revision))
	r.until(c.Id, "asks", func(st rest.Status) bool { return st.Asking && st.Waves[0].MissingApprovals == 1 && st.List != "" })
	a := shown()
	list, err := manifest.ParseDigest(a.List)
	if err != nil || len(a.Waves) != 1 || a.Waves[0].Missing != 1 || len(a.Waves[0].Approved) != 0 {
		r.Fatalf("approvals %+v, %v", a, err)
	}
	id, err := manifest.ParseCampaignID(c.Id)
	if err != nil {
		r.Fatal(err)
	}
	digest, err := manifest.ParseDigest(a.Manifest)
	if err != nil {
		r.Fatal(err)
	}
	what := commit.Approval{Round: commit.Round{Campaign: id, Manifest: commit.Digest(digest)}, Targets: commit.Digest(list)}
	if !bytes.Equal(what.Encode(), a.Waves[0].Payload) {
		r.Errorf("the payload is %x, want %x", a.Waves[0].Payload, what.Encode())
	}
	sign := func(name string, what commit.Approval) []byte {
		signed, err := what.Sign(keys[name])
		if err != nil {
			r.Fatal(err)
		}
		return signed
	}
	r.want(409, rest.ReasonApprovalsMissing, "anna", "POST /campaigns/"+c.Id+"/commit", nil)
	r.want(400, rest.ReasonFormat, "anna", "POST /campaigns/x/approvals", []byte("agreed"))
	r.want(404, rest.ReasonNotFound, "anna", "POST /campaigns/"+noCampaign+"/approvals", []byte("agreed"))
	r.want(413, rest.ReasonTooLarge, "anna", "POST "+ask, make([]byte, commit.MaxApproval+1))
	r.want(422, rest.ReasonSignature, "anna", "POST "+ask, sign("mallory", what))
	for _, change := range []func(*commit.Approval){func(a *commit.Approval) { a.Targets[0]++ }, func(a *commit.Approval) { a.Manifest[0]++ }, func(a *commit.Approval) { a.Wave++ }} {
		other := what
		change(&other)
		r.want(422, rest.ReasonApproval, "anna", "POST "+ask, sign("bert", other))
	}
	_, elsewhere := r.serve(r.server("two"), plenty) // does not lead it
	if a := r.askAt(elsewhere, "anna", "POST "+ask, sign("bert", what)); a.status != 503 || a.problem(r.T).Leader != "one" {
		r.Errorf("at another server: %d %s", a.status, a.body)
	}
	r.want(204, "", "anna", "POST "+ask, sign("bert", what))
	if a := shown(); a.Waves[0].Missing != 0 || len(a.Waves[0].Approved) != 1 || a.Waves[0].Approved[0] != keys["bert"].Public().String() {
		r.Errorf("approvals %+v", a)
	}
	r.want(204, "", "anna", "POST /campaigns/"+c.Id+"/commit", nil) // somebody is asked besides
	r.until(c.Id, "closed", func(st rest.Status) bool { return st.Phase == rest.PhaseClosed })

	// What the server has of it proves all that.
	e, err := upgrade.OpenEvidence(bytes.NewReader(r.want(200, "", "vera", evidence, nil).body))
	if err != nil {
		r.Fatal(err)
	}
	audit, _, err := e.Audit(&manifest.Root{Release: fleettest.Trust, Servers: []manifest.PublicKey{fleettest.ServerKey.Public()}})
	if err != nil || !audit.Holds() || audit.Waves()[0].Approvals != commit.ProofVerified || audit.Devices()[0].Result != commit.ProofVerified {
		r.Errorf("audit %+v, %v", audit, err)
	}
	var busy []func(io.Writer) error
	for {
		write, err := r.fleet.Evidence(r.Context(), id)
		if err != nil {
			break
		}
		busy = append(busy, write)
	}
	r.want(503, rest.ReasonBusy, "vera", evidence, nil)
	for _, write := range busy {
		if err := write(io.Discard); err != nil {
			r.Error(err)
		}
	}
}

// run has two campaigns run, of which one commits and the other is aborted.
func (r *rig) run(release string) {
	r.agent("c-2")
	c := r.start(draft("runs", release, "c-2"))
	r.until(c.Id, "asks", func(st rest.Status) bool { return st.Asking })
	_, elsewhere := r.serve(r.server("two"), plenty) // does not lead it
	for _, op := range []string{"pause", "hold", "resume", "commit", "abort"} {
		a := r.askAt(elsewhere, "anna", "POST /campaigns/"+c.Id+"/"+op, nil)
		if p := a.problem(r.T); a.status != 503 || p.Reason != rest.ReasonElsewhere || p.Leader != "one" {
			r.Errorf("%s at another server: %d %+v", op, a.status, p)
		}
	}
	l := decode[rest.TargetList](r.T, r.want(200, "", "vera", "GET /campaigns/"+c.Id+"/devices", nil))
	if len(l.Items) != 1 || l.Items[0].State != "ready" || l.Items[0].Cause != "" {
		r.Errorf("devices %+v", l)
	}
	r.want(400, rest.ReasonInvalid, "vera", "GET /campaigns/"+c.Id+"/devices?cause=bad-luck", nil)
	for query, want := range map[string]int{"site=berlin": 1, "site=rome": 0, "state=ready": 1, "state=refused": 0, "order=-loss": 1} {
		if l := decode[rest.TargetList](r.T, r.want(200, "", "vera", "GET /campaigns/"+c.Id+"/devices?"+query, nil)); len(l.Items) != want {
			r.Errorf("devices with %s: %+v", query, l)
		}
	}
	sites := decode[rest.SiteList](r.T, r.want(200, "", "vera", "GET /campaigns/"+c.Id+"/sites?order=-lagging", nil))
	if want := (rest.Site{Site: "berlin", Targets: 1, Joined: 1, Ready: 1}); len(sites.Items) != 1 || sites.Items[0] != want {
		r.Errorf("sites %+v", sites)
	}
	r.want(400, rest.ReasonInvalid, "vera", "GET /campaigns/"+c.Id+"/sites?order=colour", nil)
	r.want(400, rest.ReasonInvalid, "vera", "GET /campaigns/"+c.Id+"/devices?order=colour", nil)
	r.want(200, "", "vera", "GET /campaigns/"+c.Id+"/series", nil)
	r.want(204, "", "anna", "POST /campaigns/"+c.Id+"/hold", nil)
	r.want(204, "", "anna", "POST /campaigns/"+c.Id+"/resume", nil)
	r.want(409, rest.ReasonAnnounced, "anna", "DELETE /campaigns/"+c.Id, nil)
	r.want(204, "", "anna", "POST /campaigns/"+c.Id+"/commit", nil)
	r.until(c.Id, "closed", func(st rest.Status) bool { return st.Phase == rest.PhaseClosed })
	if st := r.status(c.Id); st.Verdict != "COMMIT" || st.Committed != 1 {
		r.Errorf("status %+v", st)
	}

	c = r.start(draft("is aborted", release, "c-3"))
	r.until(c.Id, "runs", func(st rest.Status) bool { return st.Step != "" })
	r.want(409, rest.ReasonNotReady, "anna", "POST /campaigns/"+c.Id+"/commit", nil)
	r.want(404, rest.ReasonNotFound, "anna", "POST /campaigns/"+c.Id+"/commit?wave=1", nil)
	r.want(400, rest.ReasonFormat, "anna", "POST /campaigns/"+c.Id+"/commit?wave=first", nil)
	r.want(204, "", "anna", "POST /campaigns/"+c.Id+"/pause", nil)
	r.want(409, rest.ReasonPaused, "anna", "POST /campaigns/"+c.Id+"/commit", nil)
	if st := r.status(c.Id); st.Phase != rest.PhasePaused || !st.Paused || st.Brake != "operator" || len(st.Waves) != 1 || st.Waves[0].Step != rest.WaveStateStepVoting {
		r.Errorf("paused: %+v", st)
	}
	if l := decode[rest.CampaignList](r.T, r.want(200, "", "vera", "GET /campaigns?phase=paused", nil)); len(l.Items) != 1 || l.Items[0].Id != c.Id {
		r.Errorf("paused campaigns: %+v", l)
	}
	r.want(204, "", "anna", "POST /campaigns/"+c.Id+"/abort", nil)
	// Too late: it is decided, or over already.
	if p := r.want(409, "", "otto", "POST /campaigns/"+c.Id+"/commit", nil).problem(r.T); p.Reason == rest.ReasonDecided && p.By == "" {
		r.Errorf("too late: %+v", p)
	}
}

func (r *rig) enrolmentsAndTokens() {
	r.want(413, rest.ReasonTooLarge, "anna", "POST /enrolments", make([]byte, 65<<10))
	r.want(400, rest.ReasonInvalid, "anna", "POST /enrolments", rest.NewEnrolment{Expires: time.Now().Add(-time.Hour)})
	invited := decode[rest.EnrolmentSecret](r.T, r.want(201, "", "anna", "POST /enrolments", rest.NewEnrolment{Device: "late", Expires: time.Now().Add(time.Hour)})).Enrolment
	if l := decode[rest.EnrolmentList](r.T, r.want(200, "", "anna", "GET /enrolments?order=-created&limit=1", nil)); len(l.Items) != 1 || l.Items[0].Id != invited.Id {
		r.Errorf("the newest enrolment: %+v", l)
	}
	r.want(204, "", "anna", "DELETE /enrolments/"+invited.Id, nil)
	r.want(404, rest.ReasonNotFound, "anna", "DELETE /enrolments/"+invited.Id, nil)
	for _, e := range decode[rest.EnrolmentList](r.T, r.want(200, "", "anna", "GET /enrolments", nil)).Items {
		if e.Used.Actor == "c-1" {
			r.want(409, rest.ReasonState, "anna", "DELETE /enrolments/"+e.Id, nil)
		}
	}
	r.want(413, rest.ReasonTooLarge, "alma", "POST /tokens", make([]byte, 65<<10))
	r.want(400, rest.ReasonInvalid, "alma", "POST /tokens", rest.NewToken{Name: "x", Role: "emperor"})
	made := decode[rest.TokenSecret](r.T, r.want(201, "", "alma", "POST /tokens", rest.NewToken{Name: "gone", Role: rest.RoleViewer}))
	r.tokens["gone"] = made.Secret
	r.want(200, "", "gone", "GET /server", nil)
	if l := decode[rest.TokenList](r.T, r.want(200, "", "alma", "GET /tokens?name=gone", nil)); len(l.Items) != 1 || l.Items[0].Role != rest.RoleViewer || l.Items[0].LastUsed.IsZero() {
		r.Errorf("tokens %+v", l)
	}
	r.want(204, "", "alma", "DELETE /tokens/"+made.Token.Id, nil)
	r.want(401, rest.ReasonToken, "gone", "GET /server", nil)
	r.want(404, rest.ReasonNotFound, "alma", "DELETE /tokens/"+made.Token.Id, nil)
}

func (r *rig) streams() {
	r.want(200, "", "vera", "GET /events/stream", nil)
	r.want(400, rest.ReasonFormat, "vera", "GET /events/stream?campaign=x", nil)
	r.want(400, rest.ReasonInvalid, "vera", "GET /events/stream", nil, "Last-Event-ID", "x")
	free := r.api.FillStreams()
	defer free()
	r.want(503, rest.ReasonBusy, "vera", "GET /events/stream", nil)
}

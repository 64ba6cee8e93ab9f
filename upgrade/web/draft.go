package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A draftForm is a campaign as a person writes it. The names of its fields are those of the form.
type draftForm struct {
	values url.Values
}

// draftFields are all of them; the review hands them on.
var draftFields = []string{"id", "revision", "name", "release", "products", "sites", "tags", "devices",
	"start", "at", "joined", "wait", "waves", "success", "errors", "outcome_timeout", "soak", "quorum", "site_quorum", "must", "ask", "two_people", "ready_timeout", "max_failures", "allow_unsigned",
	"not_before", "spread", "window", "hold", "group", "interface", "rate", "fec", "segment_hashes", "seal_to", "seal_devices"}

// Get returns a field; templates use it.
func (f draftForm) Get(name string) string { return f.values.Get(name) }

// Is reports whether a field has a value.
func (f draftForm) Is(name, value string) bool { return f.values.Get(name) == value }

// Fields returns the fields that are not empty, to be handed on.
func (f draftForm) Fields() map[string]string {
	all := map[string]string{}
	for _, name := range draftFields {
		if text := f.values.Get(name); text != "" {
			all[name] = text
		}
	}
	return all
}

// A reader reads fields, and notes what is wrong with them.
type reader struct {
	draftForm
	wrong []string
}

func (r *reader) complain(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func (r *reader) text(name string) string { return strings.TrimSpace(r.values.Get(name)) }

// number reads a whole number from 0 to most; empty is 0.
func (r *reader) number(name, label string, most int) int {
	text := r.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		r.complain("%s: write a whole number from 0 to %d.", label, most)
	}
	return n
}

// span reads a duration such as 90s, 15m, 2h or 7d; empty is 0.
func (r *reader) span(name, label string) time.Duration {
	text := r.text(name)
	if text == "" {
		return 0
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 3650 {
			return time.Duration(n) * 24 * time.Hour
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.complain("%s: write a time such as 90s, 15m, 2h or 7d.", label)
	}
	return d
}

// formTime is how browsers write a time without a zone. It is UTC here.
const formTime = "2006-01-02T15:04"

func (r *reader) moment(name, label string) time.Time {
	text := r.text(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(formTime, text)
	if err != nil {
		r.complain("%s: write a time in UTC such as 2026-03-01T22:00.", label)
	}
	return t
}

// recipients reads public seal keys.
func (r *reader) recipients(name, label string) (all []manifest.Recipient) {
	for _, text := range strings.Fields(r.values.Get(name)) {
		to, err := manifest.ParseRecipient(text)
		if err != nil {
			r.complain("%s: %.40q is no public seal key; write what is in phones.pub, which normsend keygen --role seal has made.", label, text)
			continue
		}
		all = append(all, to)
	}
	return all
}

// read returns the campaign that the form describes; what the form does not show stays as in was.
func (f draftForm) read(was store.CampaignSettings) (name string, release manifest.Digest, set store.CampaignSettings, wrong []string) {
	r := &reader{draftForm: f}
	name, set = r.text("name"), was
	if name == "" {
		r.complain("Name: give the campaign a name.")
	}
	release, err := parseDigest(r.text("release"))
	if err != nil {
		r.complain("Release: choose one.")
	}
	set.Targets = store.Selector{Products: fields(f.Get("products")), Sites: fields(f.Get("sites")), Tags: fields(f.Get("tags")), Devices: fields(f.Get("devices"))}

	set.Schedule = store.Schedule{}
	switch r.text("start") {
	case "at":
		if set.Schedule.At = r.moment("at", "Start"); set.Schedule.At.IsZero() && len(r.wrong) == 0 {
			r.complain("Start: say when.")
		}
	case "joined":
		set.Schedule.Joined, set.Schedule.Wait = r.number("joined", "Devices that wait", commit.MaxTargets), r.span("wait", "Longest wait")
		if set.Schedule.Joined == 0 && set.Schedule.Wait == 0 {
			r.complain("Start: say how many devices have to wait, or how long they are waited for.")
		}
	}

	set.Policy.Waves = r.readWaves(was.Policy.Waves)
	set.Policy.TwoPeople, set.Policy.AllowUnsigned = f.Is("two_people", "on"), f.Is("allow_unsigned", "on")
	set.Policy.MaxFailures = r.number("max_failures", "Failures", commit.MaxTargets)

	a := &set.Activation
	a.NotBefore, a.Spread, a.Window, a.Hold = r.moment("not_before", "Not before"), r.span("spread", "Spread"), r.span("window", "Window"), r.span("hold", "Kept")

	t := &set.Transport
	t.Group, t.Interface, t.FEC = netip.AddrPort{}, r.text("interface"), r.text("fec")
	if text := r.text("group"); text != "" {
		if t.Group, err = netip.ParseAddrPort(text); err != nil {
			r.complain("Group: write an address and a port, such as 239.192.0.1:6003.")
		}
	}
	t.SegmentHashes = f.Is("segment_hashes", "on")
	set.Seal = store.Seal{To: r.recipients("seal_to", "Groups that open sealed images"), Devices: f.Is("seal_devices", "on")}
	t.Rate = 0
	if text := r.text("rate"); text != "" {
		mega, err := strconv.ParseFloat(text, 64)
		if err != nil || !(mega > 0 && mega <= 1e6) {
			r.complain("Rate: write a number of Mbit/s.")
		} else {
			t.Rate = mega * 1e6
		}
	}
	if len(r.wrong) == 0 {
		if err := fleet.Check(set); err != nil {
			_, text := explain(err)
			r.complain("%s", text)
		}
	}
	return name, release, set, r.wrong
}

// formOf returns a campaign as a form.
func formOf(c store.Campaign) draftForm {
	v := url.Values{}
	put := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	span := func(name string, d time.Duration) {
		if d != 0 {
			v.Set(name, d.String())
		}
	}
	moment := func(name string, t time.Time) {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(formTime))
		}
	}
	flag := func(name string, on bool) {
		if on {
			v.Set(name, "on")
		}
	}
	set := c.Settings
	put("id", c.ID.String())
	put("revision", strconv.FormatInt(c.Revision, 10))
	put("name", c.Name)
	put("release", c.Release.String())
	for name, list := range map[string][]string{"products": set.Targets.Products, "sites": set.Targets.Sites, "tags": set.Targets.Tags} {
		put(name, strings.Join(list, " "))
	}
	put("devices", strings.Join(set.Targets.Devices, "\n"))
	v.Set("start", "now")
	switch s := set.Schedule; {
	case !s.At.IsZero():
		v.Set("start", "at")
	case s.Joined > 0 || s.Wait > 0:
		v.Set("start", "joined")
	}
	moment("at", set.Schedule.At)
	number("joined", set.Schedule.Joined)
	span("wait", set.Schedule.Wait)
	putWaves(set.Policy.Waves, put, number, span, flag)
	flag("two_people", set.Policy.TwoPeople)
	flag("allow_unsigned", set.Policy.AllowUnsigned)
	number("max_failures", set.Policy.MaxFailures)
	moment("not_before", set.Activation.NotBefore)
	span("spread", set.Activation.Spread)
	span("window", set.Activation.Window)
	span("hold", set.Activation.Hold)
	if set.Transport.Group.IsValid() {
		put("group", set.Transport.Group.String())
	}
	put("interface", set.Transport.Interface)
	put("fec", set.Transport.FEC)
	flag("segment_hashes", set.Transport.SegmentHashes)
	var groups []string
	for _, to := range set.Seal.To {
		groups = append(groups, to.String())
	}
	put("seal_to", strings.Join(groups, "\n"))
	flag("seal_devices", set.Seal.Devices)
	if set.Transport.Rate > 0 {
		put("rate", strconv.FormatFloat(set.Transport.Rate/1e6, 'f', -1, 64))
	}
	return draftForm{v}
}

// A draftPage is what draft.html shows.
type draftPage struct {
	Form     draftForm
	Releases []store.Release
	Wrong    []string
	Editing  bool
}

// maxChoice bounds the releases that can be chosen from.
const maxChoice = 1000

func (s *Site) showDraft(v *visit, status int, f draftForm, wrong []string) error {
	l, err := s.store.Releases(v.r.Context(), "", store.Page{Limit: maxChoice, Order: "-uploaded"})
	if err != nil {
		return err
	}
	p := draftPage{Form: f, Releases: l.Items, Wrong: wrong, Editing: f.Get("id") != ""}
	title := "New campaign"
	if p.Editing {
		title = "Change campaign"
	}
	v.show(status, "draft.html", title, p)
	return nil
}

func (s *Site) newCampaign(v *visit) error {
	f := draftForm{url.Values{"start": {"now"}, "ask": {"on"}, "release": {v.r.FormValue("release")}}}
	return s.showDraft(v, http.StatusOK, f, nil)
}

func (s *Site) changeCampaign(v *visit, c store.Campaign) error {
	if c.Phase != store.PhaseDraft {
		return &refusal{http.StatusConflict, "Only a draft can be changed; this campaign is " + sayPhase(c.Phase) + "."}
	}
	if !uniform(c.Settings.Policy.Waves) {
		return &refusal{http.StatusConflict, "The waves of this draft differ in more than their devices, which the form cannot show. Change it by the REST API."}
	}
	return s.showDraft(v, http.StatusOK, formOf(c), nil)
}

// rewriteCampaign shows the form again, from the review.
func (s *Site) rewriteCampaign(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	return s.showDraft(v, http.StatusOK, draftForm{form}, nil)
}

// A written campaign is what a form says.
type written struct {
	id       commit.CampaignID // zero: a new one
	revision int64
	name     string
	release  store.Release
	settings store.CampaignSettings
}

// readDraft reads the form; wrong says what a person has to correct.
func (s *Site) readDraft(v *visit) (f draftForm, w written, wrong []string, err error) {
	form, err := v.form()
	if err != nil {
		return f, w, nil, err
	}
	f = draftForm{form}
	var was store.CampaignSettings
	if text := f.Get("id"); text != "" {
		if w.id, err = manifest.ParseCampaignID(text); err != nil {
			return f, w, nil, store.ErrNotFound
		}
		c, err := s.store.Campaign(v.r.Context(), w.id)
		if err != nil {
			return f, w, nil, err
		}
		if w.revision, err = strconv.ParseInt(f.Get("revision"), 10, 64); err != nil || w.revision != c.Revision {
			return f, w, nil, store.ErrConflict
		}
		was = c.Settings
	}
	var digest manifest.Digest
	w.name, digest, w.settings, wrong = f.read(was)
	if digest != (manifest.Digest{}) {
		if w.release, err = s.store.Release(v.r.Context(), digest); err != nil {
			return f, w, nil, err
		}
		if t := &w.settings.Targets; len(t.Products) == 0 {
			t.Products = []string{w.release.Manifest.Product} // others would refuse it
		}
	}
	return f, w, wrong, nil
}

// A previewPart is what part-preview shows.
type previewPart struct {
	fleet.Preview
	Targets store.Selector
	Count   int
	Wrong   string
}

func (s *Site) preview(v *visit, set store.CampaignSettings) previewPart {
	p, err := s.fleet.Preview(v.r.Context(), set)
	part := previewPart{Preview: p, Targets: set.Targets, Count: p.Targets}
	if err != nil {
		_, part.Wrong = explain(err)
	}
	return part
}

// previewCampaign counts the targets while a person writes.
func (s *Site) previewCampaign(v *visit) error {
	_, w, _, err := s.readDraft(v)
	if err != nil {
		return err
	}
	part := previewPart{Wrong: "Choose a release to see how many devices it is for."}
	if w.release.Manifest != nil {
		part = s.preview(v, w.settings)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return pages["draft.html"].ExecuteTemplate(v.w, "part-preview", part)
}

// A reviewPage is what review.html shows.
type reviewPage struct {
	Form     draftForm
	Name     string
	Release  store.Release
	Settings store.CampaignSettings
	Preview  previewPart
	Editing  bool
}

func (s *Site) reviewCampaign(v *visit) error {
	f, w, wrong, err := s.readDraft(v)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return s.showDraft(v, http.StatusUnprocessableEntity, f, wrong)
	}
	v.show(http.StatusOK, "review.html", "Review", reviewPage{f, w.name, w.release, w.settings, s.preview(v, w.settings), f.Get("id") != ""})
	return nil
}

// createCampaign makes the draft that was reviewed, or changes it.
func (s *Site) createCampaign(v *visit) error {
	f, w, wrong, err := s.readDraft(v)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return s.showDraft(v, http.StatusUnprocessableEntity, f, wrong)
	}
	if w.id != (commit.CampaignID{}) {
		if _, err := s.fleet.Change(v.r.Context(), w.id, w.revision, w.name, w.release.ID, w.settings, v.token.Name); err != nil {
			return err
		}
		return v.done("/campaigns/"+w.id.String(), "The draft is changed.")
	}
	c, err := s.fleet.Create(v.r.Context(), w.name, w.release.ID, w.settings, v.token.Name)
	if err != nil {
		return err
	}
	return v.done("/campaigns/"+c.ID.String(), "The draft is made. Nothing happens before somebody starts it.")
}

package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A devicesPage is what devices.html shows.
type devicesPage struct {
	Devices            []store.Device
	Total              string // that the filter selects
	Find               string // what their names begin with
	Product, Site, Tag string
	State              string // of the key: any (empty), none, pending, approved, revoked, duplicate
	Sort               sorting
	Pages              pager
	Registry           int // how many devices there are at all
	States             []string
	KeyStates          map[string]string
	Online             map[string]bool // those that wait at this server
	Several            bool            // there may be others
}

var keyStates = map[string]string{"": "any", "none": "no key", "pending": "to be approved", "approved": "approved", "revoked": "revoked", "duplicate": "key lives twice"}

// fields returns what a person has written with spaces or commas between, each once.
func fields(text string) (list []string) {
	seen := map[string]bool{}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n;", r) }) {
		if !seen[word] {
			seen[word] = true
			list = append(list, word)
		}
	}
	return list
}

// maxCount is up to where devices are counted that a filter selects: how many more there are is not worth the time.
const maxCount = 1000

// IsFiltered reports whether the list is less than all devices.
func (p devicesPage) IsFiltered() bool {
	return p.Find != "" || p.Product != "" || p.Site != "" || p.Tag != "" || p.State != ""
}

func (s *Site) devices(v *visit) error {
	ctx := v.r.Context()
	q := v.r.URL.Query()
	p := devicesPage{Find: strings.TrimSpace(q.Get("find")), Product: q.Get("product"), Site: q.Get("site"), Tag: q.Get("tag"), State: q.Get("state"),
		Sort: v.sorting("id"), States: []string{"", "pending", "approved", "revoked", "none", "duplicate"}, KeyStates: keyStates, Online: map[string]bool{}, Several: s.store.Several()}
	f := store.DeviceFilter{Prefix: p.Find, Products: fields(p.Product), Sites: fields(p.Site), Tags: fields(p.Tag)}
	switch p.State {
	case "":
	case "none":
		f.KeyState = new(store.KeyNone)
	case "duplicate":
		f.Duplicate = true
	case string(store.KeyPending), string(store.KeyApproved), string(store.KeyRevoked):
		f.KeyState = new(store.KeyState(p.State))
	default:
		return &refusal{http.StatusUnprocessableEntity, "There is no such state of a key."}
	}
	all, err := s.fleet.Summary(ctx)
	if err != nil {
		return err
	}
	p.Registry = all.Devices
	if p.Total = count(all.Devices, "device", "devices"); p.IsFiltered() {
		n, err := s.store.CountDevicesUpTo(ctx, f, maxCount+1)
		if err != nil {
			return err
		}
		if p.Total = count(n, "device", "devices"); n > maxCount {
			p.Total = "More than " + count(maxCount, "device", "devices")
		}
	}
	l, err := s.store.Devices(ctx, f, p.Sort.page(v, 100))
	if err != nil {
		return err
	}
	if p.Find != "" && len(l.Items) == 1 && l.Items[0].ID == p.Find {
		http.Redirect(v.w, v.r, "/devices/"+url.PathEscape(p.Find), http.StatusSeeOther)
		return nil
	}
	for _, d := range l.Items {
		p.Online[d.ID] = s.fleet.Online(d.ID)
	}
	p.Devices, p.Pages = l.Items, v.pager(l.Next)
	v.show(http.StatusOK, "devices.html", "Devices", p)
	return nil
}

// A devicePage is what device.html shows.
type devicePage struct {
	store.Device
	Online      bool // it waits at this server
	Several     bool // there may be others
	Fingerprint string
	Open        []store.Overlap  // the campaign that has it
	Part        fleet.View       // how far it is in that; zero: it is not known
	Diagnosis   *store.Diagnosis // what it has found out about its network; nil: it was never asked
	Events      []store.Event    // the newest first
	Pages       pager
	KeyWord     string
}

func (s *Site) device(v *visit) error {
	ctx := v.r.Context()
	d, err := s.store.Device(ctx, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p := devicePage{Device: d, Online: s.fleet.Online(d.ID), Several: s.store.Several(), KeyWord: keyStates[cmp.Or(string(d.KeyState), "none")]}
	if !d.Key.IsZero() {
		p.Fingerprint = d.Key.Fingerprint()
	}
	if p.Open, err = s.store.Overlaps(ctx, []string{d.ID}); err != nil {
		return err
	}
	if len(p.Open) > 0 { // one that is scheduled says nothing of it
		p.Part, _ = s.fleet.CampaignDevice(ctx, p.Open[0].Campaign, d.ID)
	}
	if p.Diagnosis, err = s.diagnosis(ctx, d.ID); err != nil {
		return err
	}
	history, err := s.store.Events(ctx, store.EventFilter{Subject: d.ID}, v.sorting("-id").page(v, 50))
	if err != nil {
		return err
	}
	p.Events, p.Pages = history.Items, v.pager(history.Next)
	v.show(http.StatusOK, "device.html", d.ID, p)
	return nil
}

// revision returns the revision that a form was made from.
func (v *visit) revision() (int64, error) {
	form, err := v.form()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(form.Get("revision"), 10, 64)
	if err != nil {
		return 0, store.ErrConflict
	}
	return n, nil
}

func (s *Site) placeDevice(v *visit) error {
	revision, err := v.revision()
	if err != nil {
		return err
	}
	id := v.r.PathValue("id")
	if err := s.fleet.PlaceDevice(v.r.Context(), id, revision, strings.TrimSpace(v.r.PostFormValue("site")), fields(v.r.PostFormValue("tags")), v.token.Name); err != nil {
		return err
	}
	return v.done("/devices/"+url.PathEscape(id), "Site and tags are set.")
}

// A deviceDeed is something that is done with a device, after a question.
type deviceDeed struct {
	operation string
	title     string // with the name of the device
	line      string
	button    string
	danger    bool
	done      string // with the name of the device
	gone      bool   // there is no page of the device any more
	do        func(s *Site, ctx context.Context, device string, revision int64, actor string) error
}

var deviceDeeds = map[string]deviceDeed{
	"approve": {"POST /devices/{device}/approve", "Approve the key of %s", "Compare the fingerprint with the one that the device shows. From then on the key counts as the device’s, and the device can be a target.",
		"Approve", false, "The key of %s is approved.", false, func(s *Site, ctx context.Context, d string, rev int64, by string) error {
			return s.fleet.ApproveDevice(ctx, d, rev, by)
		}},
	"revoke": {"POST /devices/{device}/revoke", "Revoke the key of %s", "The key never counts again, whoever shows it. The device is no target any more, until it has another key.",
		"Revoke", true, "The key of %s is revoked.", false, func(s *Site, ctx context.Context, d string, rev int64, by string) error {
			return s.fleet.RevokeDevice(ctx, d, rev, by)
		}},
	"replace-key": {"POST /devices/{device}/replace-key", "Let %s show another key", "The key that is known is forgotten, as after its storage was renewed. The next key that it shows has to be approved.",
		"Forget the key", true, "%s may show another key.", false, func(s *Site, ctx context.Context, d string, rev int64, by string) error {
			return s.fleet.ReplaceDeviceKey(ctx, d, rev, by)
		}},
	"examine": {"POST /examinations", "Have %s examine its network", "The device finds out how multicast reaches it from this server, which takes half a minute. No other device can do that meanwhile.",
		"Examine", false, "%s is asked. Load this page again in half a minute to see what it finds.", false, examineDevice},
	"remove": {"DELETE /devices/{device}", "Remove %s", "The server forgets the device. If it comes back it is a new one, whose key has to be approved.",
		"Remove", true, "%s is removed.", true, func(s *Site, ctx context.Context, d string, rev int64, by string) error {
			return s.fleet.RemoveDevice(ctx, d, rev, by)
		}},
}

func (s *Site) askDevice(v *visit, verb string, deed deviceDeed) error {
	d, err := s.store.Device(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	page := "/devices/" + url.PathEscape(d.ID)
	lines := []string{deed.line}
	if !d.Key.IsZero() {
		lines = append(lines, "Fingerprint: "+d.Key.Fingerprint())
	}
	return v.ask(question{Title: fmt.Sprintf(deed.title, d.ID), Lines: lines, Button: deed.button, Danger: deed.danger,
		Action: page + "/" + verb, Back: page, Hidden: map[string]string{"revision": strconv.FormatInt(d.Revision, 10)}})
}

func (s *Site) doDevice(v *visit, deed deviceDeed) error {
	revision, err := v.revision()
	if err != nil {
		return err
	}
	id := v.r.PathValue("id")
	if err := deed.do(s, v.r.Context(), id, revision, v.token.Name); err != nil {
		return err
	}
	page := "/devices/" + url.PathEscape(id)
	if deed.gone {
		page = "/devices"
	}
	return v.done(page, fmt.Sprintf(deed.done, id))
}

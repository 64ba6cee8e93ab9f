package web

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A networkPage is what network.html shows: what devices have found out about their network.
type networkPage struct {
	Sites []fleet.SiteDiagnosis
	Pages pager
	Sort  sorting
	Open  []store.Examination // those that go on
	Form  draftForm           // what a person wrote, if something in it is wrong
	Wrong []string
}

func (s *Site) network(v *visit) error { return s.showNetwork(v, http.StatusOK, networkPage{}) }

func (s *Site) showNetwork(v *visit, status int, p networkPage) error {
	p.Sort = v.sorting("-wrong")
	l, err := s.fleet.Diagnoses(v.r.Context(), p.Sort.page(v, 100))
	if err != nil {
		return err
	}
	if p.Open, err = s.store.OpenExaminations(v.r.Context(), time.Now()); err != nil {
		return err
	}
	p.Sites, p.Pages = l.Items, v.pager(l.Next)
	v.show(status, "network.html", "Network", p)
	return nil
}

// examine has devices examine their network.
func (s *Site) examine(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	r := &reader{draftForm: draftForm{form}}
	o := fleet.ExamineOrder{Of: store.DeviceFilter{Sites: fields(r.Get("sites")), Tags: fields(r.Get("tags"))}, PerSite: r.number("per_site", "Of each site", fleet.MaxExamined)}
	if text := r.text("group"); text != "" {
		if o.Group, err = netip.ParseAddrPort(text); err != nil {
			r.complain("Group: write an address and a port such as 239.1.2.3:6003.")
		}
	}
	if len(r.wrong) == 0 {
		e, err := s.fleet.Examine(v.r.Context(), o, v.token.Name)
		if err == nil {
			return v.done("/network", asked(e))
		}
		status, text := explain(err)
		if status == http.StatusInternalServerError {
			return err
		}
		r.complain("%s", text)
	}
	return s.showNetwork(v, http.StatusUnprocessableEntity, networkPage{Form: r.draftForm, Wrong: r.wrong})
}

// asked says that devices were.
func asked(e fleet.Examination) string {
	return count(len(e.Devices), "device is", "devices are") + " asked, one after the other until " + sayMoment(e.Until) + " UTC. Load this page again to see what they find."
}

// examineDevice is the deed of one device.
func examineDevice(s *Site, ctx context.Context, device string, _ int64, actor string) error {
	_, err := s.fleet.Examine(ctx, fleet.ExamineOrder{Devices: []string{device}}, actor)
	return err
}

// diagnosis returns what a device has found, or nil if it was never asked.
func (s *Site) diagnosis(ctx context.Context, device string) (*store.Diagnosis, error) {
	d, err := s.store.Diagnosis(ctx, device)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &d, err
}

// verdictLooks are how verdicts look.
var verdictLooks = map[store.Verdict]string{store.VerdictOK: "good", store.VerdictWarning: "attention", store.VerdictFault: "bad"}

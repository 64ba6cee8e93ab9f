package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A View is a target as a person sees it.
type View struct {
	upgrade.DeviceState
	Cause  Cause  `json:"cause,omitempty"`  // why it is not where it should be; empty: it is
	Detail string `json:"detail,omitempty"` // likewise, for people
}

// A TargetFilter selects targets of a campaign. What is zero does not matter.
type TargetFilter struct {
	Cause Cause        `json:"cause,omitempty"`
	Site  string       `json:"site,omitempty"`
	State commit.State `json:"state,omitempty"`
}

func (f TargetFilter) takes(v View) bool {
	return (f.Cause == "" || v.Cause == f.Cause) && (f.Site == "" || v.Site == f.Site) && (f.State == "" || v.State == f.State)
}

var targetOrders = map[string]func(View) rank{
	"site":     func(v View) rank { return rank{text: v.Site} },
	"loss":     func(v View) rank { return rank{number: v.Loss} },
	"received": func(v View) rank { return rank{number: float64(v.Bytes)} },
}

// CampaignDevices returns a page of the targets of a campaign by name, or in the order site, loss or received.
func (s *Server) CampaignDevices(ctx context.Context, id commit.CampaignID, f TargetFilter, p store.Page) (store.List[View], error) {
	return inquire(ctx, s, id, question{What: askDevices, Filter: f, Page: p}, func() (store.List[View], error) { return s.devicesHere(ctx, id, f, p) })
}

func (s *Server) devicesHere(ctx context.Context, id commit.CampaignID, f TargetFilter, p store.Page) (store.List[View], error) {
	_, views, err := s.survey(ctx, id)
	if err != nil {
		return store.List[View]{}, err
	}
	if f != (TargetFilter{}) {
		var some []View
		for _, v := range views {
			if f.takes(v) {
				some = append(some, v)
			}
		}
		views = some
	}
	return part(views, p, func(v View) string { return v.Device }, targetOrders)
}

// CampaignDevice returns one target of a campaign; [store.ErrNotFound] if the device is none.
func (s *Server) CampaignDevice(ctx context.Context, id commit.CampaignID, device string) (View, error) {
	return inquire(ctx, s, id, question{What: askDevice, Device: device}, func() (View, error) { return s.deviceHere(ctx, id, device) })
}

func (s *Server) deviceHere(ctx context.Context, id commit.CampaignID, device string) (View, error) {
	_, views, err := s.survey(ctx, id)
	if err != nil {
		return View{}, err
	}
	i, ok := slices.BinarySearchFunc(views, device, func(v View, device string) int { return strings.Compare(v.Device, device) })
	if !ok {
		return View{}, fmt.Errorf("%w: target %.70q of campaign %s", store.ErrNotFound, device, id)
	}
	return views[i], nil
}

// A SiteView is the targets of a campaign at one site.
type SiteView struct {
	Site      string  `json:"site"` // empty: those that have none
	Targets   int     `json:"targets"`
	Joined    int     `json:"joined"`
	Ready     int     `json:"ready"` // or further
	Committed int     `json:"committed"`
	Failed    int     `json:"failed"`     // refused, failed, rolled back or released
	Lagging   int     `json:"lagging"`    // have a Cause
	WorstLoss float64 `json:"worst_loss"` // of the device that loses most
}

// add counts a target.
func (v *SiteView) add(d View) {
	v.Targets++
	if d.State != commit.StateNone {
		v.Joined++
	}
	switch d.State {
	case commit.StateReady:
		v.Ready++
	case commit.StateCommitted:
		v.Ready++
		v.Committed++
	case commit.StateRolledBack:
		v.Ready++
		v.Failed++
	case commit.StateFailed, commit.StateRefused, commit.StateReleased:
		v.Failed++
	}
	if d.Cause != "" {
		v.Lagging++
	}
	v.WorstLoss = max(v.WorstLoss, d.Loss)
}

var siteOrders = map[string]func(SiteView) rank{
	"lagging": func(v SiteView) rank { return rank{number: float64(v.Lagging)} },
	"ready":   func(v SiteView) rank { return rank{number: float64(v.Ready) / float64(v.Targets)} },
	"loss":    func(v SiteView) rank { return rank{number: v.WorstLoss} },
}

// CampaignSites returns a page of the sites of a campaign by name, or in the order lagging, ready (the share of their targets) or loss.
func (s *Server) CampaignSites(ctx context.Context, id commit.CampaignID, p store.Page) (store.List[SiteView], error) {
	return inquire(ctx, s, id, question{What: askSites, Page: p}, func() (store.List[SiteView], error) { return s.sitesHere(ctx, id, p) })
}

func (s *Server) sitesHere(ctx context.Context, id commit.CampaignID, p store.Page) (store.List[SiteView], error) {
	_, views, err := s.survey(ctx, id)
	if err != nil {
		return store.List[SiteView]{}, err
	}
	at := map[string]int{}
	var sites []SiteView
	for _, d := range views {
		i, ok := at[d.Site]
		if !ok {
			i = len(sites)
			at[d.Site] = i
			sites = append(sites, SiteView{Site: d.Site})
		}
		sites[i].add(d)
	}
	return part(sites, p, func(v SiteView) string { return v.Site }, siteOrders)
}

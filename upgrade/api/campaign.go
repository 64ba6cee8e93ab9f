package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func campaignView(c store.Campaign) (rest.Campaign, error) {
	v := rest.Campaign{
		Id: c.ID.String(), Name: c.Name, Release: c.Release.String(), Phase: rest.Phase(c.Phase), Created: byOf(c.Created), Changed: c.Changed,
		Closed: c.Closed, Restored: rest.CampaignRestored(c.Restored), Revision: c.Revision,
	}
	if c.Approved.Actor != "" {
		v.Approved = byOf(c.Approved)
	}
	var err error
	v.Settings, err = convert[rest.Settings](c.Settings)
	return v, err
}

func (s server) ListCampaigns(ctx context.Context, r rest.ListCampaignsRequestObject) (rest.ListCampaignsResponseObject, error) {
	q := r.Params
	page, err := sorted(q.Order, q.After, q.Limit)
	if err != nil {
		return nil, err
	}
	f := store.CampaignFilter{Name: q.Name, Phases: each(q.Phase, func(p rest.Phase) store.CampaignPhase { return store.CampaignPhase(p) })}
	if q.Release != "" {
		if f.Release, err = digestOf(q.Release); err != nil {
			return nil, err
		}
	}
	l, err := s.store.Campaigns(ctx, f, page)
	if err != nil {
		return nil, err
	}
	list := rest.ListCampaigns200JSONResponse{Items: []rest.Campaign{}, Next: l.Next}
	for _, c := range l.Items {
		c.Settings.Targets.Devices = nil // which may be many; the campaign itself has them
		v, err := campaignView(c)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, v)
	}
	return list, nil
}

// draftOf reads what a person wants a campaign to be.
func draftOf(d *rest.Draft) (release manifest.Digest, settings store.CampaignSettings, err error) {
	if release, err = digestOf(d.Release); err != nil {
		return release, settings, err
	}
	if settings, err = convert[store.CampaignSettings](d.Settings); err != nil {
		err = refuse(http.StatusBadRequest, rest.ReasonInvalid, "settings: %v", err)
	}
	return release, settings, err
}

// campaign returns a campaign as the contract has it, with its ETag, unless there is an error already.
func campaign(c store.Campaign, err error) (rest.Campaign, string, error) {
	if err != nil {
		return rest.Campaign{}, "", err
	}
	v, err := campaignView(c)
	return v, etag(c.Revision), err
}

func (s server) CreateCampaign(ctx context.Context, r rest.CreateCampaignRequestObject) (rest.CreateCampaignResponseObject, error) {
	release, settings, err := draftOf(r.Body)
	if err != nil {
		return nil, err
	}
	c, tag, err := campaign(s.fleet.Create(ctx, r.Body.Name, release, settings, actor(ctx)))
	return rest.CreateCampaign201JSONResponse{Body: c, Headers: rest.CreateCampaign201ResponseHeaders{ETag: tag}}, err
}

func (s server) PreviewCampaign(ctx context.Context, r rest.PreviewCampaignRequestObject) (rest.PreviewCampaignResponseObject, error) {
	id, settings, err := draftOf(r.Body)
	if err != nil {
		return nil, err
	}
	release, err := s.store.Release(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(settings.Targets.Products) == 0 {
		settings.Targets.Products = []string{release.Manifest.Product} // as Start does
	}
	p, err := s.fleet.Preview(ctx, settings)
	if err != nil {
		return nil, err
	}
	v, err := convert[rest.Preview](p)
	return rest.PreviewCampaign200JSONResponse(v), err
}

func (s server) ShowCampaign(ctx context.Context, r rest.ShowCampaignRequestObject) (rest.ShowCampaignResponseObject, error) {
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	c, tag, err := campaign(s.store.Campaign(ctx, id))
	return rest.ShowCampaign200JSONResponse{Body: c, Headers: rest.ShowCampaign200ResponseHeaders{ETag: tag}}, err
}

// change does something with a campaign that has the revision of If-Match.
func change(path rest.CampaignPath, match rest.IfMatch, f func(id commit.CampaignID, revision int64) (store.Campaign, error)) (rest.Campaign, string, error) {
	id, err := campaignOf(path)
	if err != nil {
		return rest.Campaign{}, "", err
	}
	revision, err := revisionOf(match)
	if err != nil {
		return rest.Campaign{}, "", err
	}
	return campaign(f(id, revision))
}

func (s server) ChangeCampaign(ctx context.Context, r rest.ChangeCampaignRequestObject) (rest.ChangeCampaignResponseObject, error) {
	release, settings, err := draftOf(r.Body)
	if err != nil {
		return nil, err
	}
	c, tag, err := change(r.Campaign, r.Params.IfMatch, func(id commit.CampaignID, revision int64) (store.Campaign, error) {
		return s.fleet.Change(ctx, id, revision, r.Body.Name, release, settings, actor(ctx))
	})
	return rest.ChangeCampaign200JSONResponse{Body: c, Headers: rest.ChangeCampaign200ResponseHeaders{ETag: tag}}, err
}

func (s server) ApproveCampaign(ctx context.Context, r rest.ApproveCampaignRequestObject) (rest.ApproveCampaignResponseObject, error) {
	c, tag, err := change(r.Campaign, r.Params.IfMatch, func(id commit.CampaignID, revision int64) (store.Campaign, error) {
		return s.fleet.Approve(ctx, id, revision, actor(ctx))
	})
	return rest.ApproveCampaign200JSONResponse{Body: c, Headers: rest.ApproveCampaign200ResponseHeaders{ETag: tag}}, err
}

func (s server) StartCampaign(ctx context.Context, r rest.StartCampaignRequestObject) (rest.StartCampaignResponseObject, error) {
	c, tag, err := change(r.Campaign, r.Params.IfMatch, func(id commit.CampaignID, revision int64) (store.Campaign, error) {
		return s.fleet.Start(ctx, id, revision, actor(ctx))
	})
	return rest.StartCampaign200JSONResponse{Body: c, Headers: rest.StartCampaign200ResponseHeaders{ETag: tag}}, err
}

func (s server) ResolveCampaign(ctx context.Context, r rest.ResolveCampaignRequestObject) (rest.ResolveCampaignResponseObject, error) {
	as := store.NotRestored
	if r.Body.Adopting {
		as = store.Adopting
	}
	c, tag, err := change(r.Campaign, r.Params.IfMatch, func(id commit.CampaignID, revision int64) (store.Campaign, error) {
		return s.fleet.Resolve(ctx, id, revision, as, actor(ctx))
	})
	return rest.ResolveCampaign200JSONResponse{Body: c, Headers: rest.ResolveCampaign200ResponseHeaders{ETag: tag}}, err
}

// act does something with a campaign, whatever its revision.
func act(ctx context.Context, path rest.CampaignPath, f func(ctx context.Context, id commit.CampaignID, actor string) error) error {
	id, err := campaignOf(path)
	if err != nil {
		return err
	}
	return f(ctx, id, actor(ctx))
}

func (s server) DiscardCampaign(ctx context.Context, r rest.DiscardCampaignRequestObject) (rest.DiscardCampaignResponseObject, error) {
	return rest.DiscardCampaign204Response{}, act(ctx, r.Campaign, s.fleet.Discard)
}

func (s server) PauseCampaign(ctx context.Context, r rest.PauseCampaignRequestObject) (rest.PauseCampaignResponseObject, error) {
	return rest.PauseCampaign204Response{}, act(ctx, r.Campaign, s.fleet.Pause)
}

func (s server) HoldCampaign(ctx context.Context, r rest.HoldCampaignRequestObject) (rest.HoldCampaignResponseObject, error) {
	return rest.HoldCampaign204Response{}, act(ctx, r.Campaign, s.fleet.Hold)
}

func (s server) ResumeCampaign(ctx context.Context, r rest.ResumeCampaignRequestObject) (rest.ResumeCampaignResponseObject, error) {
	return rest.ResumeCampaign204Response{}, act(ctx, r.Campaign, s.fleet.Resume)
}

func (s server) CommitCampaign(ctx context.Context, r rest.CommitCampaignRequestObject) (rest.CommitCampaignResponseObject, error) {
	agree := s.fleet.Commit
	if wave := r.Params.Wave; wave != nil {
		agree = func(ctx context.Context, id commit.CampaignID, actor string) error {
			return s.fleet.CommitWave(ctx, id, uint32(*wave), actor)
		}
	}
	return rest.CommitCampaign204Response{}, act(ctx, r.Campaign, agree)
}

func (s server) AbortCampaign(ctx context.Context, r rest.AbortCampaignRequestObject) (rest.AbortCampaignResponseObject, error) {
	return rest.AbortCampaign204Response{}, act(ctx, r.Campaign, s.fleet.Abort)
}

func (s server) ShowCampaignStatus(ctx context.Context, r rest.ShowCampaignStatusRequestObject) (rest.ShowCampaignStatusResponseObject, error) {
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	snap, err := s.fleet.Snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := convert[rest.Status](snap)
	return rest.ShowCampaignStatus200JSONResponse(v), err
}

func (s server) ListCampaignDevices(ctx context.Context, r rest.ListCampaignDevicesRequestObject) (rest.ListCampaignDevicesResponseObject, error) {
	page, err := sorted(r.Params.Order, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	cause := fleet.Cause(r.Params.Cause)
	if cause != "" && !slices.Contains(fleet.Causes(), cause) {
		return nil, refuse(http.StatusBadRequest, rest.ReasonInvalid, "cause %.70q: want one of %v", cause, fleet.Causes())
	}
	l, err := s.fleet.CampaignDevices(ctx, id, fleet.TargetFilter{Cause: cause, Site: r.Params.Site, State: commit.State(r.Params.State)}, page)
	if err != nil {
		return nil, err
	}
	v, err := convert[[]rest.Target](l.Items)
	if v == nil {
		v = []rest.Target{}
	}
	return rest.ListCampaignDevices200JSONResponse{Items: v, Next: l.Next}, err
}

func (s server) ListCampaignSites(ctx context.Context, r rest.ListCampaignSitesRequestObject) (rest.ListCampaignSitesResponseObject, error) {
	page, err := sorted(r.Params.Order, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	l, err := s.fleet.CampaignSites(ctx, id, page)
	return rest.ListCampaignSites200JSONResponse{Next: l.Next, Items: each(l.Items, func(v fleet.SiteView) rest.Site {
		return rest.Site{Site: v.Site, Targets: v.Targets, Joined: v.Joined, Ready: v.Ready, Committed: v.Committed, Failed: v.Failed, Lagging: v.Lagging, WorstLoss: v.WorstLoss}
	})}, err
}

func (s server) ShowCampaignSeries(ctx context.Context, r rest.ShowCampaignSeriesRequestObject) (rest.ShowCampaignSeriesResponseObject, error) {
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	samples, err := s.fleet.Series(ctx, id)
	return rest.ShowCampaignSeries200JSONResponse{Items: each(samples, func(x fleet.Sample) rest.Sample {
		return rest.Sample{At: x.At, Reporting: x.Reporting, Loss: x.Loss, WorstLoss: x.WorstLoss, Nacks: x.Nacks, Repairs: x.Repairs, Rate: x.Rate}
	})}, err
}

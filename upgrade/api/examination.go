package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func (s server) ExamineDevices(ctx context.Context, r rest.ExamineDevicesRequestObject) (rest.ExamineDevicesResponseObject, error) {
	b := r.Body
	o := fleet.ExamineOrder{Devices: b.Devices, Of: store.DeviceFilter{Products: b.Products, Sites: b.Sites, Tags: b.Tags}, PerSite: b.PerSite,
		SegmentSize: b.SegmentSize, Rate: b.Rate}
	if b.Group != "" {
		var err error
		if o.Group, err = netip.ParseAddrPort(b.Group); err != nil {
			return nil, refuse(http.StatusBadRequest, rest.ReasonInvalid, "group %.70q: want a multicast group and a port, such as 239.1.2.3:6003", b.Group)
		}
	}
	e, err := s.fleet.Examine(ctx, o, actor(ctx))
	return rest.ExamineDevices201JSONResponse{Id: e.ID, Group: e.Group.String(), Devices: e.Devices, Until: e.Until}, err
}

func (s server) ListDiagnoses(ctx context.Context, r rest.ListDiagnosesRequestObject) (rest.ListDiagnosesResponseObject, error) {
	page, err := sorted(r.Params.Order, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	l, err := s.fleet.Diagnoses(ctx, page)
	return rest.ListDiagnoses200JSONResponse{Next: l.Next, Items: each(l.Items, func(v fleet.SiteDiagnosis) rest.SiteDiagnosis {
		return rest.SiteDiagnosis{Site: v.Site, Asked: v.Asked, Waiting: v.Waiting, Ok: v.OK, Wrong: v.Wrong, At: v.At,
			Trouble: each(v.Trouble, func(t fleet.Trouble) rest.Trouble {
				return rest.Trouble{Check: t.Check, Verdict: rest.Verdict(t.Verdict), Remedy: t.Remedy, Devices: t.Devices, Example: t.Example}
			})}
	})}, err
}

func (s server) ShowDiagnosis(ctx context.Context, r rest.ShowDiagnosisRequestObject) (rest.ShowDiagnosisResponseObject, error) {
	d, err := s.store.Diagnosis(ctx, r.Device)
	return rest.ShowDiagnosis200JSONResponse{Device: d.Device, Asked: d.Asked, At: d.At, Waiting: d.Waits(), Findings: each(d.Findings, func(f store.Finding) rest.Finding {
		return rest.Finding{Check: f.Check, Verdict: rest.Verdict(f.Verdict), Seen: f.Seen, Remedy: f.Remedy}
	})}, err
}

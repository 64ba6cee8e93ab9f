package api

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
)

func (s server) ShowApprovals(ctx context.Context, r rest.ShowApprovalsRequestObject) (rest.ShowApprovalsResponseObject, error) {
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	a, err := s.fleet.Approvals(ctx, id)
	return rest.ShowApprovals200JSONResponse{Manifest: a.Manifest.String(), List: a.List, Lists: each(a.Lists, approversOf),
		Waves: each(a.Waves, func(w fleet.WaveApprovals) rest.WaveApprovals {
			return rest.WaveApprovals{Verdict: w.Verdict, Missing: w.Missing, Approved: each(w.Approved, manifest.PublicKey.String), Payload: w.Payload}
		})}, err
}

func approversOf(by upgrade.Approvers) rest.Approvers {
	return rest.Approvers{Keys: each(by.Keys, manifest.PublicKey.String), Threshold: by.Threshold}
}

func (s server) AddApproval(ctx context.Context, r rest.AddApprovalRequestObject) (rest.AddApprovalResponseObject, error) {
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	signed, err := io.ReadAll(r.Body) // which was bounded
	if err != nil {
		return nil, err
	}
	if err = s.fleet.Agree(ctx, id, signed, actor(ctx)); errors.Is(err, commit.ErrUnknown) { // the campaign is there
		err = refuse(http.StatusUnprocessableEntity, rest.ReasonApproval, "%v", err)
	}
	return rest.AddApproval204Response{}, err
}

package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A server does the operations of the contract.
type server struct{ *API }

var _ rest.StrictServerInterface = server{}

func (s server) ShowServer(ctx context.Context, _ rest.ShowServerRequestObject) (rest.ShowServerResponseObject, error) {
	last, err := s.store.LastEvent(ctx)
	t := of(ctx)
	return rest.ShowServer200JSONResponse{
		Version: s.cfg.Version, Key: s.cfg.Key.String(), Url: s.cfg.URL, Name: t.Name, Role: rest.Role(t.Role), Events: last,
	}, err
}

func (s server) ShowSummary(ctx context.Context, _ rest.ShowSummaryRequestObject) (rest.ShowSummaryResponseObject, error) {
	n, err := s.fleet.Summary(ctx)
	return rest.ShowSummary200JSONResponse{Devices: n.Devices, Approved: n.Approved, Pending: n.Pending, Revoked: n.Revoked, NoKey: n.NoKey, Duplicate: n.Duplicate}, err
}

// maxPage is the most that a page has.
const maxPage = 1000

// pageOf checks what a request says of pages.
func pageOf(after rest.AfterQuery, limit rest.LimitQuery) (store.Page, error) {
	if limit < 0 || limit > maxPage {
		return store.Page{}, refuse(http.StatusBadRequest, rest.ReasonInvalid, "limit %d: want up to %d", limit, maxPage)
	}
	return store.Page{After: string(after), Limit: int(limit)}, nil
}

// sorted is pageOf of a list that can be sorted; the store knows its orders.
func sorted[O ~string](order O, after rest.AfterQuery, limit rest.LimitQuery) (store.Page, error) {
	p, err := pageOf(after, limit)
	p.Order = string(order)
	return p, err
}

// each converts the items of a page.
func each[S, T any](list []S, f func(S) T) []T {
	all := make([]T, len(list)) // never null in JSON
	for i, v := range list {
		all[i] = f(v)
	}
	return all
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// revisionOf reads If-Match, which has one revision.
func revisionOf(match rest.IfMatch) (int64, error) {
	if match == "" {
		return 0, refuse(http.StatusPreconditionRequired, rest.ReasonUnconditional, "say in If-Match what this change was made from: the ETag")
	}
	digits, ok := strings.CutPrefix(string(match), `"`)
	digits, end := strings.CutSuffix(digits, `"`)
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !end || err != nil {
		return 0, refuse(http.StatusBadRequest, rest.ReasonFormat, "If-Match %.40q: want one ETag, as it was given", match)
	}
	return n, nil
}

func campaignOf(path rest.CampaignPath) (commit.CampaignID, error) {
	id, err := manifest.ParseCampaignID(string(path))
	if err != nil {
		err = refuse(http.StatusBadRequest, rest.ReasonFormat, "campaign %.70q: want its id, 32 hex digits", path)
	}
	return id, err
}

func digestOf(text string) (d manifest.Digest, err error) {
	if n, err := hex.Decode(d[:], []byte(text[:min(len(text), 2*len(d))])); err != nil || n != len(d) || len(text) != 2*len(d) {
		return d, refuse(http.StatusBadRequest, rest.ReasonFormat, "release %.70q: want its digest, %d hex digits", text, 2*len(d))
	}
	return d, nil
}

func byOf(by store.By) rest.By { return rest.By{Actor: by.Actor, At: by.At} }

func (a *API) by(ctx context.Context) store.By {
	return store.By{Actor: actor(ctx), At: time.Now().UTC()}
}

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A refusal is an error with an answer of its own.
type refusal struct {
	status int
	reason rest.Reason
	detail string
	retry  time.Duration // when the client may come back; 0: nothing is said of it
}

func (r *refusal) Error() string { return r.detail }

func refuse(status int, reason rest.Reason, format string, args ...any) *refusal {
	return &refusal{status: status, reason: reason, detail: fmt.Sprintf(format, args...)}
}

// answers are what errors of the layers below are told as; the first that fits counts.
var answers = []struct {
	err    error
	status int
	reason rest.Reason
}{
	{store.ErrNotFound, http.StatusNotFound, rest.ReasonNotFound},
	{store.ErrConflict, http.StatusPreconditionFailed, rest.ReasonChanged},
	{store.ErrSamePerson, http.StatusForbidden, rest.ReasonSamePerson},
	{store.ErrNotApproved, http.StatusConflict, rest.ReasonNotApproved},
	{store.ErrNoGroup, http.StatusConflict, rest.ReasonNoGroup},
	{store.ErrExists, http.StatusConflict, rest.ReasonExists},
	{store.ErrState, http.StatusConflict, rest.ReasonState},
	{store.ErrContent, http.StatusUnprocessableEntity, rest.ReasonImage},
	{store.ErrBusy, http.StatusConflict, rest.ReasonBusy},
	{store.ErrReused, http.StatusConflict, rest.ReasonReused},
	{fleet.ErrSettings, http.StatusBadRequest, rest.ReasonInvalid},
	{fleet.ErrNoTargets, http.StatusConflict, rest.ReasonNoTargets},
	{fleet.ErrImages, http.StatusConflict, rest.ReasonImagesMissing},
	{fleet.ErrForeignKeys, http.StatusUnprocessableEntity, rest.ReasonFileKeys},
	{fleet.ErrFileKeys, http.StatusConflict, rest.ReasonFileKeys},
	{fleet.ErrAnnounced, http.StatusConflict, rest.ReasonAnnounced},
	{fleet.ErrOpen, http.StatusConflict, rest.ReasonTarget},
	{commit.ErrNotApproved, http.StatusConflict, rest.ReasonApprovalsMissing},
	{commit.ErrDecided, http.StatusConflict, rest.ReasonDecided},
	{commit.ErrNotReady, http.StatusConflict, rest.ReasonNotReady},
	{commit.ErrPaused, http.StatusConflict, rest.ReasonPaused},
	{commit.ErrUnknown, http.StatusNotFound, rest.ReasonNotFound},
	{commit.ErrRestored, http.StatusConflict, rest.ReasonRestored},
	{commit.ErrClosed, http.StatusConflict, rest.ReasonState},
	{upgrade.ErrNotRunning, http.StatusServiceUnavailable, rest.ReasonElsewhere},
	{commit.ErrMessage, http.StatusBadRequest, rest.ReasonFormat},
	{manifest.ErrExpired, http.StatusUnprocessableEntity, rest.ReasonExpired},
	{manifest.ErrSignature, http.StatusUnprocessableEntity, rest.ReasonSignature},
	{manifest.ErrImage, http.StatusUnprocessableEntity, rest.ReasonImage},
	{manifest.ErrKeyFormat, http.StatusBadRequest, rest.ReasonFormat},
	{manifest.ErrKeyRole, http.StatusBadRequest, rest.ReasonFormat},
	{manifest.ErrMalformed, http.StatusBadRequest, rest.ReasonFormat},
	{manifest.ErrUnsupported, http.StatusBadRequest, rest.ReasonFormat},
	{manifest.ErrTooLarge, http.StatusRequestEntityTooLarge, rest.ReasonTooLarge},
	{store.ErrInvalid, http.StatusBadRequest, rest.ReasonInvalid},
}

// problem returns what err is told as. What went wrong inside is for the log, and not told.
func problem(err error) (p rest.Problem, retry time.Duration) {
	p = rest.Problem{Status: http.StatusInternalServerError, Reason: rest.ReasonInternal, Detail: "the server could not do that; its log says why"}
	if r, ok := errors.AsType[*refusal](err); ok {
		p.Status, p.Reason, p.Detail, retry = r.status, r.reason, r.detail, r.retry
	} else if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p.Status, p.Reason, p.Detail = http.StatusRequestEntityTooLarge, rest.ReasonTooLarge, "the body is larger than it may be"
	} else if e, ok := errors.AsType[*fleet.NotLeaderError](err); ok {
		p.Status, p.Reason, p.Detail, p.Leader, retry = http.StatusServiceUnavailable, rest.ReasonElsewhere, err.Error(), e.Leader, time.Second
	} else if e, ok := errors.AsType[*store.OverlapError](err); ok {
		p.Status, p.Reason, p.Detail = http.StatusConflict, rest.ReasonOverlap, err.Error()
		for _, o := range e.Devices {
			p.Overlap = append(p.Overlap, rest.Overlap{Device: o.Device, Campaign: o.Campaign.String(), Name: o.Name})
		}
	} else {
		for _, a := range answers {
			if errors.Is(err, a.err) {
				p.Status, p.Reason, p.Detail = a.status, a.reason, err.Error()
				break
			}
		}
	}
	p.Title = http.StatusText(p.Status)
	return p, retry
}

// fail answers with a problem document.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p, retry := problem(err)
	if p.Status == http.StatusPreconditionFailed || p.Reason == rest.ReasonDecided {
		p.By, p.At = a.quicker(r.Context(), r)
	}
	if p.Status == http.StatusInternalServerError && r.Context().Err() == nil {
		a.cfg.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	writeProblem(w, p, retry)
}

func writeProblem(w http.ResponseWriter, p rest.Problem, retry time.Duration) {
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((retry+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	var b bytes.Buffer
	json.NewEncoder(&b).Encode(p) // has no part that cannot be encoded
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	w.Write(b.Bytes())
}

// quicker returns who did something last with what a request is about.
func (a *API) quicker(ctx context.Context, r *http.Request) (by string, at time.Time) {
	f := store.EventFilter{Subject: r.PathValue("device"), Campaign: r.PathValue("campaign")}
	if f == (store.EventFilter{}) {
		return "", time.Time{}
	}
	e, err := a.store.NewestEvent(ctx, f)
	if err != nil {
		return "", time.Time{}
	}
	return e.Actor, e.At
}

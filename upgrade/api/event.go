package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func eventOf(e store.Event) rest.Event {
	v := rest.Event{Id: e.ID, At: e.At, Actor: e.Actor, Action: e.Action, Subject: e.Subject, Campaign: e.Campaign}
	json.Unmarshal(e.Detail, &v.Detail) // an object or nothing, as the store has checked
	return v
}

func (s server) ListEvents(ctx context.Context, r rest.ListEventsRequestObject) (rest.ListEventsResponseObject, error) {
	q := r.Params
	page, err := sorted(q.Order, q.After, q.Limit)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Events(ctx, store.EventFilter{Actor: q.Actor, Action: q.Action, Subject: q.Subject, Campaign: q.Campaign, Since: q.Since}, page)
	return rest.ListEvents200JSONResponse{Items: each(l.Items, eventOf), Next: l.Next}, err
}

func (s server) StreamEvents(ctx context.Context, r rest.StreamEventsRequestObject) (rest.StreamEventsResponseObject, error) {
	f := &feed{API: s.API, ctx: ctx, after: string(r.Params.LastEventID)}
	if r.Params.Campaign != "" {
		id, err := campaignOf(r.Params.Campaign)
		if err != nil {
			return nil, err
		}
		f.only = &id
	}
	if f.after == "" {
		last, err := s.store.LastEvent(ctx)
		if err != nil {
			return nil, err
		}
		f.after = strconv.FormatInt(last, 10)
	} else if _, err := strconv.ParseUint(f.after, 10, 63); err != nil {
		return nil, refuse(http.StatusBadRequest, rest.ReasonInvalid, "Last-Event-ID %.40q: want the id of an event", f.after)
	}
	select {
	case s.streams <- struct{}{}:
	default:
		busy := refuse(http.StatusServiceUnavailable, rest.ReasonBusy, "%d streams are open", maxStreams)
		busy.retry = 10 * time.Second
		return nil, busy
	}
	f.changes = s.fleet.Subscribe()
	return f, nil
}

// A feed is a stream of server-sent events.
type feed struct {
	*API
	ctx     context.Context
	changes *fleet.Subscription
	only    *commit.CampaignID // nil: everything
	after   string             // the event of the audit trail that was told last
	out     bytes.Buffer
}

// VisitStreamEventsResponse writes until the client leaves, its token is revoked, or the server ends.
func (f *feed) VisitStreamEventsResponse(w http.ResponseWriter) error {
	defer func() { <-f.streams }()
	defer f.changes.Close()
	c := http.NewResponseController(w)
	defer c.SetWriteDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	f.out.WriteString("retry: 2000\n\n")
	if f.only != nil {
		if err := f.campaign(*f.only); err != nil {
			return nil // the status is out: all that is left is to end
		}
	}
	if err := f.audit(); err != nil {
		return nil
	}
	for {
		c.SetWriteDeadline(time.Now().Add(answerTimeout))
		if _, err := f.out.WriteTo(w); err != nil {
			return nil
		}
		if c.Flush() != nil {
			return nil
		}
		if !f.more() {
			return nil
		}
	}
}

// more waits for what is next, and reports whether the stream goes on.
func (f *feed) more() bool {
	ctx, cancel := context.WithTimeout(f.ctx, f.heartbeat)
	defer cancel()
	ch, err := f.changes.Next(ctx)
	switch {
	case f.ctx.Err() != nil:
		return false
	case err != nil:
		t := of(f.ctx)
		if good, err := f.store.TokenIsGood(f.ctx, t.ID); err != nil || !good {
			return false
		}
		f.out.WriteString(": here\n\n")
	}
	for _, id := range ch.Campaigns {
		if f.only == nil || *f.only == id {
			if err := f.campaign(id); err != nil {
				return false
			}
		}
	}
	for _, e := range ch.Events {
		if f.only == nil || f.only.String() == e.Campaign {
			f.say("progress", "", e)
		}
	}
	if ch.Lost > 0 {
		f.say("lost", "", map[string]int{"events": ch.Lost})
	}
	if f.only == nil && ch.Devices {
		f.say("devices", "", struct{}{})
	}
	if f.only == nil && ch.Releases {
		f.say("releases", "", struct{}{})
	}
	return f.audit() == nil
}

// campaign says where a campaign is.
func (f *feed) campaign(id commit.CampaignID) error {
	snap, err := f.fleet.Snapshot(f.ctx, id)
	if err == nil {
		f.say("campaign", "", snap)
	}
	return err
}

// audit says what has come into the audit trail.
func (f *feed) audit() error {
	filter := store.EventFilter{}
	if f.only != nil {
		filter.Campaign = f.only.String()
	}
	for {
		l, err := f.store.Events(f.ctx, filter, store.Page{After: f.after, Limit: maxPage})
		if err != nil {
			return err
		}
		for _, e := range l.Items {
			f.after = strconv.FormatInt(e.ID, 10)
			f.say("audit", f.after, eventOf(e))
		}
		if l.Next == "" {
			return nil
		}
	}
}

// say writes one event. JSON has no line breaks.
func (f *feed) say(kind, id string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		f.cfg.Log.Error("an event cannot be told", "kind", kind, "err", err)
		return
	}
	if id != "" {
		fmt.Fprintf(&f.out, "id: %s\n", id)
	}
	fmt.Fprintf(&f.out, "event: %s\ndata: %s\n\n", kind, b)
}

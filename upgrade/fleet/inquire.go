package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A question is what people want to know of a campaign, on its way to the server that leads it.
type question struct {
	What   string       `json:"what"`
	Filter TargetFilter `json:"filter"`
	Page   store.Page   `json:"page"`
	Device string       `json:"device,omitempty"`
}

// What a question can ask for.
const (
	askSnapshot = "snapshot"
	askDevices  = "devices"
	askDevice   = "device"
	askSites    = "sites"
	askSeries   = "series"
)

// inquire has a question answered by the server that leads the campaign; if that is this one, or does not answer, by here.
func inquire[T any](ctx context.Context, s *Server, id commit.CampaignID, q question, here func() (T, error)) (v T, err error) {
	if f := s.followed(id); f != nil {
		if err = s.peers.ask(ctx, f.leaderNow(), http.MethodPost, "/campaigns/"+id.String(), q, &v); !errors.Is(err, errAway) {
			return v, err
		}
	}
	return here()
}

// answerHere answers another server, of a campaign that is led here.
func (s *Server) answerHere(ctx context.Context, campaign string, q question) (any, error) {
	id, err := manifest.ParseCampaignID(campaign)
	if err != nil {
		return nil, err
	}
	if s.lead(id) == nil {
		return nil, &NotLeaderError{Campaign: id}
	}
	switch q.What {
	case askSnapshot:
		snap, _, err := s.survey(ctx, id)
		return snap, err
	case askDevices:
		return s.devicesHere(ctx, id, q.Filter, q.Page)
	case askDevice:
		return s.deviceHere(ctx, id, q.Device)
	case askSites:
		return s.sitesHere(ctx, id, q.Page)
	case askSeries:
		return s.seriesHere(ctx, id)
	}
	return nil, fmt.Errorf("fleet: there is no question %.70q", q.What)
}

// storedTime is how long it counts what was read from the store in place of an answer: that takes all of a log.
const storedTime = 2 * time.Second

// surveyFollowed returns where a campaign is that is followed. Of many who want to know, one asks.
func (s *Server) surveyFollowed(ctx context.Context, f *follow) (snap Snapshot, err error) {
	v := &f.view
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Now().Before(v.until) {
		return v.snap, nil
	}
	fresh := freshTime
	snap, err = inquire(ctx, s, f.id, question{What: askSnapshot}, func() (Snapshot, error) {
		fresh = storedTime
		snap, _, err := s.survey(ctx, f.id)
		return snap, err
	})
	if err == nil {
		v.until, v.snap = time.Now().Add(fresh), snap
	}
	return snap, err
}

// surveyStored returns where a campaign is that no server leads which answers: by its log, and by the reports of its devices.
func (s *Server) surveyStored(ctx context.Context, snap Snapshot) (Snapshot, []View, error) {
	coordinator, err := s.read(ctx, snap.Campaign)
	if err != nil {
		return snap, nil, err
	}
	reports, err := s.reportsOf(ctx, snap.Campaign)
	if err != nil {
		return snap, nil, err
	}
	said := make(map[string]discovery.Status, len(reports))
	for _, r := range reports {
		coordinator.Note(r.Device, commit.State(r.State), commit.Reason(r.Reason))
		said[r.Device] = r
	}
	st := logged(coordinator)
	for i := range st.Devices {
		d := &st.Devices[i]
		st.Counts[d.State]--
		d.Report(said[d.Device])
		st.Counts[d.State]++
	}
	maps.DeleteFunc(st.Counts, func(_ commit.State, n int) bool { return n == 0 })
	views := snap.take(st, false)
	return snap, views, nil
}

package fleet

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// reportInterval is how long reports are gathered, to be written together.
const reportInterval = time.Second

// reports are what devices have said of how far they are, and is not in the store yet: the last word of each.
type reports struct {
	mu   sync.Mutex // guards all below
	last map[string]store.Report
}

// put takes what is known of a device. It is called by the campaign's loop.
func (r *reports) put(s discovery.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]store.Report{}
	}
	r.last[s.Device] = store.Report{Device: s.Device, State: commit.State(s.State), Reason: commit.Reason(s.Reason), Bytes: s.Bytes, Total: s.Total,
		Lost: counted(s.Lost), Overruns: counted(s.Overruns), Heard: counted(s.Received), ByHTTP: s.ByHTTP, At: time.Now().UTC()}
}

// counted returns what a device claims to have counted as the store can have it.
func counted(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// take returns what has come since it was last called.
func (r *reports) take() (all []store.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range r.last {
		all = append(all, report)
	}
	r.last = nil
	return all
}

// keepReports brings reports into the store, once a second and at the end: who leads the campaign next goes on from them.
func (s *Server) keepReports(ctx context.Context, l *lead) {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if err := s.store.ReportDevices(context.WithoutCancel(ctx), l.id, l.reports.take()...); err != nil {
			s.cfg.Log.Warn("reports of devices are lost", "campaign", l.id, "err", err)
		}
	}
}

// reportsOf returns what devices of a campaign have said last.
func (s *Server) reportsOf(ctx context.Context, id commit.CampaignID) (all []discovery.Status, err error) {
	for page := (store.Page{Limit: 1000}); ; {
		l, err := s.store.Reports(ctx, id, store.ReportFilter{}, page)
		if err != nil {
			return nil, err
		}
		for _, r := range l.Items {
			all = append(all, discovery.Status{Device: r.Device, Campaign: id.String(), State: string(r.State), Reason: string(r.Reason), Bytes: r.Bytes, Total: r.Total,
				Received: uint64(r.Heard), Lost: uint64(r.Lost), Overruns: uint64(r.Overruns), ByHTTP: r.ByHTTP})
		}
		if page.After = l.Next; l.Next == "" {
			return all, nil
		}
	}
}

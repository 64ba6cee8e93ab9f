package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
)

// Changes is what has changed since a [Subscription] was last asked.
type Changes struct {
	Campaigns []commit.CampaignID // whose Snapshot or entry in the store is another now, in the order of their ids
	Devices   bool                // the registry
	Releases  bool
	Events    []upgrade.Event // what happened, in order, progress aside
	Lost      int             // events that were left out, as there were too many: the oldest
}

const (
	// maxEvents is how many events a Subscription holds for who is slow.
	maxEvents = 1000
	// restInterval is the time between two answers of a Subscription: what changes meanwhile is told together.
	restInterval = 250 * time.Millisecond
)

// A hub passes changes on to all who have subscribed.
type hub struct {
	mu   sync.Mutex // guards all below, and the subscriptions
	subs map[*Subscription]struct{}
}

// A Subscription tells what changes, for server-sent events: see [Server.Subscribe]. It is for one goroutine.
type Subscription struct {
	hub  *hub
	wake chan struct{} // buffered, one
	rest time.Time     // nothing is told before this

	// guarded by hub.mu
	campaigns map[commit.CampaignID]struct{}
	held      Changes // without Campaigns
}

// Subscribe returns a Subscription to what changes at this server from now on, which is to be closed.
func (s *Server) Subscribe() *Subscription {
	sub := &Subscription{hub: &s.hub, wake: make(chan struct{}, 1), campaigns: map[commit.CampaignID]struct{}{}}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.hub.subs == nil {
		s.hub.subs = map[*Subscription]struct{}{}
	}
	s.hub.subs[sub] = struct{}{}
	return sub
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
}

// Next waits until something has changed since it was last called, and returns that, at most four times a second. However
// much changes, and however slow the caller is, what it holds in memory is bounded: a campaign is named once, and the
// oldest events are left out.
func (s *Subscription) Next(ctx context.Context) (Changes, error) {
	select {
	case <-s.wake:
	case <-ctx.Done():
		return Changes{}, context.Cause(ctx)
	}
	if wait := time.Until(s.rest); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Changes{}, context.Cause(ctx)
		}
	}
	s.rest = time.Now().Add(restInterval)
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	c := s.held
	c.Campaigns = slices.SortedFunc(maps.Keys(s.campaigns), compareIDs)
	s.held = Changes{}
	clear(s.campaigns)
	select {
	case <-s.wake: // what came meanwhile is told already
	default:
	}
	return c, nil
}

func (h *hub) changed(c Changes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		for _, id := range c.Campaigns {
			s.campaigns[id] = struct{}{}
		}
		s.held.Devices = s.held.Devices || c.Devices
		s.held.Releases = s.held.Releases || c.Releases
		s.held.Events = append(s.held.Events, c.Events...)
		if over := len(s.held.Events) - maxEvents; over > 0 {
			s.held.Events = slices.Delete(s.held.Events, 0, over)
			s.held.Lost += over
		}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func compareIDs(a, b commit.CampaignID) int { return slices.Compare(a[:], b[:]) }

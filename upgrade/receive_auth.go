package upgrade

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/auth"
)

// keyInterval is the time between two tries to get the group key.
const keyInterval = 5 * time.Second

// auth returns how the packets of the session are authenticated, nil if they are not. It asks the server for the group key,
// each time anew: a device keeps no secret of a campaign on its disk.
func (r *reception) auth(ctx context.Context) (*auth.Config, error) {
	switch {
	case r.s.Auth == "":
		return nil, nil
	case r.s.Auth != manifest.AuthGroupMAC:
		return nil, fmt.Errorf("packet authentication by %s is not known", r.s.Auth)
	case r.a.cfg.Key == nil:
		return nil, errors.New("packets are authenticated, and without a device key there is no group key")
	}
	q := discovery.KeyRequest{Device: r.a.cfg.Device, Campaign: r.s.Campaign.String()}
	rand.Read(q.Nonce[:]) // never fails
	if err := q.Sign(r.a.cfg.Key); err != nil {
		return nil, err
	}
	key, err := r.a.client.GroupKey(ctx, q)
	if err != nil {
		r.keyDue = time.Now().Add(keyInterval)
		return nil, fmt.Errorf("the group key: %w", err)
	}
	return &auth.Config{Key: key}, nil
}

// joinLater tries again to join a session whose group key the server could not be asked for. As long as it cannot, there is
// nothing to be fetched from it either.
func (r *reception) joinLater(ctx context.Context, now time.Time) {
	if r.net != nil || r.keyDue.IsZero() || now.Before(r.keyDue) {
		return
	}
	r.keyDue = time.Time{}
	if err := r.join(ctx); err != nil {
		r.a.log.Debug("multicast cannot be used yet", "error", err)
		return
	}
	r.health.begin(now, r.start)
}

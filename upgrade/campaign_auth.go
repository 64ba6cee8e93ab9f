package upgrade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/auth"
)

// What CampaignConfig.Auth may say.
const (
	AuthOn  = "on"
	AuthOff = "off"
)

// maxKeyRequests is how many requests for the group key are remembered of each target, so that they are answered once. It
// is a second line: TLS keeps others from recording one.
const maxKeyRequests = 16

// newGroupKey returns the group key of a new campaign, nil if it has none: the key can be given only to devices that prove
// who they are, so that all of them must be known with their public keys.
func newGroupKey(cfg CampaignConfig) ([]byte, error) {
	enrolled := len(cfg.Targets) > 0
	for _, t := range cfg.Targets {
		if t.Key.IsZero() {
			enrolled = false
			if cfg.Auth == AuthOn {
				return nil, fmt.Errorf("--auth on: device %s has no key in --devices, so it cannot be given the group key", t.Device)
			}
		}
	}
	switch {
	case cfg.Auth != "" && cfg.Auth != AuthOn && cfg.Auth != AuthOff:
		return nil, fmt.Errorf("--auth %q: want %s or %s", cfg.Auth, AuthOn, AuthOff)
	case cfg.Auth == AuthOn && !enrolled:
		return nil, errors.New("--auth on: it needs --devices FILE with the public key of each")
	case cfg.Auth == AuthOff || !enrolled:
		return nil, nil
	}
	key := make([]byte, len(manifest.GroupKey{}))
	cfg.random(key)
	return key, nil
}

// auth returns how the packets of the campaign are authenticated, nil if they are not.
func (f frozen) auth() *auth.Config {
	if f.GroupKey == nil {
		return nil
	}
	return &auth.Config{Key: f.GroupKey}
}

// authScheme returns what the session description says of it.
func (f frozen) authScheme() string {
	if f.GroupKey == nil {
		return ""
	}
	return manifest.AuthGroupMAC
}

func (b backend) GroupKey(ctx context.Context, r discovery.KeyRequest) (key []byte, err error) {
	err = b.c.act(ctx, func(time.Time) error { key, err = b.c.groupKey(r); return err })
	return key, refusal(err)
}

// groupKey gives the key to a target that proves its device key. The rendezvous is TLS, or on loopback.
func (c *Campaign) groupKey(r discovery.KeyRequest) ([]byte, error) {
	if c.frozen.GroupKey == nil || r.Campaign != c.frozen.Campaign.String() {
		return nil, discovery.ErrUnknown
	}
	target, ok := c.coordinator.Device(r.Device)
	if !ok {
		return nil, commit.ErrNotTarget
	}
	if err := r.Open(target.Key); err != nil {
		return nil, err
	}
	answered := c.keyRequests[r.Device]
	if slices.Contains(answered, r.Nonce) {
		return nil, discovery.ErrReplay
	}
	c.keyRequests[r.Device] = append(answered[max(0, len(answered)-maxKeyRequests+1):], r.Nonce)
	return c.frozen.GroupKey, nil
}

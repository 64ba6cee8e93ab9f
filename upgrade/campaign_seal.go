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
)

// wrapKeys freezes who is given the file keys of a new campaign's sealed images. Groups are given wraps, made once; the keys
// themselves are kept only if devices may ask for them.
func (f *frozen) wrapKeys(cfg CampaignConfig, m *manifest.Manifest) error {
	sealed := len(m.Sealed())
	switch {
	case sealed == 0 && (len(cfg.FileKeys) > 0 || len(cfg.SealTo) > 0 || cfg.SealDevices):
		return errors.New("--seal, --seal-to: the images of this release are not sealed")
	case sealed == 0:
		return nil
	case len(cfg.FileKeys) == 0:
		return errors.New("--seal: the release is sealed; its file keys are required, which normsend sign has put into a file beside the manifest")
	case len(cfg.FileKeys) != sealed:
		return fmt.Errorf("--seal: %d file keys for %d sealed images; they are those of another release", len(cfg.FileKeys), sealed)
	case len(cfg.SealTo) == 0 && !cfg.SealDevices:
		return errors.New("--seal-to is required: seal keys of groups that may open the images, or devices for each of --devices")
	case len(cfg.SealTo) > manifest.MaxWraps:
		return fmt.Errorf("--seal-to: %d groups, limit %d", len(cfg.SealTo), manifest.MaxWraps)
	case cfg.SealDevices && !slices.ContainsFunc(cfg.Targets, func(t commit.Target) bool { return !t.Key.IsZero() }):
		return errors.New("--seal-to devices: it needs --devices FILE with public keys, by which devices prove who they are")
	}
	for _, to := range cfg.SealTo {
		if slices.ContainsFunc(f.Wraps, func(w manifest.Wrap) bool { return w.To == to.ID() }) {
			return fmt.Errorf("--seal-to: key %s is there twice", to.Fingerprint())
		}
		wrap, err := to.Wrap(f.Campaign, m.Digest(), cfg.FileKeys)
		if err != nil {
			return err
		}
		f.Wraps = append(f.Wraps, manifest.Wrap{To: to.ID(), Keys: wrap})
	}
	if cfg.SealDevices {
		for _, k := range cfg.FileKeys {
			f.FileKeys = append(f.FileKeys, k[:]...)
		}
	}
	return nil
}

func (b backend) FileKeys(ctx context.Context, r discovery.FileKeyRequest) ([]byte, error) {
	var to manifest.Recipient
	err := b.c.act(ctx, func(time.Time) (err error) { to, err = b.c.fileKeyRecipient(r); return err })
	if err != nil {
		return nil, refusal(err)
	}
	f := b.c.frozen // does not change, and the loop need not wait for what follows
	var keys []manifest.FileKey
	for k := range slices.Chunk(f.FileKeys, len(manifest.FileKey{})) {
		keys = append(keys, manifest.FileKey(k))
	}
	return to.Wrap(f.Campaign, b.c.release.manifest.Digest(), keys)
}

// fileKeyRecipient returns whom the file keys are wrapped for: a target that proves its device key.
func (c *Campaign) fileKeyRecipient(r discovery.FileKeyRequest) (to manifest.Recipient, err error) {
	if c.frozen.FileKeys == nil || r.Campaign != c.frozen.Campaign.String() {
		return to, discovery.ErrUnknown
	}
	target, ok := c.coordinator.Device(r.Device)
	if !ok {
		return to, commit.ErrNotTarget
	}
	return r.Open(target.Key)
}

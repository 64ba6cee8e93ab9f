package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/seal"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var (
	// ErrFileKeys is wrapped when the file keys of a sealed release are missing.
	ErrFileKeys = errors.New("fleet: the file keys of the sealed images are missing")
	// ErrForeignKeys is wrapped when file keys are those of another release.
	ErrForeignKeys = errors.New("fleet: they are the file keys of another release")
)

// AddFileKeys takes the file keys of a release's sealed images, which campaigns with it give to devices.
func (s *Server) AddFileKeys(ctx context.Context, release manifest.Digest, keys []manifest.FileKey, actor string) error {
	r, err := s.store.Release(ctx, release)
	if err != nil {
		return err
	}
	if err := seal.CheckAll(r.Manifest, keys); err != nil {
		return fmt.Errorf("%w: %w", ErrForeignKeys, err)
	}
	err = s.store.AddFileKeys(ctx, release, keys, s.by(actor))
	s.hub.changed(Changes{Releases: true})
	return err
}

// checkSeal returns why a campaign with a release cannot be started.
func checkSeal(r store.Release, set store.Seal) error {
	sealed := len(r.Manifest.Sealed()) > 0
	switch {
	case sealed && !r.FileKeys:
		return fmt.Errorf("%w: upload the file that normsend sign --seal has written beside the manifest", ErrFileKeys)
	case !sealed && (len(set.To) > 0 || set.Devices):
		return fmt.Errorf("%w: seal: the images of the release are not sealed", ErrSettings)
	}
	return nil
}

// openSeal fills in who is given the file keys of a sealed release: the groups that the settings name and, if they name none or
// say so, each target.
func (s *Server) openSeal(ctx context.Context, cfg *upgrade.CampaignConfig, c store.Campaign) (err error) {
	if cfg.FileKeys, err = s.store.FileKeys(ctx, c.Release); err != nil || cfg.FileKeys == nil {
		return err
	}
	set := c.Settings.Seal
	cfg.SealTo, cfg.SealDevices = set.To, set.Devices || len(set.To) == 0
	return nil
}

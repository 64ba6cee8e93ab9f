package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// An Unsealer opens sealed images, which are encrypted: package seal has one. It is an interface so that agents without
// sealed images need not link what it needs.
type Unsealer interface {
	// Check returns nil if key is the one that the image was encrypted with, as its header in the manifest tells.
	Check(im *manifest.Sealed, key manifest.FileKey) error
	// Open returns the plaintext of an image, which is read from beginning to end; so is the ciphertext.
	Open(ciphertext io.Reader, key manifest.FileKey) (io.Reader, error)
}

// extensions are the critical extensions of a manifest that the agent understands.
func (c AgentConfig) extensions() []string {
	if c.Unsealer == nil {
		return nil
	}
	return []string{manifest.ExtensionSealed}
}

// A keyring finds the file keys of a campaign's sealed images. It has them in memory only: a device keeps no secret of a
// campaign on its disk.
type keyring struct {
	a       *Agent
	release *manifest.Manifest
	round   commit.Round

	mu   sync.Mutex         // held while the server is asked
	keys []manifest.FileKey // nil: the server has to be asked
}

// newKeyring returns how the images of a campaign can be opened, nil if they are not sealed. The error is ErrNoKey if
// nothing that this device has opens them.
func (a *Agent) newKeyring(s *manifest.Session, m *manifest.Manifest, round commit.Round) (*keyring, error) {
	if len(m.Sealed()) == 0 {
		return nil, nil
	}
	r := &keyring{a: a, release: m, round: round}
	err := fmt.Errorf("%w: this device has the key of none of the %d groups that are given it", manifest.ErrNoKey, len(s.Wraps))
	for _, k := range a.cfg.SealKeys {
		for _, w := range s.Wraps {
			if w.To != k.Recipient().ID() {
				continue
			}
			if err = r.take(k, w.Keys); err == nil {
				return r, nil
			}
		}
	}
	if s.SealDevices && a.cfg.Key != nil {
		return r, nil
	}
	return nil, err
}

// take unwraps the file keys, and proves that they are those that the images were encrypted with.
func (r *keyring) take(k *manifest.Identity, wrap []byte) error {
	keys, err := k.Unwrap(r.round.Campaign, r.round.Manifest, wrap)
	if err != nil {
		return err
	}
	sealed := r.release.Sealed()
	if len(keys) != len(sealed) {
		return fmt.Errorf("%w: %d file keys for %d sealed images", manifest.ErrNoKey, len(keys), len(sealed))
	}
	for i, im := range sealed {
		if err := r.a.cfg.Unsealer.Check(im.Sealed, keys[i]); err != nil {
			return fmt.Errorf("%w: image %s: %w", manifest.ErrNoKey, im.Name, err)
		}
	}
	r.keys = keys
	return nil
}

// get returns the file keys in the order of the sealed images, asking the server until it answers. The error is ErrNoKey,
// or why ctx has ended.
func (r *keyring) get(ctx context.Context) ([]manifest.FileKey, error) {
	if r == nil {
		return nil, manifest.ErrNoKey
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for failures := 0; r.keys == nil; failures++ {
		err := r.ask(ctx)
		if err == nil || errors.Is(err, manifest.ErrNoKey) {
			return r.keys, err
		}
		r.a.log.Debug("the file keys cannot be had yet", "campaign", r.round.Campaign, "error", err)
		if !pause(ctx, retryAfter(failures)) {
			return nil, context.Cause(ctx)
		}
	}
	return r.keys, nil
}

// ask asks the server for the keys, wrapped for a key that is made for this one question.
func (r *keyring) ask(ctx context.Context) error {
	k, err := manifest.GenerateIdentity()
	if err != nil {
		return err
	}
	q := discovery.FileKeyRequest{Device: r.a.cfg.Device, Campaign: r.round.Campaign.String(), Recipient: k.Recipient().Bytes()}
	if err := q.Sign(r.a.cfg.Key); err != nil {
		return err
	}
	wrap, err := r.a.client.FileKeys(ctx, q)
	if refusal, refused := turnedAway(err); refused {
		return fmt.Errorf("%w: the server refuses this device: %s (%s)", manifest.ErrNoKey, refusal.Detail, refusal.Reason)
	}
	if err != nil {
		return err
	}
	return r.take(k, wrap)
}

// obtainKeys returns true when the images of a campaign can be opened. Otherwise the device refuses it, before a byte is
// received.
func (a *Agent) obtainKeys(ctx context.Context, c *campaign) bool {
	if c.keyring == nil {
		return true
	}
	_, err := c.keyring.get(ctx)
	if errors.Is(err, manifest.ErrNoKey) {
		a.do(func(now time.Time) {
			a.log.Warn("the release is refused", "campaign", c.round.Campaign, "error", err)
			c.stop, c.turned = nil, true
			a.refuse(now, c.round, c.session.Expires, commit.ReasonNoKey)
		})
	}
	return err == nil
}

package fleet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A remote answers devices for a campaign that another server leads, by asking that one. Images come from the store, so
// that devices which fetch them share the servers; so does the notice, when the leader does not answer.
type remote struct {
	s       *Server
	f       *follow
	release manifest.Digest
}

var _ discovery.Backend = remote{}

// ask has f ask the leader. A device is told to come again if that is not possible.
func (r remote) ask(f func(*discovery.Client) error) error {
	err := r.s.peers.device(r.f.leaderNow(), f)
	if errors.Is(err, errAway) {
		return errElsewhere
	}
	return err
}

func (r remote) Hello(ctx context.Context, h discovery.Hello) error {
	return r.ask(func(c *discovery.Client) error { return c.Hello(ctx, h) })
}

func (r remote) Status(ctx context.Context, s discovery.Status) error {
	return r.ask(func(c *discovery.Client) error { return c.Status(ctx, s) })
}

func (r remote) Vote(ctx context.Context, s discovery.Statement) error {
	return r.ask(func(c *discovery.Client) error { return c.Vote(ctx, s) })
}

func (r remote) Outcome(ctx context.Context, s discovery.Statement) error {
	return r.ask(func(c *discovery.Client) error { return c.Outcome(ctx, s) })
}

func (r remote) Adopt(ctx context.Context, campaign string, wave uint32, decision []byte) error {
	return r.ask(func(c *discovery.Client) error { return c.Adopt(ctx, campaign, wave, decision) })
}

func (r remote) GroupKey(ctx context.Context, q discovery.KeyRequest) (key []byte, err error) {
	err = r.ask(func(c *discovery.Client) (err error) { key, err = c.GroupKey(ctx, q); return err })
	return key, err
}

func (r remote) FileKeys(ctx context.Context, q discovery.FileKeyRequest) (wrap []byte, err error) {
	err = r.ask(func(c *discovery.Client) (err error) { wrap, err = c.FileKeys(ctx, q); return err })
	return wrap, err
}

func (r remote) Decision(ctx context.Context, campaign string, wave uint32) (signed []byte, err error) {
	err = r.ask(func(c *discovery.Client) (err error) { signed, err = c.Decision(ctx, campaign, wave); return err })
	if err != errElsewhere {
		return signed, err
	}
	for _, signed := range r.notice(wave).Decisions {
		if d, err := commit.OpenDecision(signed, r.s.cfg.Key.Public()); err == nil && d.Campaign == r.f.id && d.Wave == wave {
			return signed, nil
		}
	}
	return nil, err
}

func (r remote) Brake(ctx context.Context, campaign string) (signed []byte, err error) {
	err = r.ask(func(c *discovery.Client) (err error) { signed, err = c.Brake(ctx, campaign); return err })
	if n := r.notice(0); err == errElsewhere && len(n.Brake) > 0 {
		return n.Brake, nil
	}
	return signed, err
}

func (r remote) notice(wave uint32) discovery.Notice {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return r.f.notices[wave]
}

// Object returns an image from the store; of the hash list, which the leader has made, there is a copy from when it was
// first asked for.
func (r remote) Object(ctx context.Context, campaign string, toi uint16) (io.ReaderAt, int64, error) {
	f := r.f
	f.opening.Lock()
	defer f.opening.Unlock()
	if o, ok := f.objects[toi]; ok {
		return o, o.Size(), nil
	}
	release, err := r.s.store.Release(ctx, r.release)
	if err != nil {
		return nil, 0, err
	}
	o, err := r.open(ctx, campaign, release.Manifest, toi)
	if err != nil {
		return nil, 0, err
	}
	if f.objects == nil {
		f.objects = map[uint16]upgrade.Content{}
	}
	f.objects[toi] = o
	return o, o.Size(), nil
}

func (r remote) open(ctx context.Context, campaign string, m *manifest.Manifest, toi uint16) (upgrade.Content, error) {
	objects := manifest.ObjectsFor(len(m.Images))
	if toi == objects.Hashes {
		b := make([]byte, m.HashListSize())
		err := r.ask(func(c *discovery.Client) error { return c.Fetch(ctx, campaign, toi, b, 0) })
		return bytes.NewReader(b), err
	}
	if i := slices.Index(objects.Images, toi); i >= 0 {
		return r.s.store.OpenImage(ctx, r.release, m.Images[i].Name)
	}
	return nil, discovery.ErrUnknown
}

func (r remote) Timestamp() []byte { return r.s.clock.Now() }

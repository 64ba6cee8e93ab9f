package fleet

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A backend answers devices: of the registry itself, and of campaigns by those that run, here or at another server; if here
// is set, for another server, by those that run here.
type backend struct {
	s    *Server
	here bool
}

var _ discovery.Backend = backend{}

// asks reports whether a campaign may be asked: what another server has passed on is not passed on again.
func (b backend) asks(p *place) bool { return !b.here || !p.elsewhere() }

func (b backend) Hello(ctx context.Context, h discovery.Hello) error {
	if !b.here {
		key, err := h.OpenKey()
		if err == nil {
			err = b.s.greet(ctx, h, key)
		}
		if err != nil {
			return refusal(err)
		}
		h = h.Proven(key)
	}
	for _, p := range b.s.placesOf(h.Device) {
		if !b.asks(p) {
			continue
		}
		if err := p.answers.Hello(ctx, h); err != nil && err != errElsewhere { // a leader that is away hears of the device when that has news
			return err
		}
	}
	return nil
}

func (b backend) Status(ctx context.Context, st discovery.Status) error {
	return b.to(ctx, st.Campaign, func(to discovery.Backend) error { return to.Status(ctx, st) })
}

func (b backend) Vote(ctx context.Context, st discovery.Statement) error {
	return b.statement(ctx, st, func(to discovery.Backend) error { return to.Vote(ctx, st) })
}

func (b backend) Outcome(ctx context.Context, st discovery.Statement) error {
	return b.statement(ctx, st, func(to discovery.Backend) error { return to.Outcome(ctx, st) })
}

// statement gives a vote or outcome to its campaign. A device that does not say which one it is about means one of its own.
func (b backend) statement(ctx context.Context, st discovery.Statement, f func(discovery.Backend) error) error {
	if st.Campaign != "" {
		return b.to(ctx, st.Campaign, f)
	}
	for _, p := range b.s.placesOf(st.Device) {
		if !b.asks(p) {
			continue
		}
		if err := f(p.answers); !errors.Is(err, discovery.ErrUnknown) {
			return err
		}
	}
	return discovery.ErrUnknown
}

var (
	errClosed = &discovery.Refusal{Status: http.StatusConflict, Reason: "closed", Detail: "the campaign is closed"}
	// errElsewhere has the device try again: no server has the campaign, or none that answers, or this one will in a moment.
	errElsewhere = &discovery.Refusal{Status: http.StatusServiceUnavailable, Reason: "busy", Detail: "the campaign has no leader here"}
)

// to gives something to a campaign that runs.
func (b backend) to(ctx context.Context, campaign string, f func(discovery.Backend) error) error {
	id, err := manifest.ParseCampaignID(campaign)
	if err != nil {
		return discovery.ErrUnknown
	}
	if p := b.s.place(id); p != nil && b.asks(p) {
		return f(p.answers)
	}
	c, err := b.s.store.Campaign(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return discovery.ErrUnknown
	case err != nil:
		return err
	case c.Phase == store.PhaseClosed:
		return errClosed
	case c.Phase == store.PhaseRunning, c.Phase == store.PhasePaused:
		return errElsewhere
	}
	return discovery.ErrUnknown // nobody was told of it
}

func (b backend) Decision(ctx context.Context, campaign string, wave uint32) (signed []byte, err error) {
	err = b.to(ctx, campaign, func(to discovery.Backend) error { signed, err = to.Decision(ctx, campaign, wave); return err })
	if err != errClosed {
		return signed, err
	}
	a, err := b.s.answer(ctx, campaign, wave)
	switch {
	case err != nil:
		return nil, err
	case len(a.Signed) == 0:
		return nil, discovery.ErrUnknown // it was closed before it was decided: nobody was told of it
	}
	return a.Signed, nil
}

func (b backend) Brake(ctx context.Context, campaign string) (signed []byte, err error) {
	err = b.to(ctx, campaign, func(to discovery.Backend) error { signed, err = to.Brake(ctx, campaign); return err })
	if err != errClosed {
		return signed, err
	}
	a, err := b.s.answer(ctx, campaign, 0)
	return a.Brake, err
}

func (b backend) Adopt(ctx context.Context, campaign string, wave uint32, decision []byte) error {
	return b.to(ctx, campaign, func(to discovery.Backend) error { return to.Adopt(ctx, campaign, wave, decision) })
}

func (b backend) Object(ctx context.Context, campaign string, toi uint16) (content io.ReaderAt, size int64, err error) {
	err = b.to(ctx, campaign, func(to discovery.Backend) error { content, size, err = to.Object(ctx, campaign, toi); return err })
	return content, size, err
}

func (b backend) GroupKey(ctx context.Context, r discovery.KeyRequest) (key []byte, err error) {
	err = b.to(ctx, r.Campaign, func(to discovery.Backend) error { key, err = to.GroupKey(ctx, r); return err })
	return key, err
}

func (b backend) FileKeys(ctx context.Context, r discovery.FileKeyRequest) (wrap []byte, err error) {
	err = b.to(ctx, r.Campaign, func(to discovery.Backend) error { wrap, err = to.FileKeys(ctx, r); return err })
	return wrap, err
}

func (b backend) Timestamp() []byte { return b.s.clock.Now() }

// refusals are what devices are told when the registry turns them down.
var refusals = []struct {
	err    error
	status int
	reason commit.Reason
}{
	{discovery.ErrProof, http.StatusForbidden, commit.ReasonSignature},
	{store.ErrDenied, http.StatusForbidden, "enrolment"},
	{store.ErrExists, http.StatusForbidden, commit.ReasonNotTarget},
	{store.ErrInvalid, http.StatusBadRequest, commit.ReasonFormat},
	{ErrPending, http.StatusServiceUnavailable, "busy"},
}

func refusal(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return &discovery.Refusal{Status: r.status, Reason: string(r.reason), Detail: err.Error()}
		}
	}
	return err
}

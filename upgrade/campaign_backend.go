package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// A backend answers devices for a campaign. Its methods are called by many goroutines and leave all work to the loop.
type backend struct{ c *Campaign }

var _ discovery.Backend = backend{}

// A progress is how far a device says it is.
type progress struct {
	Bytes, Total int64
	refused      commit.Reason // why it does not take part, as far as it has not voted
	traffic
}

// maxStrangers bounds how many devices that are turned away are told to the operator.
const maxStrangers = 1000

func (b backend) Hello(ctx context.Context, h discovery.Hello) error {
	key, err := h.OpenKey()
	if err != nil {
		return refusal(err)
	}
	return b.c.Greet(ctx, h, key)
}

// Greet is what the Backend does with a Hello, for who has opened its key: to check the proof again takes longer than all
// the rest.
func (c *Campaign) Greet(ctx context.Context, h discovery.Hello, key manifest.PublicKey) error {
	p := commit.Presence{Device: h.Device, Key: key}
	if len(h.Agent) == len(p.Instance) {
		copy(p.Instance[:], h.Agent)
	}
	return refusal(c.act(ctx, func(now time.Time) error { return c.hello(now, h, p) }))
}

// hello lets a device in. One that the release is not for is not counted among those that are expected.
func (c *Campaign) hello(now time.Time, h discovery.Hello, p commit.Presence) (err error) {
	_, target := c.coordinator.Device(h.Device)
	switch m := c.release.manifest; {
	case !target && h.Product != m.Product:
		err = fmt.Errorf("%w: device %.70q is a %.70q, the release is for %s", manifest.ErrProduct, h.Device, h.Product, m.Product)
	case !target && !m.CompatibleWith(h.Hardware):
		err = fmt.Errorf("%w: device %.70q is of hardware %.70q", manifest.ErrHardware, h.Device, h.Hardware)
	default:
		err = c.coordinator.Announce(now, p)
	}
	if err != nil && !errors.Is(err, commit.ErrLog) {
		c.turnAway(now, h.Device, err)
		return err
	}
	if err == nil {
		c.targetsHave.note(h.Seeded)
	}
	c.sender.arrived(now)
	c.endgame.alive(now)
	if err == nil {
		c.reported(h.Device)
	}
	return err
}

// turnAway tells the operator, once for each device, whom the campaign does not take.
func (c *Campaign) turnAway(now time.Time, device string, err error) {
	if !manifest.ValidName(device) || c.strangers[device] || len(c.strangers) >= maxStrangers {
		return
	}
	c.strangers[device] = true
	r := refusal(err).(*discovery.Refusal)
	c.emit(now, Event{Kind: EventDevice, Device: device, State: commit.StateRefused, Reason: commit.Reason(r.Reason), Detail: err.Error()})
}

func (b backend) Status(ctx context.Context, s discovery.Status) error {
	return refusal(b.c.act(ctx, func(now time.Time) error { return b.c.note(now, s) }))
}

// note keeps what a device says of its progress. Nothing is decided by it.
func (c *Campaign) note(now time.Time, s discovery.Status) error {
	if s.Campaign != c.frozen.Campaign.String() {
		return discovery.ErrUnknown
	}
	if _, ok := c.coordinator.Device(s.Device); !ok {
		return commit.ErrNotTarget
	}
	if s.Bytes < 0 || s.Bytes > s.Total || s.Total > c.release.manifest.Size() {
		return fmt.Errorf("%w: %d of %d bytes", commit.ErrMessage, s.Bytes, s.Total)
	}
	p := progressOf(s)
	if p.refused != commit.ReasonNone && c.progress[s.Device].refused != p.refused {
		c.emit(now, Event{Kind: EventDevice, Device: s.Device, State: commit.StateRefused, Reason: p.refused})
	}
	if p.Bytes > c.progress[s.Device].Bytes {
		c.endgame.alive(now)
	}
	c.progress[s.Device] = p
	c.coordinator.Note(s.Device, commit.State(s.State), knownReason(s))
	c.reported(s.Device)
	return nil
}

func (b backend) Vote(ctx context.Context, s discovery.Statement) error {
	return b.statement(ctx, commit.VoteMessage, s)
}

func (b backend) Outcome(ctx context.Context, s discovery.Statement) error {
	return b.statement(ctx, commit.ReportMessage, s)
}

func (b backend) statement(ctx context.Context, kind commit.MessageKind, s discovery.Statement) error {
	err := b.c.post(ctx, commit.Message{Kind: kind, Device: s.Device, Unsigned: !s.Signed, Bytes: s.Body})
	if errors.Is(err, commit.ErrReplay) {
		return nil // the device has said something newer since, so this one is done with
	}
	return refusal(err)
}

func (b backend) Decision(ctx context.Context, campaign string, wave uint32) (signed []byte, err error) {
	err = b.answer(ctx, campaign, wave, func(a commit.Answer) error {
		if len(a.Signed) == 0 {
			return discovery.ErrUndecided
		}
		signed = a.Signed
		return nil
	})
	return signed, err
}

func (b backend) Brake(ctx context.Context, campaign string) (signed []byte, err error) {
	err = b.answer(ctx, campaign, 0, func(a commit.Answer) error { signed = a.Brake; return nil })
	return signed, err
}

// answer asks the coordinator. What is not in its log is unknown, never aborted.
func (b backend) answer(ctx context.Context, campaign string, wave uint32, f func(commit.Answer) error) error {
	id, err := manifest.ParseCampaignID(campaign)
	if err != nil {
		return discovery.ErrUnknown
	}
	return b.c.act(ctx, func(now time.Time) error {
		a, err := b.c.coordinator.Answer(now, id, wave)
		if err != nil {
			return err
		}
		if !a.Known {
			return discovery.ErrUnknown
		}
		return f(a)
	})
}

func (b backend) Adopt(ctx context.Context, campaign string, wave uint32, decision []byte) error {
	return refusal(b.c.act(ctx, func(time.Time) error { return b.c.coordinator.Adopt(decision) }))
}

func (b backend) Object(_ context.Context, campaign string, toi uint16) (io.ReaderAt, int64, error) {
	content, size, ok := b.c.release.object(toi)
	if !ok || campaign != b.c.frozen.Campaign.String() {
		return nil, 0, discovery.ErrUnknown
	}
	return content, size, nil
}

func (b backend) Timestamp() []byte { return b.c.clock.Now() }

// refusals are what devices are told when they are turned down; anything else is the server's own trouble, and the
// device tries again.
var refusals = []struct {
	err    error
	status int
	reason commit.Reason
}{
	{commit.ErrNotTarget, http.StatusForbidden, commit.ReasonNotTarget},
	{commit.ErrUnsigned, http.StatusForbidden, commit.ReasonUnsigned},
	{commit.ErrDuplicate, http.StatusConflict, commit.ReasonDuplicate},
	{commit.ErrRefused, http.StatusConflict, "refused"},
	{commit.ErrClosed, http.StatusConflict, "closed"},
	{commit.ErrConflict, http.StatusConflict, "conflict"},
	{commit.ErrRoots, http.StatusUnprocessableEntity, commit.ReasonVerifyFailed},
	{commit.ErrMessage, http.StatusBadRequest, commit.ReasonFormat},
	{manifest.ErrSignature, http.StatusForbidden, commit.ReasonSignature},
	{discovery.ErrProof, http.StatusForbidden, commit.ReasonSignature},
	{discovery.ErrReplay, http.StatusConflict, "replay"},
	{manifest.ErrProduct, http.StatusForbidden, commit.ReasonProduct},
	{manifest.ErrHardware, http.StatusForbidden, commit.ReasonHardware},
}

// refusal returns err as the device is told of it.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, commit.ErrUnknown) {
		return discovery.ErrUnknown
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return &discovery.Refusal{Status: r.status, Reason: string(r.reason), Detail: err.Error()}
		}
	}
	return err
}

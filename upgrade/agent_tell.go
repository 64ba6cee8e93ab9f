package upgrade

import (
	"context"
	crand "crypto/rand"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
)

// A teller tells events, one at a time.
type teller struct {
	mu     *sync.Mutex
	event  func(Event) // called with mu held; may be nil
	device string
	log    *slog.Logger
}

func (t *teller) tell(e Event) {
	e.Time, e.Device = time.Now().UTC(), t.device
	t.log.Debug("event", "event", e.Kind, "state", e.State, "reason", e.Reason, "detail", e.Detail)
	if t.event == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event(e)
}

const (
	minRetry = time.Second
	maxRetry = time.Minute
)

// retryAfter is how long to wait after so many failures in a row: longer each time, never at the same moment as others.
func retryAfter(failures int) time.Duration {
	most := min(minRetry<<min(failures, 10), maxRetry)
	return most/2 + rand.N(most/2)
}

// pause waits, and reports false if ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// An outbox is when to try which message of the commit again. Votes and outcomes are told until the server has them.
type outbox struct {
	busy bool
	next time.Time      // of the earliest try; zero: nothing to be told
	wait map[uint64]try // by counter
}

type try struct {
	failures int
	at       time.Time
	unknown  bool // the server does not know the campaign
}

// hurry makes all messages due.
func (o *outbox) hurry() { clear(o.wait) }

// heard reports whether the server knows all it has to know. What is about a campaign that it has no knowledge of stays in
// the outbox, but cannot be waited for.
func (a *Agent) heard() bool {
	messages, err := a.p.Messages()
	return err == nil && !a.outbox.busy && !slices.ContainsFunc(messages, func(m commit.Message) bool { return !a.outbox.wait[m.Counter].unknown })
}

// deliver sends the oldest message that is due, one at a time.
func (a *Agent) deliver(now time.Time) {
	a.outbox.next = time.Time{}
	messages, err := a.p.Messages()
	if err != nil || len(messages) == 0 {
		clear(a.outbox.wait)
		return
	}
	if a.outbox.busy {
		return
	}
	for _, m := range messages {
		if t := a.outbox.wait[m.Counter]; now.Before(t.at) {
			if a.outbox.next.IsZero() || t.at.Before(a.outbox.next) {
				a.outbox.next = t.at
			}
			continue
		}
		a.outbox.busy = true
		a.work.Go(func() {
			err := a.post(m)
			a.do(func(now time.Time) { a.posted(now, m, err) })
		})
		return
	}
}

// post sends a message. The server has to have seen the device before it takes its vote.
func (a *Agent) post(m commit.Message) error {
	s := discovery.Statement{Device: m.Device, Signed: !m.Unsigned, Body: m.Bytes, Campaign: m.Campaign.String()}
	if m.Kind == commit.ReportMessage {
		return a.client.Outcome(a.ctx, s)
	}
	if err := a.hello(a.ctx); err != nil {
		if _, refused := turnedAway(err); !refused {
			return err
		}
	}
	return a.client.Vote(a.ctx, s)
}

func (a *Agent) posted(now time.Time, m commit.Message, err error) {
	a.outbox.busy = false
	r, refused := turnedAway(err)
	if refused {
		a.tell.tell(Event{Kind: EventTrouble, Reason: commit.Reason(r.Reason), Detail: "the server does not take the " + m.Kind.String() + ": " + r.Detail})
	}
	if err == nil || refused {
		delete(a.outbox.wait, m.Counter)
		if err := a.p.Acknowledge(now, m.Counter); err != nil {
			a.log.Error("an acknowledgment cannot be logged", "error", err)
		}
		return
	}
	if a.outbox.wait == nil {
		a.outbox.wait = make(map[uint64]try)
	}
	t := a.outbox.wait[m.Counter]
	a.outbox.wait[m.Counter] = try{t.failures + 1, now.Add(retryAfter(t.failures)), t.unknown || errors.Is(err, discovery.ErrUnknown)}
}

// turnedAway reports whether err is the server's final word on a request: not that it is busy or broken, or does not
// know the campaign.
func turnedAway(err error) (*discovery.Refusal, bool) {
	r, ok := errors.AsType[*discovery.Refusal](err)
	if !ok || r.Status < 400 || r.Status >= 500 || r.Status == http.StatusRequestTimeout || r.Status == http.StatusTooManyRequests || r.Status == http.StatusNotFound {
		return nil, false
	}
	return r, true
}

// A greeting shows the device to the server, once for each start of the agent and once more for each campaign.
type greeting struct {
	turn     chan struct{} // buffered, one: holds who greets, while it waits for the server
	instance []byte        // likewise

	mu         sync.Mutex // guards all below
	asked, met uint64     // how often it is to be done, and was
}

func newGreeting() greeting { return greeting{turn: make(chan struct{}, 1), asked: 1} }

func (g *greeting) again() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
}

func (g *greeting) due() (asked uint64, due bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked, g.met < g.asked
}

func (g *greeting) done(asked uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.met = asked
}

// hello greets the server if that is still to be done.
func (a *Agent) hello(ctx context.Context) error {
	g := &a.greet
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	asked, due := g.due()
	if !due {
		return nil
	}
	if g.instance == nil {
		g.instance = make([]byte, 16)
		crand.Read(g.instance) // never fails
	}
	h := discovery.Hello{Device: a.cfg.Device, Product: a.cfg.Product, Hardware: a.cfg.Hardware, Version: runningVersion(a.fs), Agent: g.instance, Token: a.cfg.EnrolToken, Seeded: a.seeded()}
	if a.cfg.Key != nil {
		if err := h.Sign(a.cfg.Key); err != nil {
			return err
		}
	}
	err := a.client.Hello(ctx, h)
	if err == nil {
		g.done(asked)
	}
	return err
}

const greetInterval = 20 * time.Second

// greetServer shows the device as soon as the server can be reached, and when it is back after it was away: a server
// that expects a number of devices announces nothing before they came.
func (a *Agent) greetServer(ctx context.Context) {
	for failures := 0; ; failures++ {
		rest := min(retryAfter(failures), greetInterval)
		if err := a.hello(ctx); err == nil {
			failures, rest = -1, greetInterval
		}
		if !pause(ctx, rest) {
			return
		}
	}
}

// A statusBox holds what the server is to be shown next. Only the latest matters, and none of it has to arrive.
type statusBox struct {
	busy bool
	next *discovery.Status
	said discovery.Status // last
	rest time.Time        // none is shown before this, unless the state is another
}

// statusInterval is the time between two reports of a device in one state, and as much again at random, so that those of
// many do not come together.
const statusInterval = 10 * time.Second

// due returns when the box has something to show; zero if nothing.
func (b *statusBox) due() time.Time {
	if b.busy || b.next == nil {
		return time.Time{}
	}
	return b.rest
}

func (a *Agent) sendStatus(round commit.Round, state commit.State, reason commit.Reason) {
	s := discovery.Status{Device: a.cfg.Device, Campaign: round.Campaign.String(), State: string(state), Reason: string(reason)}
	if c := a.following; c != nil && c.round == round {
		s.Bytes, s.Total = c.bytes, c.release.Size()
		s.Received, s.Lost, s.Overruns, s.ByHTTP = c.traffic.received, c.traffic.lost, c.traffic.overruns, c.traffic.byHTTP
	}
	a.status.next = &s
	if s.Campaign != a.status.said.Campaign || s.State != a.status.said.State {
		a.status.rest = time.Time{}
	}
}

// showStatus shows the latest status, if that is due.
func (a *Agent) showStatus(now time.Time) {
	if a.status.busy || a.status.next == nil || now.Before(a.status.rest) {
		return
	}
	s := *a.status.next
	a.status = statusBox{busy: true, said: s, rest: now.Add(statusInterval + rand.N(statusInterval))}
	a.work.Go(func() {
		if err := a.client.Status(a.ctx, s); err != nil {
			a.log.Debug("the status was not taken", "error", err)
		}
		a.do(func(time.Time) { a.status.busy = false })
	})
}

package upgrade

import (
	"context"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
)

// A delivery is a vote or report, and where the answer to it goes.
type delivery struct {
	message commit.Message
	answer  chan error // buffered
}

// maxBatch is how many messages are made durable together.
const maxBatch = 1024

// Run runs the campaign to its end: until the outcome of every device is known, or nothing more is to be hoped for. When
// ctx ends before, nothing is decided, and the campaign can be continued. An error is one of the state directory or
// of ctx; the result says how far the campaign is in either case.
func (c *Campaign) Run(ctx context.Context) (result Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer c.Close()
	defer cancel()
	stop, err := c.meet(ctx)
	if err == nil {
		err = c.loop(ctx)
	}
	result = c.result()
	cancel()
	endSAP := c.sap.end(err == nil)
	c.sender.end(err == nil)
	endSAP()
	stop()
	return result, err
}

// meet opens the rendezvous to devices, and Control to people; or takes its place in one that is shared.
func (c *Campaign) meet(ctx context.Context) (stop func(), err error) {
	if shared := c.cfg.Shared; shared != nil {
		return c.place(shared.Handler, shared.Seats), nil
	}
	handler := discovery.NewHandler(backend{c})
	if c.cfg.Roots != nil {
		handler.Roots = c.cfg.Roots.Signed
	}
	if len(c.frozen.Settings.Waves) > 1 {
		c.place(handler, nil)
	} else {
		c.publish = append(c.publish, handler.Publish)
	}
	wait := c.serve(ctx, c.listener, handler, c.cfg.TLS != nil)
	waitControl, err := c.serveControl(ctx)
	return func() { waitControl(); wait() }, err
}

// loop owns the coordinator: everybody else hands it work.
func (c *Campaign) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		over, err := c.step(ctx, now)
		if over || err != nil {
			return err
		}
		timer.Reset(c.wait(time.Now()))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case f := <-c.calls:
			f(time.Now())
		case d := <-c.mail:
			if err := c.deliver(time.Now(), d); err != nil {
				return err
			}
		case e, ok := <-c.sender.happenings():
			c.sent(time.Now(), e, ok)
		case <-timer.C:
		}
	}
}

// deliver gives the coordinator a vote or report and all that wait behind it, so that they share one write to the disk.
func (c *Campaign) deliver(now time.Time, first delivery) error {
	batch := []delivery{first}
	for more := true; more && len(batch) < maxBatch; {
		select {
		case d := <-c.mail:
			batch = append(batch, d)
		default:
			more = false
		}
	}
	messages := make([]commit.Message, len(batch))
	for i, d := range batch {
		messages[i] = d.message
	}
	refused, err := c.coordinator.Receive(now, messages...)
	for i, d := range batch {
		if err != nil {
			d.answer <- err
		} else {
			d.answer <- refused[i]
		}
	}
	return err
}

// step does all that is due: decide, announce, send, end.
func (c *Campaign) step(ctx context.Context, now time.Time) (over bool, err error) {
	if err := c.coordinator.Advance(now); err != nil {
		return false, err
	}
	c.tell(now)
	if err := c.announce(now); err != nil {
		return false, err
	}
	if err := c.transmit(ctx, now); err != nil {
		return false, err
	}
	over = c.over(now)
	if over {
		if err = c.coordinator.Close(now); err == nil {
			s := c.status()
			c.emit(now, Event{Kind: EventCampaign, State: CampaignClosed, Verdict: s.Verdict, Reason: s.Reason, Counts: s.Counts})
		}
	}
	return over, err
}

// wait returns how long the loop may wait when nothing happens.
func (c *Campaign) wait(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	for _, t := range []time.Time{c.coordinator.Deadline(), c.sendingDeadline(), c.endgame.deadline} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return max(0, next.Sub(now))
}

// do runs f on the loop.
func (c *Campaign) do(ctx context.Context, f func(now time.Time)) error {
	ran := make(chan struct{})
	select {
	case c.calls <- func(now time.Time) { f(now); close(ran) }:
		<-ran
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return ErrNotRunning
	}
}

// act runs f, which can fail, on the loop.
func (c *Campaign) act(ctx context.Context, f func(now time.Time) error) error {
	var failed error
	if err := c.do(ctx, func(now time.Time) { failed = f(now) }); err != nil {
		return err
	}
	return failed
}

// post hands a vote or report to the loop and waits until it is durable or refused.
func (c *Campaign) post(ctx context.Context, m commit.Message) error {
	d := delivery{m, make(chan error, 1)}
	select {
	case c.mail <- d:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return ErrNotRunning
	}
	return <-d.answer
}

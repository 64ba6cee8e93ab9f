package upgrade

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
)

// punctual is how long after the start of sending a device may come and still ask for what it missed at once.
const punctual = 5 * time.Second

// startReceiving begins to receive a campaign, when the reception before has ended.
func (a *Agent) startReceiving(now time.Time, c *campaign) {
	ctx, cancel := context.WithCancel(a.ctx)
	before, done := a.receiver, make(chan struct{})
	c.stop, a.receiver = cancel, done
	s, signed := c.session, c.signed
	clock := a.p.Clock()
	late := !clock.Known() || clock.UTC(now).After(s.Start.Add(punctual))
	wait := max(0, s.Start.Sub(clock.UTC(now)))
	kept := map[string]bool{}
	if round, ok := a.p.Holds(); ok {
		kept[stageDir(round.Manifest)] = true
	}
	a.greet.again()
	a.tell.tell(Event{Kind: EventAnnounced, Campaign: s.Campaign.String(), State: commit.StateAnnounced,
		Version: c.release.Version, Total: c.release.Size(), Group: s.Group.String()})
	a.work.Go(func() {
		defer close(done)
		defer cancel()
		if before != nil {
			<-before
		}
		if !a.introduce(ctx, c) {
			return
		}
		if !a.obtainKeys(ctx, c) || !a.waitForSlot(ctx, c) {
			return
		}
		st, err := openStage(a.stageFS(ctx, c.release), c.release, signed.Manifest, signed.Session, kept)
		if err == nil {
			a.offered.Store(a.stageOffer(c, s.Objects, st))
			r := &reception{a: a, c: c, s: s, node: nodeFor(c.node, s), stage: st, late: late, start: time.Now().Add(wait)}
			err = errors.Join(r.run(ctx), st.close())
		}
		if err != nil && ctx.Err() == nil {
			a.do(func(now time.Time) { a.cannotReceive(now, c, err) })
		}
	})
}

// stopReceiving ends the reception, or what is left of it: listening for the decision.
func (a *Agent) stopReceiving() {
	if c := a.following; c != nil && c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// introduce greets the server until it answers. It reports false if this device has no part in the campaign.
func (a *Agent) introduce(ctx context.Context, c *campaign) bool {
	for failures := 0; ; failures++ {
		err := a.hello(ctx)
		if err == nil {
			return true
		}
		if r, refused := turnedAway(err); refused {
			a.do(func(time.Time) {
				reason := commit.Reason(r.Reason)
				if !reason.Known() {
					reason = commit.ReasonNotTarget
				}
				c.turned, c.stop = true, nil
				e := Event{Kind: EventRefused, Campaign: c.round.Campaign.String(), State: commit.StateRefused, Reason: reason, Detail: r.Detail}
				a.tell.tell(e)
				a.writeStatus(e)
				a.conclude(c.round, commit.StateRefused, reason)
			})
			return false
		}
		if !pause(ctx, retryAfter(failures)) {
			return false
		}
	}
}

// cannotReceive refuses a campaign for which the device has no storage.
func (a *Agent) cannotReceive(now time.Time, c *campaign, err error) {
	a.log.Error("the campaign cannot be received", "campaign", c.round.Campaign, "error", err)
	c.stop, c.turned = nil, true
	a.refuse(now, c.round, c.session.Expires, storageReason(err))
}

func storageReason(err error) commit.Reason {
	if errors.Is(err, errNoSpace) || errors.Is(err, syscall.ENOSPC) {
		return commit.ReasonDiskFull
	}
	return commit.ReasonStorage
}

// A traffic is what a device hears of a campaign.
type traffic struct {
	received, lost, overruns uint64 // datagrams
	byHTTP                   bool   // multicast is of no use
	fetched                  int64  // bytes of content that were new, by multicast or HTTP
}

// loss returns the share that was lost.
func (t traffic) loss() float64 {
	if t.lost == 0 {
		return 0
	}
	return float64(t.lost) / (float64(t.received) + float64(t.lost))
}

// noteProgress takes how far the reception of a campaign is.
func (a *Agent) noteProgress(now time.Time, c *campaign, bytes int64, t traffic) {
	if a.following != c || c.offered {
		return
	}
	c.bytes, c.traffic = bytes, t
	a.sendStatus(c.round, commit.StateReceiving, commit.ReasonNone)
	e := Event{Kind: EventProgress, Campaign: c.round.Campaign.String(), State: commit.StateReceiving, Bytes: bytes, Total: c.release.Size(), Fetched: t.fetched}
	a.tell.tell(e)
	a.writeStatus(e)
}

// nodeFor returns the NormNodeId of a device: the one that the server gave, if it can be one.
func nodeFor(given uint32, s *manifest.Session) norm.NodeID {
	if id := norm.NodeID(given); id != 0 && id != 1<<32-1 && given != s.NodeID {
		return id
	}
	return randomNode()
}

package upgrade

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
)

// A device in doubt asks the server at a random moment between these, so that the devices of a campaign do not ask
// together.
const (
	minPoll = 30 * time.Second
	maxPoll = 90 * time.Second
)

// decide takes a decision, from wherever it came.
func (a *Agent) decide(now time.Time, signed []byte) {
	d, err := commit.OpenDecision(signed, a.trust().Server(signed))
	if err != nil {
		a.log.Warn("a decision does not count", "error", err)
		return
	}
	for _, c := range []*campaign{a.following, a.held} {
		if c != nil && c.round == d.Round {
			c.decision = signed // for when the vote comes after it
		}
	}
	if held := a.held; held != nil && held.round == d.Round && held.release != nil && d.Verdict == commit.Commit {
		err := held.release.Activation.Check(d.NotBefore, d.NotAfter, d.Spread)
		if err == nil {
			err = d.CheckApprovals(a.trust().ApproversOf(held.release))
		}
		if err != nil {
			a.log.Error("the decision is beyond what the release allows; it does not count", "error", err)
			return
		}
	}
	before := a.p.Status()
	err = a.p.Decide(now, signed)
	switch {
	case errors.Is(err, commit.ErrFinished):
		return
	case errors.Is(err, commit.ErrNoVote):
		if d.Verdict == commit.Abort {
			a.abortReceiving(d)
		}
		return
	case err != nil:
		a.log.Error("the decision does not count", "round", d.Round, "verdict", d.Verdict, "error", err)
		return
	}
	if before.Current.Round == d.Round && !before.Committed {
		a.tell.tell(Event{Kind: EventDecision, Campaign: d.Campaign.String(), Wave: d.Wave, Verdict: d.Verdict.String()})
	}
	a.tellHeld(before)
}

// abortReceiving ends the reception of a round that is aborted. What came of it stays as a cache.
func (a *Agent) abortReceiving(d commit.Decision) {
	c := a.following
	if c == nil || c.round != d.Round || c.stop == nil || c.offered {
		return
	}
	c.stop()
	c.stop, c.whole = nil, false
	a.tell.tell(Event{Kind: EventDecision, Campaign: d.Campaign.String(), Wave: d.Wave, Verdict: d.Verdict.String()})
	e := Event{Kind: EventAborted, Campaign: d.Campaign.String(), Wave: d.Wave, State: commit.StateAborted}
	a.tell.tell(e)
	a.writeStatus(e)
	a.conclude(d.Round, commit.StateAborted, commit.ReasonNone)
}

// aborted reports whether one of the decisions is a valid ABORT of the round.
func (a *Agent) aborted(round commit.Round, decisions [][]byte) bool {
	for _, signed := range decisions {
		d, err := commit.OpenDecision(signed, a.trust().Server(signed))
		if err == nil && d.Round == round && d.Verdict == commit.Abort {
			return true
		}
	}
	return false
}

// brake takes a HOLD or RESUME.
func (a *Agent) brake(now time.Time, signed []byte) {
	if a.following != nil {
		a.following.brake(signed, a.trust().Server(signed))
	}
	before := a.p.Status()
	if err := a.p.Brake(now, signed); err != nil {
		a.log.Warn("a brake does not count", "error", err)
		return
	}
	a.tellHeld(before)
}

// tellHeld tells that a COMMIT is on hold since before, by the brake or because it came when that was on, or is no longer.
func (a *Agent) tellHeld(before commit.ParticipantStatus) {
	st := a.p.Status()
	if st.Held == before.Held {
		return
	}
	detail := "RESUME"
	if st.Held {
		detail = "HOLD"
	}
	a.tell.tell(Event{Kind: EventHeld, Campaign: st.Current.Round.Campaign.String(), State: st.Current.State, Detail: detail})
}

// A pollTimer says when to ask the server next.
type pollTimer struct {
	next time.Time // zero: there is nothing to ask
	busy bool
}

func (t *pollTimer) schedule(now time.Time) { t.next = now.Add(minPoll + rand.N(maxPoll-minPoll)) }

// deadline is when to look at it again; zero while the server is being asked, as what comes of that is heard of.
func (t *pollTimer) deadline() time.Time {
	if t.busy {
		return time.Time{}
	}
	return t.next
}

// begin reports whether it is time to ask, and if so schedules the next time. Busy is to be reset when this one is over.
func (t *pollTimer) begin(now time.Time) bool {
	if at := t.deadline(); at.IsZero() || now.Before(at) {
		return false
	}
	t.busy = true
	t.schedule(now)
	return true
}

// ask asks the server, now and then, for what this device waits for: the decision, or the end of a HOLD. That the server
// does not know the campaign says nothing about a decision: the device waits.
func (a *Agent) ask(now time.Time) {
	st := a.p.Status()
	waits := st.Current.State == commit.StateReady && !st.Committed || st.Held
	switch {
	case !waits:
		a.poll.next = time.Time{}
		return
	case a.poll.next.IsZero():
		a.poll.schedule(now)
	}
	if !a.poll.begin(now) {
		return
	}
	round := st.Current.Round
	a.work.Go(func() {
		f := a.askDecision
		if st.Held {
			f = a.askBrake
		}
		f(round)
		a.do(func(time.Time) { a.poll.busy = false })
	})
}

func (a *Agent) askDecision(round commit.Round) {
	signed, err := a.client.Decision(a.ctx, round.Campaign.String(), round.Wave)
	a.do(func(now time.Time) {
		switch {
		case err == nil:
			a.decide(now, signed)
		case errors.Is(err, discovery.ErrUnknown):
			if !a.unknown {
				a.tell.tell(Event{Kind: EventTrouble, Campaign: round.Campaign.String(), Detail: "the server does not know the campaign; waiting"})
			}
			a.unknown = true
		case errors.Is(err, discovery.ErrUndecided) && a.unknown:
			a.unknown = false
			// It may have forgotten more than the campaign's name. A READY is in the log already: this cannot fail.
			a.p.Repeat(now, round)
		}
	})
}

// askBrake gets the brake of the round's campaign.
func (a *Agent) askBrake(round commit.Round) {
	signed, err := a.client.Brake(a.ctx, round.Campaign.String())
	a.do(func(now time.Time) {
		if err == nil && len(signed) > 0 {
			a.brake(now, signed)
		}
	})
}

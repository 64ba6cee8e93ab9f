package upgrade

import (
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A showing is a decision that this device has taken and its server has forgotten, as one does whose state was restored from a
// backup that is older than the decision. By itself such a server decides nothing any more.
type showing struct {
	round commit.Round
	poll  pollTimer // when it is shown next; off as long as the server announces it
}

// missDecision looks whether the announcement of a round lacks the decision that this device has taken. If so the server is
// shown it at a random moment, unless it announces it by then: of many devices only the first few do that. How the round
// ended here each of them tells once more.
func (a *Agent) missDecision(now time.Time, round commit.Round, announced [][]byte) {
	_, taken := a.p.Decision(round)
	if !taken || slices.ContainsFunc(announced, func(signed []byte) bool { return a.decides(signed, round) }) {
		a.showing.poll.next = time.Time{}
		return
	}
	if !a.showing.poll.next.IsZero() && a.showing.round == round {
		return
	}
	a.showing.round = round
	a.showing.poll.schedule(now)
	a.tell.tell(Event{Kind: EventTrouble, Campaign: round.Campaign.String(), Wave: round.Wave,
		Detail: "the server does not know the decision any more that this device has taken; it will be shown"})
	if err := a.p.Repeat(now, round); err != nil {
		a.log.Error("the outcome cannot be logged anew", "error", err)
	}
}

// decides reports whether signed is a valid decision of the round.
func (a *Agent) decides(signed []byte, round commit.Round) bool {
	d, err := commit.OpenDecision(signed, a.trust().Server(signed))
	return err == nil && d.Round == round
}

// show shows the server the decision that it lacks, when that is due: until it announces it, or refuses it for good.
func (a *Agent) show(now time.Time) {
	poll, round := &a.showing.poll, a.showing.round
	if !poll.begin(now) {
		return
	}
	decision, ok := a.p.Decision(round)
	if !ok { // another round has ended since
		*poll = pollTimer{}
		return
	}
	a.work.Go(func() {
		err := a.client.Adopt(a.ctx, round.Campaign.String(), round.Wave, decision)
		a.do(func(time.Time) {
			a.showing.poll.busy = false
			if err == nil {
				return
			}
			a.log.Warn("the server does not take the decision it signed", "round", round, "error", err)
			if _, refused := turnedAway(err); refused && a.showing.round == round {
				a.showing.poll.next = time.Time{}
			}
		})
	})
}

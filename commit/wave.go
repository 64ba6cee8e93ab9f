package commit

import "time"

// A WaveStep is how far a wave is. Waves follow one another: the next begins when enough devices of this one run the new
// image and have done so for a while. Names are those of the API and the web page.
type WaveStep string

const (
	WaveWaiting    WaveStep = "waiting"    // for the wave before it
	WaveVoting     WaveStep = "voting"     // it has begun, and is not decided
	WaveActivating WaveStep = "activating" // COMMIT; its results are awaited
	WaveSoaking    WaveStep = "soaking"    // it has passed, and the next begins when that has lasted for Soak
	WaveDone       WaveStep = "done"       // it has passed, and the next has begun; or it is the last, and has succeeded
	WaveAborted    WaveStep = "aborted"
)

// hasWave reports whether there is a wave of that number, which comes from anywhere: an int of 32 bits cannot hold all of them.
func hasWave[T any](waves []T, wave uint32) bool { return uint64(wave) < uint64(len(waves)) }

// A pacing is what a coordinator knows of the steps of a wave. Each is in the log, with its time, so that the next server
// goes on from the same instant.
type pacing struct {
	deadline time.Time // of votes; zero: the wave has not begun
	due      time.Time // of results; zero: they are awaited without end, or it is not committed
	next     time.Time // when the wave behind it begins; zero: it has not passed
	answered int       // failures when the brake was last set
}

func (p *pacing) begun() bool { return !p.deadline.IsZero() }

// pace does what is due with a wave: begins it, decides it, or judges its results.
func (c *Coordinator) pace(now time.Time, wave uint32) error {
	w := &c.waves[wave]
	if w.decision.Verdict == Commit {
		return c.judgeResults(now, wave)
	}
	if w.decision.Verdict == Abort || c.restored {
		return nil
	}
	if !w.begun() {
		switch before := &c.waves[wave-1]; {
		case before.decision.Verdict == Abort:
			return c.decide(now, wave, Abort, ReasonEarlierWave)
		case before.next.IsZero() || now.Before(before.next) || c.brake.Hold:
			return nil
		}
		if err := c.logStep(waveRecord{Wave: wave, At: nanoseconds(now)}); err != nil {
			return err
		}
	}
	return c.evaluate(now, wave)
}

// judgeResults lets the next wave begin, or stops the campaign, by the outcomes of a committed wave. While the brake is on a
// person has the word.
func (c *Coordinator) judgeResults(now time.Time, wave uint32) error {
	w, policy := &c.waves[wave], c.plan.Waves[wave]
	if c.restored || c.closed || c.brake.Hold {
		return nil
	}
	if limit := policy.Errors; limit > 0 && w.all.failed*100 > limit*w.all.targets && w.all.failed > w.answered {
		return c.stop(now, ReasonWaveErrors)
	}
	switch {
	case !c.awaited(wave):
	case w.all.committed >= quorum(policy.Success, w.all.targets):
		return c.logStep(waveRecord{wave, true, nanoseconds(now)})
	case c.short(wave):
		return c.stop(now, ReasonWaveShort)
	case w.late(now):
		return c.stop(now, ReasonNoOutcome)
	}
	return nil
}

// awaited reports whether another wave waits for the results of this one, which is committed.
func (c *Coordinator) awaited(wave uint32) bool {
	open, some := c.Open()
	return some && open == wave+1 && c.waves[wave].next.IsZero()
}

// short reports whether the wave cannot succeed any more.
func (c *Coordinator) short(wave uint32) bool {
	all := c.waves[wave].all
	return all.targets-all.lost < quorum(c.plan.Waves[wave].Success, all.targets)
}

// late reports whether the results should be there.
func (p *pacing) late(now time.Time) bool { return !p.due.IsZero() && !now.Before(p.due) }

// unaccepted returns the wave whose results have stopped the campaign, and would again.
func (c *Coordinator) unaccepted(now time.Time) (wave uint32, ok bool) {
	open, some := c.Open()
	if !some || open == 0 || !c.brake.Pause || !c.awaited(open-1) {
		return 0, false
	}
	wave = open - 1
	switch c.brakeReason {
	case ReasonWaveErrors, ReasonWaveShort:
		return wave, c.short(wave)
	case ReasonNoOutcome:
		return wave, true
	}
	return 0, false
}

// logStep writes to the log that a wave has passed or begun.
func (c *Coordinator) logStep(s waveRecord) error {
	if err := c.log.append(coordRecord{Wave: &s}.encode()); err != nil {
		return err
	}
	c.takeStep(s)
	c.emitStep(s)
	return nil
}

func (c *Coordinator) takeStep(s waveRecord) {
	w, policy, at := &c.waves[s.Wave], c.plan.Waves[s.Wave], fromNanoseconds(s.At)
	if s.Passed {
		w.next = at.Add(policy.Soak)
	} else {
		w.deadline = at.Add(policy.ReadyTimeout)
	}
}

func (c *Coordinator) emitStep(s waveRecord) {
	step := WaveVoting
	if s.Passed {
		step = WaveSoaking
	}
	c.emit(Event{Kind: EventWave, Wave: s.Wave, Step: step})
}

// standStill moves what is due by the time that it stood still: the end of votes and of a soak while the campaign was
// paused, the end of results while devices had to hold.
func (c *Coordinator) standStill(next Brake, now time.Time) {
	if next.Hold && !c.brake.Hold {
		c.heldAt = now
	}
	if next.Pause && !c.brake.Pause {
		c.pausedAt = now
	}
	move := func(t *time.Time, since time.Time) {
		if !t.IsZero() {
			*t = t.Add(max(0, now.Sub(since)))
		}
	}
	open, some := c.Open()
	if c.brake.Pause && !next.Pause {
		c.stood = c.Stood(now)
	}
	if c.brake.Pause && !next.Pause && some {
		move(&c.waves[open].deadline, c.pausedAt)
		if open > 0 && !c.waves[open].begun() {
			move(&c.waves[open-1].next, c.pausedAt)
		}
	}
	if c.brake.Hold && !next.Hold {
		for i := range c.waves {
			move(&c.waves[i].due, c.heldAt)
		}
	}
}

// stepDue returns when a wave has a step to take if nothing else happens; zero if none.
func (c *Coordinator) stepDue(i int) time.Time {
	w := &c.waves[i]
	switch {
	case w.decision.Verdict == Undecided && w.begun() && !c.brake.Pause:
		return w.deadline
	case w.decision.Verdict == Undecided && i > 0 && !w.begun() && !c.brake.Hold:
		return c.waves[i-1].next
	case w.decision.Verdict == Commit && c.awaited(uint32(i)) && !c.brake.Hold:
		return w.due
	}
	return time.Time{}
}

// step returns how far a wave is, and when it goes on if nothing else happens; zero if that is not known.
func (c *Coordinator) step(i int) (WaveStep, time.Time) {
	w := &c.waves[i]
	last := i == len(c.waves)-1
	switch {
	case w.decision.Verdict == Abort:
		return WaveAborted, time.Time{}
	case w.decision.Verdict == Undecided && !w.begun():
		return WaveWaiting, time.Time{}
	case w.decision.Verdict == Undecided:
		return WaveVoting, w.deadline
	case last && w.all.committed >= quorum(c.plan.Waves[i].Success, w.all.targets):
		return WaveDone, time.Time{}
	case w.next.IsZero():
		return WaveActivating, w.due
	case c.waves[i+1].begun() || c.waves[i+1].decision.Verdict != Undecided:
		return WaveDone, time.Time{}
	}
	return WaveSoaking, w.next
}

package commit

import "time"

// Hold stops devices that have not logged ACTIVATING. No wave begins until Resume.
func (c *Coordinator) Hold(now time.Time) error {
	return c.setBrake(now, Brake{Hold: true, Pause: c.brake.Pause}, ReasonOperator)
}

// Pause stops all that can be stopped: nothing is decided and nothing is to be sent, deadlines stand still, and devices hold
// as with Hold. Votes and reports are taken. When every wave is decided it is no more than Hold.
func (c *Coordinator) Pause(now time.Time) error { return c.stop(now, ReasonOperator) }

// Resume lets all go on. A person who resumes a campaign which the results of a wave have stopped accepts them: if the wave
// cannot succeed any more, or not in time, it counts as passed.
func (c *Coordinator) Resume(now time.Time) error {
	var steps []waveRecord
	if wave, ok := c.unaccepted(now); ok {
		steps = append(steps, waveRecord{wave, true, nanoseconds(now)})
	}
	return c.setBrake(now, Brake{}, ReasonOperator, steps...)
}

// setBrake logs and signs the next brake, and with it steps of waves.
func (c *Coordinator) setBrake(now time.Time, b Brake, reason Reason, steps ...waveRecord) error {
	if err := c.ready(); err != nil {
		return err
	}
	b.Campaign, b.Sequence = c.plan.Campaign, c.brake.Sequence+1
	recs := [][]byte{coordRecord{Brake: &brakeRecord{b.Sequence, b.Hold, reason, b.Pause, nanoseconds(now)}}.encode()}
	for _, s := range steps {
		recs = append(recs, coordRecord{Wave: &s}.encode())
	}
	if err := c.log.append(recs...); err != nil {
		return err
	}
	c.takeBrake(b, reason, now)
	c.emit(Event{Kind: EventBrake, Hold: b.Hold, Pause: b.Pause, Reason: reason})
	for _, s := range steps {
		c.takeStep(s)
		c.emitStep(s)
	}
	return c.signBrake()
}

func (c *Coordinator) takeBrake(b Brake, reason Reason, now time.Time) {
	c.standStill(b, now)
	c.brake, c.brakeReason, c.brakeSigned = b, reason, nil
	c.answered = c.failures
	for i := range c.waves {
		c.waves[i].answered = c.waves[i].all.failed
	}
}

// brakeForFailures stops the campaign when a failure came that no brake has answered, and they are too many.
func (c *Coordinator) brakeForFailures(now time.Time) error {
	if limit := c.plan.MaxFailures; limit == 0 || c.failures < limit || c.failures == c.answered || c.brake.Hold {
		return nil
	}
	return c.stop(now, ReasonMaxFailures)
}

// stop pauses the campaign: what waves are left wait for a person.
func (c *Coordinator) stop(now time.Time, reason Reason) error {
	_, open := c.Open()
	return c.setBrake(now, Brake{Hold: true, Pause: open}, reason)
}

// endPause ends a pause that there is nothing left for, as all waves are decided. Devices with a COMMIT still hold.
func (c *Coordinator) endPause(now time.Time) error {
	if _, open := c.Open(); open || !c.brake.Pause {
		return nil
	}
	hold := false
	for _, w := range c.waves {
		hold = hold || w.decision.Verdict == Commit
	}
	return c.setBrake(now, Brake{Hold: hold}, c.brakeReason)
}

// Brake returns the latest HOLD or RESUME, signed, as of the last Advance; nil if there was none. It is not to be changed.
func (c *Coordinator) Brake() []byte { return c.brakeSigned }

// Paused reports whether nothing is to be decided or sent.
func (c *Coordinator) Paused() bool { return c.brake.Pause }

// Stood returns how long the campaign has been paused until now, and so how much later than planned waves are decided.
func (c *Coordinator) Stood(now time.Time) time.Duration {
	if c.brake.Pause {
		return c.stood + max(0, now.Sub(c.pausedAt))
	}
	return c.stood
}

func (c *Coordinator) signBrake() (err error) {
	if c.brake.Sequence > 0 && c.brakeSigned == nil {
		c.brakeSigned, err = c.brake.Sign(c.key)
	}
	return err
}

package commit

import "time"

// evaluate decides the wave if it is to be decided now.
func (c *Coordinator) evaluate(now time.Time, wave uint32) error {
	w, policy := &c.waves[wave], c.plan.Waves[wave]
	if w.decision.Verdict != Undecided || !w.begun() || c.restored || c.brake.Pause {
		return nil
	}
	verdict, reason := c.judge(wave)
	late := !now.Before(w.deadline)
	switch {
	case wave > 0 && verdict == Commit && policy.over(now):
		return c.decide(now, wave, Abort, ReasonTooLate) // waves before it took longer than there is time
	case late && verdict == Commit && (policy.Ask || c.missingApprovals(wave) > 0):
		return c.decide(now, wave, Abort, ReasonNotApproved)
	case late:
		return c.decide(now, wave, Abort, ReasonDeadline)
	case verdict == Abort:
		return c.decide(now, wave, Abort, reason)
	case verdict == Commit && (policy.Ask || c.missingApprovals(wave) > 0):
		if !w.waiting {
			c.emit(Event{Kind: EventAsking, Wave: wave})
		}
		w.waiting = true
	case verdict == Commit:
		return c.decide(now, wave, Commit, ReasonNone)
	default:
		w.waiting = false // who was READY has released its stage
	}
	return nil
}

// judge applies the policy of the wave to the votes, without regard to time and approval.
func (c *Coordinator) judge(wave uint32) (Verdict, Reason) {
	policy := c.plan.Waves[wave]
	w := &c.waves[wave]
	all := w.all
	if c.plan.Expect > 0 {
		all.targets = c.plan.Expect // those that have not come yet as well
	}
	met := true
	switch all.quorum(policy.Quorum) {
	case Abort:
		return Abort, ReasonQuorum
	case Undecided:
		met = false
	}
	for _, device := range policy.Must {
		if d := c.devices[device]; d.cannotBeReady() {
			return Abort, ReasonMustHave
		} else if !d.isReady() {
			met = false
		}
	}
	if policy.SiteQuorum > 0 && c.plan.Expect == 0 { // expected devices have no site
		for name, site := range w.sites {
			if name == "" {
				continue // these devices belong to none
			}
			switch site.quorum(policy.SiteQuorum) {
			case Abort:
				return Abort, ReasonSiteQuorum
			case Undecided:
				met = false
			}
		}
	}
	if met {
		return Commit, ReasonNone
	}
	return Undecided, ReasonNone
}

// decide writes the decision to the log, then signs it.
func (c *Coordinator) decide(now time.Time, wave uint32, verdict Verdict, reason Reason) error {
	d := Decision{
		Round:   Round{c.plan.Campaign, wave, c.plan.Manifest},
		Targets: c.targetsDigest(),
		Verdict: verdict,
	}
	if verdict == Commit {
		c.plan.Waves[wave].times(now, &d)
		d.Approvals = c.waves[wave].approvals
	}
	if err := c.log.append(coordRecord{Decided: &decidedRecord{d.Encode(), reason, nanoseconds(now)}}.encode()); err != nil {
		return err
	}
	d, err := parseDecision(d.Encode()) // as it will be after a restart, in whole seconds
	if err != nil {
		panic(err) // Encode and parse disagree
	}
	c.takeDecision(d, reason, now)
	c.emit(Event{Kind: EventDecided, Wave: wave, Verdict: verdict, Reason: reason})
	return c.sign(wave)
}

// takeDecision notes a decision of now, zero if it is not known when it was made.
func (c *Coordinator) takeDecision(d Decision, reason Reason, now time.Time) {
	w := &c.waves[d.Wave]
	w.decision, w.reason = d, reason
	for c.open < len(c.waves) && c.waves[c.open].decision.Verdict != Undecided {
		c.open++
	}
	if limit := c.plan.Waves[d.Wave].OutcomeTimeout; limit > 0 && d.Verdict == Commit && !now.IsZero() {
		last := now
		if end := d.NotBefore.Add(d.Spread); end.After(last) {
			last = end
		}
		w.due = last.Add(limit)
	}
}

// over reports whether the window has closed in which devices may activate.
func (p Policy) over(now time.Time) bool {
	return !p.NotBefore.IsZero() && p.Window > 0 && !now.Before(p.NotBefore.Add(p.Window))
}

// times sets when devices may activate.
func (p Policy) times(now time.Time, d *Decision) {
	d.NotBefore, d.Spread = p.NotBefore, p.Spread
	if d.NotBefore.IsZero() && (p.Window > 0 || p.Spread > 0) {
		d.NotBefore = now
	}
	if p.Window > 0 {
		d.NotAfter = d.NotBefore.Add(p.Window)
	}
}

// sign signs the decision in the log, if that is still to be done, and writes the signed bytes to the log before
// anybody sees them.
func (c *Coordinator) sign(wave uint32) error {
	w := &c.waves[wave]
	if w.decision.Verdict == Undecided || len(w.signed) > 0 {
		return nil
	}
	signed, err := w.decision.Sign(c.key)
	if err != nil {
		return err
	}
	if err := c.log.append(coordRecord{Signed: &signedRecord{wave, signed}}.encode()); err != nil {
		return err
	}
	w.signed = signed
	return nil
}

package commit

import (
	"slices"
	"time"
)

// A Task is something that a device has to do, which takes time and can fail.
type Task uint8

const (
	TaskNone Task = iota

	// TaskVerify: sync the stage, drop it from the page cache, read it back, recompute the roots, run the verify hook,
	// make the stage durable. The result has the roots.
	TaskVerify

	// TaskAskBrake: ask the server for the brake and give its answer to [Participant.Brake], then finish. A server out
	// of reach is an answer as well: nothing.
	TaskAskBrake

	// TaskCheckStage: recompute the roots from storage. Between this and TaskActivate nothing may change the stage.
	TaskCheckStage

	// TaskActivate: run the activate hook with the activation id. It may restart the system, in which case it must not
	// return before. It may be run again after a crash, with the same id.
	TaskActivate

	// TaskHealth: run the health hook on the new image. If the new image is not what runs the result is
	// ReasonNotActive: then the power went before the activate hook had come far, and it is run again.
	TaskHealth

	// TaskRollback: run the rollback hook. It may be run again after a crash, also when activation never came far.
	TaskRollback
)

func (t Task) String() string {
	if names := []string{"none", "verify", "ask-brake", "check-stage", "activate", "health", "rollback"}; int(t) < len(names) {
		return names[t]
	}
	return "unknown"
}

// A Job is one Task to be done now. Only one is open at a time.
type Job struct {
	Task       Task
	Round      Round
	Activation string // stable over restarts and retries, from TaskCheckStage on
	serial     uint64
}

// A Result is how a job ended.
type Result struct {
	Roots  []Digest // recomputed from storage, for TaskVerify and TaskCheckStage
	Reason Reason   // why it failed; ReasonNone: it did not
}

// Advance does what time brings: it releases a stage that was held long enough, and gives up an activation whose
// not-after has passed.
func (p *Participant) Advance(now time.Time) error {
	if p.log.err != nil {
		return p.log.err
	}
	cur := p.s.Current
	if cur == nil {
		return nil
	}
	switch cur.Phase {
	case phaseReady:
		return p.countHeld(now)
	case phaseCommitted:
		if _, end := p.window(); p.clock.Known() && !end.IsZero() && p.clock.UTC(now).After(end) {
			return p.end(now, StateFailed, ReasonTooLate)
		}
		p.opens = p.instant(now)
	}
	return nil
}

// countHeld counts the powered time past the deadline of votes.
func (p *Participant) countHeld(now time.Time) error {
	cur := p.s.Current
	passed := p.clock.UTC(now).Sub(fromNanoseconds(cur.Deadline)) // since the deadline, by the time known now
	p.held += max(0, min(now.Sub(p.ticked), passed))
	p.ticked = now
	if cur.Held+p.held >= cur.Hold {
		return p.end(now, StateReleased, ReasonHoldExpired)
	}
	if p.held < heldStep {
		return nil
	}
	next := p.s.clone()
	next.Current.Held += p.held
	if err := p.commit(now, next); err != nil {
		return err
	}
	p.held = 0
	return nil
}

// window returns from when and until when this device may activate; zero times are open ends.
func (p *Participant) window() (start, end time.Time) {
	d := p.decision
	spread := d.Spread
	if !d.NotAfter.IsZero() {
		spread = min(spread, d.NotAfter.Sub(d.NotBefore))
	}
	return d.NotBefore.Add(spreadOffset(p.cfg.Device, d.Round, spread)), d.NotAfter
}

// timed reports whether the COMMIT, or the device's maintenance window, says when to activate.
func (p *Participant) timed() bool { return p.decision.Timed() || p.cfg.Opens != nil }

// instant returns when this device may activate, as seen at now: its own instant within the server's spread, and from
// then on its maintenance window.
func (p *Participant) instant(now time.Time) time.Time {
	start, _ := p.window()
	if p.cfg.Opens == nil {
		return start
	}
	if utc := p.clock.UTC(now); utc.After(start) {
		start = utc
	}
	// The windows of many devices open together, and they do not activate together: each has its own instant after that, if
	// the window is long enough.
	own := spreadOffset(p.cfg.Device, p.decision.Round, max(p.decision.Spread, windowSpread))
	opens := p.cfg.Opens(start)
	opened := opens
	if opens.Equal(start) { // it is open: since when?
		if opened = p.cfg.Opens(start.Add(-own)); opened.Equal(start.Add(-own)) {
			return start // long enough
		}
	}
	if t := opened.Add(own); p.cfg.Opens(t).Equal(t) {
		return t
	}
	return opens
}

// windowSpread is how long devices that waited for their maintenance window spread over at least.
const windowSpread = time.Minute

// WaitsUntil returns when this device, which has a COMMIT and is not on hold, may activate by its maintenance window; ok
// is false if it does not wait for that. The instant is in UTC.
func (p *Participant) WaitsUntil(now time.Time) (opens time.Time, ok bool) {
	cur := p.s.Current
	if p.cfg.Opens == nil || cur == nil || cur.Phase != phaseCommitted || cur.Stopped || !p.clock.Known() {
		return time.Time{}, false
	}
	start, _ := p.window()
	opens = p.instant(now)
	return opens, opens.After(start) && opens.After(p.clock.UTC(now))
}

// Deadline returns the reading of the clock at which Advance and Next have something to do if nothing else happens;
// zero if nothing is scheduled.
func (p *Participant) Deadline() time.Time {
	cur := p.s.Current
	if cur == nil || p.log.err != nil {
		return time.Time{}
	}
	switch cur.Phase {
	case phaseReady:
		left := min(heldStep, cur.Hold-cur.Held) - p.held
		from := p.ticked
		if deadline := p.clock.reading(fromNanoseconds(cur.Deadline)); deadline.After(from) {
			from = deadline
		}
		return from.Add(left)
	case phaseCommitted:
		_, end := p.window()
		switch {
		case !p.timed() || !p.clock.Known() || p.job.Task != TaskNone:
		case !cur.Stopped && (end.IsZero() || !p.opens.After(end)):
			return p.clock.reading(p.opens)
		case !end.IsZero():
			return p.clock.reading(end).Add(time.Nanosecond)
		}
	}
	return time.Time{}
}

// Next returns the job to be begun now, if there is one. Each is returned once; after a restart an unfinished one is
// returned again.
func (p *Participant) Next(now time.Time) (Job, bool) {
	if p.Advance(now) != nil {
		return Job{}, false
	}
	if p.job.Task == TaskNone {
		p.job, p.taken = p.schedule(now), false
	}
	if p.job.Task == TaskNone || p.taken {
		return Job{}, false
	}
	p.taken = true
	return p.job, true
}

// schedule chooses the next job.
func (p *Participant) schedule(now time.Time) Job {
	cur := p.s.Current
	if cur == nil {
		return Job{}
	}
	job := Job{Round: cur.Round}
	switch cur.Phase {
	case phaseVerifying:
		job.Task = TaskVerify
	case phaseCommitted:
		switch {
		case cur.Stopped || !p.due(now):
			return Job{}
		case !p.asked:
			job.Task = TaskAskBrake
		default:
			job.Task = TaskCheckStage
		}
	case phaseActivating:
		// A new boot id: the hook has restarted the system. The same one: it had not come that far.
		if p.hooked || cur.Boot != p.cfg.Boot {
			job.Task = TaskHealth
		} else {
			job.Task = TaskActivate
		}
	case phaseRollingBack:
		job.Task = TaskRollback
	default:
		return Job{}
	}
	if cur.Phase >= phaseCommitted {
		job.Activation = activationID(p.cfg.Device, cur.Round, cur.Vote)
	}
	p.serial++
	job.serial = p.serial
	return job
}

// due reports whether the device's own instant has come. Without a timestamp since the start nothing timed activates.
func (p *Participant) due(now time.Time) bool {
	return !p.timed() || p.clock.Known() && !p.clock.UTC(now).Before(p.instant(now))
}

// Finish takes the result of the job that Next returned. A job of a round that has ended meanwhile is [ErrStale],
// which needs no care.
func (p *Participant) Finish(now time.Time, job Job, r Result) error {
	if p.log.err != nil {
		return p.log.err
	}
	if job.Task == TaskNone || !p.taken || job != p.job {
		return ErrStale
	}
	if !r.Reason.wellFormed() {
		r.Reason = ReasonUnimplemented
	}
	p.job, p.taken = Job{}, false
	switch cur := p.s.Current; job.Task {
	case TaskVerify:
		return p.vote(now, r)
	case TaskAskBrake:
		p.asked = true
		return p.Advance(now)
	case TaskCheckStage:
		return p.activate(now, r)
	case TaskActivate:
		if r.Reason != ReasonNone {
			return p.rollBack(now, r.Reason)
		}
		p.hooked = true
		return nil
	case TaskHealth:
		if r.Reason == ReasonNotActive && cur.Again < maxAgain {
			return p.again(now)
		}
		if r.Reason != ReasonNone {
			return p.rollBack(now, r.Reason)
		}
		return p.end(now, StateCommitted, ReasonNone)
	default: // TaskRollback
		if r.Reason != ReasonNone {
			return p.end(now, StateFailed, r.Reason)
		}
		return p.end(now, StateRolledBack, cur.Reason)
	}
}

// vote logs the vote that Messages then reports.
func (p *Participant) vote(now time.Time, r Result) error {
	cur := p.s.Current
	if r.Reason == ReasonNone && !slices.Equal(r.Roots, cur.Roots) {
		r.Reason = ReasonVerifyFailed
	}
	if r.Reason == ReasonNone && p.expired(now, cur.Expires) {
		r.Reason = ReasonExpired
	}
	if r.Reason != ReasonNone {
		return p.refuse(now, cur.Round, cur.Ends, r.Reason)
	}
	next := p.s.clone()
	next.Counter++
	next.Current.Phase, next.Current.Vote = phaseReady, next.Counter
	if err := p.commit(now, next); err != nil {
		return err
	}
	p.ticked, p.held, p.told = now, 0, false
	p.change(cur.Round, StateReady, ReasonNone)
	return nil
}

// activate logs ACTIVATING, unless the stage has changed, the time is over, the maintenance window has closed, or the
// brake was put on meanwhile.
func (p *Participant) activate(now time.Time, r Result) error {
	cur := p.s.Current
	if r.Reason == ReasonNone && !slices.Equal(r.Roots, cur.Roots) {
		r.Reason = ReasonStageChanged
	}
	if r.Reason != ReasonNone {
		return p.end(now, StateFailed, r.Reason)
	}
	if err := p.Advance(now); err != nil || p.s.Current == nil || cur.Stopped || !p.asked {
		return err
	}
	if !p.due(now) {
		p.asked = false // in the next window it asks anew
		return nil
	}
	next := p.s.clone()
	next.Current.Phase, next.Current.Boot = phaseActivating, p.cfg.Boot
	return p.commit(now, next)
}

// again logs ACTIVATING anew. A new boot id alone does not tell that the activate hook has restarted the system: the
// power may have gone between the log and the hook.
func (p *Participant) again(now time.Time) error {
	next := p.s.clone()
	next.Current.Boot = p.cfg.Boot
	next.Current.Again++
	if err := p.commit(now, next); err != nil {
		return err
	}
	p.hooked = false
	return nil
}

// rollBack logs that the new image is not to be kept, so that no restart tries it again.
func (p *Participant) rollBack(now time.Time, reason Reason) error {
	next := p.s.clone()
	next.Current.Phase, next.Current.Reason = phaseRollingBack, reason
	return p.commit(now, next)
}

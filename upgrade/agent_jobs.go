package upgrade

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
)

// A runningJob is the job of the commit that is being done.
type runningJob struct {
	busy  bool
	round commit.Round
	stop  context.CancelFunc
}

// offerStage offers a stage that has become whole to the commit. While another round is being activated it waits.
func (a *Agent) offerStage(now time.Time) error {
	c := a.following
	if c == nil || !c.whole || c.offered || a.frozen(now) != nil {
		return nil
	}
	var roots []commit.Digest
	for _, im := range c.release.Images {
		roots = append(roots, commit.Digest(im.Root))
	}
	err := a.p.Stage(now, commit.Stage{
		Round: c.round, Roots: roots, Sequence: c.release.Sequence, Epoch: c.release.Epoch,
		Expires: c.release.Expires, Ends: c.session.Expires, Deadline: c.session.VoteDeadline, Hold: c.session.Hold,
	})
	switch {
	case errors.Is(err, commit.ErrBusy):
		return nil
	case errors.Is(err, commit.ErrFinished):
		c.offered = true
		return nil
	case err != nil:
		return err
	}
	c.offered = true
	if held, ok := a.p.Holds(); ok && held == c.round {
		a.held = c
	}
	return nil
}

// startJob begins the job that the commit asks for, one at a time.
func (a *Agent) startJob(now time.Time) {
	ctx, job, c, ok := a.nextJob(now)
	if !ok {
		return
	}
	a.work.Go(func() {
		r := a.perform(ctx, job, c)
		a.do(func(now time.Time) { a.finishJob(now, job, r) })
	})
}

// nextJob takes the job that the commit asks for, with the campaign that it is about, if none is being done.
func (a *Agent) nextJob(now time.Time) (ctx context.Context, job commit.Job, c *campaign, ok bool) {
	if a.job.busy {
		return nil, job, nil, false
	}
	if job, ok = a.p.Next(now); !ok {
		return nil, job, nil, false
	}
	if c = a.held; c == nil || c.round != job.Round {
		c = &campaign{round: job.Round, err: errors.New("its stage is not known")}
	}
	ctx, cancel := context.WithCancel(a.ctx)
	a.job = runningJob{true, job.Round, cancel}
	return ctx, job, c, true
}

// finishJob takes the result of the job.
func (a *Agent) finishJob(now time.Time, job commit.Job, r commit.Result) {
	a.job.stop()
	a.job = runningJob{}
	if c := a.held; job.Task == commit.TaskVerify && r.Reason == commit.ReasonNone && c != nil && c.round == job.Round {
		r.Reason = a.mayVote(now, c)
	}
	if err := a.p.Finish(now, job, r); err != nil && !errors.Is(err, commit.ErrStale) {
		a.log.Error("the result of a step cannot be logged", "step", job.Task, "error", err)
	}
	a.tidy()
}

// perform does a job. If Run ends meanwhile nobody hears of the result, and the job is done again after the next start.
func (a *Agent) perform(ctx context.Context, job commit.Job, c *campaign) commit.Result {
	if job.Task == commit.TaskAskBrake {
		a.askBrake(job.Round)
		return commit.Result{}
	}
	if c.err != nil {
		return commit.Result{Reason: commit.ReasonStorage}
	}
	var r commit.Result
	var err error
	switch job.Task {
	case commit.TaskVerify:
		r, err = a.verify(ctx, c)
	case commit.TaskCheckStage:
		r, err = a.rehashStage(ctx, c, commit.ReasonStageChanged)
	case commit.TaskActivate:
		r, err = a.activate(ctx, job, c)
	case commit.TaskHealth:
		r, err = a.health(ctx, job, c)
	case commit.TaskRollback:
		r, err = a.rollBack(ctx, job, c)
	}
	if err != nil {
		a.log.Error("a step failed", "step", job.Task.String(), "campaign", c.round.Campaign, "reason", r.Reason, "error", err)
	}
	return r
}

// verify proves from storage that the stage is the release, asks the verify hook, and makes the stage durable.
func (a *Agent) verify(ctx context.Context, c *campaign) (commit.Result, error) {
	if r, err := a.unseal(ctx, c); err != nil {
		return r, err
	}
	r, err := a.rehashStage(ctx, c, commit.ReasonVerifyFailed)
	if err != nil {
		return r, err
	}
	if err := promote(a.stageFS(ctx, c.release), stageDir(c.release.Digest()), c.release); err != nil {
		return commit.Result{Reason: storageReason(err)}, err
	}
	h, err := a.hook(ctx, StepVerify, commit.Job{}, c)
	if err != nil {
		return h, err
	}
	return r, nil
}

// unseal decrypts what is sealed of the stage, so that a key which does not open it is found out before the vote.
func (a *Agent) unseal(ctx context.Context, c *campaign) (commit.Result, error) {
	if len(c.release.Sealed()) == 0 {
		return commit.Result{}, nil
	}
	keys, err := c.keyring.get(ctx)
	if err != nil {
		return commit.Result{Reason: commit.ReasonNoKey}, err
	}
	err = unseal(ctx, a.stageFS(ctx, c.release), stageDir(c.release.Digest()), c.release, keys, a.cfg.Unsealer)
	return commit.Result{Reason: stageReason(err, commit.ReasonVerifyFailed)}, err
}

func (a *Agent) rehashStage(ctx context.Context, c *campaign, wrong commit.Reason) (commit.Result, error) {
	dir, fsys := stageDir(c.release.Digest()), a.stageFS(ctx, c.release)
	roots, err := rehash(ctx, fsys, c.release, func(image string) string { return locate(fsys, dir, image) })
	return commit.Result{Roots: roots, Reason: stageReason(err, wrong)}, err
}

// stageReason returns why a stage cannot be used: wrong, if it is not what was signed.
func stageReason(err error, wrong commit.Reason) commit.Reason {
	switch {
	case err == nil:
		return commit.ReasonNone
	case errors.Is(err, errStageWrong), errors.Is(err, errSlotRuns):
		return wrong
	}
	return storageReason(err)
}

// activate runs the activate hook; without one the images are renamed into DIR/current.
func (a *Agent) activate(ctx context.Context, job commit.Job, c *campaign) (commit.Result, error) {
	if a.cfg.Hooks.Has(StepActivate) {
		return a.hook(ctx, StepActivate, job, c)
	}
	if err := install(a.fs, stageDir(c.release.Digest()), c.release); err != nil {
		return commit.Result{Reason: storageReason(err)}, err
	}
	return commit.Result{}, nil
}

// health runs the health hook. Without hooks the images must stand in DIR/current; a restart may have come when not all
// of them had their place.
func (a *Agent) health(ctx context.Context, job commit.Job, c *campaign) (commit.Result, error) {
	if a.cfg.Hooks.Has(StepActivate) {
		if r, err := a.slotRuns(ctx, c); err != nil {
			return r, err
		}
		return a.hook(ctx, StepHealth, job, c)
	}
	err := install(a.fs, stageDir(c.release.Digest()), c.release)
	if err == nil {
		err = installed(ctx, a.fs, c.release)
	}
	if err != nil {
		return commit.Result{Reason: storageReason(err)}, err
	}
	return commit.Result{}, nil
}

// rollBack runs the rollback hook. Without hooks there is nothing to go back to: an image that has its place in DIR/current has
// taken that of the old one, and then activation has failed.
func (a *Agent) rollBack(ctx context.Context, job commit.Job, c *campaign) (commit.Result, error) {
	if a.cfg.Hooks.Has(StepActivate) {
		return a.hook(ctx, StepRollback, job, c)
	}
	for _, im := range c.release.Images {
		if !exists(a.fs, imageName(stageDir(c.release.Digest()), im.Name)) {
			return commit.Result{Reason: commit.ReasonStorage}, fmt.Errorf("%s has taken the place of the old image", im.Name)
		}
	}
	return commit.Result{}, nil
}

// slotRuns returns an error if the slot with the new image is not the one that runs: the power went before the activate hook
// had come far, or the boot loader has fallen back.
func (a *Agent) slotRuns(ctx context.Context, c *campaign) (commit.Result, error) {
	slot, err := slotOf(a.stageFS(ctx, c.release), stageDir(c.release.Digest()))
	if err != nil {
		return commit.Result{Reason: storageReason(err)}, err
	}
	if slot.Name == "" {
		return commit.Result{}, nil
	}
	other, err := a.cfg.Slots.inactive(ctx)
	if err == nil && other == slot {
		err = fmt.Errorf("slot %s does not run", slot.Name)
	}
	if err != nil {
		return commit.Result{Reason: commit.ReasonNotActive}, err
	}
	return commit.Result{}, nil
}

// hook runs a hook, if there is one.
func (a *Agent) hook(ctx context.Context, step Step, job commit.Job, c *campaign) (commit.Result, error) {
	if !a.cfg.Hooks.Has(step) {
		return commit.Result{}, nil
	}
	dir, digest := stageDir(c.release.Digest()), c.release.Digest()
	fsys := a.stageFS(ctx, c.release)
	slot, err := slotOf(fsys, dir)
	if err != nil {
		return commit.Result{Reason: storageReason(err)}, err
	}
	hc := HookContext{
		Device: a.cfg.Device, Product: a.cfg.Product, Hardware: a.cfg.Hardware, Version: c.release.Version,
		Manifest: a.fs.Path(dir + "/release"), Digest: hex.EncodeToString(digest[:]),
		Campaign: c.round.Campaign.String(), Activation: job.Activation, Slot: slot.Name,
	}
	for _, im := range c.release.Images {
		hc.Images = append(hc.Images, fsys.Path(imageName(dir, im.Name)))
	}
	if err := a.cfg.Hooks.Run(ctx, step, hc); err != nil {
		return commit.Result{Reason: step.reason(err)}, err
	}
	return commit.Result{}, nil
}

// over cleans up behind a round that has ended on this device.
func (a *Agent) over(round commit.Round) {
	if c := a.following; c != nil && c.round == round {
		a.stopReceiving()
	}
	if a.job.busy && a.job.round == round {
		a.job.stop()
	}
	if a.held != nil && a.held.round == round {
		a.ended = append(a.ended, a.held)
		a.held = nil
	}
	a.tidy()
}

// tidy takes the images of rounds that have ended from under the name of verified ones, when nobody uses them: a stage
// that is not READY cannot be activated, also not by hand and by mistake.
func (a *Agent) tidy() {
	if a.job.busy {
		return
	}
	for _, c := range a.ended {
		held, ok := a.p.Holds()
		if c.release == nil || ok && held.Manifest == c.round.Manifest || a.p.Status().Last == (commit.Outcome{Round: c.round, State: commit.StateCommitted}) {
			continue
		}
		if err := demote(a.fs, stageDir(c.release.Digest()), c.release); err != nil {
			a.log.Warn("the stage cannot be put aside", "error", err)
		}
	}
	a.ended = nil
}

const (
	runningName   = "running"        // the release committed last
	runningHashes = "running-hashes" // its hash list
)

// installed notes which release runs from now on. It may be called again.
func (a *Agent) installed(round commit.Round) {
	dir := stageDir(round.Manifest)
	release, session, err := readStage(a.fs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return // that was done
	}
	if s, err := manifest.OpenSession(session, a.trust().Server(session), nil, time.Time{}); err == nil && s.Campaign != round.Campaign {
		return // that was done, and another campaign has begun to receive the same release
	}
	if known, _ := disk.ReadFile(a.fs, runningName, manifest.MaxFile); err == nil && !bytes.Equal(known, release) {
		err = disk.WriteFile(a.fs, runningName, release, 0o600)
	}
	if err == nil && !a.cfg.Hooks.Has(StepActivate) {
		err = a.fs.Rename(dir+"/hashes", runningHashes)   // for others of the site
		if err == nil || errors.Is(err, fs.ErrNotExist) { // which was done before
			err = removeTree(a.fs, dir) // its images have moved
		}
		a.offerRunning(round)
	}
	if err != nil {
		a.log.Warn("what runs now cannot be noted", "error", err)
	}
}

// runningVersion returns the version committed last, empty if none was.
func runningVersion(fsys disk.FS) string {
	signed, err := disk.ReadFile(fsys, runningName, manifest.MaxFile)
	if err != nil {
		return ""
	}
	m, _, err := manifest.OpenUnverified(signed) // we have put it there
	if err != nil {
		return ""
	}
	return m.Version
}

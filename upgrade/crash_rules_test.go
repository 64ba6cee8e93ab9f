package upgrade

import (
	"bytes"
	"encoding/hex"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/commit/filestore"
)

// crashRules is what has to hold in every run, and what they go by: what was seen from outside, which no crash makes unseen.
type crashRules struct {
	w       *crashWorld
	decided map[[2]int]commit.Decision // by campaign and wave: what was signed
	devices map[*crashDevice]*deviceRules
	count   crashCount
}

// A crashCount says what a run has met.
type crashCount struct {
	cuts, kills, failures, wrong int // faults: power cuts, kills, EIO and ENOSPC, bits
	commits, aborts              int // waves
	activations                  int
	leaves, again                int // fetched; and of those, verified before and lost in a crash
}

func (c *crashCount) add(o crashCount) {
	c.cuts, c.kills, c.failures, c.wrong = c.cuts+o.cuts, c.kills+o.kills, c.failures+o.failures, c.wrong+o.wrong
	c.commits, c.aborts, c.activations = c.commits+o.commits, c.aborts+o.aborts, c.activations+o.activations
	c.leaves, c.again = c.leaves+o.leaves, c.again+o.again
}

// deviceRules is what was seen of a device.
type deviceRules struct {
	floors    commit.Floors
	said      map[uint64]string             // by counter
	ready     map[commit.Round]bool         // said, and not released
	refused   map[commit.Round]bool         // NO
	outcome   map[commit.Round]commit.State // for good
	ids       map[commit.Round]string       // of the activation
	hooked    map[commit.Round]bool         // the activate hook was run
	held      bool                          // the server's last answer was HOLD
	checked   int                           // operations of its disk when the stage was looked at last
	disturbed bool                          // its disk did more than go off
	leaves    map[commit.Round]map[part]leafFate
}

// A leafFate is what became of a leaf.
type leafFate uint8

const (
	leafVerified leafFate = iota + 1
	leafSaved             // durable since
)

func (r *crashRules) init(w *crashWorld) {
	r.w, r.decided, r.devices = w, map[[2]int]commit.Decision{}, map[*crashDevice]*deviceRules{}
}

func (r *crashRules) of(d *crashDevice) *deviceRules {
	if r.devices[d] == nil {
		r.devices[d] = &deviceRules{said: map[uint64]string{}, ready: map[commit.Round]bool{}, refused: map[commit.Round]bool{},
			outcome: map[commit.Round]commit.State{}, ids: map[commit.Round]string{}, hooked: map[commit.Round]bool{}, leaves: map[commit.Round]map[part]leafFate{}}
	}
	return r.devices[d]
}

// fault notes what goes wrong.
func (r *crashRules) fault(party string, _ diskfault.Op, f diskfault.Fault) {
	switch f {
	case diskfault.Cut, diskfault.CutAfter:
		r.count.cuts++
	case diskfault.KillBefore, diskfault.KillAfter:
		r.count.kills++
	case diskfault.NoSpace, diskfault.Failed:
		r.count.failures++
	default:
		r.count.wrong++
	}
	if isCrash(f) {
		return
	}
	for _, d := range r.w.devices {
		if d.name == party {
			r.of(d).disturbed = true
		}
	}
}

func (r *crashRules) decision(round commit.Round) (commit.Decision, bool) {
	c := r.w.server.find(round.Campaign)
	d, ok := r.decided[[2]int{c.index, int(round.Wave)}]
	return d, ok && d.Round == round
}

// signs: a decision is signed when it is in the log on the medium, and a wave has one.
func (r *crashRules) signs(c *crashCampaign, d commit.Decision) {
	durable := false
	err := filestore.Read(r.w.server.disk.Medium(), c.log(), func(rec []byte) error {
		s, err := commit.Summarize(rec)
		durable = durable || s.Decision == d
		return err
	})
	if err != nil || !durable {
		r.w.broken("%s of wave %d is signed, and is not in the log on the medium (%v)", d.Verdict, d.Wave, err)
	}
	key := [2]int{c.index, int(d.Wave)}
	if before, ok := r.decided[key]; ok && before != d {
		r.w.broken("two decisions of wave %d are signed: %s and %s", d.Wave, before.Verdict, d.Verdict)
	}
	r.decided[key] = d
}

// activates: by a durable COMMIT, by a device whose READY stands, once, and not under a HOLD that it was told of.
func (r *crashRules) activates(d *crashDevice, job commit.Job) {
	s := r.of(d)
	v, ok := r.decision(job.Round)
	switch {
	case !ok || v.Verdict != commit.Commit:
		r.w.broken("%s activates without a COMMIT of its wave", d.name)
	case s.refused[job.Round]:
		r.w.broken("%s activates after it voted NO", d.name)
	case s.outcome[job.Round] != commit.StateNone:
		r.w.broken("%s activates after it ended as %s", d.name, s.outcome[job.Round])
	case s.held && job.Task == commit.TaskActivate && s.ids[job.Round] == "":
		r.w.broken("%s activates under HOLD", d.name)
	case s.ids[job.Round] != "" && s.ids[job.Round] != job.Activation:
		r.w.broken("%s activates under a second id", d.name)
	}
	s.ids[job.Round] = job.Activation
	r.count.activations++
}

// hooked: the hook gets the id that the log has.
func (r *crashRules) hooked(d *crashDevice, c HookContext) {
	for round, id := range r.of(d).ids {
		if id == c.Activation {
			r.of(d).hooked[round] = true
			return
		}
	}
	r.w.broken("%s: the activate hook is run under the unknown id %s", d.name, c.Activation)
}

// asks: a device asks for the brake just before it activates, and not before its time.
func (r *crashRules) asks(d *crashDevice, round commit.Round) {
	clock := d.agent.p.Clock()
	if v, _ := r.decision(round); v.Timed() && (!clock.Known() || clock.UTC(d.reading()).Before(v.NotBefore)) {
		r.w.broken("%s is about to activate before its time", d.name)
	}
	r.of(d).held = false
}

func (r *crashRules) answered(d *crashDevice, held bool) { r.of(d).held = held }

// says: what has left a device is never unsaid, and a counter never says two things.
func (r *crashRules) says(d *crashDevice, m commit.Message) {
	s := r.of(d)
	if before, ok := s.said[m.Counter]; ok && before != string(m.Bytes) {
		r.w.broken("%s says two things under counter %d", d.name, m.Counter)
	}
	s.said[m.Counter] = string(m.Bytes)
	if st := d.agent.p.Status(); m.Kind == commit.VoteMessage && st.Current.State == commit.StateReady && st.Current.Round.Campaign == m.Campaign {
		s.ready[st.Current.Round] = true
	}
}

// started: a device comes up with what it had promised.
func (r *crashRules) started(d *crashDevice) {
	s, st := r.of(d), d.agent.p.Status()
	r.noteEnd(d, st.Last)
	for round := range s.ready {
		current := st.Current.Round == round && st.Current.State == commit.StateReady
		if !current && !d.agent.p.Finished(round) && !(st.Last.Round == round && st.Last.State == commit.StateReleased) {
			r.w.broken("%s has forgotten its READY", d.name)
		}
	}
	s.checked = -1
}

// noteEnd notes how a round has ended on a device.
func (r *crashRules) noteEnd(d *crashDevice, o commit.Outcome) {
	s := r.of(d)
	switch o.State {
	case commit.StateNone:
		return
	case commit.StateReleased:
		delete(s.ready, o.Round)
		return
	case commit.StateRefused:
		s.refused[o.Round] = true
	}
	if before := s.outcome[o.Round]; before != commit.StateNone && before != o.State {
		r.w.broken("%s: %s after %s", d.name, o.State, before)
	}
	s.outcome[o.Round] = o.State
}

// changed: what a device says of itself is true.
func (r *crashRules) changed(d *crashDevice, c commit.Change) {
	r.w.logf("%s: %s %s", d.name, c.State, c.Reason)
	v, _ := r.decision(c.Round)
	switch c.State {
	case commit.StateStaged:
		return
	case commit.StateReady:
		r.stageOnMedium(d, c.Round)
		return
	case commit.StateAborted:
		if v.Verdict != commit.Abort {
			r.w.broken("%s is %s, and the decision is %s", d.name, c.State, v.Verdict)
		}
	case commit.StateCommitted:
		if v.Verdict != commit.Commit {
			r.w.broken("%s is %s without COMMIT", d.name, c.State)
		}
		if !r.runsNew(d, c.Round) {
			r.w.broken("%s is %s, and the new images do not run", d.name, c.State)
		}
	case commit.StateRolledBack:
		if r.runsAny(d, c.Round) {
			r.w.broken("%s is %s, and a new image runs", d.name, c.State)
		}
	case commit.StateRefused:
		if r.w.faults.crashOnly() && (c.Reason == commit.ReasonStorage || c.Reason == commit.ReasonVerifyFailed) {
			r.w.broken("%s refuses for %s, and its disk is well", d.name, c.Reason)
		}
	}
	r.noteEnd(d, commit.Outcome{Round: c.Round, State: c.State})
}

// fixtureOf returns what a round is about.
func (r *crashRules) fixtureOf(round commit.Round) *crashFixture {
	return r.w.server.find(round.Campaign).crashFixture
}

// stageOnMedium: the images of a READY are on the medium, whole, under the names that only verified ones have.
func (r *crashRules) stageOnMedium(d *crashDevice, round commit.Round) {
	medium, f := d.disk.Medium(), r.fixtureOf(round)
	for i, im := range f.release.Images {
		b, err := disk.ReadFile(medium, imageName(stageDir(f.session.Manifest), im.Name), im.Size)
		if err != nil || !bytes.Equal(b, f.images[i]) {
			r.w.broken("%s is READY, and image %s is not on its medium: %d bytes, %v", d.name, im.Name, len(b), err)
		}
	}
}

// runs returns how many images of a release run.
func (r *crashRules) running(d *crashDevice, round commit.Round) (n, of int) {
	f := r.fixtureOf(round)
	of = len(f.images)
	if r.w.hooks {
		digest := f.session.Manifest
		if d.runs == hex.EncodeToString(digest[:]) {
			n = of
		}
		return n, of
	}
	medium := d.disk.Medium()
	for i, im := range f.release.Images {
		if b, err := disk.ReadFile(medium, currentDir+"/"+im.Name, 1<<20); err == nil && bytes.Equal(b, f.images[i]) {
			n++
		}
	}
	return n, of
}

func (r *crashRules) runsNew(d *crashDevice, round commit.Round) bool {
	n, of := r.running(d, round)
	return n == of
}

// runsAny reports whether an image runs that no campaign before has brought.
func (r *crashRules) runsAny(d *crashDevice, round commit.Round) bool {
	n, _ := r.running(d, round)
	for other, state := range r.of(d).outcome {
		if state == commit.StateCommitted && other.Manifest == round.Manifest {
			return false
		}
	}
	return n > 0
}

// receives: what is on storage and whole is not fetched again.
func (r *crashRules) receives(d *crashDevice, in *reception) {
	s := r.of(d)
	for round := range s.leaves {
		if round != in.c.round {
			delete(s.leaves, round) // another release may take over the files of that one
		}
	}
	if s.disturbed {
		return
	}
	for range in.stage.hashes.missing() {
		return // no leaf is known yet
	}
	now, f := d.disk.Clone(0), r.fixtureOf(in.c.round)
	for i, im := range in.stage.images {
		b, err := disk.ReadFile(now, locate(now, in.stage.dir, im.entry.Name), 1<<20)
		for leaf := range im.entry.Leaves() {
			at := im.bytes(leaf, leaf+1)
			if err == nil && bytes.Equal(b[at.off:][:at.length], f.images[i][at.off:][:at.length]) && !im.verified(leaf) {
				r.w.broken("%s has leaf %d of image %d, and would fetch it again", d.name, leaf, i)
			}
		}
	}
}

// note notes the leaves that are verified.
func (s *deviceRules) note(in *reception, as leafFate) {
	m := s.leaves[in.c.round]
	if m == nil {
		m = map[part]leafFate{}
		s.leaves[in.c.round] = m
	}
	for i, im := range in.stage.images {
		for leaf := range im.entry.Leaves() {
			if p := (part{i, leaf}); im.verified(leaf) {
				m[p] = max(m[p], as)
			}
		}
	}
}

func (r *crashRules) saved(d *crashDevice, in *reception) {
	r.of(d).note(in, leafSaved)
	have, all := in.stage.progress()
	r.w.logf("%s: has saved %d bytes of %d", d.name, have, all)
}

// fetches: no leaf is fetched again that was durable.
func (r *crashRules) fetches(d *crashDevice, in *reception, p part) {
	s := r.of(d)
	r.count.leaves++
	r.w.logf("%s: leaf %d of image %d comes", d.name, p.index, p.object)
	if in.stage.images[p.object].verified(p.index) {
		return // it came twice
	}
	switch s.leaves[in.c.round][p] {
	case leafSaved:
		if !s.disturbed {
			r.w.broken("%s fetches leaf %d of image %d again, which was durable", d.name, p.index, p.object)
		}
	case leafVerified:
		r.count.again++
	}
}

// stopped notes what a crash may take.
func (r *crashRules) stopped(d *crashDevice) {
	if in := d.reception; in != nil && !in.done {
		r.of(d).note(in, leafVerified)
	}
}

// always holds after every step.
func (r *crashRules) always() {
	for _, d := range r.w.devices {
		s := r.of(d)
		if d.agent == nil || d.disk.Down() != nil {
			continue
		}
		f := d.agent.p.Floors()
		if f.Sequence < s.floors.Sequence || f.Epoch < s.floors.Epoch {
			r.w.broken("%s: floors went down from %+v to %+v", d.name, s.floors, f)
		}
		s.floors = f
		if seen := d.disk.Seen(); seen != s.checked {
			s.checked = seen
			if st := d.agent.p.Status(); st.Current.State == commit.StateReady && !st.Active {
				r.stageOnMedium(d, st.Current.Round)
			}
		}
	}
}

// atEnd holds when all have ended.
func (r *crashRules) atEnd() {
	for _, c := range r.w.server.campaigns {
		for i, wave := range c.coordinator.Status().Waves {
			d, ok := r.decided[[2]int{c.index, i}]
			if !ok || d.Verdict != wave.Verdict {
				r.w.broken("wave %d of campaign %d ended as %s, and %s was signed", i, c.index, wave.Verdict, d.Verdict)
			}
			if d.Verdict == commit.Commit {
				r.count.commits++
			} else {
				r.count.aborts++
			}
		}
		for _, d := range r.w.devices {
			r.sameEnd(c, d)
		}
	}
}

// sameEnd: the server knows how it ended on a device; and if nothing but crashes happened to a device that was READY and whose
// hooks are content, it ended as it would have without them.
func (r *crashRules) sameEnd(c *crashCampaign, d *crashDevice) {
	s, round := r.of(d), c.round(d.wave)
	v, _ := r.decision(round)
	state := s.outcome[round]
	known, _ := c.coordinator.Device(d.name)
	if (state == commit.StateCommitted || state == commit.StateRolledBack || state == commit.StateFailed) && known.State != state {
		r.w.broken("%s ended as %s, and the server believes %s", d.name, state, known.State)
	}
	content := d.activate == nil && d.health == nil && !s.disturbed
	if content && s.ready[round] && v.Verdict == commit.Commit && state != commit.StateCommitted {
		r.w.broken("%s was READY, the decision is COMMIT, and it ended as %q", d.name, state)
	}
	if s.ready[round] && v.Verdict == commit.Abort && state != commit.StateAborted {
		r.w.broken("%s was READY, the decision is ABORT, and it ended as %q", d.name, state)
	}
}

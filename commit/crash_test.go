package commit_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/commit/filestore"
)

// A world is a server, devices and a network that loses, delays, repeats and reorders, all in one deterministic run.
// Each party has a disk of its own, whose power can be cut at any operation.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	now     time.Time
	quorum  int
	server  *server
	devices []*simDevice
	net     []func() // messages under way
	first   []byte   // the decision as it was first seen
	decided time.Time
	crashes int
	seed    uint64
	killing float64 // how probable it is that a party is killed in a step

	policy  commit.Policy // besides quorum and deadline
	resumes time.Time     // the server holds the campaign until then
}

// A party is what can crash.
type party struct {
	disk   *diskfault.Disk
	asleep time.Time // down until then
}

type server struct {
	party
	c *commit.Coordinator // nil while down
}

// A simDevice is a device and what its hooks do.
type simDevice struct {
	party
	name string
	boot int
	p    *commit.Participant // nil while down

	verify, activate, health commit.Reason // how its hooks end
	reboots                  bool          // the activate hook restarts the system

	active      bool // runs the new image
	activations map[string]bool
	outcome     commit.State
	early       int  // power cuts between ACTIVATING and the hook; the planned one comes on top, and a fourth would end in rollback
	unanswered  bool // the server was out of reach when it asked for the brake
}

func newWorld(t testing.TB, seed uint64, devices int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 0)), now: start, quorum: 100,
		server: &server{party: party{disk: diskfault.New(seed)}}}
	for i, name := range names(devices) {
		w.devices = append(w.devices, &simDevice{party: party{disk: diskfault.New(seed*100 + uint64(i))}, name: name,
			activations: map[string]bool{}})
	}
	return w
}

// recorder signs for the server, and holds that COMMIT and ABORT are never both signed.
type recorder struct{ w *world }

func (r recorder) Sign(context string, payload []byte) ([]byte, error) {
	signed, err := serverKey.Sign(context, payload)
	if d, err := commit.OpenDecision(signed, serverKey.Public()); err == nil {
		if log := r.w.durable(); log != d.Verdict {
			r.w.t.Fatalf("%s is signed while the log on the disk says %s", d.Verdict, log)
		}
		if r.w.first == nil {
			r.w.first, r.w.decided = signed, r.w.now
		}
		if !bytes.Equal(r.w.first, signed) {
			r.w.t.Fatalf("two decisions are signed: %x and %x", r.w.first, signed)
		}
	}
	return signed, err
}

// durable is the decision that is in the server's log, if the power were cut now.
func (w *world) durable() commit.Verdict {
	var log memoryLog
	err := filestore.Read(w.server.disk, "log", func(rec []byte) error {
		log.recs = append(log.recs, bytes.Clone(rec))
		return nil
	})
	if errors.Is(err, diskfault.ErrCrashed) {
		return commit.Undecided
	}
	must(w.t, err)
	c := openCoordinator(w.t, &log)
	if len(c.Status().Waves) == 0 {
		return commit.Undecided
	}
	return c.Status().Waves[0].Verdict
}

// sleep takes a party down; power says whether its disk loses what was not synced.
func (w *world) sleep(p *party, power bool) {
	w.crashes++
	if power {
		p.disk.Crash()
	}
	minutes := 1 + w.rng.IntN(5)
	if w.rng.IntN(8) == 0 {
		minutes = 90 // past the deadline
	}
	p.asleep = w.now.Add(time.Duration(minutes) * time.Minute)
}

func (s *server) wake(w *world) error {
	if w.now.Before(s.asleep) {
		return nil
	}
	if _, err := s.disk.Stat("."); err != nil {
		s.disk.Restart()
	}
	c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: recorder{w}, Public: serverKey.Public(),
		Open: func(replay func([]byte) error) (commit.Log, error) { return filestore.Open(s.disk, "log", replay) }})
	if err != nil {
		return err
	}
	if _, started := c.Plan(); !started {
		var list []string
		for _, d := range w.devices {
			list = append(list, d.name)
		}
		p := plan(list...)
		p.Waves[0] = w.policy
		p.Waves[0].Quorum, p.Waves[0].Deadline = w.quorum, at(60)
		if err := c.Start(p); err != nil {
			return err
		}
	}
	s.c = c
	return nil
}

func (d *simDevice) wake(w *world) error {
	if w.now.Before(d.asleep) {
		return nil
	}
	if _, err := d.disk.Stat("."); err != nil {
		d.disk.Restart()
		d.boot++
	}
	p, err := commit.OpenParticipant(w.now, commit.ParticipantConfig{
		Device: d.name, Key: deviceKey(d.name), Server: serverKey.Public(), Boot: fmt.Sprint("boot-", d.boot), Build: start.Add(-time.Hour),
		Open: func(replay func([]byte) error) (commit.Log, error) { return filestore.Open(d.disk, "log", replay) },
	})
	if err != nil {
		return err
	}
	d.p = p
	return nil
}

// send gives a message to the network.
func (w *world) send(deliver func()) { w.net = append(w.net, deliver) }

// step lets a minute pass.
func (w *world) step() {
	w.now = w.now.Add(time.Minute)
	w.rng.Shuffle(len(w.net), func(i, j int) { w.net[i], w.net[j] = w.net[j], w.net[i] })
	under := w.net
	w.net = nil
	for _, deliver := range under {
		switch w.rng.IntN(10) {
		case 0, 1: // lost
		case 2, 3: // late
			w.send(deliver)
		case 4: // twice, the second time late
			w.send(deliver)
			deliver()
		default:
			deliver()
		}
	}
	w.act(&w.server.party, func() { w.server.c = nil }, w.server.step)
	for _, d := range w.devices {
		w.act(&d.party, func() { d.p = nil }, d.step)
	}
}

// act lets a party do its part, and takes it down if that fails, or if it is killed now.
func (w *world) act(p *party, forget func(), step func(*world) error) {
	err := step(w)
	switch {
	case err == nil && w.rng.Float64() >= w.killing:
	case err == nil || errors.Is(err, diskfault.ErrCrashed):
		forget()
		w.sleep(p, err != nil)
	default:
		w.t.Fatalf("%v", err)
	}
}

// fails takes a party down whose log failed while a message was delivered.
func (w *world) fails(p *party, forget func(), err error) bool {
	if err == nil {
		return false
	}
	if !errors.Is(err, diskfault.ErrCrashed) {
		w.t.Fatalf("%v", err)
	}
	forget()
	w.sleep(p, true)
	return true
}

func (s *server) step(w *world) error {
	if s.c == nil {
		return s.wake(w)
	}
	switch held := s.c.Status().Held; {
	case !held && w.now.Before(w.resumes):
		if err := s.c.Hold(w.now); err != nil {
			return err
		}
	case held && !w.now.Before(w.resumes):
		if err := s.c.Resume(w.now); err != nil {
			return err
		}
	}
	return s.c.Advance(w.now)
}

func (s *server) down() { s.c = nil }

// receive takes a message of d and acknowledges it.
func (s *server) receive(w *world, d *simDevice, m commit.Message) {
	if s.c == nil {
		return
	}
	refused, err := s.c.Receive(w.now, m)
	if w.fails(&s.party, s.down, err) {
		return
	}
	if refused[0] != nil && !errors.Is(refused[0], commit.ErrReplay) {
		w.t.Fatalf("%s of %s: %v", m.Kind, d.name, refused[0])
	}
	w.send(func() {
		if d.p != nil {
			w.fails(&d.party, d.down, d.p.Acknowledge(w.now, m.Counter))
		}
	})
}

// poll answers the question for the decision.
func (s *server) poll(w *world, d *simDevice) {
	if s.c == nil {
		return
	}
	a, err := s.c.Answer(w.now, campaign, 0)
	if w.fails(&s.party, s.down, err) {
		return
	}
	if !a.Known {
		w.t.Fatal("a started campaign is unknown")
	}
	stamp, told := sign(commit.Timestamp{Time: w.now}, serverKey), brakeAnswer{d, a.Brake}
	w.send(func() {
		if d.p != nil && !w.fails(&d.party, d.down, d.p.Timestamp(w.now, stamp)) {
			told.deliver(w)
		}
	})
	if a.Verdict == commit.Undecided {
		return
	}
	if !bytes.Equal(a.Signed, w.first) {
		w.t.Fatal("a device is told other bytes than those signed first")
	}
	w.send(func() {
		if d.p == nil {
			return
		}
		err := d.p.Decide(w.now, a.Signed)
		if errors.Is(err, commit.ErrNoVote) || errors.Is(err, commit.ErrFinished) {
			return
		}
		w.fails(&d.party, d.down, err)
	})
}

// A brakeAnswer is what the server says of the brake.
type brakeAnswer struct {
	d      *simDevice
	signed []byte
}

func (a brakeAnswer) deliver(w *world) {
	if a.d.p != nil && a.signed != nil {
		w.fails(&a.d.party, a.d.down, a.d.p.Brake(w.now, a.signed))
	}
}

func (d *simDevice) down() { d.p = nil }

// askBrake asks the server directly, if it is up.
func (d *simDevice) askBrake(w *world) error {
	s := w.server
	if d.unanswered = s.c == nil; d.unanswered {
		return nil
	}
	a, err := s.c.Answer(w.now, campaign, 0)
	if d.unanswered = w.fails(&s.party, s.down, err); d.unanswered || a.Brake == nil {
		return nil
	}
	return d.p.Brake(w.now, a.Brake)
}

func (d *simDevice) step(w *world) error {
	if d.p == nil {
		return d.wake(w)
	}
	if err := d.p.Advance(w.now); err != nil {
		return err
	}
	if _, holds := d.p.Holds(); !holds && !d.p.Finished(round) {
		if err := d.p.Stage(w.now, stage()); err != nil {
			return err
		}
	}
	for range 3 {
		job, ok := d.p.Next(w.now)
		if !ok {
			break
		}
		if w.rng.Float64() < w.killing && (job.Task != commit.TaskActivate || d.early < 2) {
			if job.Task == commit.TaskActivate {
				d.early++
			}
			return diskfault.ErrCrashed // before it is done
		}
		result := commit.Result{Roots: []commit.Digest{image}}
		switch job.Task {
		case commit.TaskAskBrake:
			if err := d.askBrake(w); err != nil {
				return err
			}
		case commit.TaskVerify:
			result.Reason = d.verify
		case commit.TaskActivate:
			d.activated(w, job)
			result.Reason = d.activate
			if d.reboots {
				return diskfault.ErrCrashed // the hook restarts the system and does not return
			}
		case commit.TaskHealth:
			if result.Reason = d.health; !d.active {
				result.Reason = commit.ReasonNotActive
			}
		case commit.TaskRollback:
			d.active = false
		}
		if w.rng.Float64() < w.killing {
			return diskfault.ErrCrashed // after it was done, before that is known
		}
		if err := d.p.Finish(w.now, job, result); err != nil {
			return err
		}
	}
	messages, err := d.p.Messages()
	if err != nil {
		return err
	}
	for _, m := range messages {
		w.send(func() { w.server.receive(w, d, m) })
	}
	if !d.p.Finished(round) {
		w.send(func() { w.server.poll(w, d) })
	}
	for c := range d.p.Changes() {
		if d.outcome != commit.StateNone && c.State != d.outcome {
			w.t.Fatalf("%s: %s after it ended as %s", d.name, c.State, d.outcome)
		}
		if c.State.Outcome() || c.State == commit.StateAborted || c.State == commit.StateRefused {
			d.outcome = c.State
		}
	}
	return nil
}

// activated holds the main promise.
func (d *simDevice) activated(w *world, job commit.Job) {
	if w.server.c != nil { // while it is down the disk may not be read; the decision was durable before it was told
		if v := w.durable(); v != commit.Commit {
			w.t.Fatalf("%s activates, but the server's log on the disk says %s", d.name, v)
		}
	}
	if v, err := commit.OpenDecision(w.first, serverKey.Public()); err != nil || v.Verdict != commit.Commit {
		w.t.Fatalf("%s activates without a COMMIT: %v %v", d.name, v.Verdict, err)
	}
	if w.now.Before(w.resumes) && !d.unanswered {
		w.t.Fatalf("%s activates under HOLD", d.name)
	}
	if w.now.Before(w.policy.NotBefore) {
		w.t.Fatalf("%s activates before its time", d.name)
	}
	if d.outcome != commit.StateNone || d.p.Finished(round) {
		w.t.Fatalf("%s activates again after it ended as %s", d.name, d.outcome)
	}
	d.active = d.activate == commit.ReasonNone // a hook that fails has not made it active
	d.activations[job.Activation] = true
}

func (w *world) done() bool {
	if w.server.c == nil || !w.server.c.Settled() {
		return false
	}
	for _, d := range w.devices {
		if d.p == nil || !d.p.Finished(round) || d.p.Status().Pending > 0 {
			return false
		}
	}
	return true
}

// run lets a whole campaign pass and compares its end with what would have been without crashes. It reports whether
// crashes led to ABORT instead of COMMIT.
func (w *world) run() (presumed bool) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("seed %d", w.seed)
		}
	}()
	for minute := 0; !w.done(); minute++ {
		if minute == 2000 {
			w.t.Fatalf("no end after %d minutes: %+v", minute, w.server.c.Status())
		}
		if minute == 500 {
			w.killing = 0
		}
		w.step()
	}
	verdict := w.durable()
	ready := 0
	for _, d := range w.devices {
		if d.verify == commit.ReasonNone {
			ready++
		}
	}
	want := commit.Abort
	if ready*100 >= w.quorum*len(w.devices) {
		want = commit.Commit
	}
	if verdict != want && !(verdict == commit.Abort && w.crashes > 0 && !w.decided.Before(at(60))) {
		w.t.Fatalf("decision %s, want %s, or after crashes ABORT at the deadline", verdict, want)
	}
	for _, d := range w.devices {
		want, active := commit.StateCommitted, true
		switch {
		case d.verify != commit.ReasonNone:
			want, active = commit.StateRefused, false
		case verdict == commit.Abort:
			want, active = commit.StateAborted, false
		case d.activate != commit.ReasonNone, d.health != commit.ReasonNone:
			want, active = commit.StateRolledBack, false
		}
		if got := d.p.Status().Last.State; got != want || d.active != active {
			w.t.Fatalf("%s ended as %s %s, active %v; want %s, %v", d.name, got, d.p.Status().Last.Reason, d.active, want, active)
		}
		if state, _ := w.server.c.Device(d.name); state.State != want {
			w.t.Fatalf("the server believes %s to be %s, it is %s", d.name, state.State, want)
		}
		if ids := len(d.activations); ids > 1 || ids == 1 && verdict != commit.Commit {
			w.t.Fatalf("%s activated under %d ids after %s", d.name, ids, verdict)
		}
		if raised := d.p.Floors() != (commit.Floors{}); raised != active {
			w.t.Fatalf("%s: floors raised %v, new image active %v", d.name, raised, active)
		}
	}
	return verdict != want
}

// variants are campaigns with different ends.
var variants = []struct {
	name    string
	prepare func(w *world)
}{
	{"all commit", func(*world) {}},
	{"hooks restart the system", func(w *world) {
		for _, d := range w.devices {
			d.reboots = true
		}
	}},
	{"one refuses, all needed", func(w *world) { w.devices[0].verify = commit.ReasonVerifyHook }},
	{"one refuses, quorum 60", func(w *world) { w.devices[0].verify, w.quorum = commit.ReasonVerifyHook, 60 }},
	{"held for a while", func(w *world) { w.resumes = at(40) }},
	{"at a certain time", func(w *world) { w.policy = commit.Policy{NotBefore: at(30), Spread: 20 * time.Minute} }},
	{"one is not healthy", func(w *world) { w.devices[0].health, w.devices[0].reboots = commit.ReasonHealth, true }},
	{"one cannot activate", func(w *world) { w.devices[0].activate = commit.ReasonActivateHook }},
}

// TestPowerCutAtEveryWrite cuts the power of the server, then of a device, at each operation on its disk.
func TestPowerCutAtEveryWrite(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			for party := range 2 {
				for n := 1; ; n++ {
					w := newWorld(t, uint64(n), 2)
					v.prepare(w)
					d := w.server.disk
					if party == 1 {
						d = w.devices[0].disk
					}
					d.CrashAt(n)
					w.run()
					if d.Ops() < n {
						if n < 10 {
							t.Errorf("party %d: only %d operations", party, n)
						}
						break
					}
				}
			}
		})
	}
}

var crashRuns = flag.Int("crash.runs", 100, "seeds that TestManyCrashes tries")

// TestManyCrashes kills everybody all the time.
func TestManyCrashes(t *testing.T) {
	runs := *crashRuns
	crashes, presumed := 0, 0
	for seed := range uint64(runs) {
		v := variants[seed%uint64(len(variants))]
		w := newWorld(t, seed, 3)
		v.prepare(w)
		w.killing = 0.05
		w.seed = seed
		for _, disk := range []*diskfault.Disk{w.server.disk, w.devices[0].disk, w.devices[1].disk} {
			disk.CrashAt(1 + w.rng.IntN(30))
		}
		if w.run() {
			presumed++
		}
		crashes += w.crashes
	}
	if crashes < 5*runs || presumed == 0 || presumed > runs/2 {
		t.Errorf("%d crashes in %d runs, of which %d ended in presumed abort: not what was to be tried", crashes, runs, presumed)
	}
	t.Logf("%d crashes in %d runs, of which %d ended in presumed abort", crashes, runs, presumed)
}

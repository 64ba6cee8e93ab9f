package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
)

// A crashDevice is a device of a crashWorld: an Agent, and the system that it runs on.
type crashDevice struct {
	party
	wave  uint32
	agent *Agent // nil while it is down
	quit  context.CancelFunc
	base  time.Time // what its clock, which only runs forward, said when it started
	since time.Duration

	reception *reception

	verify, activate, health error  // how its hooks end
	reboots                  bool   // the activate hook restarts the system
	runs, ran                string // with hooks: the release that runs, and that before it: digest, or "old"

	posting map[uint64]bool // messages under way, by counter
	asking  bool
	heard   string    // etag of the last notice
	timer   time.Time // reading of the clock at which it wakes up
}

func newCrashDevice(w *crashWorld, i int) *crashDevice {
	d := &crashDevice{party: newParty(w, fmt.Sprintf("d%d", i+1), i+1), wave: uint32(i % w.waves), runs: "old"}
	d.reboots = w.hooks && w.rng.IntN(2) == 0
	if w.badHooks {
		for _, fails := range []*error{&d.verify, &d.activate, &d.health} {
			if (w.hooks || fails == &d.verify) && w.rng.IntN(5) == 0 {
				*fails = errors.New("the hook says no")
			}
		}
	}
	return d
}

// reading is what the device's clock says.
func (d *crashDevice) reading() time.Time { return d.base.Add(d.w.now - d.since) }

func (d *crashDevice) describe() string {
	if d.agent == nil {
		return d.name + " is down"
	}
	return fmt.Sprintf("%s: %+v", d.name, d.agent.p.Status())
}

func (d *crashDevice) config() AgentConfig {
	cfg := AgentConfig{
		Server: "http://server", Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1},
		TrustServer: serverKey.Public(), Product: "router", Hardware: "r1", Device: d.name, Boot: fmt.Sprint("boot-", d.boot),
		FS: d.w.mutant.deviceDisk(d.disk), Hooks: crashHooks{d}, TailTransport: http.DefaultTransport,
		Conn:     func(*manifest.Session) (session.Conn, error) { return nil, errors.ErrUnsupported },
		SAPConns: func() ([]discovery.PacketConn, error) { return nil, errors.ErrUnsupported },
	}
	if d.w.signed {
		cfg.Key = testKey(manifest.RoleDevice, d.name)
	}
	if d.w.trace != nil {
		cfg.Event = func(e Event) {
			if e.Kind != EventProgress {
				d.w.logf("%s: %s %s %s %s", d.name, e.Kind, e.State, e.Reason, e.Detail)
			}
		}
		cfg.Log = slog.New(slog.NewTextHandler(traceWriter{d}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	return cfg
}

type traceWriter struct{ d *crashDevice }

func (t traceWriter) Write(b []byte) (int, error) {
	_, line, _ := strings.Cut(strings.TrimSpace(string(b)), "level=")
	t.d.w.logf("%s: %s", t.d.name, line)
	return len(b), nil
}

// start does what NewAgent does.
func (d *crashDevice) start() {
	d.begin()
	d.base = time.Unix(d.w.rng.Int64N(4e9), 0) // it may have no clock that outlives the power
	d.since, d.asking, d.heard, d.reception, d.timer = d.w.now, false, "", nil, time.Time{}
	d.posting = map[uint64]bool{}
	cfg, err := d.config().resolve()
	if err != nil {
		panic(err)
	}
	a := &Agent{cfg: cfg, fs: cfg.FS, log: cfg.Log, calls: make(chan func(time.Time), 64), greet: newGreeting()}
	a.ctx, d.quit = context.WithCancel(context.Background())
	if a.client, err = discovery.NewClient(cfg.Server, imageServer{d}); err != nil {
		panic(err)
	}
	d.agent = a
	err = a.claim()
	if err == nil {
		err = a.open(d.reading())
	}
	if err != nil {
		d.stop(err.Error())
		return
	}
	d.w.rules.started(d)
	d.settle()
	d.w.after(d.w.between(0, 10*time.Second), d.during(d.follow))
}

// stop ends the process.
func (d *crashDevice) stop(why string) {
	if d.agent == nil {
		return
	}
	d.quit()
	d.w.rules.stopped(d)
	d.agent = nil
	d.end(why, d.start)
}

// do lets the agent do something, and then all that follows from it.
func (d *crashDevice) do(f func(a *Agent, now time.Time)) {
	if d.agent == nil {
		return
	}
	f(d.agent, d.reading())
	d.settle()
}

// alive reports whether nothing has ended the process; if something has it is stopped.
func (d *crashDevice) alive() bool {
	if d.agent != nil && d.disk.Down() != nil {
		d.stop("by its disk")
	}
	return d.agent != nil
}

// settle stands in for the loop of Agent.Run.
func (d *crashDevice) settle() {
	for again := true; again; {
		if !d.alive() {
			return
		}
		a, now := d.agent, d.reading()
		again = false
		select {
		case f := <-a.calls:
			f(now)
			again = true
			continue
		default:
		}
		err := a.p.Advance(now)
		if err == nil {
			err = a.offerStage(now)
		}
		if err != nil {
			d.stop(err.Error())
			return
		}
		if ctx, job, c, ok := a.nextJob(now); ok {
			again = true
			d.w.logf("%s: begins %s", d.name, job.Task)
			if wait := d.w.between(0, 20*time.Second); d.w.rng.IntN(3) == 0 {
				d.w.after(wait, d.during(func() { d.perform(ctx, job, c); d.settle() }))
			} else {
				d.perform(ctx, job, c)
			}
		}
		if !d.alive() {
			return
		}
		for c := range a.p.Changes() {
			again = true
			d.w.rules.changed(d, c)
			a.changed(now, c)
		}
	}
	d.post()
	d.ask()
	d.wakeUp()
}

// perform does a job.
func (d *crashDevice) perform(ctx context.Context, job commit.Job, c *campaign) {
	a := d.agent
	var r commit.Result
	if job.Task == commit.TaskAskBrake {
		d.askBrake(job.Round)
	} else {
		if ctx.Err() == nil && d.activating(job) {
			d.w.rules.activates(d, job)
		}
		r = d.w.mutant.perform(a, ctx, job, c)
	}
	if !d.alive() {
		return
	}
	d.w.logf("%s: has done %s %s", d.name, job.Task, r.Reason)
	a.finishJob(d.reading(), job, r)
}

// activating reports whether a job changes what runs. Without hooks images get their places in both.
func (d *crashDevice) activating(job commit.Job) bool {
	return job.Task == commit.TaskActivate || job.Task == commit.TaskHealth && !d.w.hooks
}

// askBrake asks the server just before activation; it may be out of reach.
func (d *crashDevice) askBrake(round commit.Round) {
	d.w.rules.asks(d, round)
	if d.w.chance(d.w.loss) {
		return
	}
	if a, ok := d.w.server.ask(round); ok {
		if len(a.Brake) > 0 {
			d.agent.brake(d.reading(), a.Brake)
		}
		d.w.rules.answered(d, d.w.server.find(round.Campaign).coordinator.Status().Held)
	}
}

// wakeUp plans the next thing that time brings.
func (d *crashDevice) wakeUp() {
	next := d.agent.p.Deadline()
	if next.IsZero() || next.Equal(d.timer) {
		return
	}
	d.timer = next
	d.w.after(min(max(0, next.Sub(d.reading())), endAfter), d.during(func() {
		if d.timer.Equal(next) {
			d.timer = time.Time{}
			d.settle()
		}
	}))
}

// post sends what the server has to be told, until it is acknowledged.
func (d *crashDevice) post() {
	messages, err := d.agent.p.Messages()
	if err != nil {
		return
	}
	for _, m := range messages {
		if d.posting[m.Counter] {
			continue
		}
		d.posting[m.Counter] = true
		d.w.rules.says(d, m)
		d.w.send(func() {
			d.w.server.receive(d, m, func() {
				d.w.send(d.during(func() {
					d.do(func(a *Agent, now time.Time) { a.p.Acknowledge(now, m.Counter) })
				}))
			})
		})
		d.w.after(d.w.between(30*time.Second, 2*time.Minute), d.during(func() {
			delete(d.posting, m.Counter)
			d.post()
		}))
	}
}

// ask asks the server now and then for what the device waits for, as Agent.ask.
func (d *crashDevice) ask() {
	st := d.agent.p.Status()
	if d.asking || !(st.Current.State == commit.StateReady && !st.Committed || st.Held) {
		return
	}
	d.asking = true
	wait := d.w.between(minPoll, maxPoll)
	if d.w.now > calmAfter { // there is nothing to be learned from more questions
		wait *= 10
	}
	d.w.after(wait, d.during(func() {
		d.asking = false
		st := d.agent.p.Status()
		if round, held := st.Current.Round, st.Held; st.Current.State == commit.StateReady {
			d.w.send(func() { d.answered(round, held) })
		}
		d.ask()
	}))
}

// answered sends the server's answer back.
func (d *crashDevice) answered(round commit.Round, brake bool) {
	a, ok := d.w.server.ask(round)
	if !ok {
		return
	}
	d.w.send(func() {
		d.do(func(agent *Agent, now time.Time) {
			switch {
			case brake && len(a.Brake) > 0:
				agent.brake(now, a.Brake)
			case !brake && len(a.Signed) > 0 && !agent.p.Status().Committed && !agent.p.Finished(round):
				agent.decide(now, a.Signed)
			}
		})
	})
}

// follow stands in for the rendezvous: the device asks what is announced.
func (d *crashDevice) follow() {
	d.w.after(d.w.between(30*time.Second, 3*time.Minute), d.during(d.follow))
	for _, c := range d.w.server.announced() {
		round := c.round(d.wave)
		clock := d.agent.p.Clock()
		if held, ok := d.agent.p.Holds(); d.agent.p.Finished(round) || ok && held == round && (clock.Known() || !d.w.timed) {
			continue
		}
		answer, ok := d.w.server.ask(round)
		if !ok {
			return
		}
		stamp := []byte(nil)
		if d.w.timed {
			stamp = d.w.server.timestamp()
		}
		etag := fmt.Sprint(c.index, answer.Verdict, answer.Brake)
		if d.heard == etag && stamp == nil {
			continue // told only when it is another one
		}
		d.w.send(d.during(func() {
			d.heard = etag
			d.do(func(a *Agent, now time.Time) { d.notice(a, now, c, answer, stamp) })
		}))
	}
}

// notice is Agent.notice for documents whose signatures are known to hold.
func (d *crashDevice) notice(a *Agent, now time.Time, c *crashCampaign, answer commit.Answer, stamp []byte) {
	if stamp != nil {
		if a.p.Timestamp(now, stamp) != nil {
			return
		}
	}
	if len(answer.Brake) > 0 {
		a.brake(now, answer.Brake)
	}
	if len(answer.Signed) > 0 {
		a.decide(now, answer.Signed)
	}
	round := c.round(d.wave)
	if held, ok := a.p.Holds(); ok && held == round || a.following != nil && a.following.round == round {
		return
	}
	if a.p.Finished(round) || a.abandoned(round) || answer.Verdict == commit.Abort {
		return
	}
	for _, other := range []*campaign{a.following, a.held} {
		if other != nil && other.session != nil && (other.stop != nil || other == a.held) && c.session.Issued.Before(other.session.Issued) {
			return
		}
	}
	if _, err := a.openRelease(now, c.signed, c.session); err != nil {
		a.refuse(now, round, c.session.Expires, refusalReason(err, c.release.Epoch, a.p.Floors()))
		return
	}
	d.w.logf("%s: follows campaign %d", d.name, c.index)
	a.stopReceiving()
	a.following = &campaign{round: round, session: c.session, release: c.release,
		signed: discovery.Notice{Manifest: c.signed, Session: c.signedSession}}
	d.receive(a, now, c)
}

// receive stands in for Agent.startReceiving and the NORM session.
func (d *crashDevice) receive(a *Agent, now time.Time, c *crashCampaign) {
	f := a.following
	if d.reception != nil {
		d.reception.stage.close()
	}
	d.reception = nil
	kept := map[string]bool{}
	if round, ok := a.p.Holds(); ok {
		kept[stageDir(round.Manifest)] = true
	}
	ctx, cancel := context.WithCancel(a.ctx)
	f.stop = cancel
	st, err := openStage(a.stageFS(ctx, f.release), f.release, c.signed, c.signedSession, kept)
	if err != nil {
		if d.alive() {
			a.cannotReceive(now, f, err)
		}
		return
	}
	r := &reception{a: a, c: f, s: f.session, stage: st, rejected: map[part]int{}, told: -1}
	r.tail.everything = true
	d.reception = r
	d.w.rules.receives(d, r)
	var missing []part
	for i := range st.hashes.missing() {
		missing = append(missing, part{hashObject, i})
	}
	for i, im := range st.images {
		for leaf := range im.entry.Leaves() {
			if !im.verified(leaf) {
				missing = append(missing, part{i, leaf})
			}
		}
	}
	d.w.rng.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	for _, p := range missing {
		if d.w.chance(d.w.loss) {
			continue
		}
		d.w.after(d.w.between(0, 3*time.Minute), d.during(func() {
			if d.reception != r || ctx.Err() != nil {
				return
			}
			d.do(func(a *Agent, now time.Time) { d.arrives(ctx, c, p) })
		}))
	}
	d.arrived(ctx, r)
	d.w.after(4*time.Minute, d.during(func() { d.fetch(ctx, r) }))
}

// arrives takes a part that came by multicast, now and then with a wrong byte.
func (d *crashDevice) arrives(ctx context.Context, c *crashCampaign, p part) {
	r := d.reception
	if r.done {
		return
	}
	if p.object == hashObject {
		piece := r.stage.hashes.pieces[p.index]
		b := d.w.maybeWrong(c.hashes[piece.Offset:][:piece.Length])
		if _, err := r.stage.hashes.WriteAt(b, piece.Offset); err != nil {
			r.failed(err)
		} else if hashes, ok := r.stage.hashes.confirm(p.index); ok {
			r.expect(ctx, piece, hashes)
		}
	} else {
		im := r.stage.images[p.object]
		at := im.bytes(p.index, p.index+1)
		d.w.rules.fetches(d, r, p)
		_, err := im.WriteAt(d.w.maybeWrong(c.images[p.object][at.off:][:at.length]), at.off)
		if err == nil {
			var events []leafEvent
			events, err = im.stored(at.off, at.length)
			r.leaves(ctx, p.object, events)
		}
		r.failed(err)
	}
	d.arrived(ctx, r)
}

// maybeWrong returns b, now and then with another byte in it.
func (w *crashWorld) maybeWrong(b []byte) []byte {
	b = bytes.Clone(b)
	if w.chance(0.02) {
		b[w.rng.IntN(len(b))] ^= 0x40
	}
	return b
}

// fetch asks the server for the next missing part, by HTTP.
func (d *crashDevice) fetch(ctx context.Context, r *reception) {
	if d.reception != r || r.done || r.fatal != nil || ctx.Err() != nil {
		return
	}
	d.w.after(10*time.Second, d.during(func() { d.fetch(ctx, r) }))
	if !d.w.server.up || d.w.chance(d.w.loss) {
		return
	}
	d.do(func(a *Agent, now time.Time) {
		clear(r.tail.parts) // whose order is none
		f, ok := r.nextPart()
		if !ok {
			return
		}
		if f.object == hashObject {
			r.fetchPiece(ctx, &f)
		} else {
			for leaf := f.first; leaf < f.end; leaf++ {
				d.w.rules.fetches(d, r, part{f.object, leaf})
			}
			r.fetchLeaves(ctx, &f)
		}
		r.fetchedPart(ctx, now, f)
		d.arrived(ctx, r)
	})
}

// arrived does what reception.run does after each step.
func (d *crashDevice) arrived(ctx context.Context, r *reception) {
	if !d.alive() {
		return
	}
	if r.finishIfWhole(ctx); r.fatal != nil && d.alive() {
		r.stage.close()
		d.agent.cannotReceive(d.reading(), r.c, r.fatal)
	}
	if !r.done && r.fatal == nil {
		d.w.after(time.Second, d.during(func() { d.save(ctx, r) }))
	}
}

// save does what reception.tick does for a checkpoint.
func (d *crashDevice) save(ctx context.Context, r *reception) {
	if d.reception != r || r.done || r.fatal != nil || ctx.Err() != nil || !r.saved.due(r.stage) {
		return
	}
	d.do(func(*Agent, time.Time) {
		r.failed(r.stage.sync())
		if d.alive() && r.fatal == nil {
			d.w.rules.saved(d, r)
		}
		d.arrived(ctx, r)
	})
}

// ended reports whether the device has nothing left to do for any campaign.
func (d *crashDevice) ended() bool {
	if d.agent == nil {
		return false
	}
	if _, holds := d.agent.p.Holds(); holds || d.agent.p.Status().Pending > 0 || d.agent.job.busy {
		return false
	}
	return true
}

// An imageServer carries the device's requests for missing bytes to the server.
type imageServer struct{ d *crashDevice }

func (s imageServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var id string
	var object int
	var from, to int
	if _, err := fmt.Sscanf(strings.ReplaceAll(r.URL.Path, "/", " "), " v1 campaigns %s objects %d", &id, &object); err != nil {
		return nil, err
	}
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
		return nil, err
	}
	campaign, err := manifest.ParseCampaignID(id)
	if err != nil {
		return nil, err
	}
	c := s.d.w.server.find(campaign)
	b := c.hashes
	if object > 0 {
		b = c.images[object-1]
	}
	return &http.Response{StatusCode: http.StatusPartialContent, Body: io.NopCloser(bytes.NewReader(b[from : to+1]))}, nil
}

// crashHooks is the device's own code.
type crashHooks struct{ d *crashDevice }

func (h crashHooks) Has(s Step) bool { return h.d.w.hooks || s == StepVerify && h.d.w.badHooks }

func (h crashHooks) Run(_ context.Context, s Step, c HookContext) error {
	d := h.d
	if d.disk.Down() != nil {
		return diskfault.ErrCrashed // nobody is there to run it
	}
	d.w.logf("%s: hook %s", d.name, s)
	if d.w.faults.hook(d.w, d) { // the power goes before the hook has done anything
		d.disk.Crash()
		return diskfault.ErrCrashed
	}
	switch s {
	case StepVerify:
		return d.verify
	case StepActivate:
		d.w.rules.hooked(d, c)
		if d.activate != nil {
			return d.activate
		}
		if d.runs != c.Digest {
			d.runs, d.ran = c.Digest, d.runs
		}
		if d.reboots {
			d.disk.Crash()
			return diskfault.ErrCrashed // the hook does not return
		}
		return nil
	case StepHealth:
		if d.runs != c.Digest && d.w.mutant == healthCannotTell {
			return errors.New("the old image runs")
		}
		if d.runs != c.Digest {
			return ErrNotActive
		}
		return d.health
	}
	if d.runs == c.Digest {
		d.runs = d.ran
	}
	return nil
}

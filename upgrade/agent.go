package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// An Agent follows the campaigns of one server on one device: it fetches the images, proves to itself that they are what
// was signed, votes, and activates them when it is told to. One goroutine, in Run, owns all of its state; whatever takes
// time runs beside it and comes back as a call.
type Agent struct {
	cfg     AgentConfig
	fs      disk.FS
	dir     io.Closer // of a directory opened by path
	lock    io.Closer
	logFile io.Closer
	client  *discovery.Client
	// rootClient asks for root documents, at the same server.
	rootClient *discovery.Client
	gateway    *gatewayClient // of the site; nil: there is none
	log        *slog.Logger

	calls chan func(now time.Time) // work for Run, from any goroutine
	work  sync.WaitGroup           // what runs beside it
	ctx   context.Context          // of Run; ends all that
	greet greeting
	tell  teller
	sap   sapListener
	busy  atomic.Bool // a campaign is under way; set by Run

	offered atomic.Pointer[offer]         // to others of the site
	root    atomic.Pointer[manifest.Root] // whom the device believes; set by Run: see trust

	// Owned by Run.
	p         *commit.Participant
	following *campaign    // announced last, if it was accepted
	held      *campaign    // whose stage the commit is about
	refused   [32]byte     // digest of the announcement refused last
	job       runningJob   // of the commit
	outbox    outbox       // to the server
	poll      pollTimer    // for a decision
	showing   showing      // of a decision
	outcome   commit.State // how the last round of this run ended; StateNone: none did
	why       commit.Reason
	waits     time.Time     // for its maintenance window, until then; told
	unknown   bool          // the server did not know the campaign when last asked
	ended     []*campaign   // whose stages are to be put aside
	receiver  chan struct{} // closed when the latest reception has ended; nil: there was none
	status    statusBox     // for the server
	examining examining

	rootRefused bool // the next root that the server has was told not to count
}

// NewAgent returns an Agent that has its directory locked and its log open. Run or Close ends that.
func NewAgent(cfg AgentConfig) (_ *Agent, err error) {
	if cfg, err = cfg.resolve(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, fs: cfg.FS, log: cfg.Log, calls: make(chan func(time.Time)), greet: newGreeting()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.fs == nil {
		dir, err := disk.Open(cfg.Dir)
		if err != nil {
			return nil, err
		}
		a.fs, a.dir = dir, dir
	}
	if err := a.claim(); err != nil {
		return nil, err
	}
	if a.rootClient, err = a.cfg.newRootClient(); err != nil { // before the other, which makes a transport for the rest
		return nil, err
	}
	if a.client, err = a.cfg.newClient(func() []manifest.PublicKey { return a.trust().Servers }); err != nil {
		return nil, err
	}
	if cfg.Tail != "" {
		client, err := discovery.NewClient(cfg.Tail, cfg.TailTransport)
		if err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		a.gateway = &gatewayClient{Client: client}
	}
	if err := a.openKey(); err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	if err = a.openSAP(); err != nil {
		return nil, err
	}
	return a, a.open(time.Now())
}

// claim locks the directory, and finds out whether it can be written to. What it finds there is durable from then on, by name.
func (a *Agent) claim() (err error) {
	if a.lock, err = a.fs.Lock("lock"); err != nil {
		return err
	}
	if err := disk.WriteFile(a.fs, "probe", nil, 0o600); err != nil {
		return fmt.Errorf("the directory is not writable: %w", err)
	}
	return a.fs.Remove("probe")
}

// open takes the root document that counts, opens the log and goes on where it ends.
func (a *Agent) open(now time.Time) (err error) {
	if err := a.openRoot(); err != nil {
		return err
	}
	a.p, err = commit.OpenParticipant(now, commit.ParticipantConfig{
		Device: a.cfg.Device, Key: a.cfg.signer(), Server: a.trust().Servers[0], Boot: a.cfg.Boot, Build: buildTime(), Opens: a.cfg.opens(),
		Open: a.openLog,
	})
	if err != nil {
		return err
	}
	a.p.TrustServers(a.trust().Servers)
	a.tell = teller{mu: new(sync.Mutex), event: a.cfg.Event, device: a.cfg.Device, log: a.log}
	a.resume()
	a.noteBusy()
	return nil
}

// Close lets go of the directory, for an Agent that does not Run.
func (a *Agent) Close() (err error) {
	a.closeSAP()
	for _, c := range []io.Closer{a.logFile, a.lock, a.dir} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	a.logFile, a.lock, a.dir = nil, nil, nil
	return err
}

// resume finds the campaign whose stage the log is about.
func (a *Agent) resume() {
	round, ok := a.p.Holds()
	if !ok {
		if last := a.p.Status().Last; last.State == commit.StateCommitted {
			a.installed(last.Round) // the power may have gone between the log and this
		}
		return
	}
	c, err := loadCampaign(a.fs, round, a.trust())
	if err != nil {
		// The log promises a stage that is not there. Whatever is asked of it fails, and is reported so.
		a.log.Error("the stage of the current round cannot be read", "round", round, "error", err)
		c = &campaign{round: round, err: err}
	} else if c.keyring, err = a.newKeyring(c.session, c.release, round); err != nil {
		a.log.Error("the images of the current round are sealed, and cannot be opened any more", "round", round, "error", err)
	}
	a.held = c
}

// Run follows the server until ctx ends; with Once, until one campaign has ended on this device and the server knows
// how. The error is nil if it ended with COMMITTED, and a *NotInstalledError if it ended otherwise.
func (a *Agent) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		a.closeSAP()
		a.work.Wait()
		err = errors.Join(err, a.Close())
	}()
	a.ctx = ctx
	a.offerHeld()
	a.revoke(time.Now()) // a root may have been stored just before the end
	a.tell.tell(Event{Kind: EventListening, Server: a.cfg.Server})
	a.work.Go(func() { a.follow(ctx) })
	a.hearSAP()
	a.work.Go(func() { a.greetServer(ctx) })
	a.work.Go(func() { a.watchRequests(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if err := a.settle(now); err != nil {
			return err
		}
		if a.cfg.Once && a.outcome != commit.StateNone && a.heard() {
			return a.result()
		}
		timer.Reset(a.wait(now))
		select {
		case f := <-a.calls:
			f(time.Now())
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Alive returns nil when Run has answered, which it does between any two things it does, or why ctx has ended. It is for
// watchdogs.
func (a *Agent) Alive(ctx context.Context) error {
	answered := make(chan struct{})
	select {
	case a.calls <- func(time.Time) { close(answered) }:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-answered // it is called as soon as it is taken
	return nil
}

// settle does what the state of the commit asks for, until there is nothing to be done at once.
func (a *Agent) settle(now time.Time) error {
	if err := a.p.Advance(now); err != nil {
		return err
	}
	if err := a.offerStage(now); err != nil {
		return err
	}
	for again := true; again; {
		a.startJob(now)
		again = false
		for c := range a.p.Changes() {
			a.changed(now, c)
			again = true
		}
	}
	a.tellWaiting(now)
	a.deliver(now)
	a.ask(now)
	a.show(now)
	a.showStatus(now)
	a.noteBusy()
	return nil
}

// wait returns how long nothing has to be done if nothing happens.
func (a *Agent) wait(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	for _, t := range []time.Time{a.p.Deadline(), a.outbox.next, a.poll.deadline(), a.showing.poll.deadline(), a.status.due()} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return max(0, next.Sub(now))
}

// do has f run by Run, unless that ends before.
func (a *Agent) do(f func(now time.Time)) {
	select {
	case a.calls <- f:
	case <-a.ctx.Done():
	}
}

// A NotInstalledError says how a campaign ended that did not end with COMMITTED.
type NotInstalledError struct {
	State  commit.State
	Reason commit.Reason
}

func (e *NotInstalledError) Error() string {
	if e.Reason == commit.ReasonNone {
		return fmt.Sprintf("the image was not installed: %s", e.State)
	}
	return fmt.Sprintf("the image was not installed: %s (%s)", e.State, e.Reason)
}

func (a *Agent) result() error {
	if a.outcome == commit.StateCommitted {
		return nil
	}
	return &NotInstalledError{a.outcome, a.why}
}

// changed tells of a step of the commit, and does what it means for stages.
func (a *Agent) changed(now time.Time, c commit.Change) {
	e := Event{Kind: changeEvents[c.State], Campaign: c.Round.Campaign.String(), Wave: c.Round.Wave, State: c.State, Reason: c.Reason}
	a.tell.tell(e)
	a.writeStatus(e)
	switch c.State {
	case commit.StateStaged:
		a.sendStatus(c.Round, c.State, c.Reason)
		return
	case commit.StateReady:
		if a.held != nil && a.held.decision != nil {
			a.decide(now, a.held.decision) // it came before the vote
		}
		return
	case commit.StateCommitted:
		a.installed(c.Round)
	}
	a.conclude(c.Round, c.State, c.Reason)
	if c.State == commit.StateRefused {
		a.sendStatus(c.Round, c.State, c.Reason)
	}
	a.over(c.Round)
}

// conclude notes how a round ended. That a stage gave way to a newer campaign is no end, and neither is a campaign that is
// none of this device's while the stage of another one waits for its decision.
func (a *Agent) conclude(round commit.Round, state commit.State, why commit.Reason) {
	if held, ok := a.p.Holds(); why == commit.ReasonSuperseded || ok && held != round {
		return
	}
	a.outcome, a.why = state, why
}

var changeEvents = map[commit.State]EventKind{
	commit.StateStaged: EventStaged, commit.StateReady: EventReady, commit.StateRefused: EventRefused,
	commit.StateCommitted: EventActivated, commit.StateAborted: EventAborted, commit.StateRolledBack: EventRolledBack,
	commit.StateFailed: EventFailed, commit.StateReleased: EventReleased,
}

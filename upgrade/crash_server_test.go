package upgrade

import (
	"errors"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/filestore"
	"github.com/multicast-upgrade/tool/manifest"
)

// A crashServer leads the campaigns of a crashWorld.
type crashServer struct {
	party
	campaigns []*crashCampaign
	skew      time.Duration // of its clock
}

// A crashCampaign is a campaign, from when it is to begin.
type crashCampaign struct {
	*crashFixture
	begins      time.Duration
	begun       bool // at any time
	coordinator *commit.Coordinator
	closed      bool
}

func newCrashServer(w *crashWorld) *crashServer {
	s := &crashServer{party: newParty(w, "server", 0)}
	for i := range w.campaigns {
		s.campaigns = append(s.campaigns, &crashCampaign{crashFixture: w.fixture(i), begins: time.Duration(i) * secondCampaign})
	}
	return s
}

// utc is what its clock says, which can be set at any time.
func (s *crashServer) utc() time.Time { return crashStart.Add(s.w.now + s.skew) }

func (s *crashServer) describe() (text string) {
	text = fmt.Sprintf("server up %v", s.up)
	for _, c := range s.campaigns {
		if c.coordinator != nil {
			text += fmt.Sprintf(", campaign %d: %+v", c.index, c.coordinator.Status())
		}
	}
	return text
}

func (s *crashServer) start() {
	s.begin()
	for _, c := range s.campaigns {
		c.coordinator = nil
	}
	if err := s.open(); err != nil {
		s.stop(err)
		return
	}
	s.w.after(0, s.during(s.tick))
}

// open opens the campaigns that have begun, and begins those that are due.
func (s *crashServer) open() (err error) {
	for _, c := range s.campaigns {
		if c.coordinator != nil || s.w.now < c.begins {
			continue
		}
		key := recordingSigner{s.w, c}
		c.coordinator, err = commit.OpenCoordinator(commit.CoordinatorConfig{Key: key, Public: serverKey.Public(),
			Open: func(replay func([]byte) error) (commit.Log, error) {
				return s.w.mutant.serverLog(filestore.Open(s.w.mutant.serverDisk(s.disk), c.log(), replay))
			}})
		if err != nil {
			return err
		}
		if _, started := c.coordinator.Plan(); !started {
			if c.begun {
				s.w.broken("the server has forgotten that campaign %d was started", c.index)
			}
			if err := c.coordinator.Start(c.plan(s.w)); err != nil {
				return err
			}
		}
		c.begun = true
	}
	return nil
}

func (s *crashServer) stop(err error) {
	for _, c := range s.campaigns {
		c.coordinator = nil
	}
	s.end(err.Error(), s.start)
}

// do has f work with the coordinator of a campaign, if the server is up and leads it, and reports whether it could.
func (s *crashServer) do(c *crashCampaign, f func(now time.Time, c *commit.Coordinator) error) bool {
	if !s.up || c.coordinator == nil {
		return false
	}
	err := f(s.utc(), c.coordinator)
	if down := s.disk.Down(); err == nil && down != nil {
		err = down
	}
	if err == nil {
		return true
	}
	if !errors.Is(err, commit.ErrLog) && s.disk.Down() == nil {
		s.w.broken("the server fails: %v", err)
	}
	s.stop(err)
	return false
}

const serverTick = 30 * time.Second

func (s *crashServer) tick() {
	if err := s.open(); err != nil {
		s.stop(err)
		return
	}
	for _, c := range s.campaigns {
		if !s.do(c, func(now time.Time, c *commit.Coordinator) error { return c.Advance(now) }) {
			continue
		}
		for e := range c.coordinator.Events() {
			s.w.logf("server: campaign %d: %s", c.index, describeEvent(e))
			if e.Kind == commit.EventConflict {
				s.w.broken("a device shows the opposite of the decision of wave %d", e.Wave)
			}
		}
		s.operate(c)
		s.close(c)
	}
	if s.up {
		s.w.after(serverTick, s.during(s.tick))
	}
}

func describeEvent(e commit.Event) string {
	switch e.Kind {
	case commit.EventDevice:
		return fmt.Sprintf("%s is %s %s", e.Device, e.State, e.Reason)
	case commit.EventAsking:
		return fmt.Sprintf("wave %d asks a person", e.Wave)
	case commit.EventDecided:
		return fmt.Sprintf("wave %d: %s %s", e.Wave, e.Verdict, e.Reason)
	case commit.EventBrake:
		return fmt.Sprintf("brake: hold %v, pause %v %s", e.Hold, e.Pause, e.Reason)
	case commit.EventWave:
		return fmt.Sprintf("wave %d: %s", e.Wave, e.Step)
	}
	return fmt.Sprintf("event %d", e.Kind)
}

// close closes a campaign when nobody can be waited for any more: all have ended, or those that have not have had long.
func (s *crashServer) close(c *crashCampaign) {
	if c.closed || !s.up {
		return
	}
	if _, open := c.coordinator.Open(); open || !s.allEnded(c) && s.w.now < calmAfter+6*time.Hour {
		return
	}
	c.closed = s.do(c, func(now time.Time, co *commit.Coordinator) error { return co.Close(now) })
}

// allEnded reports whether every device has an outcome, or needs none.
func (s *crashServer) allEnded(c *crashCampaign) bool {
	waves := c.coordinator.Status().Waves
	for d := range c.coordinator.Devices() {
		switch d.State {
		case commit.StateCommitted, commit.StateRolledBack, commit.StateFailed, commit.StateRefused:
		default:
			if waves[d.Wave].Verdict == commit.Commit {
				return false
			}
		}
	}
	return true
}

func (s *crashServer) ended() bool {
	for _, c := range s.campaigns {
		if !c.closed {
			return false
		}
	}
	return s.up
}

// find returns the campaign with an id.
func (s *crashServer) find(id commit.CampaignID) *crashCampaign {
	for _, c := range s.campaigns {
		if c.id == id {
			return c
		}
	}
	return nil
}

// receive takes a message of d; answer hears whether it is done with.
func (s *crashServer) receive(d *crashDevice, m commit.Message, answer func()) {
	s.do(s.find(m.Campaign), func(now time.Time, c *commit.Coordinator) error {
		refused, err := c.Receive(now, m)
		if err != nil {
			return err
		}
		switch err := refused[0]; {
		case err == nil, errors.Is(err, commit.ErrReplay), errors.Is(err, commit.ErrRefused), errors.Is(err, commit.ErrClosed):
			s.w.logf("server: has %s %d of %s (%v)", m.Kind, m.Counter, d.name, err)
			answer()
		default:
			s.w.broken("the %s of %s is refused: %v", m.Kind, d.name, err)
		}
		return nil
	})
}

// ask answers the question for the decision and the brake.
func (s *crashServer) ask(round commit.Round) (a commit.Answer, ok bool) {
	ok = s.do(s.find(round.Campaign), func(now time.Time, c *commit.Coordinator) (err error) {
		a, err = c.Answer(now, round.Campaign, round.Wave)
		if err == nil && !a.Known {
			s.w.broken("a campaign that was started is unknown")
		}
		return err
	})
	return a, ok
}

// announced returns the campaigns that devices are told of, the one that was begun last at the end.
func (s *crashServer) announced() (all []*crashCampaign) {
	for _, c := range s.campaigns {
		if s.up && c.coordinator != nil && !c.closed {
			all = append(all, c)
		}
	}
	return all
}

func (s *crashServer) timestamp() []byte {
	signed, err := commit.Timestamp{Time: s.utc()}.Sign(memoSigner{serverKey})
	if err != nil {
		panic(err)
	}
	return signed
}

// planOperator plans what a person does at the server, and what becomes of its clock.
func (w *crashWorld) planOperator() {
	s := w.server
	for range w.rng.IntN(4) {
		if !w.operator {
			break
		}
		act := w.rng.IntN(8)
		c := s.campaigns[w.rng.IntN(len(s.campaigns))]
		w.after(c.begins+w.between(time.Second, 100*time.Minute), func() {
			s.do(c, func(now time.Time, co *commit.Coordinator) error {
				wave, open := co.Open()
				var err error
				switch {
				case act < 2:
					w.logf("operator: hold")
					err = co.Hold(now)
				case act < 5:
					w.logf("operator: resume")
					err = co.Resume(now)
				case act < 6:
					w.logf("operator: pause")
					err = co.Pause(now)
				case act < 7 && open:
					w.logf("operator: abort wave %d", wave)
					err = co.Abort(now, wave)
				case open:
					w.logf("operator: approve wave %d", wave)
					err = co.Approve(now, wave)
				}
				return operatorError(err)
			})
		})
	}
	for w.clockJumps && w.rng.IntN(3) > 0 {
		w.after(w.between(time.Second, calmAfter), func() {
			s.skew = w.between(-90*time.Minute, 90*time.Minute)
			w.logf("server: its clock is set to %s", s.utc())
		})
	}
}

// operatorError is nil for what a person is told that something cannot be done now.
func operatorError(err error) error {
	for _, told := range []error{commit.ErrNotReady, commit.ErrDecided, commit.ErrPaused} {
		if errors.Is(err, told) {
			return nil
		}
	}
	return err
}

// operate is the person who looks after a campaign now and then: approves what waits for that, and lets go on what stands.
func (s *crashServer) operate(c *crashCampaign) {
	if !s.up || !s.w.calm() && s.w.rng.IntN(40) > 0 {
		return
	}
	s.do(c, func(now time.Time, co *commit.Coordinator) error {
		st := co.Status()
		if st.Held || st.Paused {
			s.w.logf("operator: resumes campaign %d", c.index)
			return co.Resume(now)
		}
		if wave, open := co.Open(); open && st.Waves[wave].Asking {
			s.w.logf("operator: approves wave %d of campaign %d", wave, c.index)
			return operatorError(co.Approve(now, wave))
		}
		return nil
	})
}

// A memoSigner signs what it has signed before from memory: the signature of this key is always the same.
type memoSigner struct{ key *manifest.PrivateKey }

var (
	signedBefore    = map[string][]byte{}
	decisionsBefore = map[string]commit.Decision{} // what of it is a decision; the zero Decision if it is none
)

func (m memoSigner) Sign(context string, payload []byte) ([]byte, error) {
	name := context + string(payload)
	if signed, ok := signedBefore[name]; ok {
		return signed, nil
	}
	signed, err := m.key.Sign(context, payload)
	if len(signedBefore) > 10_000 {
		clear(signedBefore)
		clear(decisionsBefore)
	}
	signedBefore[name] = signed
	return signed, err
}

// A recordingSigner is the server key; the rules hear of each decision before it is signed.
type recordingSigner struct {
	w *crashWorld
	c *crashCampaign
}

func (r recordingSigner) Sign(context string, payload []byte) ([]byte, error) {
	signed, err := memoSigner{serverKey}.Sign(context, payload)
	d, known := decisionsBefore[string(signed)]
	if !known {
		d, _ = commit.OpenDecision(signed, serverKey.Public())
		decisionsBefore[string(signed)] = d
	}
	if d.Verdict != commit.Undecided {
		r.w.rules.signs(r.c, d)
	}
	return signed, err
}

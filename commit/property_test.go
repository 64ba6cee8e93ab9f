package commit_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fuzztest"
)

// openC opens a coordinator in a property test.
func openC(t *rapid.T, log *memoryLog) *commit.Coordinator {
	c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: serverKey, Public: serverKey.Public(), Open: log.open})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCoordinatorProperties(t *testing.T) { rapid.Check(t, coordinatorProperties()) }

func FuzzCoordinator(f *testing.F) { fuzztest.Property(f, coordinatorProperties()) }

// coordinatorProperties drives a coordinator with arbitrary input and compares it with a simple model.
func coordinatorProperties() func(t *rapid.T) {
	return func(t *rapid.T) {
		const devices = 4
		p := plan(names(devices)...)
		p.Waves[0].Quorum = rapid.SampledFrom([]int{25, 50, 75, 100}).Draw(t, "quorum")
		p.Waves[0].Ask = rapid.Bool().Draw(t, "ask")
		p.MaxFailures = rapid.IntRange(0, 2).Draw(t, "max failures")
		need := p.Waves[0].Quorum * devices / 100

		log := &memoryLog{}
		c := openC(t, log)
		if err := c.Start(p); err != nil {
			t.Fatal(err)
		}
		now := start
		said := map[string]string{} // READY, NO, released, over: the model of each device
		counter := map[string]uint64{}
		var decided commit.Answer
		readyNow := func() (n int) {
			for _, s := range said {
				if s == "READY" {
					n++
				}
			}
			return n
		}
		device := rapid.SampledFrom(names(devices))
		give := func(m commit.Message) error {
			refused, err := c.Receive(now, m)
			if err != nil {
				t.Fatal(err)
			}
			return refused[0]
		}
		// check looks at the decision after each action, knowing what held just before the coordinator could take it.
		check := func(approved bool) {
			a, err := c.Answer(now, campaign, 0)
			if err != nil {
				t.Fatal(err)
			}
			late := !now.Before(at(60))
			switch {
			case decided.Verdict != commit.Undecided:
				if a.Verdict != decided.Verdict || !bytes.Equal(a.Signed, decided.Signed) {
					t.Fatalf("decision changed from %s to %s", decided.Verdict, a.Verdict)
				}
			case a.Verdict == commit.Commit:
				if late || readyNow() < need || p.Waves[0].Ask && !approved {
					t.Fatalf("COMMIT with %d READY of %d needed, late %v, approved %v", readyNow(), need, late, approved)
				}
				decided = a
			case a.Verdict == commit.Abort:
				decided = a
			case late:
				t.Fatal("open past the deadline")
			case readyNow() >= need && !p.Waves[0].Ask:
				t.Fatalf("no COMMIT with %d READY of %d needed", readyNow(), need)
			}
			if a.Verdict != commit.Undecided {
				if d, err := commit.OpenDecision(a.Signed, serverKey.Public()); err != nil || d.Verdict != a.Verdict || d.Round != round {
					t.Fatalf("signed decision: %+v, %v", d, err)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"ready": func(t *rapid.T) {
				d := device.Draw(t, "device")
				counter[d]++
				err := give(ready(d, counter[d]))
				switch said[d] {
				case "", "READY", "released":
					if err != nil {
						t.Fatalf("READY of %s after %q: %v", d, said[d], err)
					}
					said[d] = "READY"
				default:
					if err == nil {
						t.Fatalf("READY of %s after %q was taken", d, said[d])
					}
				}
				check(false)
			},
			"no": func(t *rapid.T) {
				d := device.Draw(t, "device")
				counter[d]++
				if err := give(refusal(d, counter[d], commit.ReasonDiskFull)); err == nil {
					said[d] = "NO"
				}
				check(false)
			},
			"replay": func(t *rapid.T) {
				d := device.Draw(t, "device")
				if counter[d] > 1 {
					if err := give(ready(d, rapid.Uint64Range(1, counter[d]-1).Draw(t, "counter"))); err == nil {
						t.Fatal("an old READY was taken")
					}
				}
				check(false)
			},
			"report": func(t *rapid.T) {
				d := device.Draw(t, "device")
				outcome := rapid.SampledFrom([]commit.State{commit.StateCommitted, commit.StateReleased, commit.StateFailed}).Draw(t, "outcome")
				if said[d] != "READY" || outcome != commit.StateReleased && decided.Verdict != commit.Commit {
					return // no device says that
				}
				counter[d]++
				if err := give(report(d, counter[d], outcome, commit.ReasonNone)); err != nil {
					t.Fatal(err)
				}
				said[d] = "released"
				if outcome != commit.StateReleased {
					said[d] = "over"
				}
				check(false)
			},
			"approve": func(t *rapid.T) {
				err := c.Approve(now, 0)
				if err == nil && readyNow() < need {
					t.Fatal("approved without a quorum")
				}
				check(err == nil)
			},
			"abort": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "mood") == 0 {
					if err := c.Abort(now, 0); err != nil && !errors.Is(err, commit.ErrDecided) {
						t.Fatal(err)
					}
				}
				check(false)
			},
			"adopt": func(t *rapid.T) {
				v := rapid.SampledFrom([]commit.Verdict{commit.Commit, commit.Abort}).Draw(t, "verdict")
				if decided.Verdict == commit.Undecided {
					return // the server has signed nothing that could be shown
				}
				if err := c.Adopt(decision(v)); (v == decided.Verdict) != (err == nil) {
					t.Fatalf("%s shown to a server that decided %s: %v", v, decided.Verdict, err)
				}
				check(false)
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes")) * time.Minute)
				check(false)
			},
			"restart": func(t *rapid.T) {
				before, brake := c.Status(), brakeOf(c, now)
				c = openC(t, log)
				after := c.Status()
				for i := range before.Waves { // whether somebody is asked shows again after Advance
					before.Waves[i].Asking, after.Waves[i].Asking = false, false
				}
				if !reflect.DeepEqual(before, after) {
					t.Fatalf("status\n%+v, after a restart\n%+v", before, after)
				}
				if got := brakeOf(c, now); !bytes.Equal(got, brake) {
					t.Fatalf("brake %x, after a restart %x", brake, got)
				}
				check(false)
			},
			"power": func(t *rapid.T) {
				written := rapid.Bool().Draw(t, "written")
				log.power = func() (bool, bool) { return false, written }
				err := c.Hold(now)
				if !errors.Is(err, commit.ErrLog) {
					t.Fatalf("hold with a dead log: %v", err)
				}
				log.power = nil
				if _, err := c.Answer(now, campaign, 0); !errors.Is(err, commit.ErrLog) {
					t.Fatalf("answer after a dead log: %v", err)
				}
				c = openC(t, log)
				check(false)
			},
		})
	}
}

func brakeOf(c *commit.Coordinator, now time.Time) []byte {
	a, err := c.Answer(now, campaign, 0)
	if err != nil {
		panic(err)
	}
	return a.Brake
}

func TestParticipantProperties(t *testing.T) { rapid.Check(t, participantProperties()) }

func FuzzParticipant(f *testing.F) { fuzztest.Property(f, participantProperties()) }

// participantProperties drives a device with arbitrary input, results and restarts, and holds what it never does.
func participantProperties() func(t *rapid.T) {
	return func(t *rapid.T) {
		log := &memoryLog{}
		boot := 1
		now := start
		open := func() *commit.Participant {
			p, err := commit.OpenParticipant(now, commit.ParticipantConfig{Device: "d1", Key: deviceKey("d1"),
				Server: serverKey.Public(), Boot: fmt.Sprint("boot-", boot), Build: start, Open: log.open})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p := open()
		rounds := []commit.Round{round, round, round}
		rounds[1].Campaign[0]++
		rounds[2].Wave++
		var (
			job       commit.Job // being done
			doing     bool
			committed = map[commit.Round]bool{} // a COMMIT was taken, for the READY that stood
			over      = map[commit.Round]commit.State{}
			floors    commit.Floors
			held      = map[commit.CampaignID]bool{}
			sequence  uint64
		)
		watch := func() {
			for c := range p.Changes() {
				if end, was := over[c.Round]; was {
					t.Fatalf("%s is %s after it was %s", c.Round, c.State, end)
				}
				switch c.State {
				case commit.StateReleased:
					committed[c.Round] = false
				case commit.StateCommitted, commit.StateAborted, commit.StateRefused, commit.StateRolledBack, commit.StateFailed:
					over[c.Round] = c.State
				}
				if (c.State == commit.StateCommitted || c.State == commit.StateRolledBack) && !committed[c.Round] {
					t.Fatalf("%s is %s without COMMIT", c.Round, c.State)
				}
			}
			f := p.Floors()
			if f.Sequence < floors.Sequence || f.Epoch < floors.Epoch {
				t.Fatalf("floors went down from %+v to %+v", floors, f)
			}
			floors = f
		}
		reason := rapid.SampledFrom([]commit.Reason{"", "", "", commit.ReasonHealth, commit.ReasonNotActive})
		which := rapid.IntRange(0, 2)
		t.Repeat(map[string]func(*rapid.T){
			"stage": func(t *rapid.T) {
				st := stage()
				st.Round = rounds[which.Draw(t, "round")]
				st.Sequence = rapid.Uint64Range(1, 3).Draw(t, "sequence")
				err := p.Stage(now, st)
				if _, was := over[st.Round]; was && !errors.Is(err, commit.ErrFinished) {
					t.Fatalf("staged again after it was over: %v", err)
				}
			},
			"refuse": func(t *rapid.T) { p.Refuse(now, rounds[which.Draw(t, "round")], at(1e6), commit.ReasonHardware) },
			"decide": func(t *rapid.T) {
				d := commit.Decision{Round: rounds[which.Draw(t, "round")]}
				d.Verdict = rapid.SampledFrom([]commit.Verdict{commit.Commit, commit.Commit, commit.Abort}).Draw(t, "verdict")
				before := p.Status()
				err := p.Decide(now, sign(d, serverKey))
				if err != nil {
					return
				}
				if before.Current.Round != d.Round || before.Current.State != commit.StateReady {
					t.Fatalf("%s for %s taken by a device at %+v", d.Verdict, d.Round, before)
				}
				committed[d.Round] = d.Verdict == commit.Commit
			},
			"brake": func(t *rapid.T) {
				sequence++
				b := commit.Brake{Campaign: rounds[which.Draw(t, "round")].Campaign, Sequence: sequence, Hold: rapid.Bool().Draw(t, "hold")}
				current, _ := p.Holds()
				if err := p.Brake(now, sign(b, serverKey)); err != nil {
					t.Fatal(err)
				}
				if b.Campaign == current.Campaign {
					held[b.Campaign] = b.Hold
				}
			},
			"release": func(t *rapid.T) {
				if err := p.Release(now, commit.ReasonAbandoned); (err != nil) != p.Status().Active {
					t.Fatalf("release: %v, active %v", err, p.Status().Active)
				}
			},
			"begin": func(t *rapid.T) {
				next, ok := p.Next(now)
				if !ok {
					return
				}
				job, doing = next, true
				if job.Task >= commit.TaskAskBrake && !committed[job.Round] {
					t.Fatalf("%s without COMMIT", job.Task)
				}
				if _, was := over[job.Round]; was {
					t.Fatalf("%s after it was over", job.Task)
				}
				if job.Task == commit.TaskActivate && !p.Status().Active {
					t.Fatal("activate without ACTIVATING in the log")
				}
			},
			"finish": func(t *rapid.T) {
				if !doing {
					return
				}
				doing = false
				r := commit.Result{Roots: []commit.Digest{image}, Reason: reason.Draw(t, "reason")}
				was := p.Status()
				if err := p.Finish(now, job, r); err != nil && !errors.Is(err, commit.ErrStale) {
					t.Fatal(err)
				}
				if !was.Active && p.Status().Active && held[job.Round.Campaign] && was.Held {
					t.Fatal("ACTIVATING under HOLD")
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "minutes")) * time.Minute)
				if err := p.Advance(now); err != nil {
					t.Fatal(err)
				}
			},
			"restart": func(t *rapid.T) {
				watch()
				before := p.Status()
				if rapid.Bool().Draw(t, "system") {
					boot++
				}
				p, doing = open(), false
				if after := p.Status(); !reflect.DeepEqual(before, after) {
					t.Fatalf("status %+v, after a restart %+v", before, after)
				}
			},
			"power": func(t *rapid.T) {
				watch()
				written := rapid.Bool().Draw(t, "written")
				log.power = func() (bool, bool) { return false, written }
				st := stage()
				st.Round = rounds[0]
				n := len(log.recs)
				err := p.Stage(now, st)
				log.power = nil
				if err == nil && len(log.recs) > n {
					t.Fatal("staged although the log failed")
				}
				p, doing = open(), false
				if got, _ := p.Holds(); err != nil && written { // another round may have been released
					for r := range committed {
						committed[r] = committed[r] && r == got
					}
				}
			},
			"": func(t *rapid.T) {
				watch()
				all, err := p.Messages()
				if err != nil {
					t.Fatal(err)
				}
				for i, m := range all {
					if i > 0 && m.Counter <= all[i-1].Counter {
						t.Fatalf("counters %d and %d", all[i-1].Counter, m.Counter)
					}
				}
			},
		})
	}
}

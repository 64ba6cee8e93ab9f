package commit_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/fuzztest"
)

func TestWaveProperties(t *testing.T) { rapid.Check(t, waveProperties()) }

func FuzzWaves(f *testing.F) { fuzztest.Property(f, waveProperties()) }

// waveProperties drives two servers with the same arbitrary input, of which one is killed after any write to its log
// and opened again. Both come to the same, and what they come to obeys the rules of waves.
func waveProperties() func(t *rapid.T) {
	return func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 4), 2, 4).Draw(t, "waves")
		p := waves(sizes...)
		percent := rapid.SampledFrom([]int{0, 1, 25, 50, 75, 100})
		for i := range p.Waves {
			w := &p.Waves[i]
			w.Quorum, w.Success, w.Errors = percent.Draw(t, "quorum"), percent.Draw(t, "success"), percent.Draw(t, "errors")
			w.Ask = rapid.Bool().Draw(t, "ask")
			w.Soak = time.Duration(rapid.IntRange(0, 60).Draw(t, "soak")) * time.Minute
		}
		p.MaxFailures = rapid.IntRange(0, 3).Draw(t, "max failures")

		steady, killed := &memoryLog{}, &memoryLog{}
		a, b := openC(t, steady), openC(t, killed)
		if err := errors.Join(a.Start(p), b.Start(p)); err != nil {
			t.Fatal(err)
		}
		now := start
		kill := false // before the next write is known to be there
		killed.power = func() (on, written bool) { on, kill = !kill, false; return on, true }
		// both has both servers do something. What the one was killed in is in its log, so it is not done again.
		both := func(do func(c *commit.Coordinator) error) (err error) {
			err = do(a)
			kill = rapid.Bool().Draw(t, "kill")
			other := do(b)
			if kill = false; errors.Is(other, commit.ErrLog) {
				b = openC(t, killed)
				other = b.Advance(now)
			} else if (err == nil) != (other == nil) {
				t.Fatalf("%v, and of the other server %v", err, other)
			}
			if other != nil && err == nil {
				t.Fatal(other)
			}
			if err := errors.Join(a.Advance(now), b.Advance(now)); err != nil {
				t.Fatal(err)
			}
			return err
		}
		counter := uint64(0)
		r := waveRig{plan: p}
		said := map[string]bool{} // what devices have done with
		var decided []commit.Answer
		resumed := map[int]bool{} // waves that a person has resumed while they were the last that was decided
		t.Repeat(map[string]func(*rapid.T){
			"vote": func(t *rapid.T) {
				device := rapid.SampledFrom(names(len(p.Targets))).Draw(t, "device")
				counter++
				r.counter = counter
				says := rapid.SampledFrom([]string{"", "", "", "", "!"}).Draw(t, "says")
				m := r.message(says + device)
				both(func(c *commit.Coordinator) error { _, err := c.Receive(now, m); return err })
			},
			"outcome": func(t *rapid.T) {
				device := rapid.SampledFrom(names(len(p.Targets))).Draw(t, "device")
				wave := int(of(p, device))
				if d, _ := a.Device(device); said[device] || d.State != commit.StateReady || wave >= len(decided) || decided[wave].Verdict != commit.Commit {
					return // no device says that
				}
				said[device] = true
				counter++
				r.counter = counter
				m := r.message(rapid.SampledFrom([]string{"+", "+", "-"}).Draw(t, "says") + device)
				both(func(c *commit.Coordinator) error { _, err := c.Receive(now, m); return err })
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute)
				both(func(c *commit.Coordinator) error { return c.Advance(now) })
			},
			"approve": func(t *rapid.T) {
				wave, _ := a.Open()
				both(func(c *commit.Coordinator) error { return c.Approve(now, wave) })
			},
			"abort": func(t *rapid.T) {
				if wave, open := a.Open(); open && rapid.IntRange(0, 9).Draw(t, "mood") == 0 {
					both(func(c *commit.Coordinator) error { return c.Abort(now, wave) })
				}
			},
			"pause": func(t *rapid.T) { both(func(c *commit.Coordinator) error { return c.Pause(now) }) },
			"hold":  func(t *rapid.T) { both(func(c *commit.Coordinator) error { return c.Hold(now) }) },
			"resume": func(t *rapid.T) {
				resumed[len(decided)-1] = true
				both(func(c *commit.Coordinator) error { return c.Resume(now) })
			},
			"": func(t *rapid.T) {
				if x, y := a.Status(), b.Status(); !reflect.DeepEqual(unasked(x), unasked(y)) {
					t.Fatalf("status\n%+v, of the killed server\n%+v", x, y)
				}
				if x, y := a.Deadline(), b.Deadline(); !x.Equal(y) {
					t.Fatalf("next step at %v, of the killed server %v", x, y)
				}
				answers, status := a.Answers(), a.Status()
				if !slices.EqualFunc(answers, b.Answers(), func(x, y commit.Answer) bool { return bytes.Equal(x.Signed, y.Signed) }) {
					t.Fatal("two servers signed different decisions")
				}
				if len(answers) < len(decided) {
					t.Fatalf("%d decisions, before %d", len(answers), len(decided))
				}
				for i := range decided {
					if !bytes.Equal(answers[i].Signed, decided[i].Signed) {
						t.Fatalf("the decision of wave %d has changed", i)
					}
				}
				for i := len(decided); i < len(answers); i++ {
					if err := mayDecide(p, status, answers, i, resumed[i-1]); err != nil {
						t.Fatal(err)
					}
				}
				decided = answers
				if _, open := a.Open(); status.Paused && !open {
					t.Fatal("paused, and nothing is left to decide")
				}
			},
		})
	}
}

// unasked leaves out whether somebody is asked, which is told anew after a restart.
func unasked(s commit.Status) commit.Status {
	for i := range s.Waves {
		s.Waves[i].Asking = false
	}
	return s
}

// mayDecide returns why a wave should not have been decided as it was just now.
func mayDecide(p commit.Plan, s commit.Status, answers []commit.Answer, i int, resumed bool) error {
	if i == 0 {
		return nil
	}
	before, verdict := s.Waves[i-1], answers[i].Verdict
	if answers[i-1].Verdict == commit.Abort {
		if verdict == commit.Commit {
			return fmt.Errorf("wave %d is committed behind one that is aborted", i)
		}
		return nil
	}
	if verdict == commit.Abort && s.Waves[i].Reason == commit.ReasonOperator {
		return nil
	}
	quorum := p.Waves[i-1].Quorum
	if quorum == 0 {
		quorum = 100
	}
	success := p.Waves[i-1].Success
	if success == 0 {
		success = quorum
	}
	if before.Committed*100 < success*before.Targets && !resumed {
		return fmt.Errorf("wave %d is decided (%s) with %d of %d committed in the wave before, of which %d %% are asked", i, verdict, before.Committed, before.Targets, success)
	}
	return nil
}

package upgrade

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var (
	crashRuns = flag.Int("crash.runs", 10_000, "how many runs TestCrashes makes")
	crashSeed = flag.Uint64("crash.seed", 0, "the seed of the first")
)

// runsOfScenario is how many seeds in a row share the scenario of those of them that are even.
const runsOfScenario = 2048

// A crashDraw draws runs from seeds, and remembers what was counted in the last scenario.
type crashDraw struct {
	scenario uint64
	known    bool
	points   []faultPoint
}

// run makes the run of a seed. One that is odd has a scenario of its own, and a storm. Those that are even share one: it is run once
// without faults to count all that can go wrong at each operation, and each of them has one of these faults, spread evenly over
// all if they are more.
func (c *crashDraw) run(seed uint64, m mutant, trace func(string)) (crashCount, error) {
	number, at := seed/runsOfScenario, seed
	if seed%2 == 0 {
		at = number<<32 + 1 // its run goes as the one without faults, up to the fault
	}
	s := drawScenario(rand.New(rand.NewPCG(at, 2)))
	if seed%2 == 0 {
		s.devices, s.waves = min(s.devices, 2), min(s.waves, s.devices, 2) // what is counted is soon more than there are runs
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	var faults faultSource = &faultStorm{rate: []float64{0.003, 0.01, 0.03}[rng.IntN(3)], of: stormKind(rng.IntN(3))}
	if seed%2 == 0 {
		if err := c.count(number, s, at, trace); err != nil {
			return crashCount{}, err
		}
		faults = c.points[seed%runsOfScenario*uint64(len(c.points))/runsOfScenario]
	}
	w := newCrashWorld(s, at, faults)
	w.mutant, w.trace = m, trace
	err := w.run()
	return w.rules.count, err
}

// count notes what can go wrong in a scenario.
func (c *crashDraw) count(number uint64, s crashScenario, at uint64, trace func(string)) error {
	if c.known && c.scenario == number {
		return nil
	}
	count := &faultCount{}
	if err := newCrashWorld(s, at, count).run(); err != nil {
		if w := newCrashWorld(s, at, count); trace != nil {
			w.trace = trace
			w.run()
		}
		return fmt.Errorf("without any fault: %w", err)
	}
	*c = crashDraw{number, true, count.points}
	return nil
}

// report runs a seed again that has broken a rule, and says what happened.
func (c *crashDraw) report(t *testing.T, seed uint64, err error) {
	t.Helper()
	t.Errorf("seed %d: %v\nthe one command that repeats it: go test ./upgrade -run 'TestCrashes$' -crash.runs 1 -crash.seed %d", seed, err, seed)
	c.run(seed, "", func(line string) { t.Log(line) })
}

func TestCrashes(t *testing.T) {
	runs := *crashRuns
	if testing.Short() {
		runs = min(runs, 500)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var all crashCount
	var draw crashDraw
	begun, bad := time.Now(), 0
	for seed := *crashSeed; seed < *crashSeed+uint64(runs); seed++ {
		synctest.Test(t, func(*testing.T) {
			count, err := draw.run(seed, "", nil)
			all.add(count)
			if err != nil {
				bad++
				draw.report(t, seed, err)
			}
		})
		if bad == 3 {
			t.Fatal("enough")
		}
		if done := seed + 1 - *crashSeed; done%20_000 == 0 || done == uint64(runs) {
			t.Logf("%d runs from seed %d on in %v: %+v", done, *crashSeed, time.Since(begun).Round(time.Second), all)
		}
	}
}

// TestCrashesAreFound breaks the program in one place after the other, and wants a rule broken within so many runs.
func TestCrashesAreFound(t *testing.T) {
	const within = 1000
	for _, m := range mutants {
		t.Run(string(m), func(t *testing.T) {
			var draw crashDraw
			for seed := range uint64(within) {
				var err error
				synctest.Test(t, func(*testing.T) { _, err = draw.run(seed, m, nil) })
				if err != nil {
					t.Logf("run %d: %v", seed+1, err)
					return
				}
			}
			t.Errorf("not found in %d runs", within)
		})
	}
}

// TestCrashRunsRepeat: a seed says all, so that a run that has broken a rule can be looked at.
func TestCrashRunsRepeat(t *testing.T) {
	for seed := range uint64(20) {
		var traces [2][]string
		for i := range traces {
			synctest.Test(t, func(*testing.T) {
				var draw crashDraw
				draw.run(seed, "", func(line string) { traces[i] = append(traces[i], line) })
			})
		}
		if len(traces[0]) < 5 || !slices.Equal(traces[0], traces[1]) {
			t.Errorf("seed %d: two runs of %d and %d lines differ", seed, len(traces[0]), len(traces[1]))
		}
	}
}

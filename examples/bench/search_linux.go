package main

import (
	"cmp"
	"slices"
)

// A rated is a system with the rate at which its goodput is best.
type rated struct {
	*system
	rate float64
	runs []outcome
	err  error // why there is none
}

const (
	leap     = 2.0  // from one rate to the next, while that nearly doubles goodput
	step     = 1.25 // then
	pays     = 1.5  // what a leap must bring
	worth    = 1.02 // what a step must bring
	tries    = 12
	slowRate = 5e6
)

// search climbs from a rate to the one with the best goodput: by leaps and then by steps, up as long as goodput rises, and down
// if up is no good; never above most.
func (l *lab) search(s *system, t trial, from, most float64) rated {
	best := l.try(s, t, from)
	left := tries
	climb := func(factor, gain float64) (climbed bool) {
		for rate := best.rate * factor; left > 0 && rate > slowRate && rate <= most; rate *= factor {
			left--
			next := l.try(s, t, rate)
			if best.err == nil && next.goodput < best.goodput*gain {
				if next.goodput > best.goodput {
					best, climbed = next, true
				}
				break
			}
			best, climbed = next, true
		}
		return climbed
	}
	if best.err == nil {
		climb(leap, pays)
	}
	if !climb(step, worth) {
		climb(1/step, worth)
	}
	return rated{system: s, rate: best.rate, err: best.err}
}

// try makes a trial at a rate.
func (l *lab) try(s *system, t trial, rate float64) outcome {
	t.rate = rate
	o := l.run(s, t)
	o.rate = rate
	l.progress(s, t, o)
	return o
}

// interleave runs systems in turn, each at its rate, so that what else the machine does hits all alike.
func (l *lab) interleave(systems []rated, t trial, runs int) {
	for range runs {
		for i := range systems {
			if s := &systems[i]; s.err == nil {
				s.runs = append(s.runs, l.try(s.system, t, s.rate))
			}
		}
	}
}

// medianBlast is the one with the median goodput.
func medianBlast(b []blasted) blasted {
	sorted := slices.SortedFunc(slices.Values(b), func(a, b blasted) int { return cmp.Compare(a.goodput, b.goodput) })
	return sorted[len(sorted)/2]
}

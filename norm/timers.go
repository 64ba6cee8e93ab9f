package norm

import (
	"math"
	"math/rand/v2"
	"time"
)

// A table of named deadlines; the zero time means stopped.
type deadlines []time.Time

// earlier returns the earlier of two deadlines, of which zero means stopped.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// due reports whether the deadline t runs and has come.
func due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// randomBackoff is RandomBackoff of RFC 5401, Section 3.2.2: a time in [0, maxBackoff], distributed so that few of
// groupSize receivers draw a short one. With u uniform in [0,1) in place of x, x*(exp(λ)-1)*(T_maxBackoff/λ) becomes
// 1+u*(exp(λ)-1).
func randomBackoff(rng *rand.Rand, maxBackoff time.Duration, groupSize float64) time.Duration {
	lambda := math.Log(groupSize) + 1
	return time.Duration(float64(maxBackoff) / lambda * math.Log1p(rng.Float64()*math.Expm1(lambda)))
}

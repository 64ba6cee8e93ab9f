package scale

import (
	"math"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// Predicted is how many NORM_NACKs RFC 5401, Section 3.2.2 expects "within the first round-trip time for a single feedback
// event", if the group has the size that the sender says: "N = exp(1.2 * L / (2*T_maxBackoff/GRTT))", where L is
// ln(groupSize)+1 and T_maxBackoff K*GRTT.
func Predicted(k int, groupSize float64) float64 {
	return math.Exp(1.2 * (math.Log(groupSize) + 1) / float64(2*k))
}

// Expected is how many of n receivers that all lost the same are expected to have sent a NORM_NACK by the time they hear
// that of another one, which takes delay in units of GRTT: those whose backoff, drawn as by RFC 5401, Section 3.2.2 for the
// group size that the sender says, ends no later than delay after the first of all.
//
//	E = n * integral over t in [0, T] of f(t) * (1-F(t-delay))^(n-1) dt, F(t) = (exp(L*t/T)-1) / (exp(L)-1), T = K
//
// It goes beyond the RFC's approximation in that the group size may be wrong and the delay anything.
func Expected(n, k int, groupSize, delay float64) float64 {
	l, t := math.Log(groupSize)+1, float64(k)
	f := func(x float64) float64 { return min(max(math.Expm1(l*x/t)/math.Expm1(l), 0), 1) }
	// Substituting u = F(t), the integral is over u in [0, 1]. Most of it is where u is near 1/n, so steps are even in log u.
	const steps = 200_000
	lowest := -math.Log(float64(n)) - 20
	sum, width := math.Exp(lowest), -lowest/steps
	for i := range steps {
		u := math.Exp(lowest + (float64(i)+0.5)*width)
		at := t / l * math.Log1p(u*math.Expm1(l))
		sum += u * width * math.Exp(float64(n-1)*math.Log1p(-f(at-delay)))
	}
	return float64(n) * sum
}

// prediction returns both for a run. The sender says the group's size as the message field can hold it.
func (r *Result) prediction() (rfc, exact float64) {
	k, size := r.Config.Sender.BackoffFactor, wire.DecodeGroupSize(wire.EncodeGroupSize(float64(r.Config.Sender.GroupSize)))
	delay := r.Config.Delay
	if r.Config.Unicast {
		delay *= 2 // to the sender, and back as NORM_CMD(REPAIR_ADV)
	}
	return Predicted(k, size), Expected(r.Config.Receivers, k, size, delay.Seconds()/r.Sender.GRTT.Seconds())
}

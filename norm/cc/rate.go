package cc

import (
	"math"
	"time"
)

// LeastRTT is what a shorter round trip counts as: RFC 4654, Section 3.2 has "the smallest positive RTT value larger than
// 0 (i.e., 1 millisecond in our case)".
const LeastRTT = time.Millisecond

// Rate returns the rate of a TCP flow in steady state, for packets of the given size, that sees the loss event fraction p
// (RFC 5740, Section 5.5.2):
//
//	                                 S
//	-----------------------------------------------------------------
//	T_rtt*(sqrt((2/3)*p) + 12*sqrt((3/8)*p) * p * (1 + 32*(p^2)))
//
// Without loss it is infinite.
func Rate(size float64, rtt time.Duration, p float64) float64 {
	if p <= 0 {
		return math.Inf(1)
	}
	p = min(p, 1)
	return size / (max(rtt, LeastRTT).Seconds() * (math.Sqrt(2*p/3) + 12*math.Sqrt(3*p/8)*p*(1+32*p*p)))
}

// FirstInterval returns the loss interval, in packets, that a history of losses begins with: the one that the simplified
// equation X_recv = sqrt(3/2) * s / (R * sqrt(1/l_0)) of RFC 4654, Section 5.6 needs for the rate at which data arrived
// when the first was lost.
func FirstInterval(rate, size float64, rtt time.Duration) float64 {
	root := rate * max(rtt, LeastRTT).Seconds() / (math.Sqrt(1.5) * size)
	return max(root*root, 1)
}

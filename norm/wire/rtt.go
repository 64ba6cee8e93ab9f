package wire

import (
	"math"
	"sort"
	"time"
)

// Bounds of a coded round-trip time (RFC 5401, Section 3.7.4).
const (
	RTTMin = time.Microsecond   // RTT_MIN
	RTTMax = 1000 * time.Second // RTT_MAX
)

// linearRTT is the first round-trip time with a logarithmic code, and linearCodes the number of codes
// below it, one per microsecond.
const (
	linearRTT   = 33 * time.Microsecond
	linearCodes = 32
)

// rtts decodes a code: (q+1) µs up to 31, then RTT_MAX/exp((255-q)/13), rounded down to nanoseconds.
// Because the exact value is never below its entry, and a Duration whole nanoseconds, the smallest
// code whose entry reaches an RTT is the one that ceil(255 - 13*ln(RTT_MAX/rtt)) gives, on every
// machine and for decoded values too.
var rtts = func() (t [256]time.Duration) {
	for q := range t {
		if q < linearCodes {
			t[q] = time.Duration(q+1) * RTTMin
		} else {
			t[q] = time.Duration(float64(RTTMax) / math.Exp(float64(255-q)/13))
		}
	}
	return t
}()

// EncodeRTT quantizes a round-trip time for grtt and cc_rtt as RFC 5401, Section 3.7.4, does: below
// 33 µs down to whole microseconds, above up by at most 8 %. What is outside 1 µs to 1000 s is clamped.
func EncodeRTT(d time.Duration) uint8 {
	d = min(max(d, RTTMin), RTTMax)
	if d < linearRTT {
		return uint8(d/RTTMin) - 1
	}
	logarithmic := rtts[linearCodes:]
	return linearCodes + uint8(sort.Search(len(logarithmic), func(i int) bool { return logarithmic[i] >= d }))
}

// DecodeRTT returns the round-trip time of a grtt or cc_rtt code.
func DecodeRTT(code uint8) time.Duration { return rtts[code] }

package wire

import "math"

// powers of ten that a rate's exponent selects, exact in a float64.
var powers = [16]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// EncodeRate quantizes a rate in bytes per second for send_rate and cc_rate: a mantissa M of 12 bits,
// M*4096/10, and a decimal exponent of 4 bits (RFC 5740, Section 4.2.3.4). Negative rates and NaN
// become zero, rates beyond 9.9976e15 that.
func EncodeRate(bytesPerSecond float64) uint16 {
	if !(bytesPerSecond > 0) {
		return 0
	}
	// The exponent is found by comparison: a logarithm is wrong at some powers of ten.
	e := 0
	for e < 15 && bytesPerSecond >= powers[e+1] {
		e++
	}
	mantissa := math.Floor(bytesPerSecond/powers[e]*4096/10 + 0.5)
	if mantissa >= 4096 {
		// Rounding up reached 10, which the formula of the RFC would carry into the exponent's bits.
		if e == 15 {
			return math.MaxUint16
		}
		e++
		mantissa = math.Floor(bytesPerSecond/powers[e]*4096/10 + 0.5)
	}
	return uint16(mantissa)<<4 | uint16(e)
}

// DecodeRate returns the rate of a send_rate or cc_rate code in bytes per second.
func DecodeRate(code uint16) float64 {
	return float64(code>>4) * (10.0 / 4096.0) * powers[code&0x0f]
}

// EncodeLoss quantizes a loss fraction, clamped to 0 to 1, for cc_loss: floor(fraction * 65535)
// (RFC 5740, Section 4.2.3.5). Fractions below 1.5e-5 become zero.
func EncodeLoss(fraction float64) uint16 {
	if !(fraction > 0) {
		return 0
	}
	return uint16(min(fraction, 1) * 65535)
}

// DecodeLoss returns the loss fraction of a cc_loss code.
func DecodeLoss(code uint16) float64 { return float64(code) / 65535 }

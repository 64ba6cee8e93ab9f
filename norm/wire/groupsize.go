package wire

// groupSizes decodes gsize: the top bit selects the mantissa, 1 or 5, and the low three bits plus one
// are the decimal exponent (RFC 5740, Section 4.2.1).
var groupSizes = [16]float64{
	1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8,
	5e1, 5e2, 5e3, 5e4, 5e5, 5e6, 5e7, 5e8,
}

// EncodeGroupSize quantizes an estimate of the number of receivers for gsize. The RFC gives no rule
// for rounding; this takes the smallest size not below n, or the largest there is, 5e8.
func EncodeGroupSize(n float64) uint8 {
	for e := range uint8(8) {
		if n <= groupSizes[e] {
			return e
		}
		if n <= groupSizes[8+e] {
			return 8 + e
		}
	}
	return 15
}

// DecodeGroupSize returns the number of receivers of a gsize code, of which the low four bits count.
func DecodeGroupSize(code uint8) float64 { return groupSizes[code&0x0f] }

package fec

// order is the number of non-zero elements of GF(2^8), all of them powers of α; also the longest code's length.
const order = 255

// polynomial is 1 + x^2 + x^3 + x^4 + x^8, which RFC 5510, Section 8.1 chooses for m = 8. The least significant
// bit of a byte is the coefficient of x^0, and α = x = 2.
const polynomial = 0x11d

var (
	// exp[i] is α^i. It is periodic; three periods spare the users of a sum of logarithms a reduction.
	exp [3 * order]byte

	// log[exp[i]] is i, for i < 255. log[0] is 0, like log[1]: see logDiff.
	log [order + 1]uint8

	// logStep[d] is the logarithm of (α+1)(α^2+1)...(α^d+1), not reduced modulo 255 and so rising with d.
	logStep [order]int
)

func init() {
	x := 1
	for i := range order {
		exp[i], exp[i+order], exp[i+2*order] = byte(x), byte(x), byte(x)
		log[x] = uint8(i)
		x = int(double(byte(x)))
	}
	for d := 1; d < order; d++ {
		logStep[d] = logStep[d-1] + int(log[exp[d]^1])
	}
}

// double returns αx.
func double(x byte) byte {
	y := int(x) << 1
	if y >= 1<<8 {
		y ^= polynomial
	}
	return byte(y)
}

// logDiff returns the logarithm of a - b, which is a + b, or 0 if they are equal: so a sum of these is the logarithm
// of a product of differences that leaves out x - x.
func logDiff(a, b byte) int { return int(log[a^b]) }

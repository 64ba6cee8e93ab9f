package fec

import "math/bits"

// A field is GF(2^m): every element but 0 is a power of α.
type field struct {
	order int      // how many powers there are, 2^m - 1; also the longest code's length
	exp   []uint16 // exp[i] is α^i, for i < order
	log   []uint16 // log[exp[i]] is i; log[0] is 0, like log[1]: see logDiff
	step  []uint16 // step[d] is the logarithm of (α+1)(α^2+1)…(α^d+1), modulo order
}

// The fields, by the polynomials that RFC 5510, Section 8.1 chooses for m = 8, 1 + x^2 + x^3 + x^4 + x^8, and for
// m = 16, 1 + x + x^3 + x^12 + x^16. The least significant bit of an element is the coefficient of x^0, and α = x = 2.
// The tables of the larger one take 384 KiB and less than a millisecond at the start of the program.
var (
	gf256   = newField(8, polynomial)
	gf65536 = newField(16, 0x1100b)
)

const polynomial = 0x11d

func newField(m int, polynomial int) *field {
	order := 1<<m - 1
	f := &field{
		order: order, exp: make([]uint16, order), log: make([]uint16, order+1), step: make([]uint16, order),
	}
	x := 1
	for i := range order {
		f.exp[i], f.log[x] = uint16(x), uint16(i)
		if x <<= 1; x > order {
			x ^= polynomial
		}
	}
	for d := 1; d < order; d++ {
		f.step[d] = uint16((int(f.step[d-1]) + int(f.log[f.exp[d]^1])) % order)
	}
	return f
}

// logDiff returns the logarithm of a - b, which is a + b, or 0 if they are equal: so a sum of these is the logarithm
// of a product of differences that leaves out x - x.
func (f *field) logDiff(a, b uint16) int { return int(f.log[a^b]) }

const sign = bits.UintSize - 1

// power returns α^n, for n within twice the order of 0. It does not branch, as nothing could predict which way: n>>sign is -1 for
// a negative n, else 0.
func (f *field) power(n int) uint16 {
	n += f.order & (n >> sign)
	n += f.order & (n >> sign)
	n -= f.order &^ ((n - f.order) >> sign)
	return f.exp[n]
}

func (f *field) mul(a, b uint16) uint16 {
	if a == 0 || b == 0 {
		return 0
	}
	return f.power(int(f.log[a]) + int(f.log[b]))
}

// logPowers returns the logarithm of the product of α^i - α^j over j < k, j ≠ i. A factor is α^min(i,j) times
// α^|i-j| + 1; the second kind multiplies up to runs of step.
func (f *field) logPowers(i, k int) int {
	n, m := int64(i), int64(k)
	var sum int64
	if i >= k {
		sum = m*(m-1)/2 + int64(f.step[i]) - int64(f.step[i-k])
	} else {
		sum = n*(n-1)/2 + int64(f.step[i]) + n*(m-1-n) + int64(f.step[k-1-i])
	}
	return int(sum % int64(f.order))
}

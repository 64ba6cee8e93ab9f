package fec

// A code is a systematic Reed-Solomon code over GF(2^8), as used for a block of k source symbols.
//
// The generator matrix of RFC 5510, Section 8.2, V_kk^-1 * V_kn, says in other words: symbol i is the value at
// point x_i of the one polynomial of degree below k that takes the values of the source symbols at
// x_0..x_{k-1}. So from any k symbols, at points R, the symbol at another point x follows by Lagrange's formula
//
//	y(x) = Σ_{q in R} y(q) ∏_{r in R, r≠q} (x-r)/(q-r)  =  Σ_{q in R} y(q) W(x) / ((x-q) W(q))
//
// where W(z) is the product of z-r over all r in R but z itself. No matrix is needed, let alone inverted, to make
// parity (R the source points, x a parity point) or to rebuild source symbols (R received, x a lost one).
//
// A shortened code is one for more source symbols, those beyond k being zeros that are not sent. They are always
// in R, and add nothing to the sum.
type code struct {
	k    int  // source symbols of the block
	full int  // source symbols of the code; k unless the code is shortened
	zero bool // the points are 0, 1, α, α², … (NRL's), not 1, α, α², … (RFC 5510's)
}

// index returns i such that the symbol esi belongs to x_i.
func (c code) index(esi int) int {
	if esi < c.k {
		return esi
	}
	return esi - c.k + c.full
}

// point returns the point of the symbol esi.
func (c code) point(esi int) byte {
	switch i := c.index(esi); {
	case !c.zero:
		return exp[i]
	case i == 0:
		return 0
	default:
		return exp[i-1]
	}
}

// logSource returns the logarithm of W at the point of the symbol esi for R the source points: of the product of
// x_i - x_j over j < full, j ≠ i.
func (c code) logSource(esi int) int {
	switch i := c.index(esi); {
	case !c.zero:
		return logPowers(i, c.full)
	case i == 0: // the product of 0 - α^j over j < full-1
		return (c.full - 1) * (c.full - 2) / 2
	default: // x_i - 0 and then powers only
		return i - 1 + logPowers(i-1, c.full-1)
	}
}

// logPowers returns the logarithm of the product of α^i - α^j over j < k, j ≠ i. A factor is α^min(i,j) times
// α^|i-j| + 1; the second kind multiplies up to runs of logStep.
func logPowers(i, k int) int {
	if i >= k {
		return k*(k-1)/2 + logStep[i] - logStep[i-k]
	}
	return i*(i-1)/2 + logStep[i] + i*(k-1-i) + logStep[k-1-i]
}

// An erasure is a set R of k points of a code: the source points, with those of lost source symbols exchanged
// for the points of as many parity symbols. With nothing lost it serves to encode.
type erasure struct {
	code
	lost, spare []byte // points, equally many
}

// logProduct returns the logarithm of W at the point of the symbol esi, in 0..254: the product over the source
// points, corrected for those exchanged.
func (e erasure) logProduct(esi int) int {
	x, sum := e.point(esi), e.logSource(esi)
	for n, lost := range e.lost {
		sum += logDiff(x, e.spare[n]) - logDiff(x, lost) // 0 for x itself
	}
	if sum %= order; sum < 0 {
		sum += order
	}
	return sum
}

// coefficient returns W(x) / ((x-q) W(q)), given the logarithms of W(x) and W(q).
func coefficient(x, q byte, logX, logQ int) byte {
	return exp[2*order+logX-logQ-logDiff(x, q)]
}

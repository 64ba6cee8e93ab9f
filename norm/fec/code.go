package fec

// A code is a systematic Reed-Solomon code over a field, as used for a block of k source symbols.
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
//
// MDP's code is defined otherwise: the symbols of a block are, last one first, the coefficients of a polynomial with
// the zeros α^1..α^p. That says: Σ_l c_l α^(ln) = 0 for n = 1..p, and such c are the values at the points α^l of a
// polynomial of degree below k = n-p, each divided by V(α^l) = α^l ∏_{m≠l} (α^l-α^m), the product over all n points. So
// it is Lagrange's formula again, with W(z)/V(z) in place of W(z).
type code struct {
	*field
	dialect Dialect
	k       int // source symbols of the block
	full    int // source symbols of the code; k unless the code is shortened
	parity  int // parity symbols of the block, on which MDP's code depends
}

// index returns i such that the symbol esi belongs to x_i.
func (c code) index(esi int) int {
	if esi < c.k {
		return esi
	}
	return esi - c.k + c.full
}

// mdpPower returns l such that the symbol esi belongs to α^l in MDP's code.
func (c code) mdpPower(esi int) int { return c.k + c.parity - 1 - esi }

// point returns the point of the symbol esi.
func (c code) point(esi int) uint16 {
	switch i := c.index(esi); {
	case c.dialect == MDP:
		return c.exp[c.mdpPower(esi)]
	case c.dialect == RFC:
		return c.exp[i] // 1, α, α^2, …
	case i == 0:
		return 0
	default:
		return c.exp[i-1] // 0, 1, α, α^2, …
	}
}

// logSource returns the logarithm of W at the point of the symbol esi for R the source points: of the product of
// x_i - x_j over j < full, j ≠ i.
func (c code) logSource(esi int) int {
	switch i := c.index(esi); {
	case c.dialect == MDP: // W/V: what is left of V are the parity points, α^0..α^(p-1)
		l := c.mdpPower(esi)
		return -l - c.logPowers(l, c.parity)
	case c.dialect == RFC:
		return c.logPowers(i, c.full)
	case i == 0: // the product of 0 - α^j over j < full-1
		return int(int64(c.full-1) * int64(c.full-2) / 2 % int64(c.order))
	default: // x_i - 0 and then powers only
		return i - 1 + c.logPowers(i-1, c.full-1)
	}
}

// An erasure is a set R of k points of a code: the source points, with those of lost source symbols exchanged
// for the points of as many parity symbols. With nothing lost it serves to encode.
type erasure struct {
	code
	lost, spare []uint16 // points, equally many
}

// logProduct returns the logarithm of W at the point of the symbol esi, in 0..order-1: the product over the source
// points, corrected for those exchanged.
func (e *erasure) logProduct(esi int) int {
	x, sum := e.point(esi), int64(e.logSource(esi))
	for n, lost := range e.lost {
		sum += int64(e.logDiff(x, e.spare[n])) - int64(e.logDiff(x, lost)) // 0 for x itself
	}
	if sum %= int64(e.order); sum < 0 {
		sum += int64(e.order)
	}
	return int(sum)
}

// A sum is a symbol being made, of those of an erasure.
type sum struct {
	dst     []byte
	x, logW uint16 // its point, and the logarithm of W there
}

// sum begins to make the symbol esi in dst.
func (e *erasure) sum(esi int, dst []byte) sum {
	clear(dst)
	return sum{dst, e.point(esi), uint16(e.logProduct(esi))}
}

// coefficient returns W(x) / ((x-q) W(q)), given the logarithm of W(q).
func (e *erasure) coefficient(s sum, q uint16, logQ int) uint16 {
	return e.power(int(s.logW) - logQ - e.logDiff(s.x, q))
}

// A place is a point of an erasure, and the logarithm of W there.
type place struct {
	q    uint16
	logQ int
}

func (e *erasure) place(esi int) place { return place{e.point(esi), e.logProduct(esi)} }

// add adds the symbol at a place to the sums, each time multiplied by its coefficient. Bytes that symbol lacks are zeros; those
// that a sum lacks are not wanted. The sums are made side by side so that they and the symbol stay in the cache.
func (e *erasure) add(sums []sum, p place, symbol []byte) {
	if e.field == gf65536 {
		e.addWords(sums, p.q, p.logQ, symbol)
		return
	}
	for _, s := range sums {
		n := min(len(s.dst), len(symbol))
		addMul(s.dst[:n], byte(e.coefficient(s, p.q, p.logQ)), symbol[:n])
	}
}

// finish makes symbols of sums to which all symbols of the erasure were added.
func (e *erasure) finish(sums []sum) {
	if e.field == gf65536 {
		for _, s := range sums {
			e.words().join(s.dst)
		}
	}
}

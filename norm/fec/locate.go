package fec

import (
	"errors"
	"math/rand/v2"
	"slices"
)

// ErrNotLocated reports that more symbols of a block are wrong than the spare ones can tell.
var ErrNotLocated = errors.New("fec: more symbols are wrong than can be located")

const (
	// maxSyndromes is how many syndromes Locate makes at the most, twice the wrong symbols it finds.
	maxSyndromes = 128
	// maxAdditions bounds how often Locate adds a symbol, times a factor, to a syndrome: enough for all that GF(2^8) can have.
	maxAdditions = 1 << 16
	// maxMissed is how often a random combination may miss what is wrong before Locate gives up.
	maxMissed = 8
)

func (noCode) Locate([][]byte, int, *rand.Rand) ([]int, error) { return nil, ErrTooFewSymbols }

// The symbols of a block are the values of one polynomial of degree below k at their points, see [code]. For N of them,
//
//	S_j = Σ_i y_i x_i^j / W(x_i) = 0,   0 <= j < N-k,   where W(x_i) is the product of x_i - x_l over all other points
//
// because the sum is the coefficient of z^(N-1) in the polynomial z^j f(z), whose degree is less than that. Wrong symbols
// leave S_j = Σ_i e_i x_i^j / W(x_i) over them alone: a sequence that obeys the recurrence Σ_t σ_t S_(j+t) = 0, where
// σ(z) is the product of z - x_i over the wrong symbols. The Berlekamp-Massey algorithm finds the shortest recurrence of
// a sequence, which is that one if they are no more than half of N-k; the points where σ is zero name them.
//
// Each byte column of the symbols is a word of the code by itself, and wrong symbols are wrong as a whole. So one sequence
// is searched, a random combination of those of all columns, in which no attacker can hide an error but by luck of 1 in
// 256. Applying σ to the sequences of all columns then tells whether it was all that is wrong: what remains is the
// syndromes of the rest, and searched again.

// Locate is the [Scheme]'s. It makes at most 128 syndromes, and adds symbols to them at most 2^16 times.
func (s reedSolomon) Locate(symbols [][]byte, k int, random *rand.Rand) (wrong []int, err error) {
	if err := checkBlock(k, s.Symbols(k), len(symbols)); err != nil {
		return nil, err
	}
	w := newReceived(s.code(k), symbols)
	spare := len(w.esis) - k
	if spare < 1 {
		return nil, ErrTooFewSymbols
	}
	syndromes := w.syndromes(symbols, min(spare, maxSyndromes, maxAdditions/len(w.esis)))
	for most, missed := len(syndromes)/2, 0; !zero(syndromes); {
		recurrence := shortestRecurrence(w.field, w.combine(syndromes, random))
		if len(recurrence) == 1 {
			if missed++; missed > maxMissed {
				return nil, ErrNotLocated
			}
			continue
		}
		found := w.roots(recurrence)
		if wrong = append(wrong, found...); len(found) < len(recurrence)-1 || len(wrong) > most {
			return nil, ErrNotLocated
		}
		syndromes = w.apply(recurrence, syndromes)
	}
	slices.Sort(wrong)
	if len(slices.Compact(wrong)) != len(wrong) { // found again: it was none of them
		return nil, ErrNotLocated
	}
	return wrong, nil
}

// A received is the symbols of a block that are there.
type received struct {
	code
	esis   []int
	points []uint16
	logW   []int // of W at the points, 0..order-1
	size   int   // bytes of the longest symbol, in whole elements
}

func newReceived(c code, symbols [][]byte) *received {
	w := &received{code: c}
	var lost, spare []uint16 // source points that are not there, and parity points that are
	for esi, symbol := range symbols {
		if symbol != nil {
			w.esis, w.points = append(w.esis, esi), append(w.points, c.point(esi))
			w.size = max(w.size, len(symbol))
		}
		switch {
		case esi < c.k && symbol == nil:
			lost = append(lost, c.point(esi))
		case esi >= c.k && symbol != nil:
			spare = append(spare, c.point(esi))
		}
	}
	if c.field == gf65536 {
		w.size += w.size % 2
	}
	for i, esi := range w.esis {
		sum := int64(c.logSource(esi)) // of the product over the source points, divided by V in MDP's code
		for _, x := range spare {
			sum += int64(c.logDiff(w.points[i], x)) // 0 for the point itself
		}
		for _, x := range lost {
			sum -= int64(c.logDiff(w.points[i], x))
		}
		if sum %= int64(c.order); sum < 0 {
			sum += int64(c.order)
		}
		w.logW = append(w.logW, int(sum))
	}
	return w
}

// syndromes returns the first n syndromes of all columns.
func (w *received) syndromes(symbols [][]byte, n int) [][]byte {
	sums, factors := w.sums(n), make([]uint16, n)
	for i, esi := range w.esis {
		x := w.points[i]
		factors[0] = w.power(-w.logW[i])
		for j := 1; j < n; j++ {
			factors[j] = w.mul(factors[j-1], x)
		}
		w.add(sums, factors, symbols[esi])
	}
	return w.joined(sums)
}

// sums returns n symbols of zeros.
func (w *received) sums(n int) [][]byte {
	all, sums := make([]byte, n*w.size), make([][]byte, n)
	for j := range sums {
		sums[j] = all[j*w.size : (j+1)*w.size : (j+1)*w.size]
	}
	return sums
}

// add adds a symbol to sums, each time multiplied by a factor.
func (w *received) add(sums [][]byte, factors []uint16, symbol []byte) {
	if w.field != gf65536 {
		for j, dst := range sums {
			addMul(dst[:len(symbol)], byte(factors[j]), symbol)
		}
		return
	}
	var p planes
	for at := 0; at < len(symbol); at += 2 * stretch {
		p.split(symbol[at:], w.words())
		for j, dst := range sums {
			p.addProduct(dst[at:min(at+2*stretch, len(dst))], factors[j])
		}
	}
}

// joined returns sums to which all was added as symbols.
func (w *received) joined(sums [][]byte) [][]byte {
	if w.field == gf65536 {
		for _, sum := range sums {
			w.words().join(sum)
		}
	}
	return sums
}

// combine returns one sequence, which is a random combination of those of all columns.
func (w *received) combine(syndromes [][]byte, random *rand.Rand) []uint16 {
	sequence := make([]uint16, len(syndromes))
	wide := 1
	if w.field == gf65536 {
		wide = 2
	}
	for at := 0; at < w.size; at += wide {
		f := uint16(1 + random.IntN(w.order))
		for j, s := range syndromes {
			element := uint16(s[at])
			if wide == 2 {
				first, second := s[at], s[at+1]
				if w.words() == 0 {
					first, second = second, first
				}
				element = uint16(first)<<8 | uint16(second)
			}
			sequence[j] ^= w.mul(f, element)
		}
	}
	return sequence
}

// shortestRecurrence returns the coefficients of the monic polynomial σ of least degree such that Σ_t σ_t s_(j+t) = 0
// wherever s has so many elements (Massey, Shift-register synthesis and BCH decoding, 1969). Its coefficients are those of
// the connection polynomial in reverse, which may end in zeros: a wrong symbol at the point 0 is one of them.
func shortestRecurrence(f *field, s []uint16) []uint16 {
	connection, before := []uint16{1}, []uint16{1}
	length, gap, last := 0, 1, uint16(1)
	for n := range s {
		d := s[n]
		for i := 1; i <= length && i < len(connection); i++ {
			d ^= f.mul(connection[i], s[n-i])
		}
		if d == 0 {
			gap++
			continue
		}
		was := slices.Clone(connection)
		if need := len(before) + gap; need > len(connection) {
			connection = append(connection, make([]uint16, need-len(connection))...)
		}
		factor := f.mul(d, f.power(-int(f.log[last])))
		for i, c := range before {
			connection[i+gap] ^= f.mul(factor, c)
		}
		if 2*length > n {
			gap++
			continue
		}
		length, before, last, gap = n+1-length, was, d, 1
	}
	sigma := make([]uint16, length+1)
	for i := range sigma {
		if i < len(connection) {
			sigma[length-i] = connection[i]
		}
	}
	return sigma
}

// roots returns the symbols at whose points a polynomial is zero.
func (w *received) roots(polynomial []uint16) (esis []int) {
	for i, x := range w.points {
		y := uint16(0)
		for _, c := range slices.Backward(polynomial) {
			y = w.mul(y, x) ^ c
		}
		if y == 0 {
			esis = append(esis, w.esis[i])
		}
	}
	return esis
}

// apply returns Σ_t σ_t S_(j+t): the syndromes without what σ explains.
func (w *received) apply(sigma []uint16, syndromes [][]byte) [][]byte {
	n := len(syndromes) - len(sigma) + 1
	rest, one := w.sums(n), [1]uint16{}
	for j := range rest {
		for t, c := range sigma {
			one[0] = c
			w.add(rest[j:j+1], one[:], syndromes[j+t])
		}
	}
	return w.joined(rest)
}

func zero(symbols [][]byte) bool {
	for _, s := range symbols {
		for _, x := range s {
			if x != 0 {
				return false
			}
		}
	}
	return true
}

package fec

import "math/bits"

// Over GF(2^16) an element is two bytes of a symbol. RFC 5510 does not say which of them comes first: the high one does
// here, as in every number of the protocol. NRL's implementation takes them in the order of its processor, which in
// practice has the low one first.
//
// Products are made in GF(2^8)[y]/(y^2+y+32), which is the same field written in another basis: an element is h*y + l,
// and a product is four products of GF(2^8), for which there is a fast kernel. So a symbol is taken apart into its high
// and its low bytes in that basis, one stretch after the other, and sums are kept like that until they are complete.

// stretch is how many elements are taken apart at once: all of a symbol that fits in an Ethernet frame.
const stretch = 1024

// towerAlpha is α in the other basis: one of the 16 roots there of 1 + x + x^3 + x^12 + x^16.
const towerAlpha = 0x56bf

// Changes of basis. An element is the sum of its low byte, [0], and its high one, [1].
var toTower, fromTower [2][256]uint16

func init() {
	var to, from [16]uint16 // images of the single bits
	t := uint16(1)
	for i := range to {
		to[i] = t
		t = towerMul(t, towerAlpha)
	}
	for x := range 1 << 16 {
		if t := image(uint16(x), &to); bits.OnesCount16(t) == 1 {
			from[bits.TrailingZeros16(t)] = uint16(x)
		}
	}
	for x := range uint16(256) {
		toTower[0][x], toTower[1][x] = image(x, &to), image(x<<8, &to)
		fromTower[0][x], fromTower[1][x] = image(x, &from), image(x<<8, &from)
	}
}

// image returns x in the basis in which bit i of x is basis[i].
func image(x uint16, basis *[16]uint16) (sum uint16) {
	for ; x != 0; x &= x - 1 {
		sum ^= basis[bits.TrailingZeros16(x)]
	}
	return sum
}

// towerMul multiplies h*y + l by k*y + m: y^2 = y + 32.
func towerMul(a, b uint16) uint16 {
	h, l, k, m := a>>8, a&0xff, b>>8, b&0xff
	hk := gf256.mul(h, k)
	high := hk ^ gf256.mul(h, m) ^ gf256.mul(l, k)
	low := gf256.mul(32, hk) ^ gf256.mul(l, m)
	return high<<8 | low
}

// words is the order of the two bytes of an element: which byte of it comes first, 0 the low or 1 the high one.
type words int

func (c code) words() words {
	if c.dialect == NRL {
		return 0
	}
	return 1
}

// planes are a stretch of a symbol taken apart.
type planes struct {
	n    int // elements
	h, l [stretch]byte
}

// split takes apart the first stretch of a symbol. One of odd length is padded with a zero.
func (p *planes) split(symbol []byte, w words) {
	symbol = symbol[:min(len(symbol), 2*stretch)]
	first, second := &toTower[w], &toTower[1-w]
	p.n = len(symbol) / 2
	for i := range p.n {
		t := first[symbol[2*i]] ^ second[symbol[2*i+1]]
		p.h[i], p.l[i] = byte(t>>8), byte(t)
	}
	if len(symbol)%2 == 1 {
		t := first[symbol[2*p.n]]
		p.h[p.n], p.l[p.n] = byte(t>>8), byte(t)
		p.n++
	}
}

// addProduct adds the stretch times f to a stretch of a sum, whose first half is its high bytes.
func (p *planes) addProduct(dst []byte, f uint16) {
	t := toTower[0][f&0xff] ^ toTower[1][f>>8]
	k, m := t>>8, t&0xff
	n := min(p.n, len(dst)/2)
	high, low := dst[:n], dst[len(dst)/2:][:n]
	addMul(high, byte(k^m), p.h[:n])
	addMul(high, byte(k), p.l[:n])
	addMul(low, byte(gf256.mul(32, k)), p.h[:n])
	addMul(low, byte(m), p.l[:n])
}

// addWords is [erasure.add] over GF(2^16).
func (e *erasure) addWords(sums []sum, q uint16, logQ int, symbol []byte) {
	var p planes
	for at := 0; at < len(symbol); at += 2 * stretch {
		p.split(symbol[at:], e.words())
		for _, s := range sums {
			if at < len(s.dst) {
				p.addProduct(s.dst[at:min(at+2*stretch, len(s.dst))], e.coefficient(s, q, logQ))
			}
		}
	}
}

// join puts a sum of even length together, in place.
func (w words) join(sum []byte) {
	var p planes
	first, second := &fromTower[0], &fromTower[1]
	for ; len(sum) > 0; sum = sum[min(2*stretch, len(sum)):] {
		n := min(stretch, len(sum)/2)
		copy(p.h[:], sum[:n])
		copy(p.l[:], sum[n:2*n])
		for i := range n {
			x := first[p.l[i]] ^ second[p.h[i]]
			sum[2*i], sum[2*i+1] = byte(x>>(8*w)), byte(x>>(8*(1-w)))
		}
	}
}

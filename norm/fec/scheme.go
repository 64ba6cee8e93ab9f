package fec

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

// ErrTooFewSymbols reports that fewer symbols of a block are there than it has source symbols.
var ErrTooFewSymbols = errors.New("fec: too few symbols to rebuild the block")

// A Scheme is an FEC scheme with its parameters fixed. It has no state and may be shared.
//
// Symbols are byte slices of one length, E for most objects (RFC 5740 adds the 8 bytes of the payload header in
// a stream). One that is shorter counts as padded with zeros, which need not be there: "If some of the source
// symbols contain less than S elements, they MUST be virtually padded with zero elements." RFC 5510,
// Section 8.4.
type Scheme interface {
	// Params returns the parameters, with their defaults filled in.
	Params() Params

	// Symbols returns n, the most encoding symbols that a block of k source symbols can have; its parity
	// symbols have the ESIs k..n-1. It returns 0 if no block can have k.
	Symbols(k int) int

	// Parity sets dst to the symbol esi, k <= esi < n, of the block whose k source symbols are source. No
	// other parity need have been made: "the n-k repair symbols can be produced on demand" (RFC 5510,
	// Section 8.4). dst is as long as the symbols, or as the longest of them if that is all that is sent;
	// what source symbols have beyond that is left out. It must not overlap them. Parity returns an error if
	// the scheme has no such symbol, or if dst is of odd length and m = 16.
	Parity(dst []byte, source [][]byte, esi int) error

	// Parities is Parity for several symbols that follow one another, the first of them being first: it takes less time
	// than one by one.
	Parities(dst [][]byte, source [][]byte, first int) error

	// Decode rebuilds the missing source symbols of a block of k = len(dst) of them. symbols is indexed by ESI
	// and nil where a symbol is missing (an empty one is not nil); it may end before n. For each i < k
	// missing, Decode fills dst[i] to its length, which is that of the symbol on the wire or longer; where
	// dst[i] is nil, that symbol is not rebuilt. Other elements of dst are ignored, symbols are only read,
	// and the two must not overlap. Decode returns [ErrTooFewSymbols] if fewer than k symbols are there, and
	// an error if one of dst to be filled is of odd length and m = 16. It then has changed nothing.
	Decode(dst, symbols [][]byte) error

	// Locate finds the wrong ones of more symbols than the k that make a block, which symbols holds as for Decode: it
	// returns their ESIs in ascending order, none if all are of one block. With k+2e symbols up to e wrong ones are found. More
	// give [ErrNotLocated], or, seldom unless somebody arranged it, what is no answer: whoever can has to check the block
	// that comes of it. Random is for choices that must not be foreseen. The error is [ErrTooFewSymbols] for k symbols or
	// fewer, and with a scheme without parity. Other than the rest it takes memory: up to 128 symbols, until it returns.
	Locate(symbols [][]byte, k int, random *rand.Rand) ([]int, error)
}

// Scheme returns the FEC scheme that p describes, or an error naming the parameter that cannot work; one that
// wraps [errors.ErrUnsupported] if p is valid but not supported here. It allocates no memory that depends
// on p.
func (p Params) Scheme() (Scheme, error) {
	p, err := p.check()
	if err != nil {
		return nil, fmt.Errorf("fec: %w", err)
	}
	if p.ID == NoCode {
		return noCode{p}, nil
	}
	return reedSolomon{p}, nil
}

// checkParity returns an error unless a block of k source and n encoding symbols has the parity symbol esi.
func checkParity(k, n, esi int) error {
	if esi < k || esi >= n {
		return fmt.Errorf("fec: no parity symbol %d in a block of %d source and %d encoding symbols", esi, k, n)
	}
	return nil
}

// checkBlock returns an error unless a block of k source symbols can have n encoding symbols, given received of
// them.
func checkBlock(k, n, received int) error {
	if n == 0 || received > n {
		return fmt.Errorf("fec: no block of %d source and %d encoding symbols", k, received)
	}
	return nil
}

// firstReceived returns symbols up to the k-th that was received, or nil if there are not so many.
func firstReceived(symbols [][]byte, k int) [][]byte {
	for esi, symbol := range symbols {
		if symbol != nil {
			if k--; k == 0 {
				return symbols[:esi+1]
			}
		}
	}
	return nil
}

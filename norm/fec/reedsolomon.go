package fec

import "fmt"

// reedSolomon is a Reed-Solomon scheme: FEC Encoding IDs 2, 5 and 129 (instance 0).
type reedSolomon struct{ params Params }

func (s reedSolomon) Params() Params { return s.params }

func (s reedSolomon) Symbols(k int) int {
	switch p := s.params; {
	case k < 1 || k > p.MaxBlockLen:
		return 0
	case p.countsSource():
		return p.MaxBlockLen + p.MaxParity // max_n holds for every block: a short one may have more parity
	default:
		return k + p.MaxParity
	}
}

// code returns the code for a block of k source symbols. RFC 5510 has one for each k (Section 8.2: GM is made from
// V_kk); NRL shortens the one for B; MDP's is shortened by its definition.
func (s reedSolomon) code(k int) code {
	p := s.params
	c := code{field: p.field(), dialect: p.Dialect, k: k, full: k, parity: p.MaxParity}
	if p.Dialect == NRL {
		c.full = p.MaxBlockLen
	}
	return c
}

func (s reedSolomon) Parity(dst []byte, source [][]byte, esi int) error {
	one := [...][]byte{dst}
	return s.Parities(one[:], source, esi)
}

// sideBySide is how many parity symbols are made at once: of symbols that fit in an Ethernet frame, so many stay in the smallest
// cache.
const sideBySide = 16

func (s reedSolomon) Parities(dst [][]byte, source [][]byte, first int) error {
	k := len(source)
	for i, d := range dst {
		if err := checkParity(k, s.Symbols(k), first+i); err != nil {
			return err
		}
		if err := s.checkLength(d); err != nil {
			return err
		}
	}
	set := erasure{code: s.code(k)}
	var places [fewSymbols]place // on the stack
	for i := range min(k, fewSymbols) {
		places[i] = set.place(i)
	}
	for ; len(dst) > 0; first += sideBySide {
		var wanted [sideBySide]sum
		sums := wanted[:min(len(dst), sideBySide)]
		for i := range sums {
			sums[i] = set.sum(first+i, dst[i])
		}
		for i, symbol := range source {
			at := places[i%fewSymbols]
			if i >= fewSymbols {
				at = set.place(i)
			}
			set.add(sums, at, symbol)
		}
		set.finish(sums)
		dst = dst[len(sums):]
	}
	return nil
}

// fewSymbols is for up to how many source symbols of a block Parities remembers their places, and for up to how many losses
// Decode takes no memory: all that GF(2^8) can have. Each loss more takes about 40 bytes until it returns.
const fewSymbols = 255

func (s reedSolomon) Decode(dst, symbols [][]byte) error {
	k := len(dst)
	if err := checkBlock(k, s.Symbols(k), len(symbols)); err != nil {
		return err
	}
	symbols = firstReceived(symbols, k)
	if symbols == nil {
		return ErrTooFewSymbols
	}
	for i, d := range dst {
		if symbols[i] == nil {
			if err := s.checkLength(d); err != nil {
				return err
			}
		}
	}
	var lost, spare [fewSymbols]uint16 // on the stack
	set := erasure{s.code(k), lost[:0], spare[:0]}
	for esi, symbol := range symbols {
		switch source := esi < k; {
		case source && symbol == nil:
			set.lost = append(set.lost, set.point(esi))
		case !source && symbol != nil:
			set.spare = append(set.spare, set.point(esi))
		}
	}
	var wanted [fewSymbols]sum
	sums := wanted[:0]
	for i, d := range dst {
		if symbols[i] == nil && d != nil {
			sums = append(sums, set.sum(i, d))
		}
	}
	for esi, symbol := range symbols {
		if symbol != nil {
			set.add(sums, set.place(esi), symbol)
		}
	}
	set.finish(sums)
	return nil
}

// checkLength returns an error if a symbol cannot be made of whole elements.
func (s reedSolomon) checkLength(dst []byte) error {
	if s.params.M == 16 && len(dst)%2 != 0 {
		return fmt.Errorf("fec: symbol of %d bytes: over GF(2^16) it takes an even number", len(dst))
	}
	return nil
}

package fec

// reedSolomon is a Reed-Solomon scheme over GF(2^8): FEC Encoding IDs 2 (m = 8), 5 and 129 (instance 0).
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
// V_kk); NRL shortens the one for B.
func (s reedSolomon) code(k int) code {
	if s.params.Dialect == NRL {
		return code{k: k, full: s.params.MaxBlockLen, zero: true}
	}
	return code{k: k, full: k}
}

func (s reedSolomon) Parity(dst []byte, source [][]byte, esi int) error {
	k := len(source)
	if err := checkParity(k, s.Symbols(k), esi); err != nil {
		return err
	}
	set := erasure{code: s.code(k)}
	x, logX := set.point(esi), set.logProduct(esi)
	clear(dst)
	for i, symbol := range source {
		addProduct(dst, coefficient(x, set.point(i), logX, set.logProduct(i)), symbol)
	}
	return nil
}

func (s reedSolomon) Decode(dst, symbols [][]byte) error {
	k := len(dst)
	if err := checkBlock(k, s.Symbols(k), len(symbols)); err != nil {
		return err
	}
	symbols = firstReceived(symbols, k)
	if symbols == nil {
		return ErrTooFewSymbols
	}
	var lost, spare [order]byte // on the stack, as is all that follows
	set := erasure{s.code(k), lost[:0], spare[:0]}
	for esi, symbol := range symbols {
		switch source := esi < k; {
		case source && symbol == nil:
			set.lost = append(set.lost, set.point(esi))
		case !source && symbol != nil:
			set.spare = append(set.spare, set.point(esi))
		}
	}

	// Each lost symbol is a sum over those received. All sums are made together, one received symbol after the
	// other, so that it and they stay in the cache.
	var wanted, logX [order]uint8
	n := 0
	for i := range k {
		if symbols[i] == nil && dst[i] != nil {
			clear(dst[i])
			wanted[n], logX[n] = uint8(i), uint8(set.logProduct(i))
			n++
		}
	}
	for esi, symbol := range symbols {
		if symbol == nil {
			continue
		}
		q, logQ := set.point(esi), set.logProduct(esi)
		for j, i := range wanted[:n] {
			x := set.point(int(i))
			addProduct(dst[i], coefficient(x, q, int(logX[j]), logQ), symbol)
		}
	}
	return nil
}

// addProduct adds f*symbol to dst, byte by byte. Bytes that symbol lacks are zeros; those that dst lacks are not
// wanted.
func addProduct(dst []byte, f byte, symbol []byte) {
	n := min(len(dst), len(symbol))
	addMul(dst[:n], f, symbol[:n])
}

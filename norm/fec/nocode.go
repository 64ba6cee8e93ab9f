package fec

// noCodeSymbols is how many symbols of a block the FEC Payload ID of id 0 can name: 16 bits of ESI.
const noCodeSymbols = 1 << 16

// noCode is the Compact No-Code scheme: source symbols only, so what is lost must be sent again
// (RFC 5445, Section 3).
type noCode struct{ params Params }

func (s noCode) Params() Params { return s.params }

func (s noCode) Symbols(k int) int {
	if k < 1 || k > s.params.MaxBlockLen {
		return 0
	}
	return k
}

func (s noCode) Parity(_ []byte, source [][]byte, esi int) error {
	return checkParity(len(source), s.Symbols(len(source)), esi)
}

func (s noCode) Parities(_ [][]byte, source [][]byte, first int) error {
	return s.Parity(nil, source, first)
}

func (s noCode) Decode(dst, symbols [][]byte) error {
	if err := checkBlock(len(dst), s.Symbols(len(dst)), len(symbols)); err != nil {
		return err
	}
	if firstReceived(symbols, len(dst)) == nil {
		return ErrTooFewSymbols
	}
	return nil
}

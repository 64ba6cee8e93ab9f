package fec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// noCodeBlockLen is the block length of the name "none".
const noCodeBlockLen = 64

// families are the names of the schemes with parity in [ParseSpec].
var families = map[string]Params{
	"rs8":     {ID: ReedSolomonGF8},
	"rs8-2":   {ID: ReedSolomon},
	"rs8-129": {ID: SmallBlockSystematic},
}

// ParseSpec reads the name of a scheme as command lines give it:
//
//	none       no-code, FEC Encoding ID 0, blocks of up to 64 symbols; none:K for up to K
//	rs8:K,P    Reed-Solomon over GF(2^8), id 5: up to K source symbols and P parity symbols in a block
//	rs8-129:K,P, rs8-2:K,P   the same by ids 129 (instance 0) and 2 (m = 8)
//
// SegmentSize and Dialect are the caller's to set. Limits are checked as [Params.Scheme] does.
func ParseSpec(spec string) (Params, error) {
	family, sizes, hasSizes := strings.Cut(spec, ":")
	bad := func(err error) (Params, error) { return Params{}, fmt.Errorf("fec: scheme %q: %w", spec, err) }

	p, err := Params{}, error(nil)
	switch f, known := families[family]; {
	case known:
		source, parity, ok := strings.Cut(sizes, ",")
		if !ok {
			return bad(fmt.Errorf("want %s:K,P with K source and P parity symbols in a block", family))
		}
		p = f
		if p.MaxBlockLen, err = strconv.Atoi(source); err != nil {
			return bad(err)
		}
		if p.MaxParity, err = strconv.Atoi(parity); err != nil {
			return bad(err)
		}
	case family == "none":
		p = Params{ID: NoCode, MaxBlockLen: noCodeBlockLen}
		if hasSizes {
			if p.MaxBlockLen, err = strconv.Atoi(sizes); err != nil {
				return bad(err)
			}
		}
	case family == "rs16":
		return bad(fmt.Errorf("Reed-Solomon over GF(2^16): %w", errors.ErrUnsupported))
	default:
		return bad(errors.New("want none, rs8:K,P or rs8-129:K,P"))
	}
	sized := p
	sized.SegmentSize = 1 // any
	if _, err := sized.check(); err != nil {
		return Params{}, fmt.Errorf("scheme %q: %w", spec, err)
	}
	return p, nil
}

// String returns the name that [ParseSpec] reads.
func (p Params) String() string {
	if p.ID == NoCode {
		if p.MaxBlockLen == noCodeBlockLen {
			return "none"
		}
		return fmt.Sprintf("none:%d", p.MaxBlockLen)
	}
	for name, f := range families {
		if f.ID == p.ID {
			return fmt.Sprintf("%s:%d,%d", name, p.MaxBlockLen, p.MaxParity)
		}
	}
	return fmt.Sprintf("fec-%d:%d,%d", p.ID, p.MaxBlockLen, p.MaxParity)
}

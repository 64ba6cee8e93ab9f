package fec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// noCodeBlockLen is the block length of the name "none".
const noCodeBlockLen = 64

// families are the names of the Reed-Solomon schemes.
var families = map[string]uint8{
	"rs8":     ReedSolomonGF8,
	"rs8-2":   ReedSolomon,
	"rs8-129": SmallBlockSystematic,
}

// ParseSpec reads the name of a scheme as command lines give it:
//
//	none         no-code, FEC Encoding ID 0, with blocks of up to 64 symbols; none:K for up to K
//	rs8:K,P      Reed-Solomon over GF(2^8), id 5, with up to K source symbols and P parity symbols in a block
//	rs8-129:K,P  the same by id 129 (instance 0)
//	rs8-2:K,P    the same by id 2 (m = 8)
//
// K and P are checked as [Params.Scheme] does; SegmentSize and Dialect are the caller's to set.
func ParseSpec(spec string) (Params, error) {
	p, err := parseSpec(spec)
	if err == nil {
		sized := p
		sized.SegmentSize = 1 // any will do
		_, err = sized.check()
	}
	if err != nil {
		return Params{}, fmt.Errorf("fec: scheme %q: %w", spec, err)
	}
	return p, nil
}

func parseSpec(spec string) (p Params, err error) {
	family, sizes, sized := strings.Cut(spec, ":")
	switch id, known := families[family]; {
	case known:
		source, parity, ok := strings.Cut(sizes, ",")
		if !ok {
			return p, fmt.Errorf("want %s:K,P with K source and P parity symbols in a block", family)
		}
		p.ID = id
		if p.MaxBlockLen, err = strconv.Atoi(source); err != nil {
			return p, err
		}
		p.MaxParity, err = strconv.Atoi(parity)
		return p, err
	case family == "none":
		p = Params{ID: NoCode, MaxBlockLen: noCodeBlockLen}
		if sized {
			p.MaxBlockLen, err = strconv.Atoi(sizes)
		}
		return p, err
	case family == "rs16":
		return p, fmt.Errorf("Reed-Solomon over GF(2^16): %w", errors.ErrUnsupported)
	}
	return p, errors.New("want none, rs8:K,P or rs8-129:K,P")
}

// String returns the name that [ParseSpec] reads.
func (p Params) String() string {
	if p.ID == NoCode {
		if p.MaxBlockLen == noCodeBlockLen {
			return "none"
		}
		return fmt.Sprintf("none:%d", p.MaxBlockLen)
	}
	for name, id := range families {
		if id == p.ID {
			return fmt.Sprintf("%s:%d,%d", name, p.MaxBlockLen, p.MaxParity)
		}
	}
	return fmt.Sprintf("fec-%d:%d,%d", p.ID, p.MaxBlockLen, p.MaxParity)
}

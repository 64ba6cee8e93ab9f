package fec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// noCodeBlockLen is the block length of the name "none".
const noCodeBlockLen = 64

// families are the Reed-Solomon schemes by name.
var families = []struct {
	name string
	Params
}{
	{"rs8", Params{ID: ReedSolomonGF8}},
	{"rs8-2", Params{ID: ReedSolomon}},
	{"rs16", Params{ID: ReedSolomon, M: 16}},
	{"rs8-129", Params{ID: SmallBlockSystematic, Dialect: NRL}},
}

// ParseSpec reads the name of a scheme as command lines give it:
//
//	none         no-code, FEC Encoding ID 0, with blocks of up to 64 symbols; none:K for up to K
//	rs8:K,P      Reed-Solomon over GF(2^8), id 5, with up to K source symbols and P parity symbols in a block
//	rs8-129:K,P  the same by id 129 (instance 0), in the dialect [NRL], as receivers read it: see [RecogniseDialect]
//	rs8-2:K,P    the same by id 2 (m = 8)
//	rs16:K,P     Reed-Solomon over GF(2^16), id 2 (m = 16); segments must be of an even number of bytes
//
// K and P are checked as [Params.Scheme] does; SegmentSize is the caller's to set, and Dialect to change.
func ParseSpec(spec string) (Params, error) {
	p, err := parseSpec(spec)
	if err == nil {
		sized := p
		sized.SegmentSize = 2 // any will do
		_, err = sized.check()
	}
	if err != nil {
		return Params{}, fmt.Errorf("fec: scheme %q: %w", spec, err)
	}
	return p, nil
}

func parseSpec(spec string) (p Params, err error) {
	family, sizes, sized := strings.Cut(spec, ":")
	for _, f := range families {
		if f.name != family {
			continue
		}
		source, parity, ok := strings.Cut(sizes, ",")
		if !ok {
			return p, fmt.Errorf("want %s:K,P with K source and P parity symbols in a block", family)
		}
		p = f.Params
		if p.MaxBlockLen, err = strconv.Atoi(source); err != nil {
			return p, err
		}
		p.MaxParity, err = strconv.Atoi(parity)
		return p, err
	}
	if family == "none" {
		p = Params{ID: NoCode, MaxBlockLen: noCodeBlockLen}
		if sized {
			p.MaxBlockLen, err = strconv.Atoi(sizes)
		}
		return p, err
	}
	return p, errors.New("want none, rs8:K,P, rs16:K,P, rs8-129:K,P or rs8-2:K,P")
}

// Default returns the code to use where nobody says which: Reed-Solomon over GF(2^8), FEC Encoding ID 5, with up to 128 source
// and 127 parity symbols in a block.
//
// The longer a block, the nearer to the loss is what its repair takes, and the more computing: 128 take 1.075 times the segments
// at 5 % loss and 4 receivers, where 64 take 1.084. With all the parity that GF(2^8) has, 20 % at 10,000 receivers find enough
// of it, which the 55 of a block of 200 are not. A block is 175 KiB in a receiver's memory. And max_n is 255, more than parity
// beside 128 source symbols could be, so that it is read as max_n by whoever knows NRL's reading, too; in dialect [NRL], 127 is
// less than 128, and is read as parity.
func Default() Params { return Params{ID: ReedSolomonGF8, MaxBlockLen: 128, MaxParity: 127} }

// String returns the name that [ParseSpec] reads.
func (p Params) String() string {
	if p.ID == NoCode {
		if p.MaxBlockLen == noCodeBlockLen {
			return "none"
		}
		return fmt.Sprintf("none:%d", p.MaxBlockLen)
	}
	for _, f := range families {
		if f.ID == p.ID && (f.M == 16) == (p.M == 16) {
			return fmt.Sprintf("%s:%d,%d", f.name, p.MaxBlockLen, p.MaxParity)
		}
	}
	return fmt.Sprintf("fec-%d:%d,%d", p.ID, p.MaxBlockLen, p.MaxParity)
}

package fec

import "fmt"

// A Dialect says which of the Reed-Solomon codes in use a sender means by FEC Encoding IDs 2, 5 and 129 (instance 0).
// [RFC] and [NRL] differ in four ways, so parity of one is useless to the other, and as NORM has no checksum over
// objects, decoding with the wrong one gives wrong content:
//
//   - The points at which the code's polynomial is evaluated: 1, α, α², … by RFC 5510, Section 8.2;
//     0, 1, α, α², … in the NORM implementation of the US Naval Research Laboratory (NRL).
//   - The code of a block of k < B symbols: that for k by RFC 5510; that for B with zeros for the missing
//     symbols at NRL.
//   - The last field of the EXT_FTI of ids 2 and 5: max_n, source and parity, by RFC 5510; the number of parity
//     symbols at NRL.
//   - The order of the two bytes of an element of GF(2^16), id 2 with m = 16: high one first here, as RFC 5510 leaves
//     it open, and low one first at NRL.
//
// [MDP] is the code that NRL's implementation used before, and still does where it is built so: a cyclic Reed-Solomon
// code over GF(2^8) with the generator polynomial (x+α)(x+α²)…(x+α^p), p being the number of parity symbols. It exists
// for id 129 only, and nothing on the wire tells it from the others.
type Dialect uint8

const (
	RFC Dialect = iota // RFC 5510 to the letter
	NRL                // as the NRL implementation does
	MDP                // as old releases of the NRL implementation do
)

func (d Dialect) String() string {
	switch d {
	case RFC:
		return "rfc"
	case NRL:
		return "nrl"
	case MDP:
		return "mdp"
	}
	return fmt.Sprintf("dialect(%d)", uint8(d))
}

// ParseDialect returns the dialect named "rfc", "nrl" or "mdp".
func ParseDialect(name string) (Dialect, error) {
	switch name {
	case "rfc":
		return RFC, nil
	case "nrl":
		return NRL, nil
	case "mdp":
		return MDP, nil
	}
	return 0, fmt.Errorf("fec: dialect %q: want rfc, nrl or mdp", name)
}

// RecogniseDialect tells from an EXT_FTI which dialect its sender speaks, where that can be told: maxBlockLen is
// its B and last its last field, which is max_n or the number of parity symbols.
//
// max_n is never below B, so a smaller value proves a parity count, hence NRL. With as much parity as source
// symbols or more the two readings cannot be told apart and the RFC is assumed. Id 129 is taken as NRL's, as no
// other implementation is known to send it. A receiver should decide once for each sender instance.
func RecogniseDialect(id uint8, maxBlockLen, last int) Dialect {
	if id == SmallBlockSystematic || (id == ReedSolomon || id == ReedSolomonGF8) && last < maxBlockLen {
		return NRL
	}
	return RFC
}

// LastFTIField returns the value of the last field of the EXT_FTI: max_n (source and parity symbols) for ids 2
// and 5 in dialect [RFC], and the number of parity symbols for id 129 ("fec_num_parity", RFC 5740, Section
// 4.2.1) and in dialect [NRL]. Id 0 has no such field; the result is then 0.
func (p Params) LastFTIField() int {
	if p.countsSource() {
		return p.MaxBlockLen + p.MaxParity
	}
	return p.MaxParity
}

// WithLastFTIField returns p with MaxParity taken from the last field of a received EXT_FTI, read as
// [Params.LastFTIField] says; ID, MaxBlockLen and Dialect must be set. A max_n below B gives a negative MaxParity, which
// [Params.Scheme] refuses.
func (p Params) WithLastFTIField(last int) Params {
	p.MaxParity = last
	if p.countsSource() {
		p.MaxParity -= p.MaxBlockLen
	}
	return p
}

// countsSource reports whether the FTI counts source symbols too when it limits encoding symbols.
func (p Params) countsSource() bool {
	return p.Dialect == RFC && (p.ID == ReedSolomon || p.ID == ReedSolomonGF8)
}

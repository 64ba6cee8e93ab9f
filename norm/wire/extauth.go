package wire

import (
	"encoding/binary"
	"iter"
)

// An ExtAuth is an EXT_AUTH header extension (RFC 6584, Sections 3.1, 4.1, 5.1): what authenticates
// the packet by the scheme that ASID names in this session. This package neither makes nor verifies
// signatures.
type ExtAuth struct {
	ASID       uint8  // authentication scheme identifier, 4 bits
	AntiReplay bool   // AR: there is a sequence number
	Sequence   uint64 // anti-replay sequence number, 40 bits; 0 without AntiReplay
	Tag        []byte // signature or MAC or both, with padding: a view into the datagram
}

const (
	maxAuthSequence = 1<<40 - 1
	authAR          = 0x01
)

// ParseAuth reads one EXT_AUTH as [Extensions.All] yields it; ok is false if it is too short for its AR bit.
func ParseAuth(ext []byte) (x ExtAuth, ok bool) {
	x.ASID = ext[2] >> 4 // the three bits after it are reserved
	if ext[2]&authAR == 0 {
		x.Tag = ext[4:]
		return x, true
	}
	if len(ext) < 8 {
		return ExtAuth{}, false
	}
	x.AntiReplay = true
	x.Sequence = uint64(ext[3])<<32 | uint64(binary.BigEndian.Uint32(ext[4:]))
	x.Tag = ext[8:]
	return x, true
}

// Auth returns all EXT_AUTH in their order: "Several authentication schemes MAY be used in the same
// ALC or NORM session, even on the same communication path", RFC 6584, Section 1.
func (e Extensions) Auth() iter.Seq[ExtAuth] {
	return func(yield func(ExtAuth) bool) {
		for het, ext := range e.All() {
			if het != TypeExtAuth {
				continue
			}
			if x, ok := ParseAuth(ext); ok && !yield(x) {
				return
			}
		}
	}
}

// AppendAuth appends EXT_AUTH, padding the tag with zeros to a word. To sign a message, encode it with
// a tag of zeros and overwrite them, which [ExtAuth.Tag] of the parsed message points at. The error is
// ErrRange if a value does not fit its field, ErrExtension if the tag is too long.
func AppendAuth(b Extensions, x ExtAuth) (Extensions, error) {
	if x.ASID > 15 || x.Sequence > maxAuthSequence || !x.AntiReplay && x.Sequence != 0 {
		return b, ErrRange
	}
	words := 1 + (len(x.Tag)+3)/4
	if x.AntiReplay {
		words++
	}
	if words > 255 {
		return b, ErrExtension
	}
	end := len(b) + 4*words
	b = append(b, byte(TypeExtAuth), byte(words), x.ASID<<4, 0)
	if x.AntiReplay {
		b[len(b)-2] |= authAR
		b[len(b)-1] = byte(x.Sequence >> 32)
		b = binary.BigEndian.AppendUint32(b, uint32(x.Sequence))
	}
	b = append(b, x.Tag...)
	for len(b) < end {
		b = append(b, 0)
	}
	return b, nil
}

package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// An ExtType is a het: a header extension's type. Types below 128 have a length field (hel), the
// others are one word long (RFC 5740, Section 4.1).
type ExtType uint8

// Header extension types (RFC 5740, Section 8.1.1).
const (
	TypeExtAuth ExtType = 1   // EXT_AUTH, RFC 6584
	TypeExtCC   ExtType = 3   // EXT_CC
	TypeExtFTI  ExtType = 64  // EXT_FTI
	TypeExtRate ExtType = 128 // EXT_RATE

	// TypeExtRepair is no type of the RFC's: EXT_REPAIR, in NORM_NACK and NORM_ACK, says that who sends it hears the repair
	// group (norm.SenderConfig.RepairGroup).
	TypeExtRepair ExtType = 224
)

// fixedExt is the first het of extensions without hel: one word, reserved(8) content(16).
const fixedExt = 128

// String returns the RFC's name, such as EXT_FTI.
func (t ExtType) String() string {
	switch t {
	case TypeExtAuth:
		return "EXT_AUTH"
	case TypeExtCC:
		return "EXT_CC"
	case TypeExtFTI:
		return "EXT_FTI"
	case TypeExtRate:
		return "EXT_RATE"
	case TypeExtRepair:
		return "EXT_REPAIR"
	}
	return fmt.Sprintf("EXT(%d)", uint8(t))
}

// Extensions are the header extensions of a message as they stand on the wire. In a parsed message
// they are a view into the datagram whose lengths have been checked. To encode some, append to a
// slice with [AppendFTI], [AppendCC], [AppendRate], [AppendRepair], [AppendAuth] or [AppendExtension]. Order does not matter, and
// where a type stands twice the finders take the first.
type Extensions []byte

// extSize returns the length in bytes of the extension at the start of b, 0 if it is malformed.
func extSize(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	n := 4
	if b[0] < fixedExt {
		n = 4 * int(b[1])
	}
	if n > len(b) {
		return 0
	}
	return n
}

// check reports an extension of length zero or one that ends after the header.
func (e Extensions) check() error {
	for len(e) > 0 {
		n := extSize(e)
		if n == 0 {
			return ErrExtension
		}
		e = e[n:]
	}
	return nil
}

func parseExtensions(b []byte) (Extensions, error) { return b, Extensions(b).check() }

// All returns the extensions in their order, each with its whole bytes from het on.
func (e Extensions) All() iter.Seq2[ExtType, []byte] {
	return func(yield func(ExtType, []byte) bool) {
		for len(e) > 0 {
			n := extSize(e)
			if n == 0 || !yield(ExtType(e[0]), e[:n:n]) {
				return
			}
			e = e[n:]
		}
	}
}

// find returns the first extension of type t, from het on, if it has at least size bytes.
func (e Extensions) find(t ExtType, size int) ([]byte, bool) {
	for het, ext := range e.All() {
		if het == t {
			return ext, len(ext) >= size
		}
	}
	return nil, false
}

// AppendExtension appends an extension of any type, given its content after het and hel (after het
// and the reserved byte for the types from 128 on, whose content is two bytes). Content is padded with
// zeros to a word. The error is ErrExtension if the content does not fit.
func AppendExtension(b Extensions, t ExtType, content []byte) (Extensions, error) {
	if t >= fixedExt {
		if len(content) != 2 {
			return b, ErrExtension
		}
		return append(append(b, byte(t), 0), content...), nil
	}
	words := (2 + len(content) + 3) / 4
	if words > 255 {
		return b, ErrExtension
	}
	end := len(b) + 4*words
	b = append(append(b, byte(t), byte(words)), content...)
	for len(b) < end {
		b = append(b, 0)
	}
	return b, nil
}

// Rate returns the send_rate of EXT_RATE, coded as [EncodeRate] does; ok is false if there is none.
func (e Extensions) Rate() (code uint16, ok bool) {
	ext, ok := e.find(TypeExtRate, 4)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint16(ext[2:]), true
}

// Repair reports whether there is an EXT_REPAIR.
func (e Extensions) Repair() bool {
	_, ok := e.find(TypeExtRepair, 4)
	return ok
}

// AppendRepair appends EXT_REPAIR, whose content is reserved: zero, and ignored.
func AppendRepair(b Extensions) Extensions { return append(b, byte(TypeExtRepair), 0, 0, 0) }

// AppendRate appends EXT_RATE with a send_rate coded as [EncodeRate] does (RFC 5740, Section 4.2.3.4).
func AppendRate(b Extensions, code uint16) Extensions {
	return binary.BigEndian.AppendUint16(append(b, byte(TypeExtRate), 0), code)
}

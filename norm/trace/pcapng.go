package trace

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
	"time"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng).
const (
	blockSection   = 0x0a0d0d0a // Section Header Block; reads the same in both byte orders
	blockInterface = 1          // Interface Description Block
	blockSimple    = 3          // Simple Packet Block
	blockStats     = 5          // Interface Statistics Block
	blockEnhanced  = 6          // Enhanced Packet Block
	blockJournal   = 9          // systemd Journal Export Block
)

// byteOrderMagic of a section tells the order of its numbers.
const byteOrderMagic = 0x1a2b3c4d

// Options of blocks.
const (
	optEnd         = 0
	optComment     = 1
	optApplication = 4  // shb_userappl
	optName        = 2  // if_name
	optDescription = 3  // if_description
	optResolution  = 9  // if_tsresol
	optTimeOffset  = 14 // if_tsoffset
	optFlags       = 2  // epb_flags
	optDropped     = 5  // isb_ifdrop
)

const (
	minBlock      = 12   // type, length, length again
	maxInterfaces = 4096 // in a section
)

// A section is what a Section Header Block began.
type section struct{ interfaces []ngInterface }

// An ngInterface is what an Interface Description Block says.
type ngInterface struct {
	link   LinkType
	snap   uint32 // snapshot length; 0: none
	ticks  uint64 // of a timestamp in a second
	offset int64  // seconds to add
}

// openNG reads the first Section Header Block.
func (r *Reader) openNG() error {
	head, err := r.take(8, true)
	if err != nil {
		return err
	}
	return r.section(head)
}

// section reads the rest of a Section Header Block, of which head is the type and length.
func (r *Reader) section(head []byte) error {
	length := [4]byte(head[4:])
	magic, err := r.take(4, false)
	if err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(magic) == byteOrderMagic:
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic) == byteOrderMagic:
		r.order = binary.BigEndian
	default:
		return r.fault("a section without byte-order magic")
	}
	n := r.order.Uint32(length[:])
	if n < 28 || n%4 != 0 || n > maxBlock {
		return r.fault("a section header of a length that cannot be")
	}
	body, err := r.take(int(n)-minBlock, false) // with the length at the end
	if err != nil {
		return err
	}
	if r.order.Uint32(body[len(body)-4:]) != n {
		return r.fault("a block whose two lengths differ")
	}
	if major := r.order.Uint16(body); major != 1 {
		return r.fault("a section of another version than 1")
	}
	r.ng = section{}
	return nil
}

// nextNG reads blocks up to one that is a packet or an event. Unknown ones are skipped.
func (r *Reader) nextNG() (Packet, error) {
	for {
		head, err := r.take(8, true)
		if err != nil {
			return Packet{}, err
		}
		kind, n := r.order.Uint32(head), r.order.Uint32(head[4:])
		if kind == blockSection {
			if err := r.section(head); err != nil {
				return Packet{}, err
			}
			continue
		}
		if n < minBlock || n%4 != 0 {
			return Packet{}, r.fault("a block of a length that cannot be")
		}
		known := kind == blockInterface || kind == blockSimple || kind == blockEnhanced || kind == blockJournal
		if !known {
			if err := r.skip(int64(n) - 8); err != nil {
				return Packet{}, err
			}
			continue
		}
		if n > maxBlock {
			return Packet{}, r.fault("a block longer than 1 MiB")
		}
		body, err := r.take(int(n)-8, false)
		if err != nil {
			return Packet{}, err
		}
		end := len(body) - 4
		if r.order.Uint32(body[end:]) != n {
			return Packet{}, r.fault("a block whose two lengths differ")
		}
		p, ok, err := r.block(kind, body[:end:end])
		if ok || err != nil {
			return p, err
		}
	}
}

// block reads the body of a block that is known; ok says whether it is something to return.
func (r *Reader) block(kind uint32, b []byte) (p Packet, ok bool, err error) {
	switch kind {
	case blockInterface:
		return p, false, r.describeInterface(b)
	case blockSimple:
		p, err = r.simple(b)
		return p, true, err
	case blockEnhanced:
		p, err = r.enhanced(b)
		return p, true, err
	}
	p = journalEntry(string(b))
	return p, p.Event != "", nil
}

func (r *Reader) describeInterface(b []byte) error {
	if len(b) < 8 {
		return r.fault("an interface description that is too short")
	}
	if len(r.ng.interfaces) == maxInterfaces {
		return r.fault("more than 4096 interfaces")
	}
	i := ngInterface{link: LinkType(r.order.Uint16(b)), snap: r.order.Uint32(b[4:]), ticks: 1e6}
	err := r.options(b[8:], func(code uint16, v []byte) {
		switch {
		case code == optResolution && len(v) >= 1:
			i.ticks = ticksPerSecond(v[0])
		case code == optTimeOffset && len(v) >= 8:
			i.offset = int64(r.order.Uint64(v))
		}
	})
	if err == nil && i.ticks == 0 {
		err = r.fault("an interface with a time resolution that cannot be")
	}
	r.ng.interfaces = append(r.ng.interfaces, i)
	return err
}

// ticksPerSecond reads if_tsresol: a negative power of 10, or of 2 if the highest bit is set. 0: it exceeds 64 bits.
func ticksPerSecond(resolution byte) uint64 {
	exponent := resolution & 0x7f
	switch {
	case resolution&0x80 != 0 && exponent < 64:
		return 1 << exponent
	case resolution&0x80 != 0 || exponent > 19:
		return 0
	}
	ticks := uint64(1)
	for range exponent {
		ticks *= 10
	}
	return ticks
}

// time returns the time of a timestamp, to the nanosecond.
func (i ngInterface) time(stamp uint64) time.Time {
	hi, lo := bits.Mul64(stamp%i.ticks, 1e9)
	nanos, _ := bits.Div64(hi, lo, i.ticks) // below 1e9, because the remainder is below ticks
	return time.Unix(int64(min(stamp/i.ticks, math.MaxInt32*64))+i.offset, int64(nanos)).UTC()
}

// simple reads a Simple Packet Block, which belongs to the first interface and has no time.
func (r *Reader) simple(b []byte) (Packet, error) {
	if len(b) < 4 || len(r.ng.interfaces) == 0 {
		return Packet{}, r.fault("a packet that is too short or has no interface")
	}
	i := r.ng.interfaces[0]
	length := r.order.Uint32(b)
	captured := length
	if i.snap != 0 {
		captured = min(length, i.snap)
	}
	if captured > uint32(len(b)-4) || length > math.MaxInt32 {
		return Packet{}, r.fault("a packet longer than its block")
	}
	return Packet{Link: i.link, Length: int(length), Data: b[4 : 4+captured]}, nil
}

// enhanced reads an Enhanced Packet Block.
func (r *Reader) enhanced(b []byte) (Packet, error) {
	if len(b) < 20 {
		return Packet{}, r.fault("a packet block that is too short")
	}
	id := r.order.Uint32(b)
	if id >= uint32(len(r.ng.interfaces)) {
		return Packet{}, r.fault("a packet of an interface that was not described")
	}
	i := r.ng.interfaces[id]
	stamp := uint64(r.order.Uint32(b[4:]))<<32 | uint64(r.order.Uint32(b[8:]))
	captured, length := r.order.Uint32(b[12:]), r.order.Uint32(b[16:])
	b = b[20:]
	if captured > uint32(len(b)) || length > math.MaxInt32 {
		return Packet{}, r.fault("a packet longer than its block")
	}
	p := Packet{Time: i.time(stamp), Link: i.link, Length: int(length), Data: b[:captured]}
	err := r.options(b[min(padded(int(captured)), len(b)):], func(code uint16, v []byte) {
		switch {
		case code == optComment && p.Comment == "":
			p.Comment = string(v)
		case code == optFlags && len(v) >= 4:
			p.Direction = direction(r.order.Uint32(v))
		}
	})
	return p, err
}

// options calls f for each option of a block.
func (r *Reader) options(b []byte, f func(code uint16, value []byte)) error {
	for len(b) >= 4 {
		code, n := r.order.Uint16(b), int(r.order.Uint16(b[2:]))
		if code == optEnd {
			return nil
		}
		if padded(n) > len(b)-4 {
			return r.fault("an option longer than its block")
		}
		f(code, b[4:4+n])
		b = b[4+padded(n):]
	}
	return nil
}

// padded rounds up to a word, as everything in a block is.
func padded(n int) int { return (n + 3) &^ 3 }

// journalEntry reads an entry of a systemd journal: lines of FIELD=value. It is an event if it has a MESSAGE.
func journalEntry(text string) (p Packet) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\x00"), "\n") {
		name, value, _ := strings.Cut(line, "=")
		switch name {
		case "MESSAGE":
			p.Event = value
		case journalTime:
			if micros, ok := parseMicros(value); ok {
				p.Time = time.UnixMicro(micros).UTC()
			}
		}
	}
	return p
}

func parseMicros(s string) (n int64, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > math.MaxInt64/100 {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, s != ""
}

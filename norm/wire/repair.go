package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// A RepairForm tells how the items of a repair request are to be read (RFC 5740, Section 4.3.1).
type RepairForm uint8

// Forms of repair requests.
const (
	RepairItems    RepairForm = 1 // NORM_NACK_ITEMS: single items
	RepairRanges   RepairForm = 2 // NORM_NACK_RANGES: pairs of items, both ends included
	RepairErasures RepairForm = 3 // NORM_NACK_ERASURES: per block a count of erasures in place of the symbol
)

// String returns items, ranges or erasures.
func (f RepairForm) String() string {
	switch f {
	case RepairItems:
		return "items"
	case RepairRanges:
		return "ranges"
	case RepairErasures:
		return "erasures"
	}
	return fmt.Sprintf("RepairForm(%d)", uint8(f))
}

// RepairFlags tell which content of its items a repair request wants (RFC 5740, Section 4.3.1).
type RepairFlags uint8

// Bits of RepairFlags. Of SEGMENT, BLOCK and OBJECT the most comprehensive counts; INFO may join
// SEGMENT or BLOCK or stand alone, and OBJECT implies it.
const (
	RepairSegment RepairFlags = 0x01 // NORM_NACK_SEGMENT: the segments listed
	RepairBlock   RepairFlags = 0x02 // NORM_NACK_BLOCK: whole blocks; the symbol is meaningless
	RepairInfo    RepairFlags = 0x04 // NORM_NACK_INFO: the NORM_INFO of the objects
	RepairObject  RepairFlags = 0x08 // NORM_NACK_OBJECT: whole objects; the payload id is meaningless
)

// String returns the names of the bits in lower case, separated by "|".
func (f RepairFlags) String() string {
	return flagString(uint8(f), "segment", "block", "info", "object")
}

// A RepairRequest is one repair request of a NORM_NACK or NORM_CMD(REPAIR_ADV).
type RepairRequest struct {
	Form  RepairForm
	Flags RepairFlags

	items []byte // view into the datagram: whole items, checked
}

// All returns what is wanted as pairs of first and last position, both included. Items that are not
// ranges come as pairs of the same position twice. Within a pair the ends are in order as far as the
// flags give them meaning: object ids and, in streams, block numbers may wrap around. A range that is
// not one of objects stays within one object. How many blocks lie between the ends is not bounded, and
// their order is not checked with fec_id 2, which needs m for that.
//
// Of RepairErasures the Symbol of the decoded payload id is the number of erasures in the block.
func (r RepairRequest) All() iter.Seq2[Position, Position] {
	return func(yield func(first, last Position) bool) {
		for items := r.items; len(items) > 0; {
			first, n := parseItem(items)
			last := first
			if r.Form == RepairRanges {
				var size int
				last, size = parseItem(items[n:])
				n += size
			}
			if n == 0 || !yield(first, last) {
				return
			}
			items = items[n:]
		}
	}
}

// Len returns the number of pairs that All returns.
func (r RepairRequest) Len() int {
	n := 0
	for range r.All() {
		n++
	}
	return n
}

// requestHeaderSize is the size of form, flags and length.
const requestHeaderSize = 4

// cutRequest splits the first repair request off a payload. ok is false at the end of the payload and
// where "length" exceeds it.
func cutRequest(b []byte) (r RepairRequest, rest []byte, ok bool) {
	if len(b) < requestHeaderSize {
		return r, nil, false
	}
	end := requestHeaderSize + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return r, nil, false
	}
	return RepairRequest{RepairForm(b[0]), RepairFlags(b[1]), b[requestHeaderSize:end:end]}, b[end:], true
}

// checkRequests reports how many requests of a payload are malformed, or ErrLength if one is cut off.
// Fewer bytes than a request header at the end are ignored.
func checkRequests(b []byte) (malformed int, err error) {
	for len(b) >= requestHeaderSize {
		r, rest, ok := cutRequest(b)
		if !ok {
			return 0, ErrLength
		}
		if !r.wellFormed() {
			malformed++
		}
		b = rest
	}
	return malformed, nil
}

// Requests returns the repair requests of a nack_payload in their order. Malformed ones are left out:
// of unknown form, without items, with items of an unknown fec_id or that do not fill the length, with
// a range that lacks an end, runs backwards or spans objects without RepairObject.
func Requests(payload []byte) iter.Seq[RepairRequest] {
	return func(yield func(RepairRequest) bool) {
		for {
			r, rest, ok := cutRequest(payload)
			if !ok {
				return
			}
			if r.wellFormed() && !yield(r) {
				return
			}
			payload = rest
		}
	}
}

func (r RepairRequest) wellFormed() bool {
	if r.Form < RepairItems || r.Form > RepairErasures || len(r.items) == 0 {
		return false
	}
	for items := r.items; len(items) > 0; {
		first, n := parseItem(items)
		if n == 0 {
			return false
		}
		items = items[n:]
		if r.Form != RepairRanges {
			continue
		}
		last, n := parseItem(items)
		if n == 0 || !r.Flags.inOrder(first, last) {
			return false
		}
		items = items[n:]
	}
	return true
}

// inOrder reports whether first and last bound a range of what the flags ask for.
func (f RepairFlags) inOrder(first, last Position) bool {
	if f&RepairObject != 0 || f&(RepairBlock|RepairSegment) == 0 {
		return first.Object == last.Object || first.Object.Before(last.Object)
	}
	if first.Object != last.Object || first.FECID != last.FECID {
		return false
	}
	a, b := first.PayloadID(0), last.PayloadID(0)
	switch {
	case first.FECID == RS:
		// The boundary between block and symbol is unknown, but at most 16 bits from the end.
		if f&RepairBlock != 0 {
			return ordered(uint32(first.Raw)>>16, uint32(last.Raw)>>16, 16)
		}
		return ordered(uint32(first.Raw), uint32(last.Raw), 32)
	case a.Block == b.Block:
		return f&RepairBlock != 0 || a.Symbol <= b.Symbol
	}
	return ordered(a.Block, b.Block, first.FECID.BlockBits(0))
}

// ordered reports whether b follows a, or equals it, on a circle of 2^width as the blocks of a stream
// do, or in plain order as those of a file do. Which of them an object is, a NACK does not say.
func ordered(a, b uint32, width int) bool { return a <= b || SerialBefore(a, b, width) }

// A RepairWriter appends repair requests to a message, merging requests of the same form and flags,
// within a size: "The "nack_payload" size SHALL NOT exceed the NormSegmentSize for the sender to which
// the NORM_NACK is destined." RFC 5740, Section 4.3.1. The caller writes needs in ascending order, and
// stops when one does not fit.
type RepairWriter struct {
	buf   []byte
	start int // where the payload begins in buf
	open  int // where the open request begins in buf; negative: none
	limit int // most bytes of payload
}

// NewRepairWriter returns a writer that appends to b at most limit bytes. b is an encoded NORM_NACK or
// NORM_CMD(REPAIR_ADV) without payload, or empty.
func NewRepairWriter(b []byte, limit int) RepairWriter {
	return RepairWriter{buf: b, start: len(b), open: -1, limit: limit}
}

// Bytes returns the buffer with all that was written. It stays the writer's while it is used.
func (w *RepairWriter) Bytes() []byte { return w.buf }

// Len returns the bytes of payload written.
func (w *RepairWriter) Len() int { return len(w.buf) - w.start }

// Item asks for a single segment, block or object, or the info of an object. It reports whether the
// request fits and p can be encoded; if not, nothing is written.
func (w *RepairWriter) Item(flags RepairFlags, p Position) bool {
	return w.write(RepairItems, flags, p)
}

// Range asks for everything from first to last, both included; a range of one becomes an item.
// It reports whether the request fits and the positions can be encoded; if not, nothing is written.
func (w *RepairWriter) Range(flags RepairFlags, first, last Position) bool {
	if first == last {
		return w.Item(flags, first)
	}
	return w.write(RepairRanges, flags, first, last)
}

// Erasures asks for as many repair symbols of p's block as the Symbol of its payload id says.
// It reports whether the request fits and p can be encoded; if not, nothing is written.
func (w *RepairWriter) Erasures(p Position) bool {
	return w.write(RepairErasures, RepairSegment, p)
}

func (w *RepairWriter) write(form RepairForm, flags RepairFlags, items ...Position) bool {
	size := 0
	for _, p := range items {
		if p.check() != nil {
			return false
		}
		size += itemSize(p.FECID)
	}
	merge := w.open >= 0 && w.buf[w.open] == byte(form) && w.buf[w.open+1] == byte(flags) &&
		len(w.buf)+size-w.open-requestHeaderSize <= 0xffff
	if !merge {
		size += requestHeaderSize
	}
	if w.Len()+size > w.limit {
		return false
	}
	if !merge {
		w.open = len(w.buf)
		w.buf = append(w.buf, byte(form), byte(flags), 0, 0)
	}
	for _, p := range items {
		w.buf, _ = p.AppendItem(w.buf) // checked above
	}
	binary.BigEndian.PutUint16(w.buf[w.open+2:], uint16(len(w.buf)-w.open-requestHeaderSize))
	return true
}

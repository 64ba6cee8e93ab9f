package norm

import (
	"slices"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A place is a position in a sender's content as a number, for the ordinal comparisons of RFC 5740, Section 5.3:
// "in terms of objectTransportId::fecPayloadId". The 16 highest bits are the object, 32 the block, 16 the symbol.
type place uint64

// An origin gives the circle of object ids a beginning: half its size before one that is of interest, so that those
// around it compare as the RFC's serial arithmetic has it.
type origin wire.TransportID

func originFor(id TransportID) origin { return origin(id + 1<<15) }

func (o origin) place(id TransportID, b uint32, symbol int) place {
	return place(uint16(id)-uint16(o))<<48 | place(b)<<16 | place(symbol&0xffff)
}

// A need is content that a repair request can name by one item or range: objects, the info of an object, blocks, or
// segments of a block. first and last are blocks or symbols; both are included.
type need struct {
	flags       wire.RepairFlags
	explicit    bool // segments: source symbols of a block without parity, as yet
	object      TransportID
	block       uint32 // segments: of which block
	first, last uint32 // blocks, or symbols
}

// span returns which places n covers. The info of an object has none of its own.
func (n need) span(o origin) span {
	switch {
	case n.flags&wire.RepairObject != 0:
		return span{o.place(n.object, 0, 0), o.place(n.object, 1<<32-1, 1<<16-1)}
	case n.flags&wire.RepairBlock != 0:
		return span{o.place(n.object, n.first, 0), o.place(n.object, n.last, 1<<16-1)}
	}
	return span{o.place(n.object, n.block, int(n.first)), o.place(n.object, n.block, int(n.last))}
}

// A span is all places from first to last, both included.
type span struct{ first, last place }

// maxSpans bounds what the repair requests of others may cost in memory; what is beyond suppresses nobody.
const maxSpans = 4096

// A spanSet is a union of spans, kept disjoint and in ascending order.
type spanSet []span

// add joins e to the set; what overlaps or touches it becomes one with it.
func (s *spanSet) add(e span) {
	i, _ := slices.BinarySearchFunc(*s, e.first, func(have span, p place) int {
		if have.last < p && have.last+1 != p {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(*s) && ((*s)[j].first <= e.last || (*s)[j].first == e.last+1); j++ {
		e = span{min(e.first, (*s)[j].first), max(e.last, (*s)[j].last)}
	}
	if i < j || len(*s) < maxSpans {
		*s = slices.Replace(*s, i, j, e)
	}
}

// rebase counts the blocks of an object from a later base.
func (s spanSet) rebase(o origin, id TransportID, by uint32) {
	first, last := o.place(id, 0, 0), o.place(id, 1<<32-1, 1<<16-1)
	lower := func(p *place) {
		if first <= *p && *p <= last {
			*p -= min(*p-first, place(by)<<16)
		}
	}
	for i := range s {
		lower(&s[i].first)
		lower(&s[i].last)
	}
}

// covers reports whether all of e is in the set.
func (s spanSet) covers(e span) bool {
	i, _ := slices.BinarySearchFunc(s, e.first, func(have span, p place) int {
		if have.last < p {
			return -1
		}
		return 1
	})
	return i < len(s) && s[i].first <= e.first && e.last <= s[i].last
}

// A requestSet is the repair state accumulated from the NORM_NACKs of others and NORM_CMD(REPAIR_ADV).
type requestSet struct {
	content spanSet // objects, blocks and segments
	infos   spanSet // NORM_INFO, at the start of its object
}

// reset empties the set, but keeps its memory for the next cycle.
func (q *requestSet) reset() { q.content, q.infos = q.content[:0], q.infos[:0] }

// supersedes reports whether others have asked for all that n asks for.
func (q *requestSet) supersedes(n need, o origin) bool {
	if n.flags&wire.RepairInfo != 0 {
		info := o.place(n.object, 0, 0)
		return q.infos.covers(span{info, info})
	}
	return q.content.covers(n.span(o))
}

// merge adds a repair request for content of a sender.
func (q *requestSet) merge(r wire.RepairRequest, o origin, s *remote) {
	for first, last := range r.All() {
		a, b := s.locate(first, nil), s.locate(last, nil)
		switch {
		case r.Flags&wire.RepairObject != 0: // "This also implicitly requests any available NORM_INFO", Section 4.3.1.
			objects := span{o.place(first.Object, 0, 0), o.place(last.Object, 1<<32-1, 1<<16-1)}
			q.content.add(objects)
			q.infos.add(objects)
			continue
		case r.Flags&wire.RepairBlock != 0:
			q.content.add(span{o.place(first.Object, a.Block, 0), o.place(last.Object, b.Block, 1<<16-1)})
		case r.Flags&wire.RepairSegment != 0 && r.Form != wire.RepairErasures: // A count names no symbols.
			q.content.add(span{o.place(first.Object, a.Block, int(a.Symbol)), o.place(last.Object, b.Block, int(b.Symbol))})
		}
		if r.Flags&wire.RepairInfo != 0 {
			q.infos.add(span{o.place(first.Object, 0, 0), o.place(last.Object, 0, 0)})
		}
	}
}

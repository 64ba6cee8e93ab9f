package norm

import (
	"slices"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A mark is a limit in a sender's content, up to which it is checked for what is missing.
type mark struct {
	object TransportID
	block  uint32 // blocks before this one
	part   int    // and the source symbols of this block below part
	whole  bool   // and, if object was never heard of, object itself
}

// needs calls yield with what is to be asked for of the sender's content before a mark, in ascending order: "NORM
// receivers SHALL construct NORM_NACK messages with their repair requests in ordinal order", RFC 5740, Section 4.3.1.
// Presets may be on both sides of the window.
func (s *remote) needs(limit mark, yield func(need) bool) {
	behind := slices.IndexFunc(s.presets, func(o *incoming) bool { return !s.synced || !o.id.Before(s.window.base) })
	if behind < 0 {
		behind = len(s.presets)
	}
	for _, o := range s.presets[:behind] {
		if !limit.object.Before(o.id) && !s.needsOf(o, limit, yield) {
			return
		}
	}
	for i, o := range s.window.objects {
		id := s.window.base + TransportID(i)
		switch {
		case limit.object.Before(id):
			return
		case o == nil && (id != limit.object || limit.whole):
			early := s.patient && id.Before(s.joined.object)
			if !early && s.mode == NackAll && !yield(need{flags: wire.RepairObject, object: id}) {
				return
			}
		case o != nil && !s.needsOf(o, limit, yield):
			return
		}
	}
	for _, o := range s.presets[behind:] {
		if !(s.synced && s.window.contains(o.id)) && !limit.object.Before(o.id) && !s.needsOf(o, limit, yield) {
			return
		}
	}
}

// needsOf calls yield with what is missing of one object. With Patience, that begins where we came in.
func (s *remote) needsOf(o *incoming, limit mark, yield func(need) bool) bool {
	switch {
	case !s.patient || s.joined.object.Before(o.id):
		return o.needs(0, limit, yield)
	case o.id == s.joined.object:
		return o.needs(s.joined.block, limit, yield)
	}
	return true
}

// needs calls yield with what is missing of o from a block to the limit, in ascending order, until yield returns false.
// The NORM_INFO comes before the first block.
func (o *incoming) needs(from uint32, limit mark, yield func(need) bool) bool {
	if !o.wanted() {
		return true
	}
	if o.hasInfo && !o.gotInfo && from == 0 && !yield(need{flags: wire.RepairInfo, object: o.id}) {
		return false
	}
	if !o.known || o.state != accepted || o.nack == NackInfo {
		return true
	}
	end, part := o.end(limit)
	for n := uint64(o.done.absent(int(max(o.firstOpen(), from)))); n < end; {
		if b := o.block(uint32(n)); b != nil && b.held > 0 {
			if !b.needs(yield) {
				return false
			}
		} else {
			run := o.run(n, end)
			if !yield(need{flags: wire.RepairBlock, object: o.id, first: uint32(n), last: uint32(run - 1)}) {
				return false
			}
			n = run - 1
		}
		n = uint64(o.done.absent(int(n) + 1))
	}
	if b := uint32(end); part > 0 && end < o.layout.N && b >= o.join && !o.isDone(b) {
		return o.explicitNeeds(b, part, yield)
	}
	return true
}

// end returns how much of o is before a mark: the blocks before end, and the first source symbols of that.
func (o *incoming) end(limit mark) (end uint64, part int) {
	switch st := o.stream; {
	case st != nil && !st.begun:
		return 0, 0
	case o.id == limit.object:
		end, part = uint64(limit.block), limit.part
	case st != nil:
		end, part = uint64(st.heard), st.part
	default:
		end = o.layout.N
	}
	if o.stream != nil {
		return o.stream.bound(end, part)
	}
	return min(end, o.layout.N), part
}

// run returns the end of the blocks from n on of which nothing is held.
func (o *incoming) run(n, end uint64) uint64 {
	for n < end && !o.isDone(uint32(n)) {
		if b := o.block(uint32(n)); b != nil && b.held > 0 {
			break
		}
		n++
	}
	return n
}

// explicitNeeds calls yield with the source symbols missing of a block that the sender has not yet sent to its end.
// Parity is of no help in it.
func (o *incoming) explicitNeeds(n uint32, part int, yield func(need) bool) bool {
	b := o.block(n)
	if b != nil {
		part = min(part, b.k)
	}
	for i := 0; i < part; i++ {
		first := i
		for i < part && (b == nil || !b.source.has(i)) {
			i++
		}
		explicit := need{flags: wire.RepairSegment, object: o.id, block: n, first: uint32(first), last: uint32(i - 1), explicit: true}
		if first < i && !yield(explicit) {
			return false
		}
	}
	return true
}

// needs calls yield with the symbols to ask for, in ascending order, until yield returns false.
//
// "the receiver SHALL, on its FIRST repair attempt for the block, request the parity portion of the FEC coding block
// beginning with the lowest ordinal parity "encoding_symbol_id" [...] and request the number of FEC symbols
// corresponding to its data segment erasure count for the block. On subsequent repair cycles for the same coding
// block, the receiver SHALL request only those repair symbols from the first set it has not yet received up to the
// remaining erasure count". RFC 5740, Section 5.3.
func (b *block) needs(yield func(need) bool) bool {
	erasures := b.lacks()
	if b.phase == fetching || b.phase == writing || erasures == 0 {
		return true
	}
	first := b.asked
	if first == 0 {
		first = b.missing()
	}
	available := b.object.layout.usableParity(b.number)
	if b.suspect == nil { // which is not about the first repair attempt, but about what was thought complete
		available = min(first, available)
	}
	parity := 0 // of the first set, not yet received
	for esi := b.k; esi < b.k+available; esi++ {
		if !b.has(esi) {
			parity++
		}
	}
	// "In the case where the erasure count [...] exceeds the maximum number of parity symbols available from the
	// sender [...] the receiver SHALL request all available parity segments plus the ordinally highest missing data
	// segments needed to satisfy its total erasure needs for the block."
	parity = min(parity, erasures)
	data := erasures - parity
	from := b.k
	for n := data; n > 0; {
		if from--; !b.has(from) {
			n--
		}
	}
	segments := segmentRuns{need: need{flags: wire.RepairSegment, object: b.object.id, block: b.number}, yield: yield}
	for esi := from; esi < b.k; esi++ {
		if !b.has(esi) && !segments.add(esi) {
			return false
		}
	}
	for esi := b.k; parity > 0; esi++ {
		if !b.has(esi) {
			if parity--; !segments.add(esi) {
				return false
			}
		}
	}
	return segments.end()
}

// A segmentRuns makes needs of ascending symbols, one of each run.
type segmentRuns struct {
	need
	n     int // symbols in the run
	yield func(need) bool
}

func (s *segmentRuns) add(esi int) bool {
	if s.n > 0 && int(s.last)+1 == esi {
		s.last = uint32(esi)
		s.n++
		return true
	}
	ok := s.end()
	s.first, s.last, s.n = uint32(esi), uint32(esi), 1
	return ok
}

func (s *segmentRuns) end() bool { return s.n == 0 || s.yield(s.need) }

package norm

import (
	"slices"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// An incoming is an object being received.
type incoming struct {
	remote *remote
	handle Handle // zero until it is offered
	id     TransportID
	kind   Kind
	state  objectState
	preset bool // expected by the application

	instance   InstanceID // the run in which it became complete
	hasInfo    bool       // "NORM_FLAG_INFO": it has a NORM_INFO
	unreliable bool       // "NORM_FLAG_UNRELIABLE": no repair is provided
	squelched  bool       // a preset one: not asked for until it is heard again
	refused    bool       // beyond our limits, by its last EXT_FTI
	info       []byte
	gotInfo    bool

	known  bool // layout is known, from an EXT_FTI or the application
	layout layout

	join     uint32    // first block asked for
	open     uint32    // no block before this one, from join on, is missing
	done     numberSet // blocks for which enough symbols came
	doneN    uint64    // how many
	blocks   map[uint32]*block
	recent   *block // the block found last
	io       int    // requests in flight
	received int64  // bytes in the sink
}

// An objectState says what the application wants of an object.
type objectState uint8

const (
	announced objectState = iota // not offered: its layout is unknown
	offered                      // the application has not answered
	accepted
	complete
	released // rejected, aborted or forgotten
)

// settled stands in a window for an object that needs nothing more.
var settled = &incoming{state: released}

// size returns the bytes of the object.
func (o *incoming) size() int64 { return int64(o.layout.L) }

// isDone reports whether block n needs no more symbols.
func (o *incoming) isDone(n uint32) bool { return o.done.has(int(n)) }

// setDone records that block n needs no more symbols.
func (o *incoming) setDone(n uint32) {
	o.done = o.done.grown(int(n) + 1)
	o.done.add(int(n))
	o.doneN++
	o.firstOpen()
}

// reopen records that block n is wanted again.
func (o *incoming) reopen(n uint32) {
	o.done.remove(int(n))
	o.doneN--
	if n >= o.join {
		o.open = min(o.open, n)
	}
}

// firstOpen returns the first block asked for that lacks symbols, or N.
func (o *incoming) firstOpen() uint32 {
	o.open = uint32(min(uint64(o.done.absent(int(max(o.open, o.join)))), o.layout.N))
	return o.open
}

// block returns the block n if it has symbols.
func (o *incoming) block(n uint32) *block {
	if b := o.recent; b != nil && b.object == o && b.number == n {
		return b
	}
	return o.blocks[n]
}

// wanted reports whether what is missing of the object is to be asked for.
func (o *incoming) wanted() bool {
	return !o.unreliable && !o.squelched && !o.refused && (o.state == announced || o.state == accepted)
}

// allHere reports whether nothing of the object is missing and nothing in flight.
func (o *incoming) allHere() bool {
	return o.known && o.doneN == o.layout.N && o.io == 0 && (!o.hasInfo || o.gotInfo)
}

// A mark is a limit in a sender's content, up to which it is checked for what is missing.
type mark struct {
	object TransportID
	block  uint32 // blocks before this one
	part   int    // and the source symbols of this block below part
	whole  bool   // and, if object was never heard of, object itself
}

// needs calls yield with what is missing of o before the limit, in ascending order, until yield returns false.
func (o *incoming) needs(limit mark, yield func(need) bool) bool {
	if !o.wanted() {
		return true
	}
	if o.hasInfo && !o.gotInfo && !yield(need{flags: wire.RepairInfo, object: o.id}) {
		return false
	}
	if !o.known || o.state != accepted {
		return true
	}
	end := o.layout.N
	if o.id == limit.object {
		end = min(end, uint64(limit.block))
	}
	for n := uint64(o.firstOpen()); n < end; {
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
	if o.id == limit.object && limit.part > 0 && uint64(limit.block) < o.layout.N && uint64(limit.block) >= uint64(o.join) && !o.isDone(limit.block) {
		return o.explicitNeeds(limit, yield)
	}
	return true
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
func (o *incoming) explicitNeeds(limit mark, yield func(need) bool) bool {
	b := o.block(limit.block)
	for i := 0; i < limit.part; i++ {
		first := i
		for i < limit.part && (b == nil || !b.source.has(i)) {
			i++
		}
		if first < i && !yield(need{wire.RepairSegment, o.id, limit.block, uint32(first), uint32(i - 1)}) {
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
	erasures := b.k - b.held
	if b.phase == fetching || b.phase == writing || erasures == 0 {
		return true
	}
	first := b.asked
	if first == 0 {
		first = b.missing()
	}
	available := min(first, b.object.layout.parity(b.number))
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
		if from--; !b.source.has(from) {
			n--
		}
	}
	segments := segmentRuns{need: need{flags: wire.RepairSegment, object: b.object.id, block: b.number}, yield: yield}
	for esi := from; esi < b.k; esi++ {
		if !b.source.has(esi) && !segments.add(esi) {
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

// describe returns what the application may know of o.
func (o *incoming) describe() ReceivedObject {
	r := ReceivedObject{
		Sender: o.remote.id, Instance: o.remote.instance, ID: o.id, Kind: o.kind, Size: o.size(), FEC: o.layout.params,
		HasInfo: o.hasInfo, Received: o.received, Complete: o.state == complete,
	}
	if o.gotInfo {
		r.Info = slices.Clip(o.info)
	}
	return r
}

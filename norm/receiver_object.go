package norm

import (
	"slices"
	"time"
)

// An incoming is an object being received.
type incoming struct {
	remote *remote
	handle Handle // zero until it is offered
	id     TransportID
	kind   Kind
	state  objectState
	nack   NackMode
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

	join     uint32            // first block asked for
	open     uint32            // no block before this one, from join on, is missing
	done     numberSet         // blocks for which enough symbols came
	doneN    uint64            // how many
	blocks   map[uint32]*block // by source_block_number
	recent   *block            // the block found last
	io       int               // requests in flight
	received int64             // bytes in the sink, or read from a stream

	suspected map[uint32]uint8 // blocks that were found wrong, and how often

	stream *inStream // of a stream
	left   time.Time // when the sender's transmit position had left it; zero: not yet, or there is no MaxDelay
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

// size returns the bytes of the object, or of the buffer of the sender of a stream.
func (o *incoming) size() int64 { return int64(o.layout.size()) }

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

// unsetDone records that block n is wanted, if it was not.
func (o *incoming) unsetDone(n uint32) {
	if o.isDone(n) {
		o.reopen(n)
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
	return o.blocks[o.layout.number(n)]
}

// wanted reports whether what is missing of the object is to be asked for.
func (o *incoming) wanted() bool {
	return !o.unreliable && !o.squelched && !o.refused && o.nack != NackNone && (o.state == announced || o.state == accepted)
}

// allHere reports whether nothing of the object is missing and nothing in flight.
func (o *incoming) allHere() bool {
	return o.known && o.doneN == o.layout.N && o.io == 0 && (!o.hasInfo || o.gotInfo)
}

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

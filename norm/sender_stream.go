package norm

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A StreamConfig is what [Sender.OpenStream] is told of a NORM_OBJECT_STREAM: content without an end that is known beforehand.
type StreamConfig struct {
	// Buffer is how many bytes of content are held, in our memory, to be sent and repaired; it is rounded up to whole blocks
	// and at least two, and announced to receivers. If zero, 1 MiB.
	Buffer int

	Info []byte // content of NORM_INFO, at most SegmentSize bytes; nil: the stream has none

	// Push makes new content overwrite the oldest, sent or not, where [Sender.Write] would have to wait: for live content,
	// of which the latest is worth more than all of it.
	Push bool

	// FirstBlock and FirstOffset are the source_block_number and the payload_offset to begin with, 0 by custom. Receivers
	// take a low block number as near the beginning of a stream.
	FirstBlock, FirstOffset uint32
}

const defaultStreamBuffer = 1 << 20

// maxStreamBuffer bounds what a StreamConfig may ask for, for its buffer is memory of ours.
const maxStreamBuffer = 1 << 30

// An outStream is what a sender holds of a stream beside what it holds of every object: the blocks of its content in
// memory. Those from start to block are there, in a ring; the object's transmit position is among them.
type outStream struct {
	ring  []blockBuffer // block b is ring[b%len(ring)]
	start uint32        // of the repair window
	used  []time.Time   // when any of each block was sent, or asked for, last
	sent  int64         // bytes of content sent once
	begun bool          // a segment was sent

	// The segment being filled: which one it is, and what it holds.
	block    uint32
	symbol   int
	fill     int
	msgStart int    // payload_msg_start
	offset   uint32 // payload_offset of the next byte
	newMsg   bool   // the next byte begins a message

	push    bool
	flush   bool // NORM_CMD(FLUSH) is to follow what is written
	closing bool // NORM_STREAM_END is to follow it
	ended   bool // and is written
	blocked bool // Write had no room
}

// A FlushMode says how much a flush of a stream is to achieve.
type FlushMode uint8

const (
	// FlushPassive sends what is written as it is, in a short segment if need be.
	FlushPassive FlushMode = iota
	// FlushActive has a series of NORM_CMD(FLUSH) follow it, so that receivers ask for what they lack of it now, and not
	// only when more comes; when nobody asks any more, there is a Flushed event.
	FlushActive
)

// OpenStream adds a stream behind the objects already given. Objects behind it are sent while nothing of it is to be sent;
// it comes before them whenever something is. It is held, open, until [Sender.CloseStream] or [Sender.Cancel], and after
// CloseStream like an object that is sent, with its memory. Errors are those of Enqueue.
func (s *Sender) OpenStream(now time.Time, c StreamConfig) (Handle, TransportID, error) {
	s.expire(now)
	o, err := s.newStream(c)
	if err != nil {
		return 0, 0, err
	}
	return s.add(now, o)
}

func (s *Sender) newStream(c StreamConfig) (*outgoing, error) {
	buffer := cmp.Or(c.Buffer, defaultStreamBuffer)
	if buffer < 0 || buffer > maxStreamBuffer {
		return nil, fmt.Errorf("norm: Buffer %d: want at most %d bytes", buffer, maxStreamBuffer)
	}
	l, err := newStreamLayout(s.cfg.FEC, uint64(buffer))
	if err != nil {
		return nil, err
	}
	if c.FirstBlock > l.blockMask() {
		return nil, fmt.Errorf("norm: FirstBlock %d: source_block_number has %d bits", c.FirstBlock, l.blockBits())
	}
	l.base = (c.FirstBlock - l.blocks) & l.blockMask()
	if err := s.mayAdd(c.Info); err != nil {
		return nil, err
	}
	o := &outgoing{layout: l, kind: Stream, flags: wire.FlagStream, block: uint64(l.blocks)}
	o.stream = &outStream{
		ring: make([]blockBuffer, l.blocks), used: make([]time.Time, l.blocks), start: l.blocks, block: l.blocks,
		offset: c.FirstOffset, newMsg: true, push: c.Push,
	}
	if o.parity.base, o.infoAt = max(s.cfg.AutoParity, 0), o.block; c.Info != nil {
		o.setInfo(c.Info)
	}
	return o, s.attachFTI(o)
}

// Write appends content to a stream and returns how many bytes there was room for. If those are not all, and the stream
// does not push, StreamWritable tells when there is more: when the oldest block was sent, is not about to be repaired, and
// is not held by flow control ([SenderConfig].FlowControl) or for acknowledgments. What does not fill a segment waits for
// more, for a flush, or for the end.
//
// Errors: [ErrUnknownObject], [ErrStreamClosed], [ErrEnding].
func (s *Sender) Write(now time.Time, h Handle, p []byte) (n int, err error) {
	o, err := s.openStream(now, h)
	if err != nil {
		return 0, err
	}
	st := o.stream
	for n < len(p) && s.claim(o) {
		if st.newMsg {
			st.newMsg = false
			if st.msgStart == 0 { // only the first in a segment can be told
				st.msgStart = st.fill + 1
			}
		}
		room := st.segment(o)[wire.StreamHeaderSize+st.fill:]
		m := copy(room, p[n:])
		n += m
		if st.fill += m; m == len(room) {
			st.endSegment(o)
		}
	}
	st.blocked = n < len(p)
	s.written(now)
	return n, nil
}

// EndMessage marks the end of a message: the next byte written begins another one, and receivers learn of it
// (payload_msg_start). The first byte of a stream begins one anyhow. The error is as that of Write.
func (s *Sender) EndMessage(now time.Time, h Handle) error {
	o, err := s.openStream(now, h)
	if err == nil {
		o.stream.newMsg = true
	}
	return err
}

// FlushStream sends what is written though it may not fill a segment. Parity of the block it is in exists only when that
// is full, so what is lost of it until then is repaired segment by segment: whoever flushes often should choose short
// blocks (RFC 5740, Section 4.2.3.1). The error is as that of Write.
func (s *Sender) FlushStream(now time.Time, h Handle, mode FlushMode) error {
	o, err := s.openStream(now, h)
	if err != nil {
		return err
	}
	o.stream.shorten(o)
	if mode == FlushActive {
		o.stream.flush = true
	}
	s.written(now)
	return nil
}

// CloseStream ends a stream behind what is written: NORM_STREAM_END follows that, then ObjectSent, and a flush series. The
// error is as that of Write.
func (s *Sender) CloseStream(now time.Time, h Handle) error {
	o, err := s.openStream(now, h)
	if err != nil {
		return err
	}
	o.stream.shorten(o)
	o.stream.closing = true
	s.written(now)
	return nil
}

func (s *Sender) openStream(now time.Time, h Handle) (*outgoing, error) {
	s.expire(now)
	o := s.byHandle(h)
	switch {
	case o == nil || o.stream == nil:
		return nil, ErrUnknownObject
	case s.ending:
		return nil, ErrEnding
	case o.stream.closing:
		return nil, ErrStreamClosed
	}
	return o, nil
}

// open reports whether o is a stream that may get more content, or has some that was not sent yet.
func (o *outgoing) open() bool { return o.stream != nil && (!o.stream.ended || o.unsent()) }

// unsent reports whether there is something of a stream to be sent for the first time.
func (o *outgoing) unsent() bool {
	st := o.stream
	return o.info != nil && !o.infoSent || o.block < uint64(st.block) || o.block == uint64(st.block) && o.symbol < st.symbol
}

// segment returns the memory of the segment being filled: its header, and room for SegmentSize bytes.
func (st *outStream) segment(o *outgoing) []byte {
	buf := &st.ring[st.block%uint32(len(st.ring))]
	return buf.memory[st.symbol*o.E : (st.symbol+1)*o.E]
}

// endSegment makes the segment being filled one to be sent.
func (st *outStream) endSegment(o *outgoing) {
	h := wire.StreamHeader{Len: uint16(st.fill), MsgStart: uint16(st.msgStart), Offset: st.offset}
	encoded(h.Append(st.segment(o)[:0]))
	st.offset += uint32(st.fill)
	st.fill, st.msgStart = 0, 0
	if st.symbol++; st.symbol == o.params.MaxBlockLen {
		st.block, st.symbol = st.block+1, 0
	}
}

// shorten ends the segment being filled if there is anything in it.
func (st *outStream) shorten(o *outgoing) {
	if st.fill > 0 {
		st.endSegment(o)
	}
}

// claim makes sure that there is memory for the segment being filled, and reports whether there is: the buffer may be
// full of blocks that are still needed.
func (s *Sender) claim(o *outgoing) bool {
	st := o.stream
	if st.block-st.start == uint32(len(st.ring)) {
		if !st.push && !s.mayDrop(o) {
			return false
		}
		s.dropOldest(o)
	}
	buf := &st.ring[st.block%uint32(len(st.ring))]
	if buf.memory == nil {
		buf.memory = make([]byte, o.params.MaxBlockLen*o.E)
	}
	buf.object, buf.block, buf.state = o, st.block, bufferReady
	return true
}

// mayDrop reports whether the oldest block of a stream was sent and is not about to be repaired. If it is only held by flow
// control, timerStream tells how long.
func (s *Sender) mayDrop(o *outgoing) bool {
	st := o.stream
	if b := st.start; uint64(b) >= o.block || o.asked.wants(b) || o.plan.wants(b) {
		return false
	}
	if slices.ContainsFunc(s.acks.requests, func(q *ackRequest) bool { return q.object == o && o.reaches(q.position, st.start) }) {
		return false
	}
	now := s.pacer.at // which each call has just set
	until := s.heldUntil(*st.usedAt(st.start))
	if now.Before(until) {
		s.timers[timerStream] = earlier(s.timers[timerStream], until)
		return false
	}
	return true
}

// lastPosition returns the place of the last segment written.
func (st *outStream) lastPosition(o *outgoing) wire.Position {
	b, symbol := st.block, st.symbol-1
	if symbol < 0 {
		b, symbol = b-1, o.params.MaxBlockLen-1
	}
	return o.position(o.id, b, symbol)
}

// reaches reports whether a place is in block b or behind it.
func (o *outgoing) reaches(p wire.Position, b uint32) bool {
	at, _ := o.locate(p)
	return at >= b
}

// sentThrough reports whether everything up to a place was sent once, with that.
func (o *outgoing) sentThrough(p wire.Position) bool {
	if o.stream == nil || !o.sent {
		return o.sent
	}
	b, symbol := o.locate(p)
	return uint64(b) < o.block || uint64(b) == o.block && symbol < o.symbol
}

// usedAt is when any of a block was sent, or asked for, last.
func (st *outStream) usedAt(b uint32) *time.Time { return &st.used[b%uint32(len(st.used))] }

// dropOldest lets go of the oldest block of a stream: the repair window begins behind it. In push mode it may not even
// have been sent.
func (s *Sender) dropOldest(o *outgoing) {
	st := o.stream
	s.repairPool.drop(&o.asked, st.start)
	s.repairPool.drop(&o.plan, st.start)
	if s.repair == o && o.plan.empty() {
		s.endRepair()
	}
	o.parity.set(o.slot(st.start), 0)
	o.repeats.forget(o.slot(st.start))
	st.start++
	if o.block < uint64(st.start) {
		o.block, o.symbol = uint64(st.start), 0
	}
	if blocks := uint32(len(st.ring)); st.start == 2*blocks {
		s.rebase(o, blocks)
	}
}

// rebase counts the blocks of a stream from a later base, so that their numbers stay small.
func (s *Sender) rebase(o *outgoing, by uint32) {
	st := o.stream
	o.base += by
	o.block -= uint64(by)
	o.infoAt -= min(o.infoAt, uint64(by))
	st.start -= by
	st.block -= by
	for i := range st.ring {
		st.ring[i].block -= by
	}
	o.asked.rebase(by)
	o.plan.rebase(by)
	s.adviser.forget(o.handle)
	if s.at.object == o.id {
		s.at.block -= min(s.at.block, by)
	}
}

// written puts what was written, or is to end, in its place.
func (s *Sender) written(now time.Time) {
	if s.tendStreams(); s.contentPending() {
		s.probeSooner(now)
	}
	s.settle(now)
}

// tendStreams does for the open streams what became possible.
func (s *Sender) tendStreams() {
	s.timers[timerStream] = time.Time{}
	for _, o := range s.streams {
		st := o.stream
		if st.closing && !st.ended && s.claim(o) {
			st.ended = true
			st.endSegment(o) // "payload_len" 0, and NORM_STREAM_END in place of "payload_msg_start"
		}
		if st.blocked && (st.block-st.start < uint32(len(st.ring)) || s.mayDrop(o)) {
			st.blocked = false
			s.emit(Event{Kind: StreamWritable, Object: o.handle})
		}
		switch {
		case !o.sent: // its turn is not yet
		case o.unsent():
			if s.current == nil || o.id.Before(s.current.id) {
				s.current = o // before the rest of an object behind it
			}
		case st.flush:
			st.flush, s.flushDue = false, true
		}
	}
}

// count takes note of a symbol sent for the first time.
func (st *outStream) count(buf *blockBuffer, symbol int) {
	st.begun = true
	if symbol < buf.object.BlockLen(buf.block) {
		st.sent += int64(len(buf.symbol(symbol)) - wire.StreamHeaderSize)
	}
}

// advanceStream moves the transmit position of a stream behind a symbol that was sent.
func (s *Sender) advanceStream(o *outgoing) {
	if s.blockSent(o) {
		o.block, o.symbol = o.block+1, 0
	}
	s.askSoon(s.pacer.at)
	if o.unsent() {
		return
	}
	if s.current = nil; o.stream.ended {
		s.flushDue, o.sentAt = true, s.pacer.at
		s.streams = slices.DeleteFunc(s.streams, func(have *outgoing) bool { return have == o })
		s.emit(Event{Kind: ObjectSent, Object: o.handle})
	}
	s.startNext()
}

// slot returns where the ledgers keep a block: those of a stream are of the blocks in its buffer.
func (o *outgoing) slot(b uint32) uint32 {
	if o.stream != nil {
		return b % o.blocks
	}
	return b
}

// buffered returns the source symbols of a block if they are in memory, as those of a stream always are.
func (s *Sender) buffered(o *outgoing, b uint32) *blockBuffer {
	if st := o.stream; st != nil {
		return &st.ring[b%uint32(len(st.ring))]
	}
	return s.cache.ready(o, b)
}

// streamSymbol returns the symbol in the memory of a segment: its header and the payload_len bytes behind it.
func streamSymbol(segment []byte) []byte {
	return segment[:wire.StreamHeaderSize+int(binary.BigEndian.Uint16(segment))]
}

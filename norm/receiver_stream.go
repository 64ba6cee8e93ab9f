package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// An inStream is what a receiver knows of a stream beside what it knows of every object. The stream is received in a window
// of blocks: from the one being read on, as many as our memory and the sender's allow. "join" of the object is the first
// block that is still asked for.
type inStream struct {
	late   bool   // begins with the block in which we came, and not with all that the sender repairs
	begun  bool   // a block was heard, so the numbers have a base
	full   bool   // content had to be left out until something is read
	told   bool   // StreamReadable was, and reading did not run dry since
	window uint32 // blocks

	// Where reading goes on, and what it comes to.
	block  uint32
	symbol int
	byte   int
	synced bool  // offset is known
	offset int64 // of the next byte in the stream: payload_offset, unwrapped

	// How far the sender came: all before block heard, and of that the source symbols below part.
	heard uint32
	part  int

	lost uint32 // the block behind the last one that was given up with something missing; 0: none was

	// NORM_STREAM_END, if it was received.
	ended     bool
	endBlock  uint32
	endSymbol int

	fresh blockList // with StreamUnordered, blocks with symbols that were not read
}

// baseLead is how many blocks before the first of a stream are numbered, a multiple of 64.
const baseLead = 64

// placeStream puts a symbol of a stream where it belongs. Its length is checked; of a source symbol so are the fields of
// the stream header: "The "payload_msg_start" value will always be less than or equal to the "payload_len" value".
func (r *Receiver) placeStream(o *incoming, id wire.PayloadID, payload []byte, repair bool) error {
	l, st := &o.layout, o.stream
	k, esi := l.params.MaxBlockLen, int(id.Symbol)
	if l.fecID() == wire.SmallBlock {
		k = int(id.BlockLen) // the sender may have shortened the block
	}
	switch {
	case k < 1 || esi >= l.scheme.Symbols(k): // none has more than the maximum source block length
		return errUseless
	case len(payload) > l.E || len(payload) < 1:
		return wire.ErrLength
	case esi >= k && l.partialParity(0):
		return errUseless
	case esi < k:
		if _, _, err := wire.ParseStreamPayload(payload); err != nil {
			return err
		}
	}
	if !r.enterStream(o, id.Block, repair) {
		return nil
	}
	r.followStream(o, l.index(id.Block))
	r.rebase(o)
	n := l.index(id.Block)
	switch {
	case st.ended && n > st.endBlock:
		return errUseless // "the receiver MUST NOT expect content (or request repair for any content) following that position"
	case n < st.block || o.isDone(n):
		r.stats.Duplicates++
		return nil
	case n-st.block >= st.window: // the application is slow
		st.full = true
		r.stats.NoBuffer++
		return nil
	}
	if l.fecID() == wire.SmallBlock && !r.shorten(o, n, k, esi) {
		return nil
	}
	return r.store(o, n, esi, payload)
}

// lengthRank says how much a symbol counts for the length of its block.
//
// "that "source_block_len" associated with segments containing parity content SHALL override the previously advertised
// "source_block_len". Similarly, the "source_block_len" associated with the highest ordinal "encoding_symbol_id" SHALL take
// precedence over prior symbols when a difference (e.g., due to code shortening at the sender) occurs." RFC 5740, Section
// 4.2.3.1.
func lengthRank(k, esi int) int {
	if esi >= k {
		return 1<<16 + esi
	}
	return esi
}

// shorten gives a block the length that a symbol tells, unless a better one is known, and reports whether that symbol is
// then still of use. What is held beyond a corrected length is dropped, and so is parity, which was of another code.
func (r *Receiver) shorten(o *incoming, n uint32, k, esi int) bool {
	b := o.block(n)
	if b == nil {
		b = r.newBlock(o, n)
	}
	rank := lengthRank(k, esi)
	if rank < b.lenBy {
		return esi < b.k == (esi < k) && esi < o.layout.scheme.Symbols(b.k)
	}
	if b.lenBy = rank; k == b.k {
		return true
	}
	b.held -= len(b.parity)
	b.parity, b.repair, b.lent = b.parity[:0], b.repair[:0], b.lent[:0]
	for i := k; i < b.k; i++ {
		if b.source.has(i) {
			b.source.remove(i)
			b.held--
		}
	}
	b.k, b.asked = k, 0
	if st := o.stream; st.block == n && st.symbol >= k {
		r.skipTo(o, n+1) // all of it is read
		r.progress(o)
		return false
	}
	if b.held < k {
		return true
	}
	r.finish(b)
	r.progress(o)
	return false
}

// enterStream begins reception with the first block heard, and reports whether it has begun.
//
// "For objects of type NORM_OBJECT_STREAM, it is RECOMMENDED the join policy constrain receivers to begin reliable reception at
// the current FEC coding block for which non-repair content is received", RFC 5740, Section 5.2. That is for those that come
// late; if the policy has it, and in a stream that began after we came, all that the sender has buffered is asked for.
func (r *Receiver) enterStream(o *incoming, number uint32, repair bool) bool {
	l, st := &o.layout, o.stream
	if st.begun {
		return true
	}
	if st.late && repair {
		return false
	}
	first := number
	if !st.late {
		// The sender's buffer reaches back so far, but not beyond the beginning of the stream, which is block 0 by custom. What is
		// not there any more is squelched.
		first -= min(number, l.blocks-1)
	}
	l.base = (first - baseLead) & l.blockMask()
	st.begun = true
	st.block, o.join, o.open = baseLead, baseLead, baseLead
	st.heard = l.index(number)
	return true
}

// followStream moves the window when the sender has come to block n: what its buffer cannot hold any more is given up, and so is,
// with StreamLive, what ours cannot.
func (r *Receiver) followStream(o *incoming, n uint32) {
	l, st := &o.layout, o.stream
	if n <= st.heard {
		return
	}
	st.heard, st.part = n, 0
	if n >= o.join+l.blocks {
		r.giveUp(o, n-l.blocks+1)
	}
	if r.cfg.StreamLive && n >= st.block+st.window {
		r.giveUp(o, n-st.window+1)
		r.skipTo(o, n-st.window+1)
	}
}

// giveUp gives up what is missing before block n: it is not asked for any more, and reading skips it.
func (r *Receiver) giveUp(o *incoming, n uint32) {
	st := o.stream
	if n <= o.join {
		return
	}
	missing := o.firstOpen() < n
	if o.join = n; missing {
		st.lost = n
	}
	if r.cfg.StreamUnordered {
		if missing {
			r.events.push(Event{Kind: StreamBreak, Sender: o.remote.id, Object: o.handle})
		}
		r.passRead(o)
	} else {
		r.skipMissing(o)
	}
	r.progress(o)
}

// squelchStream gives up what is before the start of the sender's repair window, which may be ahead of all we know.
func (r *Receiver) squelchStream(o *incoming, number uint32) {
	if !o.known || !r.enterStream(o, number, false) {
		return
	}
	r.giveUp(o, o.layout.index(number))
	r.rebase(o)
}

// skipMissing moves the place of reading over what is missing and was given up.
func (r *Receiver) skipMissing(o *incoming) {
	st := o.stream
	for st.block < o.join && !o.readable() {
		if b := o.block(st.block); b == nil {
			r.skipTo(o, min(o.join, o.nextHeld(st.block)))
		} else {
			r.nextSymbol(o, b)
		}
	}
}

// nextSymbol moves the place of reading behind a symbol, and frees the block if it was the last.
func (r *Receiver) nextSymbol(o *incoming, b *block) {
	st := o.stream
	if st.symbol, st.byte = st.symbol+1, 0; st.symbol == b.k {
		r.skipTo(o, b.number+1)
	}
}

// nextHeld returns the first block from n on of which something is held, or streamBlocks.
func (o *incoming) nextHeld(n uint32) uint32 {
	first := uint32(streamBlocks)
	for _, b := range o.blocks {
		if b.number >= n {
			first = min(first, b.number)
		}
	}
	return first
}

// skipTo frees the blocks before n; reading goes on there if it was before.
func (r *Receiver) skipTo(o *incoming, n uint32) {
	st := o.stream
	if n <= st.block {
		return
	}
	for _, b := range o.blocks {
		if b.number < n {
			r.freeBlock(b)
		}
	}
	st.block, st.symbol, st.byte = n, 0, 0
}

// rebase counts the blocks of a stream from a later base when they have come far from it, so that their numbers stay small.
func (r *Receiver) rebase(o *incoming) {
	st := o.stream
	if st.block < 2*max(st.window, baseLead) {
		return
	}
	by := (st.block - baseLead) &^ 63 // whole words of the set of blocks done
	o.layout.base += by
	st.block -= by
	st.heard -= min(st.heard, by)
	st.endBlock -= min(st.endBlock, by)
	st.lost -= min(st.lost, by)
	o.join -= by
	o.open -= min(o.open, by)
	o.done = o.done[:copy(o.done, o.done[min(int(by/64), len(o.done)):])]
	for _, b := range o.blocks {
		b.number -= by
	}
	s := o.remote
	for _, m := range [...]*mark{&s.position, &s.joined, &s.nack.limit} {
		if m.object == o.id {
			m.block -= min(m.block, by)
		}
	}
	if s.acks != nil {
		for i := range s.acks.owed {
			if m := &s.acks.owed[i].through; m.object == o.id {
				m.block -= min(m.block, by)
			}
		}
	}
	s.nack.others.content.rebase(originFor(s.nack.limit.object), o.id, by)
}

// storedSegment takes note of a source symbol of a stream that is there, received or rebuilt.
func (r *Receiver) storedSegment(b *block, esi int) {
	st := b.object.stream
	h, _, err := wire.ParseStreamPayload(b.slot(esi))
	if code, control := h.Control(); err == nil && control && code == wire.StreamEnd && !st.ended {
		st.ended, st.endBlock, st.endSymbol = true, b.number, esi
	}
	if r.cfg.StreamUnordered && !b.fresh {
		b.fresh = true
		st.fresh.add(b)
	}
}

// progress tells that a stream became readable, or complete.
func (r *Receiver) progress(o *incoming) {
	st := o.stream
	if o.state != accepted {
		return
	}
	if !st.told && o.readable() {
		st.told = true
		r.events.push(Event{Kind: StreamReadable, Sender: o.remote.id, Object: o.handle})
	}
	if st.ended && o.allBefore(st.endBlock, st.endSymbol+1) && (!o.hasInfo || o.gotInfo) {
		o.state, o.instance = complete, o.remote.instance
		r.events.push(Event{Kind: ObjectComplete, Sender: o.remote.id, Object: o.handle})
		o.remote.settle(o)
		if r.kept = append(r.kept, o); len(r.kept) > r.cfg.MaxObjects {
			r.release(r.kept[0])
		}
	}
}

// allBefore reports whether nothing is missing of the blocks before n and of the first source symbols of that.
func (o *incoming) allBefore(n uint32, symbols int) bool {
	open := o.firstOpen()
	if open != n || symbols == 0 {
		return open >= n
	}
	b := o.block(n)
	return b != nil && b.source.absent(0) >= symbols
}

// readable reports whether something is to be read.
func (o *incoming) readable() bool {
	st := o.stream
	if st.fresh.oldest != nil {
		return true
	}
	b := o.block(st.block)
	return b != nil && st.symbol < b.k && b.source.has(st.symbol)
}

// A Piece is what one [Receiver.ReadStream] returned, in one run of bytes of the stream.
type Piece struct {
	Len    int   // bytes read
	Offset int64 // of the first of them: payload_offset, which counts on where its 32 bits wrap
	Start  bool  // a message begins with the first byte; those before it are not among them
	Gap    bool  // something is missing before them, as StreamBreak has told
	End    bool  // NORM_STREAM_END: nothing follows
}

// ReadStream reads from a stream into p, in order. It stops where a message begins (as far as the sender could tell: of
// several that begin in a segment the first), where something is missing, and at the end. If there is nothing to read, the
// Piece is empty, and StreamReadable tells when there is something.
//
// With StreamUnordered it reads what came first; a Piece then is of one segment at most, and there is no End, for content
// before it may come later: ObjectComplete tells.
//
// What is read leaves memory. Unless StreamLive is set, an application that does not read stops reception when the window is
// full: what follows is left out, and asked for when there is room, if the sender has it still.
//
// The error is [ErrUnknownObject].
func (r *Receiver) ReadStream(now time.Time, h Handle, p []byte) (Piece, error) {
	o := r.objects[h]
	if o == nil || o.stream == nil || o.state != accepted && o.state != complete {
		return Piece{}, ErrUnknownObject
	}
	var piece Piece
	if r.cfg.StreamUnordered {
		piece = r.readFresh(o, p)
	} else {
		for r.readOn(o, p, &piece) {
		}
	}
	st := o.stream
	if piece.Len == 0 && !o.readable() {
		st.told = false
	}
	o.received += int64(piece.Len)
	r.rebase(o)
	if s := o.remote; st.full && st.heard-st.block < st.window && o.state == accepted {
		st.full = false
		r.startNack(now, s, s.position)
	}
	return piece, nil
}

// readOn reads as much as is in one segment, and reports whether the piece may go on in the next.
func (r *Receiver) readOn(o *incoming, p []byte, piece *Piece) bool {
	st := o.stream
	if !o.readable() || piece.Len == len(p) {
		return false
	}
	b := o.block(st.block)
	h, data, err := wire.ParseStreamPayload(b.slot(st.symbol))
	code, control := h.Control()
	switch {
	case err != nil: // rebuilt from what contradicts itself
		r.stats.Drops.Malformed++
		r.pass(o, b)
		return true
	case control && code == wire.StreamEnd:
		if piece.Len == 0 {
			piece.End, piece.Offset = true, st.offset
		}
		return false
	case control: // defined by other specifications, if at all: it is no content
		r.pass(o, b)
		return true
	}
	if st.byte == 0 && st.synced && h.Offset != uint32(st.offset) {
		if piece.Len > 0 {
			return false
		}
		lost := int64(h.Offset - uint32(st.offset))
		r.events.push(Event{Kind: StreamBreak, Sender: o.remote.id, Object: o.handle, Range: Range{st.offset, lost}})
		st.offset += lost
		piece.Gap = true
	}
	if !st.synced {
		st.synced, st.offset = true, int64(h.Offset)
	}
	start := int(h.MsgStart) - 1
	switch {
	case start == st.byte && piece.Len > 0:
		return false
	case start > st.byte:
		data = data[:start]
	}
	if piece.Len == 0 {
		piece.Offset, piece.Start = st.offset, start == st.byte
	}
	n := copy(p[piece.Len:], data[st.byte:])
	piece.Len += n
	st.offset += int64(n)
	if st.byte += n; st.byte == int(h.Len) {
		r.pass(o, b)
	}
	return true
}

// pass moves the place of reading behind a symbol, and over what was given up behind it.
func (r *Receiver) pass(o *incoming, b *block) {
	r.nextSymbol(o, b)
	r.skipMissing(o)
}

// readFresh reads the segment that came first of those not read.
func (r *Receiver) readFresh(o *incoming, p []byte) Piece {
	st := o.stream
	for b := st.fresh.oldest; b != nil; b = st.fresh.oldest {
		b.told = b.told.grown(b.k)
		for i := range b.k {
			if !b.source.has(i) || b.told.has(i) || st.byte > 0 && i != st.symbol {
				continue
			}
			h, data, err := wire.ParseStreamPayload(b.slot(i))
			if _, control := h.Control(); err != nil || control {
				b.told.add(i)
				continue
			}
			if !st.synced {
				st.synced, st.offset = true, int64(h.Offset)
			}
			at := st.offset + int64(int32(h.Offset-uint32(st.offset)))
			st.offset = max(st.offset, at)
			start := int(h.MsgStart) - 1
			piece := Piece{Offset: at + int64(st.byte), Start: start >= 0 && start == st.byte}
			if start > st.byte {
				data = data[:start]
			}
			piece.Len = copy(p, data[st.byte:])
			st.symbol = i
			if st.byte += piece.Len; st.byte == int(h.Len) {
				st.byte = 0
				b.told.add(i)
			}
			return piece
		}
		st.fresh.remove(b)
		b.fresh = false
		r.passRead(o)
	}
	return Piece{}
}

// passRead frees the blocks at the start of the window of which nothing is awaited and nothing is to be read.
func (r *Receiver) passRead(o *incoming) {
	st := o.stream
	for {
		b := o.block(st.block)
		switch {
		case b != nil && b.fresh, !o.isDone(st.block) && st.block >= o.join:
			return
		case b == nil && st.block < o.join:
			r.skipTo(o, min(o.join, o.nextHeld(st.block)))
		default:
			r.skipTo(o, st.block+1)
		}
	}
}

// flushStream takes note of how far NORM_CMD(FLUSH) says that the sender came.
func (r *Receiver) flushStream(o *incoming, id wire.PayloadID) {
	if !o.known || !r.enterStream(o, id.Block, false) {
		return
	}
	r.followStream(o, o.layout.index(id.Block))
	r.rebase(o)
	if o.layout.index(id.Block) == o.stream.heard {
		o.stream.part = max(o.stream.part, min(int(id.Symbol)+1, o.layout.params.MaxBlockLen))
	}
}

// bound limits what is asked for, the blocks before end and the first symbols of that, to what can be expected and kept.
func (st *inStream) bound(end uint64, part int) (uint64, int) {
	if last := uint64(st.endBlock); st.ended && (end > last || end == last && part > st.endSymbol+1) {
		end, part = last, st.endSymbol+1 // the last block is not full, so it has no parity
	}
	if limit := uint64(st.block) + uint64(st.window); end >= limit {
		end, part = limit, 0
	}
	return end, part
}

package norm

import (
	"github.com/multicast-upgrade/tool/norm/wire"
)

// header returns the common header of the next message. "NORM senders MUST set the "sequence" field of sender messages
// (NORM_INFO, NORM_DATA, and NORM_CMD)": one space for all of them that go to one group, and repairs get a fresh number
// too (RFC 5740, Section 4.1).
func (s *Sender) header() wire.Header {
	next := &s.sequence
	if s.elsewhere.next {
		next = &s.elsewhere.sequence
	}
	h := wire.Header{Source: s.cfg.Node, Sequence: *next}
	*next++
	return h
}

// senderHeader returns what all our messages say of the session.
func (s *Sender) senderHeader() wire.SenderHeader {
	return wire.SenderHeader{
		Instance:  s.cfg.Instance,
		GRTT:      s.grtt.code,
		Backoff:   uint8(s.cfg.BackoffFactor),
		GroupSize: s.groupSize,
	}
}

// encoded panics if a message could not be encoded: all we put in one was checked when it came in.
func encoded(b []byte, err error) []byte {
	if err != nil {
		panic("norm: " + err.Error())
	}
	return b
}

// appendNew appends the next message of new content: the NORM_INFO of an object, which "SHALL be transmitted as the first
// message for the NormObject" (RFC 5740, Section 4.2.2), then its blocks in order, and in each the source symbols and then
// the proactive parity. It appends nothing while the block is being read.
func (s *Sender) appendNew(b []byte) []byte {
	o := s.current
	if o.info != nil && !o.infoSent {
		o.infoSent = true
		b = s.appendInfo(b, o, 0)
		s.at = infoCursor(o.id).after()
		s.reached(o, o.position(o.id, uint32(o.block), 0))
		s.advance(o)
		return b
	}
	if s.cfg.RepeatInfo && o.info != nil && o.symbol == 0 && o.infoAt < o.block {
		o.infoAt = o.block
		return s.appendInfo(b, o, wire.FlagRepair)
	}
	buf := s.buffered(o, uint32(o.block))
	if buf == nil {
		return b
	}
	b = s.appendData(b, buf, o.symbol, 0)
	if o.stream != nil {
		o.stream.count(buf, o.symbol)
	}
	if o.symbol < o.BlockLen(buf.block) {
		s.stats.Data++
	} else {
		s.stats.Parity++
	}
	s.at = cursor{o.id, buf.block, o.symbol}.after()
	s.reached(o, s.data.Position)
	o.symbol++
	s.advance(o)
	return b
}

// reached takes note of the newest content that was sent.
func (s *Sender) reached(o *outgoing, p wire.Position) {
	s.position, s.transmitted = p, true
	o.front, o.unflushed = p, true
}

// advance moves the transmit position over the end of a block and of the object.
func (s *Sender) advance(o *outgoing) {
	if o.stream != nil {
		s.advanceStream(o)
		return
	}
	s.flushDue = true
	if o.block < o.N {
		if !s.blockSent(o) {
			return
		}
		o.block, o.symbol = o.block+1, 0
		s.readAheadDue = true
	}
	if o.block == o.N {
		o.sent, o.sentAt = true, s.pacer.at
		s.lookForRoom()
		s.askSoon(s.pacer.at)
		s.emit(Event{Kind: ObjectSent, Object: o.handle})
		s.current = nil
		s.startNext()
	}
}

// appendData appends the NORM_DATA of a symbol: the header, and behind it the symbol, copied to where it is sent from.
func (s *Sender) appendData(b []byte, buf *blockBuffer, symbol int, flags wire.Flags) []byte {
	o := buf.object
	s.noteSent(o)
	s.show()
	if o.stream != nil {
		*o.stream.usedAt(buf.block) = s.pacer.at
	}
	s.data = wire.Data{
		Header:       s.header(),
		SenderHeader: s.senderHeader(),
		Flags:        o.flags | flags,
		Position:     o.position(o.id, buf.block, symbol),
		Extensions:   s.dataExtensions(o),
	}
	b = encoded(s.data.AppendBinary(b))
	if symbol < o.BlockLen(buf.block) {
		return append(b, buf.symbol(symbol)...)
	}
	// "the length of this field for messages containing parity content will always be of length NormSegmentSize":
	// RFC 5740, Section 4.2.1.
	return append(b, s.parity(buf, symbol)...)
}

// appendInfo appends the NORM_INFO of an object.
func (s *Sender) appendInfo(b []byte, o *outgoing, flags wire.Flags) []byte {
	s.stats.Infos++
	s.noteSent(o)
	s.show()
	s.info = wire.Info{
		Header:       s.header(),
		SenderHeader: s.senderHeader(),
		Flags:        o.flags | flags,
		FECID:        o.fecID(),
		Object:       o.id,
		Extensions:   o.ext,
		Payload:      o.info,
	}
	return encoded(s.info.AppendBinary(b))
}

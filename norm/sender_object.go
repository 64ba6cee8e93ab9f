package norm

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// An outgoing is an object that the sender holds: to be sent, being sent, or kept for repair.
type outgoing struct {
	layout
	handle     Handle
	id         TransportID
	kind       Kind
	flags      wire.Flags
	info       []byte
	ext        wire.Extensions // EXT_FTI; nil if no message carries it
	pinned     bool
	repairOnly bool

	// The transmit position of new content: what is before it was sent once.
	infoSent bool
	infoAt   uint64    // the block ahead of which NORM_INFO was sent last
	block    uint64    // N when all is sent
	symbol   int       // of block; source symbols first, then proactive parity
	unasked  int       // proactive parity of block, once its source symbols are sent
	sent     bool      // of a stream: its turn has come, all before it is sent
	sentAt   time.Time // of a stream: when all of it was
	used     time.Time // when any of it was sent, or asked for, last

	front     wire.Position // the newest content that was sent of it
	unflushed bool          // and no flush series came to its end since

	stream *outStream // of a stream

	asked  repairs      // by NACKs of the running aggregation
	plan   repairs      // to be sent
	parity parityLedger // what is left of fresh parity

	repeats repeatLedger
}

// SentObject is what a [Sender] knows about an object it holds.
type SentObject struct {
	ID       TransportID
	Kind     Kind
	Size     int64
	HasInfo  bool
	Sent     bool  // every symbol was sent once, or need not be (RepairOnly)
	Position int64 // bytes of content sent once
	Pending  bool  // repairs are being collected or sent
}

// Object returns what is known about an object; ok is false if it is not, or no longer, held.
func (s *Sender) Object(h Handle) (info SentObject, ok bool) {
	o := s.byHandle(h)
	if o == nil {
		return SentObject{}, false
	}
	return SentObject{
		ID: o.id, Kind: o.kind, Size: int64(o.size()), HasInfo: o.info != nil, Sent: o.sent && !o.open(),
		Position: o.bytesSent(), Pending: !o.asked.empty() || !o.plan.empty(),
	}, true
}

// bytesSent returns how much of the content was sent once.
func (o *outgoing) bytesSent() int64 {
	if o.stream != nil {
		return o.stream.sent
	}
	if o.sent || o.block >= o.N {
		return int64(o.L)
	}
	b := uint32(o.block)
	return int64(min(o.Offset(b, min(o.symbol, o.BlockLen(b))), o.L))
}

// blocksSent returns how many blocks were sent once from their first to their last symbol.
func (o *outgoing) blocksSent() uint64 {
	if o.sent && o.stream == nil {
		return o.N
	}
	return o.block
}

// begun reports whether anything of the object was sent, so that receivers may know of it.
func (o *outgoing) begun() bool {
	if o.stream != nil {
		return o.infoSent || o.stream.begun
	}
	return o.sent || o.infoSent || o.block > 0 || o.symbol > 0
}

// Enqueue adds an object behind those already given and returns its handle and NormTransportId. An object of Size zero
// has no NORM_DATA by RFC 5052, Section 9.1, so it is always announced by a NORM_INFO, an empty one if Info is nil.
//
// The oldest objects that are sent, not pinned and not held by flow control ([SenderConfig].FlowControl) are purged to
// stay within MaxObjects and MaxBytes. If that is not enough, [ErrTooManyObjects] is returned, as when the ids of the
// objects held would span half of the number space; a Vacancy event tells when to try again. [ErrEnding] after End.
func (s *Sender) Enqueue(now time.Time, obj Object) (Handle, TransportID, error) {
	s.expire(now)
	o, err := s.newOutgoing(obj)
	if err != nil {
		return 0, 0, err
	}
	return s.add(now, o)
}

// add puts an object behind those already given.
func (s *Sender) add(now time.Time, o *outgoing) (Handle, TransportID, error) {
	if !s.makeRoom(now, int64(o.size())) {
		return 0, 0, ErrTooManyObjects
	}
	s.lastHandle++
	o.handle, o.id = s.lastHandle, s.nextID
	s.nextID++
	s.objects = append(s.objects, o)
	s.bytes += int64(o.size())
	if o.stream != nil {
		s.streams = append(s.streams, o)
	}
	s.startNext()
	s.probeSooner(now)
	s.settle(now)
	return o.handle, o.id, nil
}

func (s *Sender) newOutgoing(obj Object) (*outgoing, error) {
	if err := s.mayAdd(obj.Info); err != nil {
		return nil, err
	}
	switch {
	case obj.Size < 0:
		return nil, fmt.Errorf("norm: Size %d: want bytes", obj.Size)
	case obj.Kind > File:
		return nil, fmt.Errorf("norm: Kind %d: want Data or File; a stream is opened by OpenStream", obj.Kind)
	case s.cfg.MaxBytes > 0 && obj.Size > s.cfg.MaxBytes:
		return nil, fmt.Errorf("norm: Size %d: MaxBytes is %d", obj.Size, s.cfg.MaxBytes)
	}
	cut, err := newLayout(s.cfg.FEC, uint64(obj.Size))
	if err != nil {
		return nil, fmt.Errorf("norm: Size %d: %w", obj.Size, err)
	}
	o := &outgoing{layout: cut, kind: cmp.Or(obj.Kind, Data), pinned: obj.Pinned, repairOnly: obj.RepairOnly}
	if obj.Info != nil || obj.Size == 0 {
		o.setInfo(obj.Info)
	}
	if o.kind == File {
		o.flags |= wire.FlagFile
	}
	if obj.Unreliable {
		o.flags |= wire.FlagUnreliable
	}
	if !obj.RepairOnly {
		o.parity.base = max(s.cfg.AutoParity, 0)
	}
	return o, s.attachFTI(o)
}

// mayAdd returns why no object with that NORM_INFO can be added.
func (s *Sender) mayAdd(info []byte) error {
	switch {
	case s.ending:
		return ErrEnding
	case len(info) > s.cfg.SegmentSize: // "its size MUST fit into the payload portion of a single NORM message"
		return fmt.Errorf("norm: Info of %d bytes: NORM_INFO holds at most the segment size, %d", len(info), s.cfg.SegmentSize)
	}
	return nil
}

// Cancel lets go of an object, sent or not. Repair requests for it are answered by NORM_CMD(SQUELCH) from now on.
func (s *Sender) Cancel(now time.Time, h Handle) error {
	s.expire(now)
	o := s.byHandle(h)
	if o == nil {
		return ErrUnknownObject
	}
	s.purge(o, ErrCancelled)
	s.settle(now)
	return nil
}

// purge lets go of an object and of all that refers to it.
func (s *Sender) purge(o *outgoing, err error) {
	i, _ := s.index(o.id)
	s.objects = slices.Delete(s.objects, i, i+1)
	s.bytes -= int64(o.size())
	s.streams = slices.DeleteFunc(s.streams, func(have *outgoing) bool { return have == o })
	s.cache.forget(o)
	s.repairPool.release(&o.asked)
	s.repairPool.release(&o.plan)
	if s.repair == o {
		s.repair = s.firstRepair(i)
	}
	if s.current == o {
		s.current = nil
		s.startNext()
	}
	s.readAheadDue = true
	s.endAcks(err, func(q *ackRequest) bool { return q.object == o })
	s.lookForRoom()
	s.emit(Event{Kind: ObjectPurged, Object: o.handle, Err: err})
}

// startNext makes the first object that is not sent the current one, if there is none. Objects that are for repair only
// are passed.
func (s *Sender) startNext() {
	if s.current != nil {
		return
	}
	s.readAheadDue = true
	for _, o := range s.objects[s.firstUnsent():] {
		if !o.repairOnly && o.stream == nil {
			s.current = o
			break
		}
		if o.sent = true; o.repairOnly {
			s.passed(o)
		}
	}
	s.tendStreams()
}

// firstUnsent returns the index of the first object that is not sent. Objects are sent in order.
func (s *Sender) firstUnsent() int {
	i, _ := slices.BinarySearchFunc(s.objects, true, func(o *outgoing, _ bool) int {
		if o.sent {
			return -1
		}
		return 1
	})
	return i
}

// passed makes an object that is not sent on its own one that was, and sets the transmit position to the last source
// symbol of it.
func (s *Sender) passed(o *outgoing) {
	o.sent, o.sentAt = true, s.pacer.at
	s.reached(o, o.lastPosition())
	s.flushDue, s.flushing = true, false // a flush series begins anew
	s.askSoon(s.pacer.at)
}

func (s *Sender) byHandle(h Handle) *outgoing {
	i, ok := slices.BinarySearchFunc(s.objects, h, func(o *outgoing, h Handle) int { return cmp.Compare(o.handle, h) })
	if !ok {
		return nil
	}
	return s.objects[i]
}

// index returns where the object with the given id is or would be among those held.
func (s *Sender) index(id TransportID) (i int, ok bool) {
	return slices.BinarySearchFunc(s.objects, id, func(o *outgoing, id TransportID) int {
		switch {
		case o.id == id:
			return 0
		case o.id.Before(id):
			return -1
		}
		return 1
	})
}

package norm

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// offer tells the application of a new object whose layout is known.
func (r *Receiver) offer(o *incoming) {
	o.state = offered
	r.name(o)
	r.events.push(Event{Kind: ObjectOffered, Sender: o.remote.id, Object: o.handle})
}

// name gives an object its handle.
func (r *Receiver) name(o *incoming) {
	r.handles++
	o.handle = r.handles
	if r.objects == nil {
		r.objects = make(map[Handle]*incoming)
	}
	r.objects[o.handle] = o
}

// Accept answers ObjectOffered: the object is to be received. The error is [ErrUnknownObject].
func (r *Receiver) Accept(now time.Time, h Handle) error {
	o := r.objects[h]
	if o == nil {
		return ErrUnknownObject
	}
	if o.state != offered {
		return nil
	}
	o.state = accepted
	if o.gotInfo {
		r.events.push(Event{Kind: ObjectInfo, Sender: o.remote.id, Object: h})
	}
	for _, b := range o.blocks { // at most the one of the message that announced the object
		if b.held == b.k {
			r.finish(b)
		}
	}
	if r.checkComplete(o); o.stream != nil {
		r.progress(o)
	}
	if s := o.remote; s.reached {
		r.startNack(now, s, s.position) // the boundary was entered just now, with the message that announced the object
	}
	return nil
}

// Reject answers ObjectOffered: the object is ignored for good, and its handle released. The error is
// [ErrUnknownObject].
func (r *Receiver) Reject(now time.Time, h Handle) error {
	o := r.objects[h]
	if o == nil {
		return ErrUnknownObject
	}
	r.release(o)
	return nil
}

// Expect announces an object that the application knows beforehand. It is accepted at once, without ObjectOffered. It
// is asked for as soon as the sender's transmit position is behind it, whatever the join policy, and neither
// NORM_CMD(SQUELCH), NORM_CMD(EOT) nor a restart of the sender aborts it.
func (r *Receiver) Expect(now time.Time, p Preset) (Handle, error) {
	if p.Size < 0 || p.Kind > File {
		return 0, fmt.Errorf("norm: Preset: size %d, kind %d", p.Size, p.Kind)
	}
	l, err := newLayout(p.FEC, uint64(p.Size))
	if err != nil {
		return 0, err
	}
	if !r.affordable(&l) {
		return 0, errors.New("norm: Preset: the object is beyond MaxObjectSize, or its blocks beyond Buffer")
	}
	if err := checkNode(p.Sender, r.cfg.Group); err != nil {
		return 0, err
	}
	s := r.senders[p.Sender]
	if s == nil {
		if s = r.addSender(p.Sender); s == nil {
			return 0, fmt.Errorf("norm: Preset: objects are expected from MaxSenders = %d senders already", r.cfg.MaxSenders)
		}
	}
	if o := s.preset(p.ID); o != nil && o.preset {
		return 0, fmt.Errorf("norm: Preset: object %d of sender %v is expected already", p.ID, p.Sender)
	}
	if o := s.find(p.ID); o != nil && o != settled {
		r.release(o)
	}
	o := &incoming{
		remote: s, id: p.ID, kind: max(p.Kind, Data), state: accepted, preset: true, nack: r.cfg.Nack,
		hasInfo: p.Info, known: true, layout: l,
	}
	r.name(o)
	s.addPreset(o)
	if s.segmentSize == 0 {
		s.segmentSize, s.fecID = l.E, l.fecID()
	}
	r.checkComplete(o)
	return o.handle, nil
}

// Present declares bytes of an accepted object that the sink holds already. They are never asked for, and reported by
// no ObjectData. A symbol of which only a part is declared counts as missing. The error is [ErrUnknownObject], or
// names a range beyond the object.
func (r *Receiver) Present(now time.Time, h Handle, at Range) error {
	o, err := r.blocksOf(h, at)
	if err != nil || at.Length == 0 || o.state != accepted {
		return err
	}
	l := &o.layout
	for n := o.blockAt(at.Offset); uint64(n) < l.N && int64(l.Offset(n, 0)) < at.End(); n++ {
		if o.isDone(n) {
			continue
		}
		b, k := o.block(n), l.BlockLen(n)
		whole := Range{int64(l.Offset(n, 0)), int64(l.Offset(n, k-1)) + int64(l.SymbolLen(n, k-1)) - int64(l.Offset(n, 0))}
		if b == nil && at.Offset <= whole.Offset && whole.End() <= at.End() {
			o.received += whole.Length
			o.setDone(n)
			continue
		}
		r.presentSymbols(o, b, n, at)
	}
	r.checkComplete(o)
	return nil
}

// presentSymbols declares present the symbols of block n that lie within a range.
func (r *Receiver) presentSymbols(o *incoming, b *block, n uint32, at Range) {
	l := &o.layout
	if b != nil && (b.phase != collecting || b.rejected) {
		return
	}
	if b != nil && b.suspect != nil {
		r.presentSuspect(b, at)
		return
	}
	for i := range l.BlockLen(n) {
		start, size := int64(l.Offset(n, i)), int64(l.SymbolLen(n, i))
		if start < at.Offset || start+size > at.End() || b != nil && b.occupied(i) {
			continue
		}
		if b == nil {
			b = r.newBlock(o, n)
		}
		b.present(i)
		o.received += size
		if b.held == b.k {
			r.finishPresent(b)
			return
		}
	}
}

// finishPresent finishes a block that holds k symbols, the last of them declared present. Decoding it needs memory;
// without any, a parity symbol is given up and another one awaited.
func (r *Receiver) finishPresent(b *block) {
	if b.missing() > 0 && b.buf == nil && !r.grant(b) {
		b.giveUp(len(b.parity) - 1)
		return
	}
	r.finish(b)
}

// RejectRange takes back the delivery of bytes that turned out to be wrong: every symbol of the blocks they are in is
// dropped and asked for again, and those blocks are reported again by ObjectData. With [ReceiverConfig].Locate the blocks
// stay, and what is asked for is parity that tells which of their symbols are wrong. It works for objects in progress and
// for the last MaxObjects that are complete, which then become complete once more. The error is [ErrUnknownObject], or
// names a range beyond the object.
func (r *Receiver) RejectRange(now time.Time, h Handle, at Range) error {
	o, err := r.blocksOf(h, at)
	if err != nil || at.Length == 0 {
		return err
	}
	if o.state == complete && !r.resume(o) {
		return ErrUnknownObject
	}
	for n := o.blockAt(at.Offset); n <= o.blockAt(at.End()-1); n++ {
		b := o.block(n)
		if b != nil && r.rejectOpen(b, at) {
			continue
		}
		if b != nil {
			for i := range b.k {
				if b.told.has(i) {
					o.received -= int64(o.layout.SymbolLen(n, i))
				}
			}
			r.discard(b)
		}
		if o.isDone(n) {
			if b == nil {
				k := o.layout.BlockLen(n)
				o.received -= int64(o.layout.Offset(n, k-1)) + int64(o.layout.SymbolLen(n, k-1)) - int64(o.layout.Offset(n, 0))
			}
			o.reopen(n)
			if b == nil {
				r.takeBack(o, n)
			}
		}
	}
	return nil
}

// resume makes a complete object one in progress. It reports false if its sender is gone or in another run.
func (r *Receiver) resume(o *incoming) bool {
	s := o.remote
	if r.senders[s.id] != s || s.instance != o.instance && !o.preset {
		return false
	}
	o.state = accepted
	o.done = nil
	for n := range uint32(o.layout.N) {
		o.done = o.done.grown(int(n) + 1)
		o.done.add(int(n))
	}
	if !o.preset {
		r.kept = slices.DeleteFunc(r.kept, func(k *incoming) bool { return k == o })
		s.addPreset(o)
	}
	return true
}

// Abort gives an object up: it is aborted with [ErrCancelled]. The error is [ErrUnknownObject].
func (r *Receiver) Abort(now time.Time, h Handle) error {
	o := r.objects[h]
	if o == nil {
		return ErrUnknownObject
	}
	r.abort(o, ErrCancelled)
	return nil
}

// Object returns what is known of an object; ok is false if its handle was released. Those of complete objects are
// released when MaxObjects others have become complete, except preset ones.
func (r *Receiver) Object(h Handle) (object ReceivedObject, ok bool) {
	o := r.objects[h]
	if o == nil {
		return ReceivedObject{}, false
	}
	return o.describe(), true
}

// blocksOf returns the object with the handle h if the range is within it.
func (r *Receiver) blocksOf(h Handle, at Range) (*incoming, error) {
	o := r.objects[h]
	if o == nil || o.stream != nil {
		return nil, ErrUnknownObject
	}
	if at.Offset < 0 || at.Length < 0 || at.Length > o.size()-at.Offset {
		return nil, fmt.Errorf("norm: range of %d bytes at %d in an object of %d", at.Length, at.Offset, o.size())
	}
	return o, nil
}

// blockAt returns the block that holds a byte of the object.
func (o *incoming) blockAt(offset int64) uint32 {
	n, _, _, _ := o.layout.Locate(uint64(offset))
	return n
}

// checkComplete reports an object that became complete.
func (r *Receiver) checkComplete(o *incoming) {
	if o.state != accepted || !o.allHere() {
		return
	}
	o.state, o.instance = complete, o.remote.instance
	o.done, o.blocks = nil, nil
	r.events.push(Event{Kind: ObjectComplete, Sender: o.remote.id, Object: o.handle})
	o.remote.settle(o)
	if r.held.oldest == nil {
		r.pool.trim(keptBuffers)
	}
	if o.preset {
		return
	}
	if r.kept = append(r.kept, o); len(r.kept) > r.cfg.MaxObjects {
		r.release(r.kept[0])
	}
}

// abort tells the application that an object will not be completed, and releases it.
func (r *Receiver) abort(o *incoming, why error) {
	if why != ErrCancelled && (o.state == accepted || o.state == announced) {
		o.remote.lose(o.id)
	}
	if o.handle != 0 {
		r.events.push(Event{Kind: ObjectAborted, Sender: o.remote.id, Object: o.handle, Err: why})
	}
	r.release(o)
}

// release forgets an object. Memory that is being written or read is freed when that is done.
func (r *Receiver) release(o *incoming) {
	if o.state == complete {
		r.kept = slices.DeleteFunc(r.kept, func(k *incoming) bool { return k == o })
	}
	o.state = released
	delete(r.objects, o.handle)
	for _, b := range o.blocks {
		r.discard(b)
	}
	o.remote.settle(o)
	o.remote.presets = slices.DeleteFunc(o.remote.presets, func(p *incoming) bool { return p == o })
	o.info, o.done = nil, nil
}

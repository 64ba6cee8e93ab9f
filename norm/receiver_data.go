package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// maxBlocks is how many source blocks an incoming object may have: what the 24 bits of FEC Encoding ID 5 can number,
// 1.5 TB with the usual sizes. It bounds the memory that the application takes on by accepting one to 2 MiB.
const maxBlocks = 1 << 24

// handleData processes a NORM_DATA.
func (r *Receiver) handleData(now time.Time, m *wire.Data) error {
	if !r.cfg.Evidence.expects(m.Object) {
		return errDisbelieved
	}
	s, err := r.sender(now, m.Header, m.SenderHeader)
	if err != nil {
		return err
	}
	if m.Flags&wire.FlagRepair != 0 {
		r.stats.Repairs++
	}
	s.active, s.fecID = now, m.FECID
	id := s.payloadID(m.Position, m.Extensions)
	flags := m.Flags
	if !s.synced && r.isParity(s, m, id) {
		flags |= wire.FlagRepair // parity is no more of a beginning than a repair is
	}
	o, err := r.announce(s, m.Object, m.FECID, flags, m.Extensions, id.Block)
	if err == nil && o != nil {
		err = r.place(o, id, m.Payload, flags&wire.FlagRepair != 0)
	}
	if err == nil {
		at := mark{object: m.Object, block: s.index(m.Object, id.Block)}
		if flags&wire.FlagRepair == 0 {
			at = s.fresh(at)
		}
		r.reach(now, s, at)
	}
	return err
}

// isParity reports whether a NORM_DATA tells by its own EXT_FTI that it is parity.
func (r *Receiver) isParity(s *remote, m *wire.Data, id wire.PayloadID) bool {
	fti, ok := m.Extensions.FTI(m.FECID)
	if !ok {
		return false
	}
	l, err := layoutFromFTI(m.FECID, fti, s.code.read(r.cfg.Dialect, m.FECID, fti), m.Flags&wire.FlagStream != 0)
	return err == nil && int64(id.Symbol) >= int64(l.BlockLen(id.Block))
}

// handleInfo processes a NORM_INFO.
func (r *Receiver) handleInfo(now time.Time, m *wire.Info) error {
	if !r.cfg.Evidence.expects(m.Object) {
		return errDisbelieved
	}
	s, err := r.sender(now, m.Header, m.SenderHeader)
	if err != nil {
		return err
	}
	s.active = now
	if m.FECID.PayloadIDSize() == 0 {
		return wire.ErrFECID
	}
	s.fecID = m.FECID
	o, err := r.announce(s, m.Object, m.FECID, m.Flags|wire.FlagInfo, m.Extensions, 0)
	if err == nil && o != nil {
		err = r.placeInfo(o, m.Payload)
	}
	if err == nil {
		r.reach(now, s, mark{object: m.Object})
	}
	return err
}

// announce returns the object that a NORM_DATA or NORM_INFO belongs to, having learnt about it what the message says.
// It returns nil if the object is not received.
func (r *Receiver) announce(s *remote, id TransportID, fecID wire.FECID, flags wire.Flags, ext wire.Extensions, block uint32) (*incoming, error) {
	var first uint32 // block asked for, if we join within this object
	joining := !s.synced
	if joining {
		first = s.join(r.cfg, id, block, flags)
	}
	o := s.find(id)
	if o == nil && s.synced {
		r.extend(s, id)
		o = s.find(id)
	}
	switch {
	case o == settled || o == nil && !s.synced:
		return nil, nil
	case o == nil:
		o = &incoming{remote: s, id: id, kind: Data, join: first, nack: s.mode}
		if flags&wire.FlagStream != 0 { // overrides NORM_FLAG_FILE
			o.kind, o.stream = Stream, &inStream{late: joining && r.cfg.Join < JoinStream}
		}
		s.window.set(id, o)
	case (flags&wire.FlagStream != 0) != (o.stream != nil):
		return nil, errRefused // it is one or the other
	}
	s.current = o
	o.squelched = false
	o.hasInfo = o.hasInfo || flags&wire.FlagInfo != 0
	o.unreliable = o.unreliable || flags&wire.FlagUnreliable != 0
	if flags&wire.FlagFile != 0 && !o.known && o.stream == nil {
		o.kind = File
	}
	return o, r.learn(o, fecID, ext)
}

// learn takes the layout of an object from its EXT_FTI, and offers the object to the application when it is known.
func (r *Receiver) learn(o *incoming, fecID wire.FECID, ext wire.Extensions) error {
	if o.known && fecID != o.layout.fecID() {
		return errRefused // "FEC Encoding ID [...] is the same for all symbols of one object", RFC 5052, Section 6.1
	}
	fti, ok := ext.FTI(fecID)
	if !ok {
		return nil
	}
	if o.known {
		if !o.layout.agrees(fti) {
			return errRefused
		}
		return nil
	}
	l, err := layoutFromFTI(fecID, fti, o.remote.code.read(r.cfg.Dialect, fecID, fti), o.stream != nil)
	if err != nil || !r.affordable(&l) {
		// "Receivers with insufficient storage capability might wish to forego reliable reception (i.e., not NACK for) of
		// the indicated object." RFC 5740, Section 4.2.1. The EXT_FTI may be forged, so another one changes that.
		o.refused = true
		return errRefused
	}
	o.known, o.refused, o.layout = true, false, l
	o.remote.segmentSize = l.params.SegmentSize
	o.remote.code.note(l.params)
	if o.stream != nil {
		o.stream.window = min(l.blocks, uint32(max(int64(r.cfg.StreamBuffer)/(int64(l.ALarge)*int64(l.E)), 1)))
	}
	r.offer(o)
	return nil
}

// agrees reports whether an EXT_FTI says what is known already.
func (l *layout) agrees(fti wire.FTI) bool {
	known := l.fti()
	if l.fecID() != wire.RS { // others do not carry these
		known.M, known.G = fti.M, fti.G
	}
	return fti == known
}

// affordable reports whether an object keeps to our limits.
func (r *Receiver) affordable(l *layout) bool {
	small := int64(l.ALarge)*int64(l.E) <= int64(r.cfg.Buffer) && !(l.streaming() && r.keep > 0)
	return l.size() <= uint64(r.cfg.MaxObjectSize) && (l.N <= maxBlocks || l.streaming()) && small
}

// place puts a symbol where it belongs. What is marked as repair is no beginning of a stream.
func (r *Receiver) place(o *incoming, id wire.PayloadID, payload []byte, repair bool) error {
	l := &o.layout
	if o.state == complete {
		r.stats.Duplicates++
		return nil
	}
	if !o.known || o.state != accepted && !(o.state == offered && len(o.blocks) == 0) {
		return nil // before the application accepts, only the symbol is kept that announced the object
	}
	if o.stream != nil {
		return r.placeStream(o, id, payload, repair)
	}
	k, esi := l.BlockLen(id.Block), int(id.Symbol)
	switch {
	case k == 0 || esi >= l.symbols(id.Block): // no such block or symbol
		return errUseless
	case l.fecID() == wire.SmallBlock && int(id.BlockLen) != k: // blocks of files are not shortened
		return errUseless
	case len(payload) > l.E || len(payload) < l.leastLen(id.Block, esi):
		return wire.ErrLength
	case esi >= k && l.partialParity(id.Block):
		return errUseless
	}
	if o.isDone(id.Block) {
		r.stats.Duplicates++
		return nil
	}
	if esi < k {
		payload = payload[:l.SymbolLen(id.Block, esi)] // a sender may have padded the last one
	}
	return r.store(o, id.Block, esi, payload)
}

// store keeps a symbol, if it is new and there is memory for it.
func (r *Receiver) store(o *incoming, n uint32, esi int, payload []byte) error {
	b := o.block(n)
	switch {
	case b != nil && b.has(esi):
		r.stats.Duplicates++
		return nil
	case b != nil && (b.phase != collecting || b.rejected):
		r.stats.NoBuffer++
		return nil
	case r.refuses(o, n, esi, payload):
		return errForged
	case b == nil:
		b = r.newBlock(o, n)
	}
	o.recent = b
	if b.buf == nil && !r.grant(b) {
		r.stats.NoBuffer++
		r.dropEmpty(b)
		return nil
	}
	if b.held < b.k {
		b.put(esi, payload)
	} else {
		b.putExtra(esi, payload)
	}
	r.note(b, esi)
	o.remote.standing.came()
	r.stats.Data++
	if o.stream != nil && esi < b.k {
		r.storedSegment(b, esi)
	}
	if b.enough() && o.state == accepted {
		r.finish(b)
	}
	if o.stream != nil {
		r.progress(o)
	}
	return nil
}

// leastLen returns how many bytes of a symbol must be there: all of a source symbol, and of parity as many as the longest
// source symbol of its block has, which is all that NRL's implementation sends.
func (l *layout) leastLen(b uint32, esi int) int {
	if esi < l.BlockLen(b) {
		return l.SymbolLen(b, esi)
	}
	return l.SymbolLen(b, 0)
}

// placeInfo keeps the content of NORM_INFO.
func (r *Receiver) placeInfo(o *incoming, content []byte) error {
	switch {
	case !o.known: // nothing is kept of an object of unknown size
		return nil
	case o.gotInfo:
		r.stats.Duplicates++
		return nil
	case len(content) > o.layout.params.SegmentSize: // "limited to a single NormSegmentSize", RFC 5740, Section 4.2.2
		return wire.ErrLength
	}
	o.info = append([]byte{}, content...)
	o.gotInfo = true
	if o.state == accepted {
		r.events.push(Event{Kind: ObjectInfo, Sender: o.remote.id, Object: o.handle})
		if r.checkComplete(o); o.stream != nil {
			r.progress(o)
		}
	}
	return nil
}

package norm

import (
	"slices"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A window is what a receiver knows of a sender's objects in their circular order: those from base on are asked for.
// What is behind base is old, as far as half the circle.
type window struct {
	base    TransportID
	objects []*incoming // base, base+1, …; nil: never heard of; settled: needs nothing more
}

// next returns the id behind the last object heard of.
func (w *window) next() TransportID { return w.base + TransportID(len(w.objects)) }

// contains reports whether id is in the window.
func (w *window) contains(id TransportID) bool { return int(id-w.base) < len(w.objects) }

// get returns the object, nil if it was never heard of, or settled if it needs nothing more or is behind the window.
func (w *window) get(id TransportID) *incoming {
	switch {
	case w.contains(id):
		return w.objects[id-w.base]
	case id.Before(w.base):
		return settled
	}
	return nil
}

// set puts an object in its place; the window must contain it.
func (w *window) set(id TransportID, o *incoming) {
	w.objects[id-w.base] = o
	for len(w.objects) > 0 && w.objects[0] == settled {
		w.objects = w.objects[1:]
		w.base++
	}
}

// extend makes the window reach to id, which it must not be behind, without getting longer than limit. It returns the
// objects that had to leave.
func (w *window) extend(id TransportID, limit int) (gone []*incoming) {
	if w.contains(id) {
		return nil
	}
	keep := limit - 1 - int(id-w.next()) // of the objects now in the window, when those up to id have come
	if drop := len(w.objects) - max(keep, 0); drop > 0 {
		gone = w.objects[:drop:drop]
		w.objects = w.objects[drop:]
		w.base += TransportID(drop)
	}
	if keep < 0 {
		// "receivers SHOULD re-synchronize with a server when receiving object sequence identifiers sufficiently
		// out-of-range with the current state kept for a given source", RFC 5740, Section 4.2.1.
		w.base = id
	}
	for w.next() != id+1 {
		w.objects = append(w.objects, nil)
	}
	return gone
}

// preset returns the preset object with that id, or nil.
func (s *remote) preset(id TransportID) *incoming {
	for _, o := range s.presets {
		if o.id == id {
			return o
		}
	}
	return nil
}

// expected returns the last preset object that is to be asked for, or nil.
func (s *remote) expected() *incoming {
	for _, o := range slices.Backward(s.presets) {
		if o.wanted() {
			return o
		}
	}
	return nil
}

// addPreset adds o to the objects that are asked for wherever the window is.
func (s *remote) addPreset(o *incoming) {
	s.presets = append(s.presets, o)
	slices.SortStableFunc(s.presets, func(a, b *incoming) int { return int(int16(a.id - b.id)) })
	if s.synced && s.window.contains(o.id) {
		s.window.objects[o.id-s.window.base] = o
	}
}

// find returns the object with that id, settled if nothing more of it is needed, or nil if it was never heard of.
func (s *remote) find(id TransportID) *incoming {
	if s.current != nil && s.current.id == id {
		return s.current
	}
	if o := s.preset(id); o != nil {
		return o
	}
	if !s.synced {
		return nil
	}
	return s.window.get(id)
}

// index returns the block of an object with a source_block_number.
func (s *remote) index(id TransportID, number uint32) uint32 {
	if o := s.find(id); o != nil && o.known {
		return o.layout.index(number)
	}
	return number
}

// locate returns which symbol p names, of which of our blocks.
func (s *remote) locate(p wire.Position, ext wire.Extensions) wire.PayloadID {
	id := s.payloadID(p, ext)
	id.Block = s.index(p.Object, id.Block)
	return id
}

// settle takes an object that needs nothing more out of the window.
func (s *remote) settle(o *incoming) {
	if s.current == o {
		s.current = nil
	}
	if s.window.contains(o.id) && s.window.get(o.id) == o {
		s.window.set(o.id, settled)
	}
	if !o.preset { // complete once, then rejected
		s.presets = slices.DeleteFunc(s.presets, func(p *incoming) bool { return p == o })
	}
}

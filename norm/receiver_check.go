package norm

// A Verdict is what an application knows of a source symbol.
type Verdict uint8

const (
	Unknown Verdict = iota // nothing, or nobody asked for it yet
	Good                   // it is what the object has there
	Forged                 // it is not
)

// verdict returns what the application knows of a source symbol of a block.
func (r *Receiver) verdict(o *incoming, n uint32, i int, symbol []byte) Verdict {
	return r.cfg.Check(o.handle, int64(o.layout.Offset(n, i)), symbol)
}

// refuses reports whether a source symbol that arrived is forged. It takes no place in a block then.
func (r *Receiver) refuses(o *incoming, n uint32, esi int, payload []byte) bool {
	if r.cfg.Check == nil || o.stream != nil || esi >= o.layout.BlockLen(n) {
		return false
	}
	switch r.verdict(o, n, esi, payload) {
	case Forged:
		r.blame(o.remote, o.remote.origin(r.vigil.from))
		return true
	case Good:
		o.remote.origins.credit(o.remote.origin(r.vigil.from))
	}
	return false
}

// sift drops the source symbols of a block in memory that are known to be forged. It returns how many those were, and
// whether the others are known to be right.
func (r *Receiver) sift(b *block) (dropped int, certain bool) {
	if r.cfg.Check == nil {
		return 0, false
	}
	certain = true
	for i := range b.k {
		if !b.source.has(i) || b.told.has(i) {
			continue
		}
		switch r.verdict(b.object, b.number, i, b.slot(i)[:b.object.layout.SymbolLen(b.number, i)]) {
		case Forged:
			r.accuse(b, i)
			b.drop(i)
			dropped++
		case Unknown:
			certain = false
		}
	}
	return dropped, certain
}

// credible reports whether nothing that was rebuilt of a block is known to be wrong.
func (r *Receiver) credible(b *block) bool {
	if r.cfg.Check == nil || b.object.stream != nil {
		return true
	}
	for i, symbol := range r.decoder.dst {
		if symbol != nil && r.verdict(b.object, b.number, i, symbol[:b.object.layout.SymbolLen(b.number, i)]) == Forged {
			return false
		}
	}
	return true
}

// disbelieve deals with a block of which something wrong was rebuilt: of a source symbol that came before it could be
// checked, or of forged parity.
func (r *Receiver) disbelieve(b *block) {
	switch dropped, _ := r.sift(b); {
	case dropped > 0:
		r.await(b)
	case r.suspect(b, firstExtra):
		r.await(b)
	default:
		r.forsake(b)
	}
}

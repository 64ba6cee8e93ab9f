package norm

import (
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// maxDataHeader is the longest header of a NORM_DATA that a sender makes: 16 bytes, an fec_payload_id of 8 and an
// EXT_FTI of 16.
const maxDataHeader = 40

// A layout is how an object is cut into source blocks and symbols, and coded. Sender and receivers come to the same
// one, the sender from its configuration, a receiver from the EXT_FTI that it got or a [Preset].
type layout struct {
	fec.Partition
	circle
	params fec.Params // defaults filled in
	scheme fec.Scheme
}

// newLayout lays out an object of size bytes. It takes no memory that depends on p or size, and returns an error if the
// code cannot work or cannot number the blocks of an object that large.
func newLayout(p fec.Params, size uint64) (layout, error) {
	scheme, err := p.Scheme()
	if err != nil {
		return layout{}, err
	}
	p = scheme.Params()
	cut, err := p.Partition(size)
	return layout{Partition: cut, params: p, scheme: scheme}, err
}

// layoutFromFTI lays out an object as its EXT_FTI says, whose numbers may be anything.
func layoutFromFTI(id wire.FECID, fti wire.FTI, dialect fec.Dialect, stream bool) (layout, error) {
	if err := fti.Check(id); err != nil {
		return layout{}, err
	}
	last := int(fti.MaxN)
	if id == wire.SmallBlock {
		last = int(fti.NumParity)
	}
	p := fec.Params{
		ID: uint8(id), Instance: fti.Instance, M: fti.M, G: fti.G,
		SegmentSize: int(fti.SegmentSize), MaxBlockLen: int(fti.MaxBlockLen), Dialect: dialect,
	}
	if p = p.WithLastFTIField(last); stream {
		return newStreamLayout(p, fti.ObjectSize)
	}
	return newLayout(p, fti.ObjectSize)
}

// fecID returns the FEC Encoding ID as messages carry it.
func (l *layout) fecID() wire.FECID { return wire.FECID(l.params.ID) }

// fti returns the FEC Object Transmission Information. Its last field is a parity count for id 129 and in NRL's dialect,
// max_n otherwise.
func (l *layout) fti() wire.FTI {
	fti := wire.FTI{
		ObjectSize:  l.size(),
		SegmentSize: uint16(l.params.SegmentSize),
		MaxBlockLen: uint32(l.params.MaxBlockLen),
		Instance:    l.params.Instance,
		M:           l.params.M,
		G:           l.params.G,
	}
	last := uint16(l.params.LastFTIField())
	if l.fecID() == wire.SmallBlock {
		fti.NumParity = last
	} else {
		fti.MaxN = last
	}
	return fti
}

// symbols returns how many encoding symbols block b can have: a greater encoding_symbol_id is impossible.
func (l *layout) symbols(b uint32) int { return l.scheme.Symbols(l.BlockLen(b)) }

// parity returns how many parity symbols block b has for sure. A block shorter than the longest may have more by some
// readings of max_n, which RFC 5510 leaves open; neither sender nor receiver counts on them.
func (l *layout) parity(b uint32) int {
	return min(l.params.MaxParity, l.symbols(b)-l.BlockLen(b))
}

// position names a symbol of a block of the object with the given id, or of an empty object its only place, 0/0.
func (l *layout) position(id TransportID, b uint32, symbol int) wire.Position {
	return l.positionIn(id, b, l.BlockLen(b), symbol)
}

// positionIn is position in a block of k source symbols, which may be fewer than BlockLen in a stream.
func (l *layout) positionIn(id TransportID, b uint32, k, symbol int) wire.Position {
	p := wire.PayloadID{Block: l.number(b), Symbol: uint32(symbol)}
	if l.fecID() == wire.SmallBlock {
		p.BlockLen = uint16(k)
	}
	raw, _ := p.Pack(l.fecID(), l.params.M) // newLayout has seen to it that blocks and symbols can be numbered
	return wire.Position{FECID: l.fecID(), Object: id, Raw: raw}
}

// locate returns which symbol of which block p names. Neither need exist.
func (l *layout) locate(p wire.Position) (b uint32, symbol int) {
	id := p.PayloadID(l.params.M)
	return l.index(id.Block), int(id.Symbol)
}

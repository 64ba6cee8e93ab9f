package norm

import (
	"iter"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A remoteCode is what a sender's EXT_FTIs told of its code in this run.
type remoteCode struct {
	m       uint8       // of the last one of FEC Encoding ID 2; 0: none yet
	id      uint8       // FEC Encoding ID of the first one of a Reed-Solomon code; 0: none yet
	dialect fec.Dialect // and how it is read
}

// note takes what an EXT_FTI told.
func (c *remoteCode) note(p fec.Params) {
	if p.ID == fec.ReedSolomon {
		c.m = p.M
	}
	if c.id == 0 && p.ID != fec.NoCode {
		c.id, c.dialect = p.ID, p.Dialect
	}
}

// read returns the dialect in which an EXT_FTI is to be read. DialectAuto decides at the first one of FEC Encoding IDs 2
// and 5 for the whole run of the sender: what that proves holds for objects in which nothing would. One that cannot be
// read so later is refused.
func (c *remoteCode) read(policy DialectPolicy, id wire.FECID, fti wire.FTI) fec.Dialect {
	switch {
	case policy == DialectRFC:
		return fec.RFC
	case policy == DialectNRL:
		return fec.NRL
	case policy == DialectMDP && id == wire.SmallBlock:
		return fec.MDP
	case (id == wire.RS || id == wire.RS8) && c.id != 0 && c.id != fec.SmallBlockSystematic:
		return c.dialect
	}
	return fec.RecogniseDialect(uint8(id), int(fti.MaxBlockLen), int(fti.MaxN))
}

// payloadID decodes a fec_payload_id of a message with the extensions ext.
//
// Where FEC Encoding ID 2 divides it into block and symbol is told by m of the object's FTI. As long as no FTI of the
// sender was heard, 16 is assumed, as NRL's receivers do. (That the decoder "MUST assume that m = 8", RFC 5510, Section
// 4.2.3, is about an FTI without m.) If it is 8 in truth, the block comes out too low, so a receiver that joins asks for
// more than it need; the other way round it would lose blocks.
func (s *remote) payloadID(p wire.Position, ext wire.Extensions) wire.PayloadID {
	if p.FECID != wire.RS {
		return p.PayloadID(0)
	}
	if o := s.find(p.Object); o != nil && o.known && o.layout.fecID() == wire.RS {
		return p.PayloadID(o.layout.params.M)
	}
	if fti, ok := ext.FTI(p.FECID); ok {
		return p.PayloadID(fti.M)
	}
	if s.code.m != 0 {
		return p.PayloadID(s.code.m)
	}
	return p.PayloadID(16)
}

// partialParity reports whether the parity of block b covers all of it but for the last byte, which NRL's senders do to
// symbols of odd length over GF(2^16). Nothing on the way would show a symbol rebuilt from it to be wrong, so such parity
// is neither asked for nor taken, and what is lost is repaired by source symbols.
func (l *layout) partialParity(b uint32) bool {
	return l.params.Dialect == fec.NRL && !l.params.WholeElements(l.SymbolLen(b, 0)) // symbol 0 is the longest
}

// usableParity returns how many parity symbols of block b a receiver counts on.
func (l *layout) usableParity(b uint32) int {
	if l.partialParity(b) {
		return 0
	}
	return l.parity(b)
}

// A RemoteSender is what a [Receiver] knows about a sender that it hears.
type RemoteSender struct {
	ID       NodeID        `json:"id"`
	Instance InstanceID    `json:"instance"`
	GRTT     time.Duration `json:"grtt_ns"` // as it advertises it
	FEC      uint8         `json:"fec_id"`  // FEC Encoding ID of its last content
	Dialect  string        `json:"dialect"` // in which its Reed-Solomon code is read: rfc, nrl, mdp; empty before an EXT_FTI told
}

// Senders returns the senders that are heard, in the order in which they first were.
func (r *Receiver) Senders() iter.Seq[RemoteSender] {
	return func(yield func(RemoteSender) bool) {
		for _, s := range r.order {
			info := RemoteSender{ID: s.id, Instance: s.instance, GRTT: s.grtt, FEC: uint8(s.fecID)}
			if s.code.id != 0 {
				info.Dialect = s.code.dialect.String()
			}
			if s.heard && !yield(info) {
				return
			}
		}
	}
}

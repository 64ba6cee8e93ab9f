package norm

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxOrigins is how many source addresses of one sender are told apart. Any datagram can have one of its own: what comes
	// from others is nobody's.
	maxOrigins = 16
	// originSilence is how long an address must have been silent to give way to another.
	originSilence = time.Minute
	// ignoreAfter is how many forged symbols make an address ignored, for ignoreFor, if none ever was right. So who forges the
	// address of the sender cannot have it ignored, and who sends copies of its datagrams beside what he forges is not
	// ignored either, which costs no more than what he forges.
	ignoreAfter = 4
	ignoreFor   = 10 * time.Second
)

// nowhere is the number of an address that is not told apart.
const nowhere = maxOrigins

// origins are where the symbols of a sender came from; nil as long as that is one address.
type origins struct{ list []sourceAddress }

type sourceAddress struct {
	addr         netip.AddrPort
	heard        time.Time
	right        uint64
	forged       uint64
	strikes      int // forged symbols since it was ignored
	ignoredUntil time.Time
}

// A stranger is a symbol of a block that came from another address than the first.
type stranger struct {
	esi  uint16
	from uint8
}

// A Liar is a source address from which forged symbols came in the name of a sender. It may be the sender's own, which
// others can forge.
type Liar struct {
	Sender  NodeID
	From    netip.AddrPort
	Forged  uint64    // symbols
	Ignored time.Time // what comes from there is ignored until then; zero or past: it is not
}

// Liars returns the addresses from which forged symbols came, as far as they are told apart: 16 for each sender.
func (r *Receiver) Liars() (all []Liar) {
	for _, s := range r.order {
		for _, a := range s.origins.all() {
			if a.forged > 0 {
				all = append(all, Liar{Sender: s.id, From: a.addr, Forged: a.forged, Ignored: a.ignoredUntil})
			}
		}
	}
	return all
}

// origin returns the number of an address that the sender is heard from now.
func (s *remote) origin(from netip.AddrPort) int {
	if s.origins == nil {
		if from == s.at.addr || !s.at.addr.IsValid() {
			return 0
		}
		s.origins = &origins{[]sourceAddress{{addr: s.at.addr, heard: s.heardAt}}}
	}
	i := s.origins.find(from)
	if i < 0 {
		i = s.origins.room(s.heardAt)
	}
	switch {
	case i == nowhere:
		return nowhere
	case i == len(s.origins.list):
		s.origins.list = append(s.origins.list, sourceAddress{addr: from})
	case s.origins.list[i].addr != from:
		s.origins.list[i] = sourceAddress{addr: from}
	}
	s.origins.list[i].heard = s.heardAt
	return i
}

func (o *origins) all() []sourceAddress {
	if o == nil {
		return nil
	}
	return o.list
}

// find returns the number of an address, or -1.
func (o *origins) find(addr netip.AddrPort) int {
	return slices.IndexFunc(o.all(), func(a sourceAddress) bool { return a.addr == addr })
}

// room returns the number for another address.
func (o *origins) room(now time.Time) int {
	if len(o.list) < maxOrigins {
		return len(o.list)
	}
	for i := 1; i < len(o.list); i++ {
		if now.Sub(o.list[i].heard) >= originSilence {
			return i
		}
	}
	return nowhere
}

// credit notes a right symbol from an address.
func (o *origins) credit(i int) {
	if all := o.all(); i < len(all) {
		all[i].right++
	}
}

// note remembers where a symbol of a block came from, if that is not where all do.
func (r *Receiver) note(b *block, esi int) {
	if r.vigil == nil {
		return
	}
	if from := b.object.remote.origin(r.vigil.from); from != 0 {
		b.strangers = append(b.strangers, stranger{uint16(esi), uint8(from)})
	}
}

// from returns the number of the address that a symbol of a block came from.
func (b *block) from(esi int) int {
	for _, s := range b.strangers {
		if int(s.esi) == esi {
			return int(s.from)
		}
	}
	return 0
}

// creditAll notes that all symbols of a block but some are right.
func (r *Receiver) creditAll(b *block, but []int) {
	for esi := range b.object.layout.symbols(b.number) {
		if b.has(esi) && !slices.Contains(but, esi) {
			b.object.remote.origins.credit(b.from(esi))
		}
	}
}

// accuse notes that a symbol of a block is forged.
func (r *Receiver) accuse(b *block, esi int) { r.blame(b.object.remote, b.from(esi)) }

// blame notes that a forged symbol came from an address.
func (r *Receiver) blame(s *remote, from int) {
	r.stats.Forged++
	if s.origins == nil {
		s.origins = &origins{[]sourceAddress{{addr: cmp.Or(s.at.addr, r.vigil.from), heard: s.heardAt}}}
	}
	if from >= len(s.origins.list) {
		return
	}
	a := &s.origins.list[from]
	if a.forged++; a.forged == 1 {
		r.events.push(Event{Kind: SymbolForged, Sender: s.id, Instance: s.instance, From: a.addr})
	}
	if a.strikes++; a.strikes >= ignoreAfter && a.right == 0 && a.addr != s.at.addr {
		a.ignoredUntil, a.strikes = s.heardAt.Add(ignoreFor), 0
		r.vigil.ignoring = true
	}
}

// ignores reports whether what comes from an address in the name of a sender is ignored.
func (r *Receiver) ignores(now time.Time, id NodeID, from netip.AddrPort) bool {
	if r.vigil == nil || !r.vigil.ignoring || r.senders[id] == nil {
		return false
	}
	known := r.senders[id].origins
	i := known.find(from)
	return i >= 0 && now.Before(known.list[i].ignoredUntil)
}

// maxLedger is of how many blocks a receiver remembers what they were made of.
const maxLedger = 64

// A ledger is the last blocks that were rebuilt, or in which symbols of strangers were.
type ledger struct {
	blocks [maxLedger]madeOf
	next   int
}

// A madeOf is what is remembered of a block in the sink.
type madeOf struct {
	object    *incoming
	number    uint32
	rebuilt   numberSet
	strangers []stranger
}

// record remembers what a block is made of that is about to be complete. Its missing source symbols are being rebuilt.
func (r *Receiver) record(b *block) {
	if !r.cfg.Locate || b.object.stream != nil {
		return
	}
	m := r.vigil.find(b.object, b.number)
	if len(b.strangers) == 0 && b.missing() == 0 {
		if m != nil {
			m.object = nil
		}
		return
	}
	if r.vigil.ledger == nil {
		r.vigil.ledger = new(ledger)
	}
	if m == nil {
		m = r.vigil.ledger.oldest()
	}
	m.object, m.number = b.object, b.number
	m.rebuilt = m.rebuilt[:0].grown(b.k)
	for i := range b.k {
		if !b.source.has(i) {
			m.rebuilt.add(i)
		}
	}
	m.strangers = append(m.strangers[:0], b.strangers...)
}

// oldest returns the place for another block.
func (l *ledger) oldest() *madeOf {
	m := &l.blocks[l.next]
	l.next = (l.next + 1) % maxLedger
	return m
}

// find returns what is remembered of a block, or nil.
func (v *vigil) find(o *incoming, n uint32) *madeOf {
	if v.ledger == nil {
		return nil
	}
	for i := range v.ledger.blocks {
		if m := &v.ledger.blocks[i]; m.object == o && m.number == n {
			return m
		}
	}
	return nil
}

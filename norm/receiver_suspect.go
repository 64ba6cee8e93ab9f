package norm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
)

// "Attacks such as injecting bogus FEC encoding symbols [...] If the receiver is not able to detect that a symbol is bogus,
// a single bogus symbol can prevent the decoding of a source block", as RFC 5052, Section 11 has it; NORM's own symbols have
// no checksum. So a block of which the application says that it is wrong ([Receiver.RejectRange]), or that rebuilds what
// [ReceiverConfig].Check refuses, is suspect, which makes it wait for more symbols than it has source symbols: two for each
// wrong one tell which those are ([fec.Scheme].Locate). Then only they are missing, as if they had been lost.

const (
	// maxSuspicions is how often a block is suspect before it is dropped as a whole. Each time it waits for four times as many
	// symbols as the time before: who knows the content can forge three symbols so that two others confirm them.
	maxSuspicions = 3
	// firstExtra is how many symbols more a block waits for when it is suspect for the first time.
	firstExtra = 2
	// maxRemembered is of how many blocks of an object it is remembered that they were suspect.
	maxRemembered = 1024
	// maxSearch bounds what searching wrong symbols takes in a second, in additions of a symbol: 32 searches in blocks of 128
	// source and 127 parity symbols, a third of a second with 1400 bytes each, or 4000 with two parity symbols. More blocks
	// wait for more symbols.
	maxSearch = 1 << 20
)

// A vigil is what a receiver keeps that looks for forged symbols.
type vigil struct {
	from     netip.AddrPort // of the datagram being handled
	ignoring bool           // there was an address that is ignored
	ledger   *ledger        // nil: nothing is remembered of blocks
	since    time.Time      // when the work of searching was counted from
	work     int            // since then, in additions of a symbol
}

// A suspicion is what a suspect block has beside its symbols.
type suspicion struct {
	want  int    // symbols beyond k that it waits for
	extra []int  // those that came, by their ESI
	buf   []byte // they themselves
}

func (x *suspicion) has(esi int) bool { return x != nil && slices.Contains(x.extra, esi) }

// symbol returns the i-th extra symbol.
func (x *suspicion) symbol(b *block, i int) []byte { return x.buf[i*b.width : (i+1)*b.width] }

// putExtra copies a symbol that is not held and of which there is one more than k.
func (b *block) putExtra(esi int, payload []byte) {
	x := b.suspect
	x.extra = append(x.extra, esi)
	dst := x.symbol(b, len(x.extra)-1)
	clear(dst[copy(dst, payload):])
}

// enough reports whether a block has the symbols it waits for.
func (b *block) enough() bool {
	return b.held == b.k && (b.suspect == nil || len(b.suspect.extra) == b.suspect.want)
}

// lacks returns how many symbols a block waits for.
func (b *block) lacks() int {
	n := b.k - b.held
	if b.suspect != nil {
		n += b.suspect.want - len(b.suspect.extra)
	}
	return n
}

// drop makes a symbol that is held one that is not.
func (b *block) drop(esi int) {
	switch p := slices.IndexFunc(b.parity, func(p parity) bool { return p.esi == esi }); {
	case b.suspect.has(esi):
		i, last := slices.Index(b.suspect.extra, esi), len(b.suspect.extra)-1
		copy(b.suspect.symbol(b, i), b.suspect.symbol(b, last))
		b.suspect.extra[i] = b.suspect.extra[last]
		b.suspect.extra = b.suspect.extra[:last]
	case p >= 0:
		b.giveUp(p)
	default:
		b.source.remove(esi)
		b.stored.remove(esi)
		b.held--
	}
	b.strangers = slices.DeleteFunc(b.strangers, func(s stranger) bool { return int(s.esi) == esi })
}

// absorb makes extra symbols take the places of those dropped.
func (b *block) absorb() {
	for x := b.suspect; b.held < b.k && len(x.extra) > 0; {
		last := len(x.extra) - 1
		esi, symbol := x.extra[last], x.symbol(b, last)
		x.extra = x.extra[:last]
		b.put(esi, symbol)
	}
}

// suspect makes a block wait for n symbols more. It reports false if that is in vain: there is not so much parity, or no
// memory. Half of what is beside one block may be taken for that, so that there always is a buffer to judge one in.
func (r *Receiver) suspect(b *block, n int) bool {
	x := b.suspect
	if n = min(n, b.object.layout.usableParity(b.number)); n < firstExtra || x != nil && n <= x.want {
		return false
	}
	if r.extra+n*b.width > (r.pool.limit-b.k*b.width)/2 {
		return false
	}
	buf := r.pool.get(n * b.width)
	if buf == nil {
		return false
	}
	r.extra += cap(buf)
	if x == nil {
		r.stats.Suspected++
		x = new(suspicion)
		b.suspect = x
	} else {
		copy(buf, x.buf)
		r.putExtra(x.buf)
	}
	x.want, x.buf = n, buf
	return true
}

// acquit ends a suspicion; of extra symbols only those that are missing in the block are kept.
func (r *Receiver) acquit(b *block) {
	if b.suspect != nil {
		b.absorb()
		r.trust(b)
	}
}

// trust ends a suspicion, with what is extra.
func (r *Receiver) trust(b *block) {
	if b.suspect != nil {
		r.putExtra(b.suspect.buf)
		b.suspect = nil
	}
}

func (r *Receiver) putExtra(buf []byte) {
	r.extra -= cap(buf)
	r.pool.put(buf)
}

// takeBack makes a block suspect that is in the sink and wrong, if that may help. What was rebuilt counts as missing, for it
// is wrong if anything is.
func (r *Receiver) takeBack(o *incoming, n uint32) {
	times := o.suspected[n]
	if !r.cfg.Locate || times == maxSuspicions {
		delete(o.suspected, n)
		return
	}
	if o.suspected == nil || len(o.suspected) == maxRemembered {
		o.suspected = make(map[uint32]uint8)
	}
	o.suspected[n] = times + 1
	b := r.newBlock(o, n)
	b.stored = b.stored.grown(b.k)
	made := r.vigil.find(o, n)
	for i := range b.k {
		if made == nil || !made.rebuilt.has(i) {
			b.source.add(i)
			b.stored.add(i)
			b.held++
		}
	}
	if made != nil {
		b.strangers = append(b.strangers, made.strangers...)
	}
	if b.held == 0 || !r.suspect(b, firstExtra<<(2*times)) {
		r.freeBlock(b)
		return
	}
	if r.cfg.Check != nil && r.grant(b) { // it may know at once
		r.held.remove(b)
		r.fetch(b)
	}
}

// forsake drops a suspect block of which nobody can tell what is wrong.
func (r *Receiver) forsake(b *block) {
	r.stats.Forsaken++
	b.object.unsetDone(b.number)
	r.discard(b)
}

// await lets a block in memory wait for more symbols.
func (r *Receiver) await(b *block) {
	b.object.unsetDone(b.number)
	b.phase, b.asked = collecting, 0
	r.held.add(b)
}

// judge finds the wrong symbols of a suspect block, all of which is in memory. It reports whether the block has k others.
func (r *Receiver) judge(b *block) bool {
	dropped, certain := r.sift(b)
	if dropped > 0 || certain && len(b.parity) == 0 {
		if r.acquit(b); b.held < b.k {
			r.await(b)
		}
		return b.held == b.k
	}
	if !b.enough() {
		r.await(b)
		return false
	}
	wrong, err := r.locateWrong(b)
	switch {
	case err == nil:
		r.stats.Located++
		r.creditAll(b, wrong)
		for _, esi := range wrong {
			r.accuse(b, esi)
			b.drop(esi)
		}
		r.acquit(b)
		return true
	case r.suspect(b, 2*b.suspect.want):
		r.await(b)
	default:
		r.forsake(b)
	}
	return false
}

// locateWrong returns which symbols of a block are wrong. None of what the application declared present is.
func (r *Receiver) locateWrong(b *block) ([]int, error) {
	if now := b.object.remote.heardAt; now.Sub(r.vigil.since) >= time.Second {
		r.vigil.since, r.vigil.work = now, 0
	}
	if r.vigil.work += (b.k + b.suspect.want) * b.suspect.want; r.vigil.work > maxSearch {
		return nil, fec.ErrNotLocated
	}
	if r.decoder == nil {
		r.decoder = new(decoder)
	}
	wrong, err := b.object.layout.scheme.Locate(r.decoder.gather(b), b.k, &r.rng)
	if slices.ContainsFunc(wrong, func(esi int) bool { return esi < b.k && b.told.has(esi) }) {
		return nil, fec.ErrNotLocated
	}
	return wrong, err
}

// presentSuspect declares present the symbols of a suspect block that lie within a range: they are right, whatever is in memory.
func (r *Receiver) presentSuspect(b *block, at Range) {
	o := b.object
	for i := range b.k {
		symbol := b.at(i, i)
		if symbol.Offset < at.Offset || symbol.End() > at.End() || b.told.has(i) {
			continue
		}
		if p := slices.IndexFunc(b.parity, func(p parity) bool { return p.slot == i }); p >= 0 {
			b.giveUp(p)
		}
		if b.source.has(i) {
			b.held--
		}
		b.present(i)
		o.received += symbol.Length
	}
	if b.told.count(b.k) == b.k {
		o.setDone(b.number)
		r.freeBlock(b)
	}
}

// rejectOpen takes back what was declared present of a range in a block that is being received after a suspicion. It
// reports false if there is no such block.
func (r *Receiver) rejectOpen(b *block, at Range) bool {
	if b.object.suspected[b.number] == 0 || b.object.isDone(b.number) {
		return false
	}
	for i := range b.k {
		if symbol := b.at(i, i); b.told.has(i) && symbol.Offset < at.End() && symbol.End() > at.Offset {
			b.told.remove(i)
			b.object.received -= symbol.Length
		}
	}
	return true
}

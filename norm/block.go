package norm

import "slices"

// A block is a coding block of an object being received, from its first symbol until its bytes are in the sink.
//
// Its buffer is what its source symbols will be in the object: k slots of E bytes. A parity symbol takes the slot of
// a source symbol that is missing; there are always enough, because with k symbols of any kind the block is decoded.
// So a block that must leave memory can be written to its place in the sink as it stands, and be read back.
type block struct {
	object *incoming
	number uint32
	k      int
	width  int    // bytes of each symbol in buf: all E, unless a Memory keeps fewer
	held   int    // symbols held, source and parity, in memory or in the sink
	lenBy  int    // of a stream: what told k, as lengthRank has it
	asked  int    // size of the set of symbols asked for first; 0: none yet
	buf    []byte // nil if nothing is in memory

	source numberSet // source symbols held
	repair numberSet // parity symbols held, from 0
	lent   numberSet // slots they are in
	stored numberSet // slots whose content is in the sink
	told   numberSet // source symbols the application declared present, or has read
	parity []parity  // those of repair, in the order they came

	suspect   *suspicion // nil: there is none
	strangers []stranger // symbols that came from another address than the first

	phase    phase
	io       int  // requests in flight
	rejected bool // to be dropped when they are done
	fresh    bool // of a stream: on its list of blocks to be read

	older, newer *block // in Receiver.held, while symbols are collected in buf, or in inStream.fresh
}

// A parity is a parity symbol held, and the slot it is in.
type parity struct{ esi, slot int }

// A phase is what a block is busy with.
type phase uint8

const (
	collecting phase = iota // symbols, if memory can be had
	spilling                // being written to the sink as it stands
	fetching                // being read back for decoding
	writing                 // has all its source symbols, being written to the sink
)

// reset makes b a block without symbols, keeping the memory of its sets.
func (b *block) reset(o *incoming, number uint32, width int) {
	*b = block{
		object: o, number: number, k: o.layout.BlockLen(number), width: width,
		source: b.source[:0], repair: b.repair[:0], lent: b.lent[:0], stored: b.stored[:0], told: b.told[:0], parity: b.parity[:0],
		strangers: b.strangers[:0],
	}
	b.source = b.source.grown(b.k)
}

// has reports whether the symbol esi is held.
func (b *block) has(esi int) bool {
	if b.suspect.has(esi) {
		return true
	}
	if esi < b.k {
		return b.source.has(esi)
	}
	return b.repair.has(esi - b.k)
}

// slot returns the bytes of slot i in memory.
func (b *block) slot(i int) []byte {
	return b.buf[i*b.width : (i+1)*b.width : (i+1)*b.width]
}

// freeSlot returns the lowest slot that holds nothing. The last slot is the last to be taken, so the short last symbol
// of an object makes no difference: when parity comes to stand there, the block is complete.
func (b *block) freeSlot() int {
	i := b.source.absent(0)
	for b.lent.has(i) {
		i = b.source.absent(i + 1)
	}
	return i
}

// lend puts a parity symbol in a slot.
func (b *block) lend(esi, slot int) {
	b.parity = append(b.parity, parity{esi, slot})
	b.repair = b.repair.grown(esi - b.k + 1)
	b.repair.add(esi - b.k)
	b.lent = b.lent.grown(b.k)
	b.lent.add(slot)
	b.held++
}

// giveUp drops one of the parity symbols, spilled as it is.
func (b *block) giveUp(p int) {
	b.stored.remove(b.parity[p].slot)
	b.lent.remove(b.parity[p].slot)
	b.repair.remove(b.parity[p].esi - b.k)
	b.parity = slices.Delete(b.parity, p, p+1)
	b.held--
}

// put copies a symbol that is not held into memory. It must not make more than k of them.
func (b *block) put(esi int, payload []byte) {
	i := esi
	if esi >= b.k {
		i = b.freeSlot()
		b.lend(esi, i)
	} else {
		b.source.add(esi)
		b.held++
		if b.lent.has(esi) {
			b.displace(slices.IndexFunc(b.parity, func(p parity) bool { return p.slot == esi }))
		}
	}
	n := copy(b.slot(i), payload)
	clear(b.slot(i)[n:]) // "virtually padded with zero elements", RFC 5510, Section 8.4
}

// displace moves a parity symbol from the slot of a source symbol that has just come. One that has been spilled is
// given up for it instead.
func (b *block) displace(p int) {
	from := b.parity[p].slot
	if b.stored.has(from) {
		b.giveUp(p)
		return
	}
	to := b.freeSlot()
	b.lent.remove(from)
	b.lent.add(to)
	copy(b.slot(to), b.slot(from))
	b.parity[p].slot = to
}

// occupied reports whether slot i holds a symbol.
func (b *block) occupied(i int) bool { return b.source.has(i) || b.lent.has(i) }

// present declares source symbol i to be in the sink.
func (b *block) present(i int) {
	b.source.add(i)
	b.stored = b.stored.grown(b.k)
	b.told = b.told.grown(b.k)
	b.stored.add(i)
	b.told.add(i)
	b.held++
}

// missing returns the number of source symbols not held.
func (b *block) missing() int { return b.k - b.source.count(b.k) }

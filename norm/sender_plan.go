package norm

import (
	"iter"
	"slices"

	"github.com/multicast-upgrade/tool/norm/fec"
)

// A cursor is a place in the order in which a sender transmits.
type cursor struct {
	object TransportID
	block  uint32
	symbol int // -1 is the NORM_INFO, ahead of symbol 0 of block 0
}

func infoCursor(id TransportID) cursor { return cursor{id, 0, -1} }

// after returns the place behind c.
func (c cursor) after() cursor { c.symbol++; return c }

func (c cursor) before(d cursor) bool {
	switch {
	case c.object != d.object:
		return c.object.Before(d.object)
	case c.block != d.block:
		return c.block < d.block
	}
	return c.symbol < d.symbol
}

// repairs are what is asked for, or is to be sent again, of one object. They hold only what NACKs add up to, nothing for
// each receiver.
type repairs struct {
	info   bool
	whole  blockSet       // blocks of which all source symbols are wanted
	blocks []*blockRepair // blocks of which some symbols are wanted, ascending

	deaf bool // by somebody who does not hear the repair group
}

// A blockRepair is what is wanted of a block.
type blockRepair struct {
	block    uint32
	symbols  bitset // asked for, or to be sent
	explicit bool   // to be sent with NORM_FLAG_EXPLICIT

	// While NACKs are collected: the greatest number of symbols that one receiver lacks, and how many the NACK being
	// read has asked for so far, which may do so in several places.
	erasures int
	nack     uint64
	count    int
	nacks    int // that asked for any of it
}

func (r *repairs) empty() bool { return !r.info && len(r.whole) == 0 && len(r.blocks) == 0 }

func (r *repairs) search(b uint32) (i int, ok bool) {
	if n := len(r.blocks); n > 0 && r.blocks[n-1].block < b {
		return n, false // NACKs ask in ascending order
	}
	return slices.BinarySearchFunc(r.blocks, b, func(e *blockRepair, b uint32) int {
		switch {
		case e.block < b:
			return -1
		case e.block > b:
			return 1
		}
		return 0
	})
}

// find returns what is wanted of a block, or nil.
func (r *repairs) find(b uint32) *blockRepair {
	if i, ok := r.search(b); ok {
		return r.blocks[i]
	}
	return nil
}

// insert adds an entry for a block that has none.
func (r *repairs) insert(e *blockRepair) {
	i, _ := r.search(e.block)
	r.blocks = slices.Insert(r.blocks, i, e)
}

// wants reports whether something is wanted of a block.
func (r *repairs) wants(b uint32) bool { return r.whole.has(uint64(b)) || r.find(b) != nil }

// rebase lowers the numbers of the blocks.
func (r *repairs) rebase(by uint32) {
	for i := range r.whole {
		r.whole[i].lo -= uint64(by)
		r.whole[i].hi -= uint64(by)
	}
	for _, e := range r.blocks {
		e.block -= by
	}
}

// lowest returns the lowest block that something is wanted of; ok is false if there is none.
func (r *repairs) lowest() (b uint32, ok bool) {
	for b := range r.pending() {
		return b, true
	}
	return 0, false
}

// pending returns the blocks that something is wanted of, ascending.
func (r *repairs) pending() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		rest := r.blocks
		for _, e := range r.whole {
			for b := e.lo; b < e.hi; b++ {
				for ; len(rest) > 0 && uint64(rest[0].block) < b; rest = rest[1:] {
					if !yield(rest[0].block) {
						return
					}
				}
				if len(rest) > 0 && uint64(rest[0].block) == b {
					rest = rest[1:]
				}
				if !yield(uint32(b)) {
					return
				}
			}
		}
		for _, e := range rest {
			if !yield(e.block) {
				return
			}
		}
	}
}

// repairMemory bounds, in bytes, what NACKs can make the sender remember; what is beyond is asked for again later.
const repairMemory = 1 << 20

// A repairPool keeps and reuses blockRepairs.
type repairPool struct {
	words int // of a bitset
	left  int // how many more may be made for what NACKs ask
	free  []*blockRepair
}

func newRepairPool(p fec.Params) repairPool {
	words := bitsetWords(p.MaxBlockLen + p.MaxParity)
	return repairPool{words: words, left: max(repairMemory/(8*words+64), 64)}
}

// ask returns an empty entry for a block, or nil if there are too many.
func (p *repairPool) ask(b uint32) *blockRepair {
	if p.left == 0 {
		return nil
	}
	return p.take(b)
}

// take returns an empty entry for a block.
func (p *repairPool) take(b uint32) *blockRepair {
	p.left--
	if n := len(p.free); n > 0 {
		e := p.free[n-1]
		p.free = p.free[:n-1]
		clear(e.symbols)
		*e = blockRepair{block: b, symbols: e.symbols}
		return e
	}
	return &blockRepair{block: b, symbols: make(bitset, p.words)}
}

func (p *repairPool) put(e *blockRepair) {
	p.left++
	p.free = append(p.free, e)
}

// release empties r.
func (p *repairPool) release(r *repairs) {
	for _, e := range r.blocks {
		p.put(e)
	}
	clear(r.blocks)
	*r = repairs{whole: r.whole[:0], blocks: r.blocks[:0]}
}

// drop makes r want nothing of a block.
func (p *repairPool) drop(r *repairs, b uint32) {
	r.whole.remove(uint64(b), uint64(b)+1)
	if i, ok := r.search(b); ok {
		p.put(r.blocks[i])
		r.blocks = slices.Delete(r.blocks, i, i+1)
	}
}

// ledgerPage is how many blocks a page of a parityLedger has.
const ledgerPage = 1024

// A parityLedger tells how many parity symbols of each block were sent, so that fresh ones can be told from them. It has
// two bytes for each block, in pages that are made when something in them was repaired.
type parityLedger struct {
	base  int // sent of each block unasked
	pages map[uint32]*[ledgerPage]uint16
}

func (l *parityLedger) sent(b uint32) int {
	if page := l.pages[b/ledgerPage]; page != nil {
		return max(int(page[b%ledgerPage]), l.base)
	}
	return l.base
}

func (l *parityLedger) set(b uint32, n int) {
	page := l.pages[b/ledgerPage]
	if page == nil {
		page = new([ledgerPage]uint16)
		if l.pages == nil {
			l.pages = make(map[uint32]*[ledgerPage]uint16)
		}
		l.pages[b/ledgerPage] = page
	}
	page[b%ledgerPage] = uint16(n) // codes have at most 65,535 symbols
}

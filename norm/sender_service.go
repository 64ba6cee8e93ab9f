package norm

import (
	"cmp"
	"fmt"
	"time"
)

// A ServicePolicy bounds what receivers may cost a session: a "sender implementation MAY choose to enforce different
// "service policies" to perhaps exclude exceptionally poorly performing (or otherwise badly behaving) receivers from the
// group" (RFC 5740, Section 5.2). The zero value serves "the "weakest member" regardless of the time needed", and keeps new
// content going under a flood of NACKs.
type ServicePolicy struct {
	// RepairShare is the largest share of the rate, above 0 and at most 1, that repairs get while there is new content to
	// send. One second's worth may exceed it, so that it does not change how a group is served whose losses are less. If
	// zero, 0.9. With 1 repairs go first however many they are.
	RepairShare float64
	// MaxRepeats is how many times over a block is repaired, beyond once for each time that all content held could have been
	// sent twice meanwhile. Repairs go in order, so without a limit who asks for everything all the time keeps them from coming
	// further than the beginning. As the limit grows with time, whoever comes however late is served at last. If zero, 32, which
	// repairs of honest groups do not come to. If negative, none.
	MaxRepeats int
	// NodeShare is the share of the rate, above 0 and at most 1, that the requests of one node may ask for over time; its
	// NACKs are ignored while it is beyond what that gives in 10 s. If zero, there is no such limit. Node ids can be
	// forged: this is for receivers that are too slow, the fields above also for attackers.
	NodeShare float64
	// AddressShare is the share of the rate, above 0 and at most 1, that may be asked for from one source address over time, by
	// whatever node ids, while there is new content to send or others ask, and 1 otherwise; NACKs from there are ignored while it is
	// beyond what that gives in 10 s. If zero, there is no such limit. All receivers behind an address translator have one
	// address.
	AddressShare float64
	// AddressMessages is how many NORM_NACK and NORM_ACK from one source address are read in a second, ten times as many at once.
	// If zero, all are.
	AddressMessages float64
	// Window is how long an object is repaired when it was sent once; then it is purged, as if to make room, and
	// NORM_CMD(SQUELCH) tells those who still ask. Pinned objects are kept. If zero, only MaxObjects and MaxBytes
	// bound the repair window.
	Window time.Duration
}

const (
	defaultRepairShare = 0.9
	repairSlack        = 1.0  // seconds of the rate by which repairs may exceed their share
	nodeBurst          = 10.0 // seconds of its share that a node may ask for at once
	defaultMaxRepeats  = 32
	maxAccounts        = 1024 // nodes whose requests are counted
)

// resolve returns a copy of p with the defaults filled in, or says which field cannot work.
func (p ServicePolicy) resolve() (ServicePolicy, error) {
	p.RepairShare = cmp.Or(p.RepairShare, defaultRepairShare)
	p.MaxRepeats = cmp.Or(p.MaxRepeats, defaultMaxRepeats)
	switch {
	case !(p.RepairShare > 0 && p.RepairShare <= 1):
		return p, fmt.Errorf("norm: Service.RepairShare %g: want a share above 0, at most 1", p.RepairShare)
	case !(p.NodeShare >= 0 && p.NodeShare <= 1):
		return p, fmt.Errorf("norm: Service.NodeShare %g: want a share above 0, at most 1", p.NodeShare)
	case !(p.AddressShare >= 0 && p.AddressShare <= 1) || !(p.AddressMessages == 0 || p.AddressMessages >= 1):
		return p, fmt.Errorf("norm: Service: AddressShare %g, AddressMessages %g: want a share above 0, at most 1, and at least one message", p.AddressShare, p.AddressMessages)
	case p.Window < 0:
		return p, fmt.Errorf("norm: Service.Window %v: want a time", p.Window)
	}
	return p, nil
}

// A servicer is what the policy remembers.
type servicer struct {
	laps     float64 // how many times all content held could have been sent twice so far
	debt     float64 // bytes of new content that are due because of repairs beyond their share
	accounts map[NodeID]account
}

// An account is what a node may still ask for, in bytes; it is ignored below zero.
type account struct {
	credit float64
	at     time.Time
}

// repairNext reports whether the next content is a repair. Repairs go first, but for new content that they owe.
func (s *Sender) repairNext() bool {
	owed := s.debt > repairSlack*s.pacer.rate && s.current != nil && s.newReady()
	return s.repair != nil && !owed
}

// spentRepair takes account of n bytes of repairs.
func (s *Sender) spentRepair(n int) {
	if s.current == nil {
		s.debt = 0
		return
	}
	s.debt += float64(n) * (1 - s.cfg.Service.RepairShare)
}

// spentNew takes account of n bytes of new content.
func (s *Sender) spentNew(n int) {
	s.debt = max(0, s.debt-float64(n)*s.cfg.Service.RepairShare)
}

// A repeatLedger tells how many times over repairs of each block were planned, in pages that are made when something in
// them is.
type repeatLedger struct {
	since float64 // laps when it was made
	pages map[uint32]*[ledgerPage]float32
}

// mayRepeat counts a repair of so many symbols of a block, and reports whether there may be one.
func (s *Sender) mayRepeat(o *outgoing, b uint32, symbols int) bool {
	if s.cfg.Service.MaxRepeats < 0 {
		return true
	}
	l := &o.repeats
	times := float32(symbols) / float32(o.BlockLen(b))
	b = o.slot(b)
	page := l.pages[b/ledgerPage]
	if page == nil {
		page = new([ledgerPage]float32)
		if l.pages == nil {
			l.pages, l.since = make(map[uint32]*[ledgerPage]float32), s.laps
		}
		l.pages[b/ledgerPage] = page
	}
	n := &page[b%ledgerPage]
	if float64(*n+times) > float64(s.cfg.Service.MaxRepeats)+s.laps-l.since {
		return false
	}
	*n += times
	return true
}

// forget makes a block of the ledger one that was never repaired.
func (l *repeatLedger) forget(b uint32) {
	if page := l.pages[b/ledgerPage]; page != nil {
		page[b%ledgerPage] = 0
	}
}

// planWhole plans blocks that are asked for as a whole, as far as they may be repeated.
func (s *Sender) planWhole(o *outgoing, e blockRange) {
	for lo := e.lo; lo < e.hi; {
		hi := lo
		for hi < e.hi && s.mayRepeat(o, uint32(hi), o.BlockLen(uint32(hi))) {
			hi++
		}
		if hi > lo && !o.plan.whole.add(lo, hi) {
			s.stats.Drops.Refused++
		}
		lo = hi + 1
	}
}

// balance returns what a node may ask for now.
func (s *Sender) balance(now time.Time, id NodeID) float64 {
	most := nodeBurst * s.pacer.rate * s.cfg.Service.NodeShare
	a, ok := s.accounts[id]
	if !ok {
		return most
	}
	return min(a.credit+now.Sub(a.at).Seconds()*s.pacer.rate*s.cfg.Service.NodeShare, most)
}

// serves reports whether the NACK of a node is to be read.
func (s *Sender) serves(now time.Time, id NodeID) bool {
	return s.cfg.Service.NodeShare == 0 || s.balance(now, id) >= 0
}

// charge debits a node with the symbols it asked for. It is never more in debt than it can be in credit, lest one that
// came late, and asked for all there was, is shut out for good.
func (s *Sender) charge(now time.Time, id NodeID, symbols float64) {
	if s.cfg.Service.NodeShare == 0 || symbols == 0 {
		return
	}
	if s.accounts == nil {
		s.accounts = make(map[NodeID]account)
	}
	credit := s.balance(now, id) - symbols*float64(s.cfg.SegmentSize)
	if _, ok := s.accounts[id]; !ok && len(s.accounts) >= maxAccounts {
		s.closeAccount(now)
	}
	s.accounts[id] = account{max(credit, -nodeBurst*s.pacer.rate*s.cfg.Service.NodeShare), now}
}

// closeAccount forgets the node with the most credit, which is the least loss.
func (s *Sender) closeAccount(now time.Time) {
	var richest NodeID
	most := 0.0
	for id := range s.accounts {
		if b := s.balance(now, id); richest == 0 || b > most || b == most && id < richest {
			richest, most = id, b
		}
	}
	delete(s.accounts, richest)
}

// oldest returns the first object that leaves the repair window by its age, or nil.
func (s *Sender) oldest() *outgoing {
	if s.cfg.Service.Window == 0 {
		return nil
	}
	for _, o := range s.objects {
		if !o.sent {
			break
		}
		if !o.pinned && !o.open() {
			return o
		}
	}
	return nil
}

// windowEnd returns when it does, or zero.
func (s *Sender) windowEnd() time.Time {
	if o := s.oldest(); o != nil {
		return o.sentAt.Add(s.cfg.Service.Window)
	}
	return time.Time{}
}

// advanceWindow lets go of the objects that are too old: "force advancement of its logical "repair window" (i.e., enforcing
// a minimal level of service)". RFC 5740, Section 5.2.
func (s *Sender) advanceWindow(now time.Time) {
	for due(s.windowEnd(), now) {
		s.purge(s.oldest(), ErrEvicted)
	}
}

package norm

import (
	"net/netip"
	"time"
)

// addressBurst is for how many seconds an address may save up what [ServicePolicy] grants it.
const addressBurst = 10.0

// addresses is what the sender remembers of where feedback comes from: node ids cost nothing, an address that is not one's own
// is harder to send from, and answers never come there. The table is bounded; whoever was entered first gives way.
type addresses struct {
	granted float64 // bytes of repairs that each address might have asked for so far
	known   map[netip.Addr]*addressAccount
	ring    []netip.Addr // their order
	oldest  int

	asked     netip.Addr // from where repairs were asked for last
	contended time.Time  // when another address had done so before
}

// An addressAccount is what may still come from an address.
type addressAccount struct {
	credit float64 // bytes that may be asked for, when granted was
	at     float64 // this

	messages float64 // that may come
	heard    time.Time
}

// contention is for how long two that ask for repairs have to share.
const contention = 10 * time.Second

// grant lets each address ask for its share of what can be sent meanwhile. Where there is nothing new to send, and only one
// asks, that is all of it, so that one that comes late is served as fast as the network bears.
func (s *Sender) grant(now time.Time, bytes float64) {
	share := s.cfg.Service.AddressShare
	if s.current == nil && now.Sub(s.addresses.contended) > contention {
		share = 1
	}
	s.addresses.granted += bytes * share
}

// account returns the account of an address, opened if need be.
func (s *Sender) account(now time.Time, a netip.Addr) *addressAccount {
	t := &s.addresses
	if e := t.known[a]; e != nil {
		return e
	}
	if t.known == nil {
		t.known = make(map[netip.Addr]*addressAccount)
	}
	if len(t.ring) < maxAccounts {
		t.ring = append(t.ring, a)
	} else {
		delete(t.known, t.ring[t.oldest])
		t.ring[t.oldest] = a
		t.oldest = (t.oldest + 1) % maxAccounts
	}
	e := &addressAccount{credit: s.mostCredit(), at: t.granted, messages: addressBurst * s.cfg.Service.AddressMessages, heard: now}
	t.known[a] = e
	return e
}

func (s *Sender) mostCredit() float64 {
	return addressBurst * s.pacer.rate * s.cfg.Service.AddressShare
}

// hears reports whether a NORM_NACK or NORM_ACK from an address is to be read.
func (s *Sender) hears(now time.Time, a netip.Addr) bool {
	rate := s.cfg.Service.AddressMessages
	if rate == 0 {
		return true
	}
	e := s.account(now, a)
	e.messages = min(e.messages+rate*now.Sub(e.heard).Seconds(), addressBurst*rate)
	e.heard = now
	if e.messages < 1 {
		return false
	}
	e.messages--
	return true
}

// owes reports whether more was asked for from an address than its share.
func (s *Sender) owes(now time.Time, a netip.Addr) bool {
	if s.cfg.Service.AddressShare == 0 {
		return false
	}
	e := s.account(now, a)
	e.credit, e.at = min(e.credit+s.addresses.granted-e.at, s.mostCredit()), s.addresses.granted
	return e.credit < 0
}

// debit takes account of the symbols that were asked for from an address. As none is read while it owes, it owes at most what
// one NORM_NACK asks for.
func (s *Sender) debit(now time.Time, a netip.Addr, symbols float64) {
	if s.cfg.Service.AddressShare == 0 || symbols == 0 {
		return
	}
	s.account(now, a).credit -= symbols * float64(s.cfg.SegmentSize)
	if t := &s.addresses; t.asked != a {
		if t.asked.IsValid() {
			t.contended = now
		}
		t.asked = a
	}
}

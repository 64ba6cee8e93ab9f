package norm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/cc"
)

// maxExpelled is how many addresses of receivers that are too slow are remembered.
const maxExpelled = 64

// laggards are receivers that bear less than [RateControl].MinRate.
type laggards struct {
	addr     netip.Addr   // which the CLR reported from, if it is one
	since    time.Time    // the CLR has been one, whoever it was; zero: it is not
	expelled []netip.Addr // in the order in which they were
}

// least returns MinRate as the controller counts.
func (c *rateControl) least() float64 { return c.gross(c.bounds.MinRate) }

// judge takes note of where a report comes from that stands for less than MinRate. One from an address that is not waited for
// any more becomes that of a receiver that is about to leave.
func (s *Sender) judge(r *cc.Report, from netip.Addr) {
	if s.bounds.Patience == 0 || r.Leave || r.Rate <= 0 || s.controller.Bears(*r, s.grtt.advertised) >= s.least() {
		return
	}
	if slices.Contains(s.lag.expelled, from) {
		r.Leave = true
		s.stats.Drops.Refused++
		return
	}
	if clr, ok := s.controller.Limiting(); !ok || clr.ID == r.Node || clr.Rate >= s.least() {
		s.lag.addr = from // it is the CLR now
	}
}

// expel ends the reign of a CLR that bears less than MinRate when the session has waited for such ones as long as Patience says.
// Others that follow at once, as where one has many names, find no patience left.
func (s *Sender) expel(now time.Time) {
	lag := &s.lag
	clr, ok := s.controller.Limiting()
	switch {
	case s.bounds.Patience == 0:
	case !ok || clr.Rate >= s.least():
		lag.since = time.Time{}
	case lag.since.IsZero():
		lag.since = now
	case now.Sub(lag.since) >= s.bounds.Patience:
		if len(lag.expelled) == maxExpelled {
			lag.expelled = slices.Delete(lag.expelled, 0, 1)
		}
		lag.expelled = append(lag.expelled, lag.addr)
		s.stats.Expelled++
		s.controller.Report(now, cc.Report{Node: clr.ID, Leave: true}, s.grtt.advertised, s.contentReady())
	}
}

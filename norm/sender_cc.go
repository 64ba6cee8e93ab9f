package norm

import (
	"math"
	"time"

	"github.com/multicast-upgrade/tool/norm/cc"
	"github.com/multicast-upgrade/tool/norm/wire"
)

const (
	// maxListed bounds the cc_node_list, 8 bytes each: "The number of additional entries in this list is dependent upon
	// the percentage of control traffic the sender application is willing to send" (RFC 5740, Section 5.5.2.1).
	maxListed = 16

	// flagLimit is a private cc_flag of NRL's receivers: cc_rate is a limit beside the equation's rate.
	flagLimit wire.CCFlags = 0x20
)

// A rateControl is the state of NORM-CC in a sender: package cc has the arithmetic, which counts bytes with the headers of IP and
// UDP, and here are the messages.
type rateControl struct {
	controller *cc.Controller // nil: the rate is fixed
	bounds     RateControl
	overhead   int     // of IP and UDP, in bytes
	payload    float64 // share of UDP payload in the datagram of a full segment
	resting    bool    // there is nothing to send
	stopped    bool    // by SetRate(0)

	lag    laggards
	list   wire.CCNodeList
	advice advice
}

func newRateControl(cfg SenderConfig) rateControl {
	if cfg.Control == nil {
		return rateControl{}
	}
	c := rateControl{bounds: *cfg.Control, overhead: headers(cfg.Group.Addr()), resting: true}
	size := cfg.SegmentSize + maxDataHeader + c.overhead
	c.payload = 1 - float64(c.overhead)/float64(size)
	c.controller = cc.NewController(cc.Config{
		Start: c.gross(c.bounds.StartRate), Min: c.gross(c.bounds.MinRate), Max: c.gross(c.bounds.MaxRate),
		Size: size, Robust: cfg.RobustFactor, Near: c.bounds.Near,
	})
	for _, id := range c.bounds.Potential {
		c.controller.Potential(uint32(id))
	}
	return c
}

// gross returns a rate in bits per second of UDP payload as the controller counts it.
func (c *rateControl) gross(bitsPerSecond float64) float64 { return bitsPerSecond / 8 / c.payload }

// rate returns the rate that the controller has come to, in bits per second of UDP payload.
func (c *rateControl) rate() float64 { return math.Round(8 * c.controller.Rate() * c.payload) }

// sizeSent takes account of the size of a datagram: of all messages, as all of them count where losses are counted, but not
// in a break, in which there are only small ones.
func (c *rateControl) sizeSent(n int) {
	if c.controller != nil && !c.resting {
		c.controller.Sent(n + c.overhead)
	}
}

// bound takes what the application would have as the rate, and returns what is the rate now, both in bits per second.
func (c *rateControl) bound(bitsPerSecond float64) float64 {
	if c.controller == nil {
		return bitsPerSecond
	}
	if c.stopped = !(bitsPerSecond > 0); c.stopped {
		return 0
	}
	c.controller.Bound(c.gross(min(c.bounds.MinRate, bitsPerSecond)), c.gross(bitsPerSecond))
	return c.rate()
}

// adapt makes the controller's rate that of the pacer.
func (s *Sender) adapt(now time.Time) {
	if rate := s.rate(); !s.stopped && rate != s.cfg.Rate {
		s.setRate(now, rate)
	}
}

// limitingRTT returns RTT_clr, or zero if there is no CLR.
func (c *rateControl) limitingRTT() time.Duration {
	if c.controller == nil {
		return 0
	}
	return c.controller.Interval()
}

// identified reports whether there is somebody to probe.
func (s *Sender) identified() bool {
	if s.controller != nil {
		return s.limitingRTT() > 0
	}
	return s.answered
}

// handleCC takes the congestion control feedback in a NORM_ACK or NORM_NACK.
func (s *Sender) handleCC(now time.Time, d Datagram, from NodeID, rtt time.Duration, ext wire.Extensions) {
	unicast := s.unicast(d)
	x, ok := ext.CC()
	switch {
	case !ok:
		return
	case s.controller == nil: // probes are for GRTT alone; their answers are to be suppressed as ever
		if s.advice.add(x, false); unicast {
			s.advertiseSoon(now)
		}
		return
	}
	clr, limited := s.controller.Limiting()
	limiting := limited && clr.ID == uint32(from)
	if n, ok := s.controller.Find(uint32(from)); ok && n.PLR {
		limiting = true
	}
	s.advice.add(x, limiting)
	if unicast && !limiting {
		s.advertiseSoon(now)
	}
	report := cc.Report{
		Node: uint32(from), Sequence: uint16(x.Sequence), Sample: rtt,
		Loss: wire.DecodeLoss(x.Loss), Rate: wire.DecodeRate(x.Rate),
		Start: x.Flags&wire.CCFlagStart != 0, Leave: x.Flags&wire.CCFlagLeave != 0, Limit: x.Flags&flagLimit != 0,
	}
	if x.Flags&wire.CCFlagRTT != 0 {
		report.RTT = wire.DecodeRTT(x.RTT)
	}
	report.Rate = s.heardRate(now, report, ext)
	s.judge(&report, d.From.Addr())
	s.controller.Report(now, report, s.grtt.advertised, s.contentReady())
	s.adapt(now)
	if !limited && s.identified() {
		s.probeSooner(now)
	}
}

// withheld reports whether content is kept back: "If no receiver feedback is received, the sender MAY wish to withhold further
// transmissions of NORM_DATA segments and maintain NORM_CMD(CC) transmissions only until feedback is detected." RFC 5740,
// Section 5.5.2.3.
func (s *Sender) withheld() bool { return s.bounds.Withhold && !s.answered && s.contentPending() }

// control does what congestion control has to do when a NORM_CMD(CC) is about to be sent.
func (s *Sender) control(now time.Time) {
	if s.controller == nil {
		return
	}
	s.grtt.remember(s.controller.Greatest())
	s.controller.Resume(now, s.grtt.advertised)
	s.expel(now)
	s.controller.Probe(now, uint16(s.ccSequence), s.grtt.advertised, !s.resting)
	s.adapt(now)
}

// nodeList returns the cc_node_list of the next NORM_CMD(CC).
func (s *Sender) nodeList() wire.CCNodeList {
	if s.controller == nil {
		return nil
	}
	s.list = s.list[:0]
	s.controller.List(min(maxListed, s.cfg.SegmentSize/8), func(n cc.Node, clr bool) {
		item := wire.CCNode{Node: NodeID(n.ID), Rate: wire.EncodeRate(n.Rate)}
		if clr {
			item.Flags |= wire.CCFlagCLR
		} else if n.PLR {
			item.Flags |= wire.CCFlagPLR
		}
		if n.RTT > 0 {
			item.RTT, item.Flags = wire.EncodeRTT(n.RTT), item.Flags|wire.CCFlagRTT
		}
		if s.controller.SlowStart() {
			item.Flags |= wire.CCFlagStart
		}
		s.list = wire.AppendCCNode(s.list, item)
	})
	return s.list
}

// rest follows whether there is anything to send: a break lowers the rate with which transmission begins again.
func (s *Sender) rest(now time.Time) {
	if s.controller == nil {
		return
	}
	resting := !s.contentPending() && !s.aggregating()
	if resting == s.resting {
		return
	}
	if s.resting = resting; resting {
		s.controller.Pause(now)
		return
	}
	s.controller.Resume(now, s.grtt.advertised)
	s.controller.Continue()
	s.adapt(now)
}

func (s *Sender) describeControl(stats *SenderStats) {
	if s.controller == nil {
		return
	}
	stats.SlowStart = s.controller.SlowStart()
	if n, ok := s.controller.Limiting(); ok {
		stats.CLR, stats.RTT, stats.Loss = NodeID(n.ID), n.RTT, n.Loss
	}
}

// An advice is what the feedback since the last NORM_CMD(REPAIR_ADV) comes to, for its EXT_CC, with which receivers that could
// not hear it are kept from giving the same (RFC 5740, Section 4.2.3.5).
type advice struct {
	any      bool
	ordinary bool // of receivers that are neither CLR nor PLR
	flags    wire.CCFlags
	rtt      uint8
	loss     uint16
	rate     float64

	ext wire.Extensions
}

// add takes feedback. The flags are set "only if all" of it has them, and "only if no feedback came from non-CLR or
// non-PLR" receivers; the greatest RTT and loss and the lowest rate are those of the latter.
func (a *advice) add(x wire.ExtCC, limiting bool) {
	if x.Rate>>4 == 0 {
		return // no rate to suppress with
	}
	const all = wire.CCFlagRTT | wire.CCFlagLeave | wire.CCFlagStart
	if !a.any {
		a.flags = all
	}
	a.any = true
	a.flags &= x.Flags
	if limiting {
		return
	}
	rate := wire.DecodeRate(x.Rate)
	if !a.ordinary {
		a.ordinary, a.rtt, a.loss, a.rate = true, x.RTT, x.Loss, rate
	}
	a.rtt, a.loss, a.rate = max(a.rtt, x.RTT), max(a.loss, x.Loss), min(a.rate, rate)
}

// take returns the EXT_CC of a NORM_CMD(REPAIR_ADV), empty if there was no feedback, and begins anew.
func (a *advice) take(sequence wire.CCSequence) wire.Extensions {
	if !a.any {
		return nil
	}
	x := wire.ExtCC{Sequence: sequence, Flags: a.flags, RTT: a.rtt, Loss: a.loss, Rate: wire.EncodeRate(a.rate)}
	if !a.ordinary {
		x.Flags |= wire.CCFlagCLR | wire.CCFlagPLR
	}
	a.ext = wire.AppendCC(a.ext[:0], x)
	a.any, a.ordinary, a.rtt, a.loss, a.rate = false, false, 0, 0, 0
	return a.ext
}

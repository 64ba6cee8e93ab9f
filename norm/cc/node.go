package cc

import "time"

// A Report is congestion control feedback of one receiver.
type Report struct {
	Node     uint32
	Sequence uint16        // cc_sequence: the latest probe it heard
	Sample   time.Duration // round trip time by its timestamp; zero: none
	RTT      time.Duration // cc_rtt, zero unless valid
	Loss     float64       // cc_loss
	Rate     float64       // cc_rate; zero is no rate
	Start    bool          // it has seen no loss, and Rate is twice what it receives
	Leave    bool          // it is about to leave
	Limit    bool          // Rate is a limit beside the equation's (a private flag of NRL's receivers)
}

// A Node is a receiver as the sender knows it.
type Node struct {
	ID   uint32
	RTT  time.Duration // zero: not known
	Rate float64       // which its path bears, by its latest feedback
	Loss float64
	PLR  bool // a potential limiting receiver
	Told bool // its RTT was in a cc_node_list

	named    bool      // as a PLR, by configuration
	sequence uint16    // of its latest feedback, never ahead of our own
	heard    time.Time // when that came; zero: never
	start    bool      // without loss
}

// lossStep is the step of cc_loss, which is "the loss fraction scaled to 16 bits".
const lossStep = 1.0 / 65535

// update takes a report. limiting says that the node is the CLR or a PLR.
func (n *Node) update(now time.Time, r Report, size float64, grtt time.Duration, limiting bool) {
	if r.Sample > 0 {
		n.RTT = smooth(n.RTT, r, limiting)
	}
	n.heard, n.start, n.Loss = now, r.Start, r.Loss
	n.Told = n.Told && r.RTT > 0 // else it did not hear it, or forgot
	n.Rate = r.rate(size, n.RTT, grtt)
}

// smooth returns RTT_rcvr of RFC 5740, Section 5.5.2.3:
//
//	RTT_rcvr = 0.5 * RTT_rcvrPrev + 0.5 * RTT_rcvrNew
//	RTT_clr = 0.9 * RTT_clr + 0.1 * RTT_clrNew
//
// The first is for all but the CLR and PLRs, and RTT_rcvrPrev what the receiver knows as its RTT.
func smooth(rtt time.Duration, r Report, limiting bool) time.Duration {
	switch {
	case limiting && rtt > 0:
		return (9*rtt + r.Sample) / 10
	case !limiting && r.RTT > 0:
		return (r.RTT + r.Sample) / 2
	}
	return r.Sample
}

// rate returns the rate that a report stands for: "Receiver rates are determined either directly from the slow start
// "cc_rate" [...] or by performing the equation-based calculation using individual RTT and loss estimates ("cc_loss")".
//
// cc_loss is rounded down to steps of 1/65535, and at 100 Mbit/s and 100 ms the p of a TCP flow is below the first, which
// then stands for it, as zero would mean none. Within the step we believe cc_rate, which is the equation's result at the receiver, for cc_rtt or else GRTT_sender in place of
// the RTT we measured. With cc_loss zero, but without NORM_FLAG_CC_START, there is only cc_rate to go by: NORM_NACKs of
// NRL's receivers come with the upper half of their loss cut off.
func (r Report) rate(size float64, rtt, grtt time.Duration) float64 {
	if r.Start {
		return r.Rate
	}
	theirs := r.RTT
	if theirs == 0 {
		theirs = grtt
	}
	if rtt == 0 {
		rtt = theirs
	}
	rate := r.Rate * float64(max(theirs, LeastRTT)) / float64(max(rtt, LeastRTT))
	if r.Loss > 0 {
		rate = max(rate, Rate(size, rtt, r.Loss+lossStep))
	}
	if r.Loss > 1.5*lossStep { // the first step stands for less, too
		rate = min(rate, Rate(size, rtt, r.Loss))
	}
	if r.Limit {
		rate = min(rate, r.Rate)
	}
	return rate
}

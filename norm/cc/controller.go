package cc

import (
	"math"
	"slices"
	"time"
)

// MaxNodes bounds the receivers that a Controller keeps: beyond it the least limiting one is forgotten. A stranger who
// invents receivers costs no more memory than that.
const MaxNodes = 32

// LeastInterval is the least time between probes: at a shorter RTT they would cost more than they tell.
const LeastInterval = 5 * time.Millisecond

// leastRound is what a round counts as where it is about whether somebody is gone: on a short path the operating system
// keeps a receiver waiting for many round trips.
const leastRound = 20 * time.Millisecond

// maxAge is the age of the CLR's feedback, in probes, beyond which the rate is halved (RFC 5740, Section 5.5.2.3).
const maxAge = 4

// A Config says what a [Controller] does.
type Config struct {
	Start    float64 // rate to begin with
	Min, Max float64 // bounds of the rate; Min is the "minimum NORM rate"
	Size     int     // of packets, until some are sent
	Robust   int     // NORM_ROBUST_FACTOR
	Near     int     // how many receivers that are near to being the CLR are PLRs
}

// A Controller is the sender's side: it chooses the current limiting receiver and adjusts the rate to it (RFC 5740,
// Section 5.5.2.3).
type Controller struct {
	cfg  Config
	rate float64
	size float64 // S: "an exponentially weighted moving average (EWMA) of transmitted packet sizes"

	slowStart bool
	again     bool // slow start resumes because nobody is left: the first feedback begins anew
	renewed   bool // slow start was resumed; loss that was seen up to the probe announced is old
	announced uint16
	increased time.Time

	nodes    []Node // at most MaxNodes
	clr      int    // index of the CLR, or -1
	chosen   uint16 // the latest probe when it was chosen
	sample   time.Duration
	sequence uint16 // of the latest probe
	known    bool   // feedback has come
	silent   int    // probes since any
	halved   time.Time

	paused time.Time // since when there is nothing to send; zero: there is
	target float64   // what the rate would be after the pause, were it not for Start
}

// NewController returns a Controller in slow start.
func NewController(c Config) *Controller {
	s := &Controller{cfg: c, size: float64(c.Size), slowStart: true, clr: -1}
	s.set(c.Start)
	return s
}

func (c *Controller) set(rate float64) { c.rate = min(max(rate, c.cfg.Min), c.cfg.Max) }

// calm is how much above RTT_clr the latest RTT may be without a word.
const calm = 1.25

// Rate returns the rate to send at. While a queue builds up, and the latest RTT is well above RTT_clr, that is less than the
// loss would allow, so that rate and queue do not rock each other: RFC 5348, Section 4.5 has
// X_inst = X * R_sqmean / sqrt(R_sample), which here only slows.
func (c *Controller) Rate() float64 {
	if c.slowStart || c.clr < 0 || c.sample == 0 { // of a CLR whose timestamps are of no use nothing is known
		return c.rate
	}
	queue := float64(c.sample) / float64(c.nodes[c.clr].RTT) / calm
	return max(c.rate/math.Sqrt(max(queue, 1)), c.cfg.Min)
}

// Size returns S, the average size of packets.
func (c *Controller) Size() float64 { return c.size }

// SlowStart reports whether no receiver has seen loss since the start, or since the break that led back to it.
func (c *Controller) SlowStart() bool { return c.slowStart }

// Bound changes the bounds.
func (c *Controller) Bound(least, most float64) {
	c.cfg.Min, c.cfg.Max = least, most
	c.set(c.rate)
}

// Limiting returns the CLR; ok is false if there is none.
func (c *Controller) Limiting() (n Node, ok bool) {
	if c.clr < 0 {
		return Node{}, false
	}
	return c.nodes[c.clr], true
}

// Find returns a receiver by its id.
func (c *Controller) Find(id uint32) (n Node, ok bool) {
	if i := c.index(id); i >= 0 {
		return c.nodes[i], true
	}
	return Node{}, false
}

func (c *Controller) index(id uint32) int {
	return slices.IndexFunc(c.nodes, func(n Node) bool { return n.ID == id })
}

// Potential makes a receiver a PLR, which is asked for immediate feedback before any came from it.
func (c *Controller) Potential(id uint32) {
	if c.index(id) < 0 && len(c.nodes) < MaxNodes {
		c.nodes = append(c.nodes, Node{ID: id, PLR: true, named: true})
	}
}

// Greatest returns the greatest RTT of a receiver that is kept.
func (c *Controller) Greatest() (rtt time.Duration) {
	for i := range c.nodes {
		rtt = max(rtt, c.nodes[i].RTT)
	}
	return rtt
}

// Interval returns RTT_clr, which is the time between probes; zero if there is no CLR. While a queue builds up, the smooth
// RTT_clr lags behind, and probes at its pace would seem to go unanswered: then it is the latest RTT.
func (c *Controller) Interval() time.Duration {
	if c.clr < 0 {
		return 0
	}
	return max(c.nodes[c.clr].RTT, c.sample, LeastInterval)
}

// Sent takes the size of a packet that was sent.
func (c *Controller) Sent(size int) { c.size += (float64(size) - c.size) / 16 }

// Bears returns the rate that a report stands for, if it is taken now; r.Rate is not zero.
func (c *Controller) Bears(r Report, grtt time.Duration) float64 {
	n, limiting := Node{}, false
	if i := c.index(r.Node); i >= 0 {
		n = c.nodes[i]
		limiting = i == c.clr || n.PLR
	}
	n.update(time.Time{}, r, c.size, grtt, limiting)
	return n.Rate
}

// Report takes feedback. grtt is GRTT_sender; busy says that there is something to send, and that the rate could be used
// if it were higher.
func (c *Controller) Report(now time.Time, r Report, grtt time.Duration, busy bool) {
	if r.Leave {
		// "an indication the sender SHOULD NOT select it as the CLR"
		i := c.index(r.Node)
		if i >= 0 && i == c.clr {
			c.increased = now.Add(grtt) // RFC 4654, Section 3.3: no increase for "one feedback round"
		}
		c.remove(i)
		c.choose(now, grtt)
		return
	}
	if r.Rate <= 0 {
		return // no rate to go by
	}
	i := c.admit(r.Node, r)
	if i < 0 {
		return
	}
	n, limiting := &c.nodes[i], i == c.clr
	n.update(now, r, c.size, grtt, limiting || n.PLR)
	// Receivers of NRL return numbers ahead of ours; nobody shall gain time by that.
	if n.sequence = r.Sequence; int16(c.sequence-n.sequence) < 0 {
		n.sequence = c.sequence
	}
	c.known, c.silent = true, 0
	if c.again {
		c.again = false
		c.set(max(c.rate, c.cfg.Start))
	}
	if c.slowStart && !r.Start && (!c.renewed || int16(n.sequence-c.announced) > 0) {
		// "The "slow start" phase proceeds until any receiver provides feedback indicating loss has occurred."
		c.slowStart, c.increased = false, now
	}
	c.choose(now, grtt)
	if c.clr >= 0 && c.nodes[c.clr].ID == r.Node {
		if r.Sample > 0 {
			c.sample = r.Sample
		}
		c.adjust(now, grtt, busy)
	}
}

// admit returns the place of a node, or -1 if there is none for it.
func (c *Controller) admit(id uint32, r Report) int {
	if i := c.index(id); i >= 0 {
		return i
	}
	if len(c.nodes) < MaxNodes {
		c.nodes = append(c.nodes, Node{ID: id})
		return len(c.nodes) - 1
	}
	// The one with the highest rate makes room; not the one with the greatest RTT, which GRTT must not forget.
	least, far := -1, c.Greatest()
	for i, n := range c.nodes {
		if i != c.clr && !n.PLR && n.RTT < far && (least < 0 || n.Rate > c.nodes[least].Rate) {
			least = i
		}
	}
	if least >= 0 && c.nodes[least].Rate >= r.Rate {
		c.nodes[least] = Node{ID: id}
		return least
	}
	return -1
}

// remove forgets a node; a PLR that was named stays one.
func (c *Controller) remove(i int) {
	if i < 0 {
		return
	}
	if i == c.clr {
		c.clr, c.sample = -1, 0
	}
	if n := &c.nodes[i]; n.named {
		*n = Node{ID: n.ID, PLR: true, named: true}
		return
	}
	if c.clr > i {
		c.clr--
	}
	c.nodes = slices.Delete(c.nodes, i, i+1)
}

// fresh is for how many GRTT feedback makes a receiver the CLR in place of another. The CLR reports each RTT, others now and
// then; what they said long ago would make each the CLR in turn as rates rise.
const fresh = 2

// choose makes the receiver with the lowest rate the CLR. "In the case of a tie (where candidate CLRs are within 10% of
// the same calculated rate), the receiver with the largest RTT value SHOULD be designated as the CLR." When there is no
// CLR, the latest feedback of each counts, and that of those without loss only if there are no others: it is twice what
// arrived then.
func (c *Controller) choose(now time.Time, grtt time.Duration) {
	best := c.lowest(func(n *Node) bool { return now.Sub(n.heard) <= fresh*max(grtt, c.Interval()) })
	if best < 0 {
		best = c.lowest(func(n *Node) bool { return !n.start })
	}
	if best < 0 {
		best = c.lowest(func(*Node) bool { return true })
	}
	if best == c.clr {
		return
	}
	c.clr, c.chosen, c.sample, c.halved = best, c.sequence, 0, time.Time{}
	if best < 0 {
		return
	}
	// "When the CLR changes to a lower rate receiver, the sender SHOULD immediately adjust to the new lower rate."
	if n := &c.nodes[best]; !c.slowStart && !n.start && n.Rate < c.rate {
		c.set(n.Rate)
	}
}

// lowest returns the index of the receiver with the lowest rate among the CLR and those that qualify; of several within 10 %
// of it, the one with the greatest RTT. If there is none, -1.
func (c *Controller) lowest(qualifies func(n *Node) bool) int {
	candidate := func(i int) bool {
		n := &c.nodes[i]
		return i == c.clr || !n.heard.IsZero() && qualifies(n)
	}
	lowest := -1
	for i := range c.nodes {
		if candidate(i) && (lowest < 0 || c.nodes[i].Rate < c.nodes[lowest].Rate) {
			lowest = i
		}
	}
	best := lowest
	for i := range c.nodes {
		if candidate(i) && c.nodes[i].Rate <= 1.1*c.nodes[lowest].Rate && c.nodes[i].RTT > c.nodes[best].RTT {
			best = i
		}
	}
	return best
}

// adjust follows the CLR.
func (c *Controller) adjust(now time.Time, grtt time.Duration, busy bool) {
	target := c.nodes[c.clr].Rate
	if c.slowStart {
		c.accelerate(now, target, grtt, busy)
		return
	}
	switch {
	case target <= c.rate:
		c.set(target)
		c.increased = now
		return
	case now.Before(c.increased): // the CLR has just left
		return
	}
	// "for rate increases, the sender SHALL observe a maximum rate of increase of one packet per RTT at all times during
	// steady-state operation": in the part of an RTT that has passed, that part of a packet.
	rtt := max(c.nodes[c.clr].RTT, LeastInterval)
	passed := min(now.Sub(c.increased), c.Interval())
	c.increased = now
	if busy {
		c.set(min(target, c.rate+c.size/rtt.Seconds()*(float64(passed)/float64(rtt))))
	}
}

// accelerate is slow start: "Rnew = Rrecv_min", twice the rate at which the slowest receives. "Rate increase adjustment is
// limited to once per GRTT". What was measured before the last increase may tell less than the rate is; it is only a
// reason to slow down if the receiver gets less than a quarter of what is sent.
func (c *Controller) accelerate(now time.Time, target float64, grtt time.Duration, busy bool) {
	switch {
	case !busy:
	case target > c.rate && now.Sub(c.increased) >= grtt:
		c.set(min(target, 2*c.rate))
		c.increased = now
	case target < c.rate/2:
		c.set(target)
	}
}

// Probe tells that a NORM_CMD(CC) with the given cc_sequence is being sent. busy is as in Report.
//
//	Age = Seq_sender - Seq_clr;
//	if (Age > 4) Rsender = Rsender * 0.5;
func (c *Controller) Probe(now time.Time, sequence uint16, grtt time.Duration, busy bool) {
	c.sequence = sequence
	c.silent++
	c.expire(now, grtt)
	switch {
	case c.clr >= 0:
		age, waited := c.age(), now.Sub(c.nodes[c.clr].heard)
		switch {
		case age > c.cfg.Robust && waited > time.Duration(c.cfg.Robust)*leastRound:
			// "After NORM_ROBUST_FACTOR consecutive NORM_CMD(CC) rounds without any feedback from the CLR, the sender SHOULD
			// assume the CLR has left the group and pick the receiver with the next lowest rate as the new CLR. [...] and
			// SHOULD return to slow start".
			c.remove(c.clr)
			c.choose(now, grtt)
			c.restart()
		case age > maxAge && busy && (waited > maxAge*leastRound || waited < c.Interval()):
			c.halve(now, max(c.Interval(), leastRound))
		}
	case c.known && c.silent > c.cfg.Robust:
		c.restart()
		fallthrough
	case c.known && c.silent > maxAge:
		c.halve(now, grtt)
	}
}

// age returns the age of the CLR's feedback in probes, at the most since it became the CLR.
func (c *Controller) age() int {
	return int(min(c.sequence-c.nodes[c.clr].sequence, c.sequence-c.chosen))
}

// halve halves the rate as a congestion avoidance measure, once in the given time.
func (c *Controller) halve(now time.Time, each time.Duration) {
	if c.halved.IsZero() || now.Sub(c.halved) >= each {
		c.set(c.rate / 2)
		c.halved = now
	}
}

func (c *Controller) restart() {
	c.again = true
	c.resume()
}

// resume begins slow start again, which the next probe announces.
func (c *Controller) resume() {
	if !c.slowStart {
		c.slowStart, c.renewed, c.announced = true, true, c.sequence
	}
}

// expire forgets receivers that were not heard for NORM_ROBUST_FACTOR probes and as many GRTT: the CLR answers each
// probe, others once in several GRTT.
func (c *Controller) expire(now time.Time, grtt time.Duration) {
	for i := len(c.nodes) - 1; i >= 0; i-- {
		n := &c.nodes[i]
		if i != c.clr && !n.heard.IsZero() && int(c.sequence-n.sequence) > c.cfg.Robust &&
			now.Sub(n.heard) > time.Duration(c.cfg.Robust)*grtt {
			c.remove(i)
		}
	}
}

// Pause tells that there is nothing to send any more. "The sender SHOULD exponentially reduce its target rate to be used for
// transmission restart as time since the break elapses. The target rate SHOULD be recalculated once per RTT_clr as:
// Rsender = Rsender * 0.5".
func (c *Controller) Pause(now time.Time) { c.paused, c.target = now, c.rate }

// Resume tells that there is something to send again, or that it is of interest what the rate would be. "If the minimum
// NORM rate is reached, the sender SHOULD set the NORM_FLAG_START flag in its NORM_CMD(CC) messages upon restart and the
// group SHOULD observe slow-start congestion control procedures". Where that slow start would begin the reduction ends.
func (c *Controller) Resume(now time.Time, grtt time.Duration) {
	if c.paused.IsZero() {
		return
	}
	each := c.Interval()
	if each == 0 {
		each = grtt
	}
	floor := min(c.rate, c.cfg.Start)
	for c.target > c.cfg.Min && now.Sub(c.paused) >= each {
		c.paused, c.target = c.paused.Add(each), c.target/2
		if c.target <= c.cfg.Min && c.known {
			c.resume()
		}
	}
	c.set(max(c.target, floor))
	c.increased = now
}

// Continue ends a pause, after Resume.
func (c *Controller) Continue() { c.paused = time.Time{} }

// List yields the receivers for a cc_node_list of at most limit items: the CLR, "RECOMMENDED [to] be the first in the
// list"; PLRs; then "1. Receivers that have not yet been provided an RTT measurement [...] those with the greatest loss
// fraction receive precedence", "2. [...] receivers yielding the lowest calculated congestion rate getting precedence"
// (RFC 5740, Section 5.5.2.1). The nodes yielded count as told their RTT.
func (c *Controller) List(limit int, yield func(n Node, clr bool)) {
	c.nominate()
	var order [MaxNodes]int
	all := order[:0]
	for i := range c.nodes {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b int) int {
		switch {
		case c.listed(a, b):
			return -1
		case c.listed(b, a):
			return 1
		}
		return 0
	})
	for _, i := range all[:min(limit, len(all))] {
		n := &c.nodes[i]
		yield(*n, i == c.clr)
		n.Told = n.Told || n.RTT > 0
	}
}

// nearby is how much more than the CLR's rate a receiver may bear that is near to being the CLR.
const nearby = 1.5

// nominate makes those nearest to being the CLR PLRs: "The PLR list MAY be populated with a small number of receivers the sender
// identifies as approaching the CLR loss and delay conditions based on feedback from the group." RFC 5740, Section 5.5.2.
func (c *Controller) nominate() {
	for i := range c.nodes {
		c.nodes[i].PLR = c.nodes[i].named
	}
	if c.slowStart || c.clr < 0 {
		return // nobody's loss is known
	}
	for range c.cfg.Near {
		next := -1
		for i, n := range c.nodes {
			near := i != c.clr && !n.PLR && !n.heard.IsZero() && !n.start && n.Rate <= nearby*c.nodes[c.clr].Rate
			if near && (next < 0 || n.Rate < c.nodes[next].Rate) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		c.nodes[next].PLR = true
	}
}

// listed reports whether node a has precedence over node b.
func (c *Controller) listed(a, b int) bool {
	x, y := &c.nodes[a], &c.nodes[b]
	switch {
	case a == c.clr || b == c.clr:
		return a == c.clr
	case x.PLR != y.PLR:
		return x.PLR
	case x.Told != y.Told:
		return y.Told
	case !x.Told:
		return x.Loss > y.Loss
	}
	return x.Rate < y.Rate
}

package cc

import "time"

// A Receiver is what a receiver knows of the path from one sender. It takes some 250 bytes, and as many again
// once a packet is lost.
type Receiver struct {
	start  time.Time // the first arrival
	losses losses
	meter  meter
	size   float64 // average of the packets'
	sender float64 // rate it advertises
	rtt    time.Duration
	own    bool // rtt is a measurement of ours, and not GRTT_sender
}

// NewReceiver returns a Receiver that takes GRTT_sender as its RTT ("Initial RTT" of RFC 4654, Section 4.1) and the rate
// the sender advertises as the one at which it receives: "The rate information is used by receivers to initialize loss
// estimation during congestion control startup or restart" (RFC 5740, Section 5.5.2.1).
func NewReceiver(grtt time.Duration, rate float64) *Receiver {
	return &Receiver{rtt: grtt, sender: rate, meter: meter{rate: rate}}
}

// Advertised takes the rate that the sender advertises.
func (r *Receiver) Advertised(rate float64) { r.sender = rate }

// Group takes GRTT_sender, which is our RTT until we have one.
func (r *Receiver) Group(grtt time.Duration) {
	if !r.own {
		r.rtt = grtt
	}
}

// Measured takes our own RTT as the sender told it. The first one corrects the loss interval that was made up with
// GRTT_sender in its place.
func (r *Receiver) Measured(rtt time.Duration) {
	if e := r.losses.events; e != nil && !r.own {
		e.history.rescale(float64(max(rtt, LeastRTT)) / float64(max(r.rtt, LeastRTT)))
	}
	r.rtt, r.own = rtt, true
}

// Arrive takes the arrival of a packet of size bytes; marked says that it had the ECN codepoint CE (RFC 3168).
func (r *Receiver) Arrive(now time.Time, sequence uint16, size int, marked bool) {
	if r.size == 0 {
		r.start, r.size = now, float64(size)
	}
	at := now.Sub(r.start)
	r.size += (float64(size) - r.size) / 16
	round := max(r.rtt, LeastRTT)
	if r.sender > 0 {
		round = max(round, time.Duration(min(r.size/r.sender, 60)*float64(time.Second)))
	}
	r.meter.add(at, float64(size), round)
	first := 0.0
	if r.losses.events == nil {
		first = FirstInterval(r.meter.rate, r.size, r.rtt)
	}
	r.losses.arrive(at, sequence, marked, r.rtt, first)
}

// Restart forgets all losses, because the sender begins slow start again after a break.
func (r *Receiver) Restart() { r.losses.clear() }

// Loss returns the loss event fraction p; zero means that none was seen, and that we are in slow start.
func (r *Receiver) Loss() float64 { return r.losses.loss() }

// Received returns the rate at which data arrives.
func (r *Receiver) Received() float64 { return r.meter.rate }

// Rate returns the rate that the path bears: "During slow start (when the receiver has not yet detected loss from the
// sender), the receiver uses a value equal to two times its measured rate [...] For steady-state congestion control
// operation, the receiver "cc_rate" value is from the equation" (RFC 5740, Section 5.5.2.2).
func (r *Receiver) Rate() float64 {
	if p := r.Loss(); p > 0 {
		return Rate(r.size, r.rtt, p)
	}
	return 2 * r.meter.rate
}

// Bias shortens the backoff of a receiver that has seen loss, and whose path bears less than the sender sends, to half of it
// where it bears nothing: what is heard of the slowest first keeps the others quiet.
func (r *Receiver) Bias(backoff time.Duration) time.Duration {
	if rate := r.Rate(); r.Loss() > 0 && rate < r.sender {
		return time.Duration(float64(backoff) * (0.5 + 0.5*rate/r.sender))
	}
	return backoff
}

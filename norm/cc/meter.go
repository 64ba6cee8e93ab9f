package cc

import "time"

// A meter measures the rate at which data arrives: "the number of bits received over the last k RTTs [...] A value for k
// between 2 and 4 is recommended." RFC 4654, Section 4.3.4. It counts in windows of two. Times are since the Receiver's
// start.
type meter struct {
	rate   float64 // as last measured
	latest time.Duration
	window window
	before window
}

// A window is bytes that arrived since begin, the arrival of a packet that does not count itself.
type window struct {
	begin time.Duration
	bytes float64
	open  bool
}

// add takes the arrival of n bytes. A round is an RTT, or the time between packets if that is longer. After a pause of
// four of them the measurement begins anew: it is the sender that rested.
func (m *meter) add(now time.Duration, n float64, round time.Duration) {
	if !m.window.open || now-m.latest > 4*round {
		m.window, m.before, m.latest = window{begin: now, open: true}, window{}, now
		return
	}
	m.latest = now
	m.window.bytes += n
	elapsed := now - m.window.begin
	if m.before.open {
		m.rate = (m.before.bytes + m.window.bytes) / (now - m.before.begin).Seconds()
	} else if elapsed >= round { // less is too little to tell, and the rate what it was
		m.rate = m.window.bytes / elapsed.Seconds()
	}
	if elapsed >= 2*round {
		m.window, m.before = window{begin: now, open: true}, m.window
	}
}

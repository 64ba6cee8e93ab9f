package normtest

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A Reno is the sending end of a flow that shares links with what a test is about: TCP with selective acknowledgments and the
// congestion control of RFC 5681. It slows down once per window of loss, to half; the window grows by a segment per round
// trip, and by one per acknowledgment in slow start. It always has something to send.
type Reno struct {
	Sink     *Host  // where a RenoSink runs
	Size     int    // of a segment, in bytes
	Received uint64 // acknowledged segments

	now       time.Time
	next      uint64               // number of the next segment
	flight    map[uint64]time.Time // sent, neither acknowledged nor lost
	oldest    uint64               // no segment in flight is before it
	window    float64              // cwnd, in segments
	threshold float64              // ssthresh
	recover   uint64               // losses before it belong to the window that was halved
	srtt      time.Duration
	timeout   time.Time
}

// NewReno returns a flow in slow start.
func NewReno(sink *Host, size int) *Reno {
	return &Reno{Sink: sink, Size: size, flight: make(map[uint64]time.Time), window: 2, threshold: 1 << 20}
}

// Handle takes an acknowledgment: eight bytes, the number of a segment.
func (r *Reno) Handle(now time.Time, d norm.Datagram) {
	r.now = now
	if len(d.B) != 8 {
		return
	}
	acked := binary.BigEndian.Uint64(d.B)
	sent, ok := r.flight[acked]
	if !ok {
		return
	}
	delete(r.flight, acked)
	r.Received++
	if sample := now.Sub(sent); r.srtt == 0 {
		r.srtt = sample
	} else {
		r.srtt += (sample - r.srtt) / 8
	}
	if r.window < r.threshold {
		r.window++
	} else {
		r.window += 1 / r.window
	}
	// Three segments behind one that is missing have arrived: it is lost.
	for ; r.oldest+3 <= acked; r.oldest++ {
		if _, missing := r.flight[r.oldest]; missing {
			r.lose(r.oldest)
		}
	}
	r.rearm()
}

func (r *Reno) lose(n uint64) {
	delete(r.flight, n)
	if n < r.recover {
		return
	}
	r.recover = r.next
	r.threshold = max(r.window/2, 2)
	r.window = r.threshold
}

// rearm sets the retransmission timeout, 1 s at the least (RFC 6298).
func (r *Reno) rearm() { r.timeout = r.now.Add(max(time.Second, 3*r.srtt)) }

// Advance takes all that is in flight for lost when the timeout comes, and begins slow start.
func (r *Reno) Advance(now time.Time) {
	r.now = now
	if !r.timeout.IsZero() && !now.Before(r.timeout) {
		clear(r.flight)
		r.oldest, r.recover = r.next, r.next
		r.threshold, r.window = max(r.window/2, 2), 1
		r.rearm()
	}
}

// Poll sends what the window allows. A retransmission is a segment with a number of its own.
func (r *Reno) Poll(now time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	if float64(len(r.flight)) >= r.window {
		return b, netip.AddrPort{}, false
	}
	r.now = now
	if r.timeout.IsZero() {
		r.rearm()
	}
	r.flight[r.next] = now
	n := len(b)
	b = append(b, make([]byte, r.Size)...)
	binary.BigEndian.PutUint64(b[n:], r.next)
	r.next++
	return b, r.Sink.Addr, true
}

// Deadline returns the retransmission timeout.
func (r *Reno) Deadline() time.Time { return r.timeout }

// Complete is for the contract: a Reno has no storage.
func (r *Reno) Complete(time.Time, *norm.IO) {}

// Requests yields nothing.
func (r *Reno) Requests() iter.Seq[*norm.IO] { return func(func(*norm.IO) bool) {} }

// Events yields nothing.
func (r *Reno) Events() iter.Seq[norm.Event] { return func(func(norm.Event) bool) {} }

// A RenoSink is the receiving end of a [Reno]: it acknowledges each segment.
type RenoSink struct {
	Reno
	From *Host // where the Reno runs
	acks []uint64
}

// Handle takes a segment.
func (r *RenoSink) Handle(_ time.Time, d norm.Datagram) {
	if d.To != Group && len(d.B) > 8 {
		r.acks = append(r.acks, binary.BigEndian.Uint64(d.B))
	}
}

// Poll returns the next acknowledgment.
func (r *RenoSink) Poll(_ time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	if len(r.acks) == 0 {
		return b, netip.AddrPort{}, false
	}
	b = binary.BigEndian.AppendUint64(b, r.acks[0])
	r.acks = append(r.acks[:0], r.acks[1:]...)
	return b, r.From.Addr, true
}

// Advance has nothing to do.
func (r *RenoSink) Advance(time.Time) {}

// Deadline is never.
func (r *RenoSink) Deadline() time.Time { return time.Time{} }

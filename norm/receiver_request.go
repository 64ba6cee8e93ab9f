package norm

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// leastSegment is assumed for NormSegmentSize as long as no EXT_FTI told it: enough for one range of objects.
const leastSegment = 28

// appendNack appends a NORM_NACK with "repair request content beginning with the lowest ordinal repair position of the
// receiver up through the coding block prior to the most recently heard ordinal transmission position for the sender"
// (RFC 5740, Section 5.3). Section 4.3.1 would end it at the position at which the cycle was initiated, but then what was
// lost during the backoff waits for another cycle; Section 3.2.2 of RFC 5401 has the current position, too.
//
// "If the size of the NORM_NACK content exceeds the sender's NormSegmentSize, the NACK content is truncated so the
// receiver only generates a single NORM_NACK message per NACK cycle for a given sender. In summary, a single NACK message
// is generated containing the receiver's lowest ordinal repair needs."
func (r *Receiver) appendNack(now time.Time, s *remote, to netip.AddrPort, b []byte) ([]byte, bool) {
	m := wire.Nack{Header: r.feedbackHeader(to), FeedbackHeader: s.feedbackHeader(now)}
	var ext [16]byte
	m.Extensions = r.appendRepair(s, r.appendCC(s, ext[:0]))
	start := len(b)
	b, err := m.AppendBinary(b)
	if err != nil {
		return b[:start], false
	}
	w := nackWriter{
		remote:       s,
		limit:        s.position,
		RepairWriter: wire.NewRepairWriter(b, cmp.Or(s.segmentSize, leastSegment)),
	}
	if s.nack.advertised {
		w.limit = s.earlier(s.nack.limit, s.position)
	}
	s.needs(w.limit, w.add)
	w.flush()
	if w.Len() == 0 {
		return b[:start], false
	}
	if r.asksElsewhere(s) {
		s.askedElsewhere(w.limit)
	}
	r.speak().feedback.sent(to)
	r.stats.NacksSent++
	s.probe.feedbackSent(now, s)
	return w.Bytes(), true
}

// A nackWriter writes needs as compactly as it can: consecutive objects as one range, and two neighbours as items or
// as a range, whichever continues the repair request begun.
type nackWriter struct {
	wire.RepairWriter
	remote  *remote
	limit   mark
	objects need // consecutive ones, not yet written
	pending bool
	form    wire.RepairForm // of the request begun
	flags   wire.RepairFlags
}

// add writes a need. It reports false if there is no room for it.
func (w *nackWriter) add(n need) bool {
	if n.flags != wire.RepairObject {
		return w.flush() && w.write(n)
	}
	if w.pending && TransportID(w.objects.last)+1 == n.object {
		w.objects.last++
		return true
	}
	if !w.flush() {
		return false
	}
	w.objects, w.pending = n, true
	w.objects.first, w.objects.last = uint32(n.object), uint32(n.object)
	return true
}

// flush writes the objects collected.
func (w *nackWriter) flush() bool {
	if !w.pending {
		return true
	}
	w.pending = false
	return w.write(w.objects)
}

func (w *nackWriter) write(n need) bool {
	ok := false
	switch count := n.last - n.first + 1; {
	case count == 1:
		ok = w.item(n, n.first)
	case count == 2 && !(w.form == wire.RepairRanges && w.flags == n.flags):
		ok = w.item(n, n.first) && w.item(n, n.last)
	default:
		if ok = w.Range(n.flags, w.position(n, n.first), w.position(n, n.last)); ok {
			w.form, w.flags = wire.RepairRanges, n.flags
		} else {
			w.item(n, n.first) // there may be room for the lowest of them
		}
	}
	if ok && n.flags == wire.RepairSegment && !n.explicit {
		if b := w.remote.find(n.object).block(n.block); b.asked == 0 {
			b.asked = b.missing()
		}
	}
	return ok
}

func (w *nackWriter) item(n need, which uint32) bool {
	ok := w.Item(n.flags, w.position(n, which))
	if ok {
		w.form, w.flags = wire.RepairItems, n.flags
	}
	return ok
}

// position returns one end of a need as repair requests name it. Of an object that was never heard of the FEC
// Encoding ID is unknown; that of the sender's last content stands for it.
func (w *nackWriter) position(n need, which uint32) wire.Position {
	o := w.remote.find(n.object)
	switch {
	case n.flags == wire.RepairObject:
		return wire.Position{FECID: w.remote.fecID, Object: TransportID(which)}
	case o == nil || !o.known:
		return wire.Position{FECID: w.remote.fecID, Object: n.object}
	case n.flags == wire.RepairBlock:
		return o.layout.position(n.object, which, 0)
	case n.flags == wire.RepairInfo:
		return o.layout.position(n.object, 0, 0)
	}
	k := o.layout.BlockLen(n.block)
	if b := o.block(n.block); b != nil {
		k = b.k
	}
	return o.layout.positionIn(n.object, n.block, k, int(which))
}

// feedbackHeader returns what NORM_NACK and NORM_ACK have in common. "grtt_response = NORM_CMD(CC) send_time +
// receive_to_response_delta", zero if there was none: RFC 5740, Section 4.3.1.
func (s *remote) feedbackHeader(now time.Time) wire.FeedbackHeader {
	h := wire.FeedbackHeader{Server: s.id, Instance: s.instance}
	if s.probe.heard {
		h.GRTTResponse = s.probe.sent.Add(now.Sub(s.probe.arrived))
	}
	return h
}

package normtest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A Trace writes down what happens in a network, a line for each message sent, each loss and each event of a node:
//
//	+212ms r1 > NACK segment 1/0/8
//	+212ms r2 = suppressed
//
// after the time since the network's start and the host: ">" for what it sends, "x" for what is lost on the way to it,
// "=" for what changes in it. Only the kinds of lines that are switched on are written. Of a host that repeats itself, or
// sends one segment after the other, with nothing else between, the first line is written, and then how often it went
// on, until when, and to which segment:
//
//	+635ms s > DATA 1/0/0 repair
//	+641ms ... 7 more, to 1/0/7
type Trace struct {
	net   *Net
	kinds map[string]bool
	lines []string

	last   string        // what was written last, without its time
	repeat int           // how often it came again, or was continued
	until  time.Duration // when it came last
	run    segment       // the last of a run of segments
	read   reading       // or of a run of bytes read
}

// A reading is what a host read of a stream, up to an offset.
type reading struct {
	by     *Host
	stream norm.Handle
	end    int64
}

// The kinds of lines. Those of a message are its type's; repair is NORM_DATA and NORM_INFO with the repair flag.
var traceKinds = []string{
	"data", "repair", "info", "flush", "eot", "squelch", "cc", "repair_adv", "nack", "ack", "other",
	"lost",    // losses
	"event",   // events but those of the next two
	"begin",   // sender-seen, object-offered, object-sent
	"written", // object-data, and stream-readable and stream-writable
	"read",    // what is read of streams, in runs that no message start or break divides
	"count",   // what Stats counts: suppressed NACKs, drops by reason and others
}

// NewTrace returns a trace of n with the named kinds of lines switched on.
func NewTrace(n *Net, kinds ...string) *Trace {
	t := &Trace{net: n, kinds: make(map[string]bool)}
	for _, k := range kinds {
		t.kinds[k] = true
	}
	n.OnSend = func(p *Packet) {
		switch kind := kindOf(p); {
		case !t.kinds[kind] || t.continues(p):
		default:
			t.add(kind, p.From, ">", stringer(p.where))
			t.run = segmentOf(p)
		}
	}
	n.OnLose = func(p *Packet, to *Host) {
		if t.kinds["lost"] {
			t.add("lost", to, "x", p)
		}
	}
	n.OnEvent = func(h *Host, e norm.Event) {
		kind := "event"
		switch e.Kind {
		case norm.ObjectData, norm.StreamReadable, norm.StreamWritable:
			kind = "written"
		case norm.SenderSeen, norm.ObjectOffered, norm.ObjectSent:
			kind = "begin"
		}
		t.add(kind, h, "=", stringer(func() string { return h.describe(e) }))
	}
	n.OnJoin = func(h *Host, joined bool) {
		t.add("event", h, "=", stringer(func() string {
			if joined {
				return "joins the repair group"
			}
			return "leaves the repair group"
		}))
	}
	n.OnRead = func(h *Host, o *Received, p norm.Piece) {
		now := reading{h, o.Handle, p.Offset + int64(p.Len)}
		if last := (reading{h, o.Handle, p.Offset}); t.read == last && !p.Start && !p.Gap && !p.End {
			t.repeat++
			t.until = t.net.now
		} else if t.add("read", h, "=", stringer(func() string { return h.describePiece(o, p) })); !t.kinds["read"] {
			return
		}
		t.read = now
	}
	return t
}

// Set switches a kind of line on or off; an unknown kind is an error.
func (t *Trace) Set(kind string, on bool) error {
	if !slices.Contains(traceKinds, kind) {
		return fmt.Errorf("no kind of line is called %q; there are %s", kind, strings.Join(traceKinds, ", "))
	}
	t.kinds[kind] = on
	return nil
}

// Lines returns what was written since the last call.
func (t *Trace) Lines() []string {
	t.flush()
	t.last, t.run, t.read = "", segment{}, reading{}
	lines := t.lines
	t.lines = nil
	return lines
}

type stringer func() string

func (f stringer) String() string { return f() }

func (t *Trace) add(kind string, h *Host, sign string, what fmt.Stringer) {
	if !t.kinds[kind] {
		return
	}
	line := fmt.Sprintf("%s %s %s", h.Name, sign, what)
	if line == t.last {
		t.repeat++
		t.until = t.net.now
		return
	}
	t.flush()
	t.last, t.run, t.read = line, segment{}, reading{}
	t.lines = append(t.lines, "+"+round(t.net.now)+" "+line)
}

// where is String, and whether it is sent to the repair group.
func (p *Packet) where() string {
	if p.To == RepairGroup {
		return p.String() + " (to the repair group)"
	}
	return p.String()
}

// A segment is what a NORM_DATA carries.
type segment struct {
	from     *Host
	to       netip.AddrPort
	flags    wire.Flags
	position wire.Position
}

// continues reports whether p is the next segment in a run, and counts it if so.
func (t *Trace) continues(p *Packet) bool {
	m, ok := p.Message().(*wire.Data)
	if !ok {
		return false
	}
	last := t.run
	if last.from != p.From || last.to != p.To || last.flags != m.Flags || last.position.Object != m.Object {
		return false
	}
	a, b := last.position.PayloadID(0), m.PayloadID(0)
	if !(a.Block == b.Block && a.Symbol+1 == b.Symbol || a.Block+1 == b.Block && b.Symbol == 0) {
		return false
	}
	t.repeat++
	t.until = t.net.now
	t.run = segmentOf(p)
	return true
}

// segmentOf returns the segment that p carries, the zero segment if it is another message.
func segmentOf(p *Packet) segment {
	if m, ok := p.Message().(*wire.Data); ok {
		return segment{p.From, p.To, m.Flags, m.Position}
	}
	return segment{}
}

// flush writes how the last line went on.
func (t *Trace) flush() {
	switch {
	case t.repeat > 0 && t.run.from != nil:
		t.lines = append(t.lines, fmt.Sprintf("+%s ... %d more, to %v", round(t.until), t.repeat, t.run.position))
	case t.repeat > 0 && t.read.by != nil:
		t.lines = append(t.lines, fmt.Sprintf("+%s ... %d more, to %d", round(t.until), t.repeat, t.read.end))
	case t.repeat > 0:
		t.lines = append(t.lines, fmt.Sprintf("+%s ... %d more", round(t.until), t.repeat))
	}
	t.repeat = 0
}

// round writes a time as people read it: to the millisecond.
func round(d time.Duration) string { return d.Round(time.Millisecond).String() }

// kindOf tells what kind of line a packet makes.
func kindOf(p *Packet) string {
	switch m := p.Message().(type) {
	case *wire.Data:
		if m.Flags&wire.FlagRepair != 0 {
			return "repair"
		}
		return "data"
	case *wire.Info:
		if m.Flags&wire.FlagRepair != 0 {
			return "repair"
		}
		return "info"
	case *wire.Flush:
		return "flush"
	case *wire.EOT:
		return "eot"
	case *wire.Squelch:
		return "squelch"
	case *wire.CC:
		return "cc"
	case *wire.RepairAdv:
		return "repair_adv"
	case *wire.Nack:
		return "nack"
	case *wire.Ack:
		return "ack"
	}
	return "other"
}

package wire

import (
	"fmt"
	"log/slog"
	"strings"
)

// A Reading is what a decoder knows of a sender from the EXT_FTI of an earlier message, and needs to read one without it.
// The zero Reading knows nothing; a message's own EXT_FTI always goes before.
type Reading struct {
	M           uint8  // m of fec_id 2; zero means 8
	MaxBlockLen uint32 // B: encoding symbols from B on are parity; zero: not known
}

// Learn returns r with what the EXT_FTI of m tells, if it has one.
func (r Reading) Learn(m Message) Reading {
	var f FTI
	var ok bool
	switch m := m.(type) {
	case *Info:
		f, ok = m.Extensions.FTI(m.FECID)
	case *Data:
		f, ok = m.Extensions.FTI(m.FECID)
	}
	if ok {
		return Reading{f.M, f.MaxBlockLen}
	}
	return r
}

// String returns m.String() with positions read as r says.
func (r Reading) String(m Message) string { return m.describe(r.Learn(m)) }

// Fields returns m.LogValue() with positions and stream payloads read as r says.
func (r Reading) Fields(m Message) slog.Value { return slog.GroupValue(m.fields(r.Learn(m))...) }

// Describe returns one line about a datagram: the message's String, or why it is none.
func Describe(datagram []byte) string {
	var d Decoder
	m, err := d.Parse(datagram)
	if err != nil {
		return err.Error()
	}
	return m.String()
}

// String returns object/block/symbol; fec_id 2 is read with m = 8.
func (p Position) String() string { return p.describe(Reading{}) }

func (p Position) describe(r Reading) string {
	id := p.PayloadID(r.M)
	return fmt.Sprintf("%d/%d/%d", p.Object, id.Block, id.Symbol)
}

// transmission names the flags that tell how a message came to be sent, not what the object is.
func (f Flags) transmission() string {
	s := flagString(uint8(f&(FlagRepair|FlagExplicit)), "repair", "explicit")
	if s == "" {
		return ""
	}
	return " " + strings.ReplaceAll(s, "|", " ")
}

// describe returns, for example, "DATA 1/0/8 repair": object, block, symbol and how it came to be sent.
func (m *Data) describe(r Reading) string {
	return "DATA " + m.Position.describe(r) + m.Flags.transmission()
}

// describe returns, for example, "INFO 1".
func (m *Info) describe(_ Reading) string {
	return fmt.Sprintf("INFO %d%s", m.Object, m.Flags.transmission())
}

// describe returns, for example, "CMD(FLUSH) 1/9/62 ack 7,8".
func (m *Flush) describe(r Reading) string {
	return "CMD(FLUSH) " + m.Position.describe(r) + m.AckingNodes.suffix()
}

// suffix lists the nodes after "ack", or nothing.
func (l NodeList) suffix() string {
	if l.Len() == 0 {
		return ""
	}
	return " ack " + join(l.All())
}

// describe returns "CMD(EOT)".
func (m *EOT) describe(_ Reading) string { return "CMD(EOT)" }

// describe returns, for example, "CMD(SQUELCH) 10/0/0 invalid 13,17".
func (m *Squelch) describe(r Reading) string {
	s := "CMD(SQUELCH) " + m.Position.describe(r)
	if m.Invalid.Len() > 0 {
		s += " invalid " + join(m.Invalid.All())
	}
	return s
}

// describe returns, for example, "CMD(CC) 5 rate 8000 nodes 7,8": cc_sequence, bytes per second, node ids.
func (m *CC) describe(_ Reading) string {
	s := fmt.Sprintf("CMD(CC) %d", m.CCSequence)
	if code, ok := m.Extensions.Rate(); ok {
		s += fmt.Sprintf(" rate %.0f", DecodeRate(code))
	}
	if m.Nodes.Len() > 0 {
		s += " nodes " + join(func(yield func(NodeID) bool) {
			for n := range m.Nodes.All() {
				if !yield(n.Node) {
					return
				}
			}
		})
	}
	return s
}

// describe returns, for example, "CMD(REPAIR_ADV) segment 1/0/8 limit".
func (m *RepairAdv) describe(r Reading) string {
	s := "CMD(REPAIR_ADV)" + describeRequests(m.Payload, r)
	if m.Flags&RepairAdvLimit != 0 {
		s += " limit"
	}
	return s
}

// describe returns, for example, "CMD(ACK_REQ) 16 id 1 ack 7".
func (m *AckReq) describe(_ Reading) string {
	return fmt.Sprintf("CMD(ACK_REQ) %v id %d%s", m.AckType, m.AckID, m.AckingNodes.suffix())
}

// describe returns, for example, "CMD(APPLICATION) 4 bytes".
func (m *Application) describe(_ Reading) string {
	return fmt.Sprintf("CMD(APPLICATION) %d bytes", len(m.Payload))
}

// describe returns, for example, "NACK segment 1/0/8" or "NACK info 2, block 3/0-4".
func (m *Nack) describe(r Reading) string { return "NACK" + describeRequests(m.Payload, r) }

// describe returns, for example, "ACK(FLUSH) 1/9/62", "ACK(CC)" or "ACK(16) id 1".
func (m *Ack) describe(r Reading) string {
	s := fmt.Sprintf("ACK(%v)", m.AckType)
	if p, ok := m.Watermark(); ok {
		return s + " " + p.describe(r)
	}
	if m.AckID != 0 {
		s += fmt.Sprintf(" id %d", m.AckID)
	}
	return s
}

// describe returns, for example, "REPORT 4 bytes".
func (m *Report) describe(_ Reading) string { return fmt.Sprintf("REPORT %d bytes", len(m.Content)) }

// join lists ids separated by commas.
func join[T any](ids func(yield func(T) bool)) string {
	var b strings.Builder
	for id := range ids {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, id)
	}
	return b.String()
}

// describeRequests lists what is asked for, a space before it: each request is named by its level, for
// ranges "-" and what differs in the last.
func describeRequests(payload []byte, reading Reading) string {
	var b strings.Builder
	sep := " "
	for r := range Requests(payload) {
		for first, last := range r.All() {
			b.WriteString(sep)
			b.WriteString(r.level())
			b.WriteByte(' ')
			b.WriteString(r.describe(first, last, reading))
			sep = ", "
		}
	}
	return b.String()
}

// level names what the request wants of its items, such as "segment" or "info block".
func (r RepairRequest) level() string {
	s := "object"
	switch {
	case r.Flags&RepairObject != 0:
		return s
	case r.Form == RepairErasures:
		s = "erasures"
	case r.Flags&RepairBlock != 0:
		s = "block"
	case r.Flags&RepairSegment != 0:
		s = "segment"
	default:
		return "info"
	}
	if r.Flags&RepairInfo != 0 {
		s = "info " + s
	}
	return s
}

// describe formats one pair as far as the flags give it meaning: 1/0/8, 1/0/5-10, 1/2-4, 3-5.
func (r RepairRequest) describe(first, last Position, reading Reading) string {
	a, b := first.PayloadID(reading.M), last.PayloadID(reading.M)
	switch {
	case r.Flags&RepairObject != 0 || r.Flags&(RepairSegment|RepairBlock) == 0:
		return span(fmt.Sprint(first.Object), fmt.Sprint(last.Object))
	case r.Form == RepairErasures:
		return fmt.Sprintf("%d/%d:%d", first.Object, a.Block, a.Symbol)
	case r.Flags&RepairBlock != 0:
		return span(fmt.Sprintf("%d/%d", first.Object, a.Block), fmt.Sprint(b.Block))
	case a.Block == b.Block:
		return span(first.describe(reading), fmt.Sprint(b.Symbol))
	}
	return span(first.describe(reading), last.describe(reading))
}

// span joins the ends of a range; last may repeat the last component of first.
func span(first, last string) string {
	if first == last || strings.HasSuffix(first, "/"+last) {
		return first
	}
	return first + "-" + last
}

// String returns the message in a few words; see describe above.
func (m *Data) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *Info) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *Flush) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *EOT) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *Squelch) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *CC) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *RepairAdv) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *AckReq) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *Application) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *Nack) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *Ack) String() string { return Reading{}.String(m) }

// String is as that of Data.
func (m *Report) String() string { return Reading{}.String(m) }

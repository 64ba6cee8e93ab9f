package trace

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// maxSenders is of how many senders a Decoder remembers the FEC parameters.
const maxSenders = 4096

// A Decoder reads datagrams as NORM messages. It remembers what EXT_FTI said of each sender's latest object, which fec_id 2
// and streams need to be read. The zero Decoder is ready.
type Decoder struct {
	wire    wire.Decoder
	senders map[wire.NodeID]wire.Reading
}

// A Record is what was decoded: a message, an event, or a datagram that is none.
type Record struct {
	Number    uint64 // of the packet in its file, from 1 on
	Time      time.Time
	Direction Direction
	Datagram  Datagram
	Comment   string
	Event     string // not empty: an event, and no datagram

	Message wire.Message // nil if it is malformed; valid until the next Decode
	Err     error        // what is wrong with it
	reading wire.Reading
}

// Decode fills in the Message or Err of rec from its datagram.
func (d *Decoder) Decode(rec *Record) {
	b := rec.Datagram.B
	rec.Message, rec.Err = d.wire.Parse(b)
	if rec.Err != nil {
		return
	}
	sender := senderOf(rec.Message)
	rec.reading = d.senders[sender].Learn(rec.Message)
	if rec.reading == d.senders[sender] {
		return
	}
	if d.senders == nil {
		d.senders = make(map[wire.NodeID]wire.Reading)
	}
	if _, ok := d.senders[sender]; ok || len(d.senders) < maxSenders {
		d.senders[sender] = rec.reading
	}
}

// senderOf returns the sender that a message is of, or is for.
func senderOf(m wire.Message) wire.NodeID {
	switch m := m.(type) {
	case *wire.Nack:
		return m.Server
	case *wire.Ack:
		return m.Server
	case *wire.Info:
		return m.Source
	case *wire.Data:
		return m.Source
	case *wire.Flush:
		return m.Source
	case *wire.Squelch:
		return m.Source
	case *wire.RepairAdv:
		return m.Source
	}
	return wire.NodeNone // needs no reading
}

// Kinds are the names that Kind gives.
var Kinds = []string{"info", "data", "flush", "eot", "squelch", "cc", "repair_adv", "ack_req", "application", "nack", "ack", "report",
	"malformed", "event"}

// Kind returns the name of the record's kind: the message type or sub-type in lower case, malformed, or event.
func (r *Record) Kind() string {
	switch {
	case r.Event != "":
		return "event"
	case r.Err != nil:
		return "malformed"
	}
	h, _ := wire.Peek(r.Datagram.B)
	if h.Type != wire.TypeCmd {
		return strings.ToLower(h.Type.String())
	}
	cmd, _ := wire.PeekCmd(r.Datagram.B)
	return strings.ToLower(cmd.String())
}

// inSummary are the fields that a message's String tells already.
var inSummary = []string{"type", "object_transport_id", "nack_payload", "repair_adv_payload", "acking_node_list", "invalid_object_list"}

// AppendText appends the record in one line, without a newline: seconds since start, direction, addresses, what the
// message is in a few words, and its other fields.
func (r *Record) AppendText(b []byte, start time.Time) []byte {
	b = fmt.Appendf(b, "%12.6f ", r.since(start))
	if r.Event != "" {
		return append(append(b, "= "...), strings.Map(printable, r.Event)...)
	}
	if way := r.Direction.String(); way != "" {
		b = append(append(b, way...), ' ')
	}
	b = append(r.Datagram.From.AppendTo(b), " > "...)
	b = append(r.Datagram.To.AppendTo(b), ' ')
	if r.Err != nil {
		reason, at := r.fault()
		b = fmt.Appendf(b, "malformed: %s at byte %d of %d", reason, at, len(r.Datagram.B))
	} else {
		b = append(append(b, r.reading.String(r.Message)...), ':')
		for _, a := range r.fields().Group() {
			if slices.Contains(inSummary, a.Key) {
				continue
			}
			n := len(b)
			if b = wire.AppendTextAttr(append(b, ' '), a); b[len(b)-1] == '=' {
				b = b[:n] // empty
			}
		}
	}
	if r.cut() {
		b = fmt.Appendf(b, " (%d of %d bytes captured)", len(r.Datagram.B), r.Datagram.Length)
	}
	if r.Comment != "" {
		b = strconv.AppendQuote(append(b, " # "...), r.Comment)
	}
	return b
}

// AppendJSON appends the record as one JSON object; withBytes adds the datagram in hex.
func (r *Record) AppendJSON(b []byte, start time.Time, withBytes bool) []byte {
	attrs := []slog.Attr{slog.Uint64("frame", r.Number)}
	if !r.Time.IsZero() {
		attrs = append(attrs, slog.String("time", r.Time.UTC().Format(time.RFC3339Nano)), slog.Float64("seconds", r.since(start)))
	}
	if r.Event != "" {
		return wire.AppendJSON(b, slog.GroupValue(append(attrs, slog.String("event", r.Event))...))
	}
	d := &r.Datagram
	if way := r.Direction.String(); way != "" {
		attrs = append(attrs, slog.String("direction", way))
	}
	attrs = append(attrs,
		slog.String("from", d.From.String()),
		slog.String("to", d.To.String()),
		slog.Int("ecn", int(d.ECN)),
		slog.Int("length", d.Length))
	if r.cut() {
		attrs = append(attrs, slog.Int("captured", len(d.B)))
	}
	if r.Comment != "" {
		attrs = append(attrs, slog.String("comment", r.Comment))
	}
	if r.Err != nil {
		reason, at := r.fault()
		attrs = append(attrs, slog.Attr{Key: "malformed", Value: slog.GroupValue(slog.String("reason", reason), slog.Int("offset", at))})
	} else {
		attrs = append(attrs, slog.String("summary", r.reading.String(r.Message)), slog.Attr{Key: "message", Value: r.fields()})
	}
	if withBytes {
		attrs = append(attrs, slog.String("datagram", hex.EncodeToString(d.B)))
	}
	return wire.AppendJSON(b, slog.GroupValue(attrs...))
}

// printable keeps what a stranger wrote into a file from disturbing a terminal.
func printable(c rune) rune {
	if unicode.IsPrint(c) {
		return c
	}
	return unicode.ReplacementChar
}

// fields are those of the message, with the hdr_len that the message itself does not keep behind its type.
func (r *Record) fields() slog.Value {
	fields := r.reading.Fields(r.Message).Group()
	return slog.GroupValue(slices.Insert(fields, 1, slog.Int("hdr_len", int(r.Datagram.B[1])))...)
}

// fault says what is wrong with a malformed message, and at which of its bytes.
func (r *Record) fault() (reason string, at int) {
	return strings.TrimPrefix(r.Err.Error(), "wire: "), wire.ErrorOffset(r.Datagram.B, r.Err)
}

// cut reports whether the capture has not all of the datagram.
func (r *Record) cut() bool { return len(r.Datagram.B) < r.Datagram.Length }

func (r *Record) since(start time.Time) float64 {
	if r.Time.IsZero() {
		return 0
	}
	return r.Time.Sub(start).Round(time.Microsecond).Seconds()
}

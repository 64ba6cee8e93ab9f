package trace

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A Summary counts what was decoded. The zero Summary is ready.
type Summary struct {
	kinds     map[string]uint64
	skipped   map[string]uint64 // frames and datagrams that hold no NORM message, by reason
	senders   map[wire.NodeID]uint64
	receivers map[wire.NodeID]uint64
}

// Add counts a record.
func (s *Summary) Add(r *Record) {
	count(&s.kinds, r.Kind(), len(Kinds))
	if r.Message == nil {
		return
	}
	h, _ := wire.Peek(r.Datagram.B)
	switch h.Type {
	case wire.TypeInfo, wire.TypeData, wire.TypeCmd:
		count(&s.senders, h.Source, maxSenders)
	default:
		count(&s.receivers, h.Source, maxSenders)
	}
}

// Skip counts a frame or datagram that holds no NORM message.
func (s *Summary) Skip(reason string) { count(&s.skipped, reason, 100) }

// count adds one to m[k], unless there are so many others already.
func count[K comparable](m *map[K]uint64, k K, limit int) {
	if *m == nil {
		*m = make(map[K]uint64)
	}
	if _, ok := (*m)[k]; ok || len(*m) < limit {
		(*m)[k]++
	}
}

// String returns the summary in a few lines, each with a newline.
func (s *Summary) String() string {
	var b strings.Builder
	var parts []string
	for _, kind := range Kinds {
		if n := s.kinds[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", kind, n))
		}
	}
	fmt.Fprintf(&b, "%d messages", s.messages())
	if len(parts) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(parts, ", "))
	}
	b.WriteByte('\n')
	nodes(&b, "sender", s.senders)
	nodes(&b, "receiver", s.receivers)
	if len(s.skipped) > 0 {
		parts = parts[:0]
		for _, reason := range slices.Sorted(maps.Keys(s.skipped)) {
			parts = append(parts, fmt.Sprintf("%s %d", reason, s.skipped[reason]))
		}
		fmt.Fprintf(&b, "skipped: %s\n", strings.Join(parts, ", "))
	}
	return b.String()
}

// messages is how many of the records are messages.
func (s *Summary) messages() (n uint64) {
	for kind, count := range s.kinds {
		if kind != "event" && kind != "malformed" {
			n += count
		}
	}
	return n
}

// shown is how many nodes a summary names.
const shown = 10

func nodes(b *strings.Builder, what string, m map[wire.NodeID]uint64) {
	if len(m) == 0 {
		return
	}
	busiest := slices.SortedFunc(maps.Keys(m), func(x, y wire.NodeID) int { return cmp.Or(cmp.Compare(m[y], m[x]), cmp.Compare(x, y)) })
	if len(m) > 1 {
		what += "s"
	}
	fmt.Fprintf(b, "%d %s:", len(m), what)
	for i, n := range busiest[:min(shown, len(busiest))] {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, " %d (%d messages)", n, m[n])
	}
	if len(busiest) > shown {
		b.WriteString(" …")
	}
	b.WriteByte('\n')
}

// AppendJSON appends the summary as one JSON object. What was counted nowhere is left out.
func (s *Summary) AppendJSON(b []byte) []byte {
	return wire.AppendJSON(b, slog.GroupValue(slog.Group("summary", slog.Uint64("messages", s.messages()),
		counts("types", s.kinds), counts("senders", s.senders), counts("receivers", s.receivers), counts("skipped", s.skipped))))
}

func counts[K cmp.Ordered](name string, m map[K]uint64) slog.Attr {
	attrs := make([]slog.Attr, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		attrs = append(attrs, slog.Uint64(fmt.Sprint(k), m[k]))
	}
	return slog.Attr{Key: name, Value: slog.GroupValue(attrs...)}
}

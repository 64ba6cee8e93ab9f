package wire

import (
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// AppendText appends what LogValue or [Reading.Fields] returned as text: key=value, groups in braces, what is
// empty left out. Numbers have six digits, times are to the microsecond.
func AppendText(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindGroup:
		b = append(b, '{')
		sep := ""
		for _, a := range v.Group() {
			n := len(b) + len(sep)
			b = AppendTextAttr(append(b, sep...), a)
			if b[len(b)-1] == '=' {
				b = b[:n-len(sep)]
				continue
			}
			sep = " "
		}
		return append(b, '}')
	case slog.KindDuration:
		return append(b, v.Duration().Round(time.Microsecond).String()...)
	case slog.KindFloat64:
		return strconv.AppendFloat(b, significant(v.Float64(), 6), 'f', -1, 64)
	case slog.KindString:
		if s := v.String(); strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r > '~' }) {
			return strconv.AppendQuote(b, s)
		}
	}
	return append(b, v.String()...)
}

// AppendTextAttr appends key=value, or key{…} of a group. Of what is empty nothing follows the "=".
func AppendTextAttr(b []byte, a slog.Attr) []byte {
	b = append(b, a.Key...)
	if a.Value.Kind() != slog.KindGroup {
		b = append(b, '=')
	}
	return AppendText(b, a.Value)
}

// significant rounds v to so many digits.
func significant(v float64, digits int) float64 {
	if v == 0 {
		return 0
	}
	f := math.Pow10(digits - 1 - int(math.Floor(math.Log10(math.Abs(v)))))
	return math.Round(v*f) / f
}

// AppendJSON appends what LogValue or [Reading.Fields] returned as JSON: groups are objects with their fields in order,
// lists are arrays, durations are seconds.
func AppendJSON(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindGroup:
		b = append(b, '{')
		for i, a := range v.Group() {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, a.Key), ':')
			b = AppendJSON(b, a.Value)
		}
		return append(b, '}')
	case slog.KindDuration:
		return strconv.AppendFloat(b, v.Duration().Seconds(), 'f', -1, 64)
	case slog.KindFloat64:
		return strconv.AppendFloat(b, v.Float64(), 'f', -1, 64) // finite: what the quantized fields decode to
	case slog.KindInt64, slog.KindUint64, slog.KindBool:
		return append(b, v.String()...)
	case slog.KindAny:
		if m, ok := v.Any().(json.Marshaler); ok {
			if j, err := m.MarshalJSON(); err == nil {
				return append(b, j...)
			}
		}
	}
	return appendString(b, v.String())
}

// appendString appends s in quotes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			j, _ := json.Marshal(s) // a string never fails
			return append(b, j...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// list is values that stand for a list: separated by commas, or a JSON array.
type list []slog.Value

// String returns, for example, "7,8".
func (l list) String() string {
	var b []byte
	for i, v := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendText(b, v)
	}
	return string(b)
}

// MarshalJSON returns an array.
func (l list) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, v := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendJSON(b, v)
	}
	return append(b, ']'), nil
}

// listAttr is a list of ids.
func listAttr[T NodeID | TransportID](key string, ids iter.Seq[T]) slog.Attr {
	var l list
	for id := range ids {
		l = append(l, slog.Uint64Value(uint64(id)))
	}
	return slog.Any(key, l)
}

// requests render the repair requests of a nack_payload.
type requests struct {
	payload []byte
	r       Reading
}

// String returns, for example, "segment 1/0/8, block 3/0-4".
func (x requests) String() string { return strings.TrimPrefix(describeRequests(x.payload, x.r), " ") }

// MarshalJSON returns an array with an object for each request: form, flags, and items, ranges or erasures.
func (x requests) MarshalJSON() ([]byte, error) {
	var all list
	for q := range Requests(x.payload) {
		var items list
		for first, last := range q.All() {
			item := slog.GroupValue(first.attrs(x.r)...)
			if q.Form == RepairRanges {
				item = slog.GroupValue(slog.Attr{Key: "first", Value: item}, slog.Attr{Key: "last", Value: slog.GroupValue(last.attrs(x.r)...)})
			}
			items = append(items, item)
		}
		all = append(all, slog.GroupValue(
			slog.String("form", fmt.Sprint(q.Form)),
			slog.String("flags", q.Flags.String()),
			slog.Uint64("length", uint64(len(q.items))),
			slog.Any("items", items)))
	}
	return all.MarshalJSON()
}

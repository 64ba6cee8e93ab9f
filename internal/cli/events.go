package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Events writes events as JSON, one a line. The zero value, and nil, write nothing. Safe for concurrent use.
type Events struct {
	mu  sync.Mutex
	out io.Writer // guarded by mu
}

// NewEvents returns Events that write to out; nil if json is false.
func NewEvents(out io.Writer, json bool) *Events {
	if !json {
		return nil
	}
	return &Events{out: out}
}

// On reports whether events are written at all.
func (e *Events) On() bool { return e != nil && e.out != nil }

// Fields are what an event says beside its time and name.
type Fields map[string]any

// Emit writes one event: its time (RFC 3339, UTC), its name and its fields.
func (e *Events) Emit(event string, fields Fields) {
	if !e.On() {
		return
	}
	line := fmt.Appendf(nil, `{"time":%q,"event":%q`, time.Now().UTC().Format(time.RFC3339Nano), event)
	if rest, err := json.Marshal(fields); err == nil && len(fields) > 0 {
		line = append(append(line, ','), rest[1:]...)
	} else {
		line = append(line, '}')
	}
	e.Line(line)
}

// Line writes an event that is JSON already.
func (e *Events) Line(event []byte) {
	if !e.On() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out.Write(append(event, '\n')) // a reader that went away is no reason to end a transfer
}

// Counters returns the fields of a struct of counters under their names in JSON events: NacksHeard is nacks_heard, and
// times are in seconds.
func Counters(v any) Fields {
	fields := make(Fields)
	for field, value := range reflect.ValueOf(v).Fields() {
		name := counterName(field.Name)
		switch d, ok := value.Interface().(time.Duration); {
		case ok:
			fields[name] = d.Seconds()
		case value.Kind() == reflect.Struct:
			fields[name] = Counters(value.Interface())
		default:
			fields[name] = value.Interface()
		}
	}
	return fields
}

// counterName puts a _ where a word begins.
func counterName(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && !unicode.IsUpper(rune(name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

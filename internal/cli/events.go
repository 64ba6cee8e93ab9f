package cli

import (
	"encoding/json"
	"io"
	"sync"
	"time"
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
	line := make(map[string]any, len(fields)+2)
	for k, v := range fields {
		line[k] = v
	}
	line["time"] = time.Now().UTC().Format(time.RFC3339Nano)
	line["event"] = event
	e.Write(line)
}

// Write writes an event that is complete in itself.
func (e *Events) Write(event any) {
	if !e.On() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	json.NewEncoder(e.out).Encode(event) // a reader that went away is no reason to end a transfer
}

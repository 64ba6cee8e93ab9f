package session

import (
	"context"
	"time"
)

// MaxLate is maxLate.
const MaxLate = maxLate

// Held returns how many sources and sinks the session keeps.
func (s *Session) Held(ctx context.Context) (sources, sinks int) {
	s.do(ctx, func(time.Time) { sources, sinks = len(s.files.sources), len(s.files.sinks) })
	return sources, sinks
}

// Waiting returns how many events nobody has fetched.
func (s *Session) Waiting() int {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	return s.events.items.len()
}

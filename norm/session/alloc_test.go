package session_test

import (
	"runtime"
	"testing"
)

// TestSegmentsCostLittleMemory holds what the driver allocates beside the core, which allocates nothing for a segment:
// it grows some queues, and wakes goroutines.
func TestSegmentsCostLittleMemory(t *testing.T) {
	var l line
	out, in := newPipe()
	l.open(t, group, 1e12, out, in)
	l.carry(t, 16<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const size = 64 << 20
	l.carry(t, size)
	runtime.ReadMemStats(&after)
	const segments = size / 1400
	per := float64(after.Mallocs-before.Mallocs) / segments
	bytes := float64(after.TotalAlloc-before.TotalAlloc) / segments
	t.Logf("%.4f allocations and %.2f bytes for each of %d segments", per, bytes, segments)
	if per > 0.05 || bytes > 100 {
		t.Errorf("%.3f allocations and %.0f bytes for each of %d segments, want at most 0.05 and 100", per, bytes, segments)
	}
}

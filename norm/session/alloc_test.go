package session_test

import (
	"runtime"
	"testing"
)

// TestSegmentsCostLittleMemory holds what core and driver allocate together: nothing for a segment, and little for a
// block, more of them the more are under way at once.
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
	if per > 0.3 || bytes > 500 {
		t.Errorf("%.3f allocations and %.0f bytes for each of %d segments, want at most 0.3 and 500", per, bytes, segments)
	}
}

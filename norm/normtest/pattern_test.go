package normtest_test

import (
	"bytes"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"pgregory.net/rapid"
)

// TestPatternIsAFile compares a pattern with a file in memory, to which right and wrong bytes are written.
func TestPatternIsAFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 2000).Draw(t, "size")
		right := make([]byte, size)
		if _, err := normtest.Source(1, size).ReadAt(right, 0); err != nil {
			t.Fatal(err)
		}
		sink := &normtest.Pattern{Seed: 1, Size: size}
		file := make(normtest.Memory, size)
		written := make([]bool, size)
		span := func() (from, to int64) {
			from = rapid.Int64Range(0, size-1).Draw(t, "from")
			return from, rapid.Int64Range(from, size).Draw(t, "to")
		}
		for range rapid.IntRange(0, 20).Draw(t, "writes") {
			from, to := span()
			b := bytes.Clone(right[from:to])
			if len(b) > 0 && rapid.Bool().Draw(t, "spoil") {
				for i := range b[:rapid.IntRange(0, len(b)).Draw(t, "wrong")] {
					b[i] ^= byte(1 + i%3)
				}
			}
			for _, f := range []normtest.File{sink, file} {
				if _, err := f.WriteAt(b, from); err != nil {
					t.Fatal(err)
				}
			}
			for i := from; i < to; i++ {
				written[i] = true
			}
		}
		if rapid.Bool().Draw(t, "forget") {
			from, to := span()
			sink.Forget(norm.Range{Offset: from, Length: to - from})
			clear(file[from:to])
			clear(written[from:to])
		}
		got := make([]byte, size)
		if sink.ReadAt(got, 0); !bytes.Equal(got, file) {
			t.Fatalf("read %x, want %x", got, file)
		}
		whole, has := true, make([]bool, size)
		for i := range file {
			whole = whole && written[i] && file[i] == right[i]
		}
		if sink.Whole() != whole {
			t.Fatalf("whole %v, want %v", sink.Whole(), whole)
		}
		for _, r := range sink.Written() {
			for i := r.Offset; i < r.End(); i++ {
				has[i] = true
			}
		}
		for i := range has {
			if has[i] != (written[i] && file[i] == right[i]) {
				t.Fatalf("byte %d counts as right: %v", i, has[i])
			}
		}
	})
}

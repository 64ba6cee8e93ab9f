package normtest_test

import (
	"bytes"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"pgregory.net/rapid"
)

func TestPatternChecksWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 100).Draw(t, "size")
		source := normtest.Source(1, size)
		sink := &normtest.Pattern{Seed: 1, Size: size}
		have := make([]bool, size)
		for range rapid.IntRange(0, 20).Draw(t, "writes") {
			from := rapid.Int64Range(0, size-1).Draw(t, "from")
			b := make([]byte, rapid.Int64Range(0, size-from).Draw(t, "length"))
			if _, err := source.ReadAt(b, from); err != nil {
				t.Fatal(err)
			}
			if _, err := sink.WriteAt(b, from); err != nil {
				t.Fatal(err)
			}
			for i := range b {
				have[from+int64(i)] = true
			}
		}
		if rapid.Bool().Draw(t, "forget") {
			from := rapid.Int64Range(0, size-1).Draw(t, "forget from")
			length := rapid.Int64Range(0, size-from).Draw(t, "forget length")
			sink.Forget(norm.Range{Offset: from, Length: length})
			clear(have[from : from+length])
		}
		want, got := make([]byte, size), make([]byte, size)
		source.ReadAt(want, 0)
		whole := true
		for i, ok := range have {
			if !ok {
				want[i], whole = 0, false
			}
		}
		if sink.ReadAt(got, 0); !bytes.Equal(got, want) || sink.Whole() != whole {
			t.Fatalf("read %x, want %x; whole %v, want %v", got, want, sink.Whole(), whole)
		}
		if _, err := sink.WriteAt([]byte{got[0] ^ 1, 0}, 0); err == nil && have[0] {
			t.Fatal("a wrong byte was taken")
		}
	})
}

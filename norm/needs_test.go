package norm

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestPlacesAreOrdered compares places with the serial arithmetic of object ids.
func TestPlacesAreOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Uint16().Draw(t, "of interest")
		a := TransportID(at + rapid.Uint16Range(0, 100).Draw(t, "a"))
		b := TransportID(at + rapid.Uint16Range(0, 100).Draw(t, "b"))
		blockA, blockB := rapid.Uint32().Draw(t, "block a"), rapid.Uint32().Draw(t, "block b")
		symbolA, symbolB := rapid.IntRange(0, 65535).Draw(t, "symbol a"), rapid.IntRange(0, 65535).Draw(t, "symbol b")
		want := a.Before(b) || a == b && (blockA < blockB || blockA == blockB && symbolA < symbolB) // N-4.2.1-72
		o := originFor(TransportID(at))
		if got := o.place(a, blockA, symbolA) < o.place(b, blockB, symbolB); got != want {
			t.Fatalf("%d/%d/%d before %d/%d/%d: %v", a, blockA, symbolA, b, blockB, symbolB, got)
		}
	})
}

// TestSpanSetIsASet compares it with a plain one.
func TestSpanSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 64
		var set spanSet
		var plain [n]bool
		draw := func() span {
			a, b := rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b")
			return span{place(min(a, b)), place(max(a, b))}
		}
		for range rapid.IntRange(0, 20).Draw(t, "spans") {
			e := draw()
			set.add(e)
			for i := e.first; i <= e.last; i++ {
				plain[i] = true
			}
		}
		e := draw()
		want := !slices.Contains(plain[e.first:e.last+1], false)
		if got := set.covers(e); got != want {
			t.Fatalf("%v covers %v: %v", set, e, got)
		}
		for i := 1; i < len(set); i++ {
			if set[i-1].last+1 >= set[i].first {
				t.Fatalf("not disjoint: %v", set)
			}
		}
	})
}

// TestRequestsOfOthersAreBounded adds more than any group would.
func TestRequestsOfOthersAreBounded(t *testing.T) {
	var q requestSet
	for i := range uint32(2 * maxSpans) {
		b, err := wire.Position{FECID: wire.RS8, Raw: wire.RawPayloadID(i << 10)}.AppendItem([]byte{1, 1, 0, 8})
		if err != nil {
			t.Fatal(err)
		}
		for r := range wire.Requests(b) {
			q.merge(r, 0, new(remote))
		}
	}
	if len(q.content) != maxSpans {
		t.Errorf("%d spans", len(q.content))
	}
	q.content.add(span{0, 1<<64 - 1})
	if len(q.content) != 1 || !q.content.covers(span{5, 1<<64 - 1}) {
		t.Errorf("%v", q.content)
	}
}

func TestNumberSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 200
		var set numberSet
		plain := map[int]bool{}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "i")
			if rapid.Bool().Draw(t, "add") {
				set = set.grown(i + 1)
				set.add(i)
				plain[i] = true
			} else {
				set.remove(i)
				delete(plain, i)
			}
		}
		from := rapid.IntRange(0, n).Draw(t, "from")
		absent := from
		for plain[absent] {
			absent++
		}
		below := 0
		for i := range plain {
			if i < from {
				below++
			}
			if !set.has(i) {
				t.Fatalf("%d is missing", i)
			}
		}
		if got := set.absent(from); got != absent {
			t.Fatalf("absent(%d) = %d, want %d", from, got, absent)
		}
		if got := set.count(from); got != below {
			t.Fatalf("count(%d) = %d, want %d", from, got, below)
		}
	})
}

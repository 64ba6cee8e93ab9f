package norm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// adverts runs for d and writes the content of what was advertised.
func (r *rig) adverts(d time.Duration) (short []string) {
	r.t.Helper()
	r.run(d)
	for _, m := range of[*wire.RepairAdv](r.take()) {
		var words []string
		for request := range m.Requests() {
			for first, last := range request.All() {
				a, b := first.PayloadID(0), last.PayloadID(0)
				words = append(words, fmt.Sprintf("%v %d/%d/%d-%d/%d", request.Flags, first.Object, a.Block, a.Symbol, b.Block, b.Symbol))
			}
		}
		if m.Flags&wire.RepairAdvLimit != 0 {
			words = append(words, "limit")
		}
		short = append(short, strings.Join(words, ", "))
	}
	return short
}

// N-4.2.3.5-02 N-5.4.4-04: unicast NACKs are answered by one REPAIR_ADV with all they come to, early in the aggregation.
// That they came to the address we send from, which has a port of its own, tells them from those to the group. N-5.4.4-01
func TestRepairAdv(t *testing.T) {
	r := repaired(t, nil)
	for range 5 {
		r.nackTo(testServer, "0/0/4-6 0/b1-2 i1 1/0/5")
	}
	got := r.adverts(0)
	want := "segment 0/0/4-0/6, block 0/1/0-2/0, info 1/0/0-0/0, segment 1/0/5-0/5"
	if len(got) != 1 || got[0] != want {
		t.Errorf("advertised %q, want %q", got, want)
	}
	r.nackTo(testServer, "0/0/4-7 0/b0") // more of it: once per GRTT
	got = r.adverts(r.grtts(2))
	want = "object 0/0/0-0/0, info 1/0/0-0/0, segment 1/0/5-0/5"
	if len(got) != 1 || got[0] != want {
		t.Errorf("advertised %q, want %q", got, want)
	}
	if got = r.adverts(time.Second); len(got) != 0 {
		t.Errorf("advertised %q when all is repaired", got)
	}
	r.nackTo(testServer, "o0-1")
	if got = r.adverts(0); len(got) != 1 || got[0] != "object 0/0/0-0/0, object 1/0/0-0/0" {
		t.Errorf("advertised %q", got)
	}
}

// NACKs to the group were heard by all.
func TestNoRepairAdvForMulticastNacks(t *testing.T) {
	r := repaired(t, nil)
	r.nackRequest("0/0/4")
	if got := r.adverts(r.grtts(1)); len(got) != 0 {
		t.Errorf("advertised %q", got)
	}
}

// N-4.2.3.5-03 N-5.4.4-02 N-4.2.3-03: what does not fit a segment is left out, which the flag says.
func TestRepairAdvLimit(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(40*400, nil)
	r.idle()
	for b := range 20 {
		r.nackTo(testServer, fmt.Sprintf("0/%d/4 0/%d/6", b, b))
	}
	got := r.adverts(r.grtts(2))
	if last := got[len(got)-1]; !strings.HasSuffix(last, "limit") || strings.Count(last, "segment") != 12 { // 4 + 12*8 bytes
		t.Errorf("advertised %q", last)
	}
}

package norm

import (
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// squelches runs for d and returns what was squelched.
func (r *rig) squelches(d time.Duration) []*wire.Squelch {
	r.t.Helper()
	r.run(d)
	return of[*wire.Squelch](r.take())
}

func (r *rig) wantSquelch(m *wire.Squelch, start TransportID, list ...TransportID) {
	r.t.Helper()
	id := m.PayloadID(0)
	if m.Object != start || id.Block != 0 || id.Symbol != 0 { // N-4.2.3.3-04 N-4.2.3.3-05
		r.t.Errorf("%v: the window starts at %d", m, start)
	}
	if got := slices.Collect(m.Invalid.All()); !slices.Equal(got, list) {
		r.t.Errorf("invalid objects %v, want %v", got, list)
	}
}

// sendWindow starts a sender that holds the objects given of first to first+9.
func sendWindow(t *testing.T, first TransportID, held ...int) *rig {
	r := newRig(t, func(c *SenderConfig) { c.FirstObject = first })
	var handles []Handle
	for range 10 {
		handles = append(handles, r.enqueue(100, nil))
	}
	r.idle()
	for i, h := range handles {
		if !slices.Contains(held, i) {
			if err := r.Cancel(r.now, h); err != nil { // N-4.2.3.3-12
				t.Fatal(err)
			}
		}
	}
	r.drain()
	r.events = nil
	return r
}

func TestSquelchListsGaps(t *testing.T) {
	r := sendWindow(t, 0, 2, 3, 6, 7)
	// N-4.2.3.3-02 N-5.4.3-02 N-4.2.3.3-06: lists the gaps; the lowest asked for begins it. N-4.2.3.3-08 N-5.4.3-01
	r.nackRequest("o5 3/0/1")
	got := r.squelches(0)
	if len(got) != 1 {
		t.Fatalf("%d squelches", len(got))
	}
	r.wantSquelch(got[0], 2, 5, 8, 9)
	r.run(time.Second)
	r.wantScript("3/0/1r") // what is held is repaired nevertheless

	r.nackRequest("o0-9") // in part
	got = r.squelches(time.Second)
	if len(got) != 1 {
		t.Fatalf("%d squelches", len(got))
	}
	r.wantSquelch(got[0], 2, 4, 5, 8, 9) // N-4.2.3.3-09: 0 and 1 are before the window
}

// N-4.2.3.3-03 N-5.4.3-01: at most one in 2*GRTT, from the lowest id of all NACKs in between.
func TestSquelchRate(t *testing.T) {
	r := sendWindow(t, 0, 0)
	r.nackRequest("o9")
	for _, short := range []string{"o8", "3/0/1", "6/b0", "o7"} {
		r.run(5 * time.Millisecond)
		r.nackRequest(short)
	}
	r.run(10 * r.grtt.advertised)
	sent := r.take()
	at, got := times[*wire.Squelch](sent), of[*wire.Squelch](sent)
	if len(got) != 2 || at[1]-at[0] != 2*r.grtt.advertised {
		t.Fatalf("squelches at %v", at)
	}
	r.wantSquelch(got[0], 0, 9)
	r.wantSquelch(got[1], 0, 3, 4, 5, 6, 7, 8, 9)
}

// The ids wrap. N-4.2.1-70 N-4.2.1-71 N-4.2.3.3-09
func TestSquelchAcrossWrap(t *testing.T) {
	r := sendWindow(t, 65532, 1, 8) // holds 65533 and 4
	r.nackRequest("o65532")
	got := r.squelches(time.Second)
	r.wantSquelch(got[0], 65533, 65534, 65535, 0, 1, 2, 3, 5)
	r.nackRequest("1/0/1")
	got = r.squelches(time.Second)
	r.wantSquelch(got[0], 65533, 1, 2, 3, 5)
	for _, m := range got {
		for id := range m.Invalid.All() {
			if !m.Object.Before(id) {
				t.Errorf("id %d is not behind %d", id, m.Object)
			}
		}
	}
}

// N-4.2.3.3-07 N-4.2.3-03: as many as fit a segment.
func TestSquelchListFits(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.MaxObjects = 400 })
	first := r.enqueue(100, nil)
	var rest []Handle
	for range 200 {
		rest = append(rest, r.enqueue(0, nil))
	}
	r.idle()
	for _, h := range rest {
		r.Cancel(r.now, h)
	}
	r.nackRequest("o20-30")
	got := r.squelches(time.Second)
	var want []TransportID
	for id := TransportID(20); id < 70; id++ { // 50 ids in 100 bytes
		want = append(want, id)
	}
	r.wantSquelch(got[0], 0, want...)
	if r.byHandle(first) == nil {
		t.Error("the first object is gone")
	}
}

// When nothing is held the window starts with the next object.
func TestSquelchOfEmptyWindow(t *testing.T) {
	r := sendWindow(t, 5)
	r.nackRequest("o6")
	got := r.squelches(time.Second)
	r.wantSquelch(got[0], 15)
	if n, _, _ := r.Enqueue(r.now, Object{}); n == 0 {
		t.Error("no new object")
	}
	r.nackRequest("o15-20") // held but for what is not sent yet
	if got := r.squelches(time.Second); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// N-4.2.1-30 N-4.2.1-32: an unreliable object is not repaired; a NACK for it gets SQUELCH.
func TestSquelchUnreliableObject(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(100, nil)
	r.enqueue(300, func(o *Object) { o.Unreliable = true })
	r.enqueue(100, nil)
	r.run(100 * time.Millisecond)
	for _, m := range of[*wire.Data](r.take()) {
		if got, want := m.Flags&wire.FlagUnreliable != 0, m.Object == 1; got != want {
			t.Errorf("%v: unreliable %v", m, got)
		}
	}
	r.idle()
	r.nackRequest("o1 1/0/1 2/0/1")
	got := r.squelches(time.Second)
	if len(got) != 1 {
		t.Fatalf("%d squelches", len(got))
	}
	r.wantSquelch(got[0], 0, 1)
	if r.Stats().Repairs != 1 {
		t.Errorf("%d repairs", r.Stats().Repairs)
	}
}

package norm

import (
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestFlushSeries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		size  int
		info  []byte
		auto  int
		block uint32
		last  uint32
	}{
		{"last symbol", 850, nil, 0, 2, 2}, // N-4.2.3.1-07
		{"with parity", 850, nil, 2, 2, 4},
		{"empty", 0, []byte("x"), 0, 0, 0},
	} {
		r := newRig(t, func(c *SenderConfig) { c.AutoParity = tt.auto })
		r.enqueue(tt.size, func(o *Object) { o.Info = tt.info })
		sent := r.run4(t)
		g := r.grtt.advertised
		flushes := of[*wire.Flush](sent)
		if len(flushes) != 20 { // N-4.2.3.1-05 N-4.2.3.1-22 N-6-06 N-5.1-07
			t.Fatalf("%s: %d flushes", tt.name, len(flushes))
		}
		for _, m := range flushes {
			if id := m.PayloadID(0); m.Object != 0 || id.Block != tt.block || id.Symbol != tt.last {
				t.Errorf("%s: %v, want symbol %d of block %d", tt.name, m, tt.last, tt.block)
			}
		}
		for _, d := range gaps(times[*wire.Flush](sent)) {
			if d != 2*g { // N-5.3-24
				t.Errorf("%s: %v between flushes, want %v", tt.name, d, 2*g)
			}
		}
		// N-4.2.3.1-04: behind the last data; N-5.1-10: the series takes 2*F*GRTT, no more.
		content := times[*wire.Data](sent)
		if len(content) == 0 {
			content = times[*wire.Info](sent)
		}
		at := times[*wire.Flush](sent)
		if d := at[0] - content[len(content)-1]; d < 0 || d > 2*time.Millisecond {
			t.Errorf("%s: first flush %v behind the data", tt.name, d)
		}
		if d := at[len(at)-1] + 2*g - at[0]; d != 40*g {
			t.Errorf("%s: the series takes %v", tt.name, d)
		}
		if r.events[len(r.events)-1].Kind != Flushed {
			t.Errorf("%s: events %v", tt.name, r.events)
		}
	}
}

// run4 runs as long as a flush series, and a while.
func (r *rig) run4(t *testing.T) []sentMessage {
	t.Helper()
	r.run(60 * r.grtt.advertised)
	return r.take()
}

// N-4.2.3.1-06 N-4.2.3.1-21: a NACK starts the series anew, behind the repairs.
func TestFlushRestartsAfterRepair(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(850, nil)
	r.run(10 * r.grtt.advertised)
	if n := len(of[*wire.Flush](r.take())); n < 4 || n > 6 {
		t.Fatalf("%d flushes so far", n)
	}
	r.nackRequest("0/1/3")
	r.run(4 * r.grtt.advertised)
	if n := len(of[*wire.Flush](r.take())); n != 0 {
		t.Errorf("%d flushes while NACKs are collected", n)
	}
	sent := r.run4(t)
	if got := script(sent); got != "0/1/3r" {
		t.Errorf("sent %s", got)
	}
	if _, ok := sent[0].msg.(*wire.Data); !ok || len(of[*wire.Flush](sent)) != 20 {
		t.Errorf("%d flushes after the repair, the first message is %v", len(of[*wire.Flush](sent)), sent[0].msg)
	}
	// One series ended without a NACK in between.
	if n := len(slices.DeleteFunc(r.events, func(e Event) bool { return e.Kind != Flushed })); n != 1 {
		t.Errorf("%d Flushed events", n)
	}
}

// N-4.2.3.1-18: new data ends the series at once; a fresh one follows behind it.
func TestFlushGivesWayToNewData(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(850, nil)
	r.run(10 * r.grtt.advertised)
	r.take()
	r.enqueue(100, nil)
	sent := r.run4(t)
	if got := script(sent); got != "1/0/0" {
		t.Errorf("sent %s", got)
	}
	flushes := of[*wire.Flush](sent)
	if len(flushes) != 20 || flushes[0].Object != 1 {
		t.Errorf("%d flushes, the first %v", len(flushes), flushes[0])
	}
}

// Nothing is flushed before something was sent.
func TestNoFlushOfNothing(t *testing.T) {
	r := newRig(t, nil)
	r.run(time.Minute)
	if n := len(of[*wire.Flush](r.take())); n != 0 || len(r.events) != 0 {
		t.Errorf("%d flushes, events %v", n, r.events)
	}
}

// A restarted sender invites NACKs for what it does not send again.
func TestRepairOnlyObjects(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.FirstObject = 10 })
	for range 2 {
		r.enqueue(850, func(o *Object) { o.RepairOnly = true; o.Info = []byte("x") })
	}
	sent := r.run4(t)
	flushes := of[*wire.Flush](sent)
	if got := script(sent); got != "" || len(flushes) != 21 { // one behind the first object, a series behind both
		t.Errorf("sent %s and %d flushes", got, len(flushes))
	}
	if id := flushes[1].PayloadID(0); flushes[1].Object != 11 || id.Block != 2 || id.Symbol != 2 {
		t.Errorf("%v, want the last symbol of object 11", flushes[1])
	}
	r.nackRequest("10/0/3 i10 11/b2")
	r.run(600 * time.Millisecond)
	r.wantScript("i10r 10/0/3r 11/2/0r 11/2/1r 11/2/2r")

	// Behind objects that are to be sent they only take their place.
	r = newRig(t, nil)
	r.enqueue(100, nil)
	r.enqueue(100, func(o *Object) { o.RepairOnly = true })
	r.enqueue(100, nil)
	r.run(100 * time.Millisecond)
	r.wantScript("0/0/0 2/0/0")
}

// N-4.2.3.2-03 N-4.2.3.2-04: EOT is repeated like FLUSH, and there are no repairs any more.
func TestSenderEnds(t *testing.T) {
	r := repaired(t, nil)
	r.enqueue(100_000, nil) // will not be sent whole
	r.run(10 * time.Millisecond)
	r.take()
	r.End(r.now)
	r.End(r.now)
	if _, _, err := r.Enqueue(r.now, Object{Size: 1}); err != ErrEnding {
		t.Errorf("Enqueue: %v", err)
	}
	g := r.grtt.advertised
	r.run(10 * g)
	r.nackRequest("0/0/4")
	r.nackRequest("o99")
	r.answer(50 * time.Millisecond)
	r.run(time.Minute)
	sent := r.take()
	if n := len(of[*wire.EOT](sent)); n != 20 || n != len(sent) {
		t.Errorf("%d EOT among %d messages", n, len(sent))
	}
	for _, d := range gaps(times[*wire.EOT](sent)) {
		if d != 2*g {
			t.Errorf("%v between EOTs", d)
		}
	}
	if last := r.events[len(r.events)-1]; last.Kind != Ended || !r.Deadline().IsZero() {
		t.Errorf("last event %v, deadline %v", last, r.Deadline())
	}
}

func TestRobustFactorIsOneConstant(t *testing.T) { // N-4.2.3.1-22 N-6-05
	r := newRig(t, func(c *SenderConfig) { c.RobustFactor = 3; c.FEC = fec.Params{MaxBlockLen: 8} })
	r.enqueue(850, nil)
	if n := len(of[*wire.Flush](r.run4(t))); n != 3 {
		t.Errorf("%d flushes", n)
	}
	r.End(r.now)
	if n := len(of[*wire.EOT](r.run4(t))); n != 3 {
		t.Errorf("%d EOTs", n)
	}
}

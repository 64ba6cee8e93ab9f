package norm

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestSenderFlushesAgainForLateReceivers(t *testing.T) {
	r := newRig(t, nil)
	r.enqueue(400, nil)
	r.Flush(r.now) // while there is something to send: no series of its own
	r.drain()
	r.run(10 * time.Second)
	first := of[*wire.Flush](r.take())
	if len(first) != 20 {
		t.Fatalf("%d flushes behind the object, want NORM_ROBUST_FACTOR", len(first))
	}
	r.events = nil
	r.Flush(r.now)
	r.run(10 * time.Second)
	again := of[*wire.Flush](r.take())
	if len(again) != 20 || again[0].Position != first[0].Position {
		t.Errorf("asked to flush again: %d flushes, want another series for the same position", len(again))
	}
}

package session

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// TestPollBegins where datagrams keep coming, and leaves one that comes by itself to the reader.
func TestPollBegins(t *testing.T) {
	p, now := poll{conn: new(udp.Conn)}, time.Now()
	for _, test := range []struct {
		after     time.Duration
		datagrams int
		on        bool
	}{
		{0, 1, false}, {time.Millisecond, 1, true}, {20 * time.Millisecond, 1, false}, {20 * time.Millisecond, 2, true}, {pollMisses * pollEvery, 1, false},
	} {
		now = now.Add(test.after)
		if on := p.start(now, test.datagrams); on != test.on || p.on != test.on {
			t.Errorf("%d datagrams, %v behind the last: polls %v, want %v", test.datagrams, test.after, on, test.on)
		}
	}
	if none := (poll{}); none.start(now, 100) {
		t.Error("polls a socket that cannot be polled")
	}
}

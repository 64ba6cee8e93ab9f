package session

import (
	"sync"

	"github.com/multicast-upgrade/tool/norm"
)

// A queue carries events from the loop, which must not wait, to whoever calls Next. It is as long as the application
// is late: an event is reported per block, not per datagram.
type queue struct {
	mu    *sync.Mutex
	items []norm.Event  // guarded by mu
	more  chan struct{} // holds a token when something was pushed since the last pop that found nothing
}

func newQueue() queue { return queue{mu: new(sync.Mutex), more: make(chan struct{}, 1)} }

func (q *queue) push(e norm.Event) {
	q.mu.Lock()
	q.items = append(q.items, e)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// pop returns the oldest event; if there is none, wait for more and try again.
func (q *queue) pop() (e norm.Event, ok bool, more <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return e, false, q.more
	}
	e, q.items = q.items[0], q.items[1:]
	if len(q.items) == 0 {
		q.items = nil // lets go of the array
	}
	return e, true, q.more
}

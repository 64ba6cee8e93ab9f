package session

import (
	"sync"

	"github.com/multicast-upgrade/tool/norm"
)

// maxLate is how many events may wait for the application before no more datagrams are taken from the socket. What
// the network does then is loss, which NORM repairs; a stranger who makes events cannot take more memory than this.
const maxLate = 1 << 14

// A queue carries events from the loop, which must not wait, to whoever calls Next.
type queue struct {
	mu    *sync.Mutex
	items fifo[norm.Event] // guarded by mu
	more  chan struct{}    // holds a token while there may be events that nobody was woken for
	room  chan struct{}    // gets a token when a queue that was full is half empty
}

func newQueue() queue {
	return queue{mu: new(sync.Mutex), more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// push adds an event. Data that continue what the newest event told of become part of it: an application that is late
// is told less often, and of more.
func (q *queue) push(e norm.Event) {
	q.mu.Lock()
	if last := q.items.last(); last != nil && continues(*last, e) {
		last.Range.Length += e.Range.Length
	} else {
		q.items.push(e)
	}
	q.mu.Unlock()
	signal(q.more)
}

func continues(a, b norm.Event) bool {
	return a.Kind == norm.ObjectData && b.Kind == norm.ObjectData && a.Object == b.Object && a.Range.End() == b.Range.Offset
}

// pop returns the oldest event, if there is one.
func (q *queue) pop() (e norm.Event, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items.len() == 0 {
		return e, false
	}
	e = q.items.pop()
	if q.items.len() > 0 {
		signal(q.more) // for another caller of Next
	}
	if q.items.len() == maxLate/2 {
		signal(q.room)
	}
	return e, true
}

// full reports whether the application is too late.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items.len() >= maxLate
}

// signal puts a token in c unless it has one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package session

import (
	"testing"

	"github.com/multicast-upgrade/tool/norm"
)

func data(object norm.Handle, offset, length int64) norm.Event {
	return norm.Event{Kind: norm.ObjectData, Object: object, Range: norm.Range{Offset: offset, Length: length}}
}

// Data that continue the newest event become part of it; nothing else does.
func TestQueueJoinsData(t *testing.T) {
	q := newQueue()
	for _, e := range []norm.Event{
		data(1, 0, 10), data(1, 10, 10), data(1, 20, 5), // one
		data(1, 30, 10), // behind a gap
		data(2, 40, 10), // of another object
		{Kind: norm.ObjectInfo, Object: 2},
		data(2, 50, 10), data(2, 60, 1), // behind something else
	} {
		q.push(e)
	}
	for i, want := range []norm.Event{data(1, 0, 25), data(1, 30, 10), data(2, 40, 10), {Kind: norm.ObjectInfo, Object: 2}, data(2, 50, 11)} {
		if got, ok := q.pop(); !ok || got != want {
			t.Errorf("event %d: %+v, %v, want %+v", i, got, ok, want)
		}
	}
	if e, ok := q.pop(); ok {
		t.Errorf("one more: %+v", e)
	}
	q.push(data(2, 61, 1)) // the event it continues is gone
	if got, ok := q.pop(); !ok || got != data(2, 61, 1) {
		t.Errorf("%+v, %v", got, ok)
	}
}

// As long as there are events somebody is woken, however many were pushed at once.
func TestQueueWakesForEachEvent(t *testing.T) {
	q := newQueue()
	for range 3 {
		q.push(norm.Event{Kind: norm.SenderSeen})
	}
	for i := range 3 {
		select {
		case <-q.more:
			q.pop()
		default:
			t.Fatalf("nobody is woken for event %d", i)
		}
	}
}

func TestQueueIsFullUntilHalfEmpty(t *testing.T) {
	q := newQueue()
	for !q.full() {
		q.push(norm.Event{Kind: norm.SenderSeen})
	}
	for n := maxLate; n > 0; n-- {
		select {
		case <-q.room:
			if n != maxLate/2 {
				t.Errorf("room is told of at %d events", n)
			}
		default:
			if n == maxLate/2 {
				t.Error("room is not told of")
			}
		}
		q.pop()
	}
}

func TestFifo(t *testing.T) {
	var q fifo[int]
	for round := range 5 {
		for i := range 10 * round {
			q.push(i)
		}
		for i := range 10 * round {
			if q.len() != 10*round-i || *q.last() != 10*round-1 || q.first() != i {
				t.Fatalf("len %d, first %d, last %d before taking %d of %d", q.len(), q.first(), *q.last(), i, 10*round)
			}
			if got := q.pop(); got != i {
				t.Fatalf("got %d, want %d", got, i)
			}
		}
		if q.len() != 0 || q.last() != nil {
			t.Fatalf("len %d at the end", q.len())
		}
	}
}

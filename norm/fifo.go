package norm

import "iter"

// A fifo is a queue whose memory is used again once it is empty.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

// drain returns what is queued, taking each item off as it is yielded.
func (q *fifo[T]) drain() iter.Seq[T] {
	return func(yield func(T) bool) {
		var zero T
		for q.head < len(q.items) {
			v := q.items[q.head]
			q.items[q.head] = zero
			if q.head++; q.head == len(q.items) {
				q.items, q.head = q.items[:0], 0
			}
			if !yield(v) {
				return
			}
		}
	}
}

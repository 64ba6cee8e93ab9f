package normtest

import "time"

// An event is something that happens to the network at one instant. Exactly one of the pointers is set.
type event struct {
	at  time.Duration // since the start of the network
	seq uint64        // events of one instant happen in the order they were scheduled

	packet *Packet // arrives at the hosts of branch, or at host alone
	marked bool    // with the ECN codepoint CE
	branch *branch
	host   *Host  // alone: its Deadline may have come
	shard  *shard // that of a member of it may have come
	member int32

	do func() // anything else
}

// A queue is a binary heap of events, earliest first. It is written out because container/heap boxes each event.
type queue struct {
	events []event
	seq    uint64
}

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.events = append(q.events, e)
	for i := len(q.events) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.events[i].before(&q.events[parent]) {
			break
		}
		q.events[i], q.events[parent] = q.events[parent], q.events[i]
		i = parent
	}
}

func (q *queue) pop() event {
	first, last := q.events[0], len(q.events)-1
	q.events[0] = q.events[last]
	q.events[last] = event{} // let go of its packet
	q.events = q.events[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && q.events[child+1].before(&q.events[child]) {
			child++
		}
		if !q.events[child].before(&q.events[i]) {
			return first
		}
		q.events[i], q.events[child] = q.events[child], q.events[i]
		i = child
	}
}

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.seq < f.seq
}

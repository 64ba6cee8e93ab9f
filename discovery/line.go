package discovery

import "time"

// A line is the polls that are to be answered, each in its turn. When something is announced all of a fleet is woken: were
// all these polls ready to run at once, whatever else the server does, such as showing a page, would wait for them, and each
// would take memory for its answer at the same time.
type line struct {
	waiters []*waiter
	awake   int // of those that were in line: they look up what to tell their devices, and tell it
}

const (
	maxAwake = 64                     // polls that have their turn at once
	maxTurn  = 100 * time.Millisecond // then the next one has it: a device may be slow to take its answer
)

// rouse has a poll end when its turn comes.
func (l *line) rouse(w *waiter) {
	if !w.roused {
		w.roused = true
		l.waiters = append(l.waiters, w)
		l.next()
	}
}

// served is told when a poll has had its turn.
func (l *line) served(w *waiter) {
	if w.awake {
		w.awake = false
		l.awake--
		l.next()
	}
}

func (l *line) next() {
	for l.awake < maxAwake && len(l.waiters) > 0 {
		w := l.waiters[0]
		if l.waiters = l.waiters[1:]; len(l.waiters) == 0 {
			l.waiters = nil
		}
		if !w.left {
			w.awake = true
			l.awake++
			close(w.wake)
		}
	}
}

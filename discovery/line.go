package discovery

// A line is the polls that are to be answered, each in its turn. When something is announced all of a fleet is woken: were
// all these polls ready to run at once, whatever else the server does, such as showing a page, would wait for them.
type line struct {
	waiters []*waiter
	awake   int // of those that were in line: they look up what to tell their devices
}

// maxAwake is how many polls have their turn at once. It ends before the answer is written, which may take a slow device long.
const maxAwake = 64

// rouse has a poll end when its turn comes.
func (l *line) rouse(w *waiter) {
	if !w.roused {
		w.roused = true
		l.waiters = append(l.waiters, w)
		l.next()
	}
}

// left is told when a poll has ended, whatever ended it.
func (l *line) left(w *waiter) {
	w.left = true
	if w.awake {
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

package discovery

import "time"

// A wheel ends the patience of waiters, at a whole second: one timer for all of them.
type wheel struct {
	slots  [64]map[*waiter]struct{} // more seconds than maxWait has
	hand   int
	count  int
	timer  *time.Timer   // runs while anybody waits
	expire func()        // calls turn under the lock that guards the wheel
	wake   func(*waiter) // ends the patience of one
}

// add has w woken after patience, at most a second later.
func (g *wheel) add(w *waiter, patience time.Duration) {
	seconds := int((patience + time.Second - 1) / time.Second)
	w.slot = (g.hand + min(max(seconds, 1), len(g.slots)-2) + 1) % len(g.slots)
	if g.slots[w.slot] == nil {
		g.slots[w.slot] = map[*waiter]struct{}{}
	}
	g.slots[w.slot][w] = struct{}{}
	if g.count++; g.count == 1 {
		if g.timer == nil {
			g.timer = time.AfterFunc(time.Second, g.expire)
		} else {
			g.timer.Reset(time.Second)
		}
	}
}

func (g *wheel) remove(w *waiter) {
	delete(g.slots[w.slot], w)
	if g.count--; g.count == 0 {
		g.timer.Stop()
	}
}

// turn wakes the waiters of the next second.
func (g *wheel) turn() {
	if g.count == 0 {
		return
	}
	g.hand = (g.hand + 1) % len(g.slots)
	for w := range g.slots[g.hand] {
		g.wake(w)
	}
	g.slots[g.hand] = nil // each of them removes itself from nothing
	g.timer.Reset(time.Second)
}

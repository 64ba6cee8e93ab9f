package commit

import "time"

// A Clock is what time it surely is on a device that may have no clock of its own: the highest of the time the program
// was built, the time stored at the last write, and the server's signed timestamps, plus the time passed since. It is
// never ahead of the server, so a replayed message can only delay what waits for it.
//
// The zero Clock starts at the year 1.
type Clock struct {
	read  time.Time // a reading of the clock that only runs forward
	utc   time.Time // the time it surely was at read
	known bool
}

// NewClock starts a clock. The reading now has to come from a clock that only runs forward while the program runs, such
// as time.Now with its monotonic part; what it says of the date does not matter.
func NewClock(now, build, stored time.Time) Clock {
	utc := build
	if stored.After(utc) {
		utc = stored
	}
	return Clock{read: now, utc: utc.UTC()}
}

// Observe takes a timestamp whose signature holds.
func (c *Clock) Observe(now time.Time, t Timestamp) {
	utc := c.UTC(now)
	if t.Time.After(utc) {
		utc = t.Time.UTC()
	}
	c.read, c.utc, c.known = now, utc, true
}

// UTC returns the time that it surely is at now; the true time may be later.
func (c *Clock) UTC(now time.Time) time.Time {
	return c.utc.Add(max(0, now.Sub(c.read)))
}

// Known reports whether a timestamp came since the start; before, nothing that waits for a time may happen.
func (c *Clock) Known() bool { return c.known }

// reading returns what now will be when the time is utc.
func (c *Clock) reading(utc time.Time) time.Time { return c.read.Add(utc.Sub(c.utc)) }

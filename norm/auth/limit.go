package auth

import "time"

// A limit bounds what checking forged packets may cost. "It is RECOMMENDED that limiting the number of authentication
// checks per time unit be done when the number of incoming packets that fail the authentication check exceeds a given
// threshold": RFC 6584, Section 7.1. From the threshold on one packet of 16 is checked in what remains of the second, and
// from twice the threshold on none. What is genuine among the others is lost, as on a congested link, and repaired.
type limit struct {
	failures int // a second, beyond which checks are limited
	failed   int // in this second
	skipped  int
	second   time.Time // when it began
}

// allows reports whether another packet is to be checked.
func (l *limit) allows(now time.Time) bool {
	if now.Sub(l.second) >= time.Second {
		l.second, l.failed, l.skipped = now, 0, 0
	}
	if l.failed < l.failures {
		return true
	}
	l.skipped++
	return l.skipped%16 == 0 && l.failed < 2*l.failures
}

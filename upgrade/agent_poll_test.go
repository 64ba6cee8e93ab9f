package upgrade

import (
	"testing"
	"time"
)

// While the server is being asked the agent's loop waits for the answer, not for the next time to ask: that may come before, and
// nothing would be done then.
func TestPollTimerWaitsForTheAnswer(t *testing.T) {
	now := time.Now()
	var p pollTimer
	if p.begin(now) || !p.deadline().IsZero() {
		t.Error("there is nothing to ask")
	}
	p.schedule(now)
	later := p.deadline()
	if p.begin(now) || later.Before(now.Add(minPoll)) {
		t.Errorf("asks at once, or at %v", later)
	}
	if !p.begin(later) || !p.deadline().IsZero() || p.begin(later.Add(time.Hour)) {
		t.Error("does not ask once when it is time")
	}
	p.busy = false
	if p.deadline().Before(later.Add(minPoll)) {
		t.Error("the next time is not after this one")
	}
}

package commit_test

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// halfHourly is a maintenance window that is open in the second half of each hour.
func halfHourly(utc time.Time) time.Time {
	if opens := utc.Truncate(time.Hour).Add(30 * time.Minute); utc.Before(opens) {
		return opens
	}
	return utc
}

// windowed is d1 with a maintenance window and COMMIT in its log.
func windowed(t *testing.T, log *memoryLog, change ...func(*commit.Decision)) *commit.Participant {
	t.Helper()
	p, err := commit.OpenParticipant(start, commit.ParticipantConfig{Device: "d1", Key: deviceKey("d1"), Server: serverKey.Public(),
		Boot: "boot-1", Opens: halfHourly, Open: log.open})
	must(t, err)
	must(t, p.Stage(start, stage()))
	do(t, p, start, commit.TaskVerify)
	must(t, p.Decide(start, decision(commit.Commit, change...)))
	return p
}

func TestWindowClosedAndOpen(t *testing.T) {
	p := windowed(t, &memoryLog{})
	next(t, p, at(45), commit.TaskNone) // it is not known what time it is
	if _, ok := p.WaitsUntil(at(45)); ok {
		t.Error("it waits until a time, not knowing the time")
	}
	must(t, p.Timestamp(at(45), sign(commit.Timestamp{Time: at(60)}, serverKey))) // start is at the full hour
	until, ok := p.WaitsUntil(at(45))
	if !ok || until.Before(at(90)) || until.After(at(91)) {
		t.Fatalf("it waits until %v, %v; want its own instant in the minute from %v on", until, ok, at(90))
	}
	due := until.Add(-15 * time.Minute) // of a clock that is a quarter of an hour behind
	if got := p.Deadline(); !got.Equal(due) {
		t.Errorf("deadline %v, want %v", got, due)
	}
	next(t, p, due.Add(-time.Nanosecond), commit.TaskNone)
	do(t, p, due, commit.TaskAskBrake)
	job := next(t, p, due, commit.TaskCheckStage)

	// The window closes while the stage is hashed: the brake is asked again in the next one.
	must(t, p.Finish(at(105), job, commit.Result{Roots: stage().Roots}))
	if p.Status().Active {
		t.Fatal("ACTIVATING is in the log, and the window is closed")
	}
	next(t, p, at(105), commit.TaskNone)
	if got := p.Deadline(); !got.Equal(due.Add(time.Hour)) { // the same instant after the next one opens
		t.Errorf("deadline %v, want %v", got, due.Add(time.Hour))
	}
	do(t, p, due.Add(time.Hour), commit.TaskAskBrake)
	do(t, p, due.Add(time.Hour), commit.TaskCheckStage)
	next(t, p, due.Add(time.Hour), commit.TaskActivate)
	if _, ok := p.WaitsUntil(at(170)); ok {
		t.Error("it waits for a window and is activating")
	}
}

// TestSpreadBeyondTheWindow: with a spread that the window has no room for, the device activates when it opens.
func TestSpreadBeyondTheWindow(t *testing.T) {
	spread := 0
	for _, length := range []time.Duration{0, 20 * time.Minute, 24 * time.Hour} {
		p := windowed(t, &memoryLog{}, func(d *commit.Decision) { d.NotBefore, d.Spread = start.Add(-48*time.Hour), length })
		must(t, p.Timestamp(start, sign(commit.Timestamp{Time: start}, serverKey)))
		got := p.Deadline().Sub(at(30))
		if got < 0 || got > max(length, time.Minute) || got >= 30*time.Minute {
			t.Errorf("spread %v: %v after the window opens", length, got)
		}
		if got > 0 {
			spread++
		}
	}
	if spread < 2 {
		t.Errorf("%d of 3 are spread", spread)
	}
}

func TestWindowWithinTheDecision(t *testing.T) {
	p := windowed(t, &memoryLog{}, func(d *commit.Decision) { d.NotBefore, d.NotAfter = at(40), at(80) })
	must(t, p.Timestamp(start, sign(commit.Timestamp{Time: start}, serverKey)))
	if got := p.Deadline(); !got.Equal(at(40)) { // not when the window opens: the server says later
		t.Errorf("deadline %v, want %v", got, at(40))
	}
	must(t, p.Advance(at(61)))
	if got := p.Deadline(); !got.Equal(at(80).Add(time.Nanosecond)) { // the next window comes after not-after
		t.Errorf("deadline %v, want %v", got, at(80))
	}
	next(t, p, at(61), commit.TaskNone)
	must(t, p.Advance(at(80).Add(time.Nanosecond)))
	wantMessages(t, p, "failed too-late")
}

func TestServerShowsWhoWaitsForTheWindow(t *testing.T) {
	c := startCoordinator(t, &memoryLog{}, plan("d1", "d2"))
	must(t, receive(t, c, at(1), ready("d1", 1)))
	c.Note("d1", commit.StateReady, commit.ReasonWindow) // before COMMIT nothing waits for that
	must(t, receive(t, c, at(1), ready("d2", 1)))
	wantVerdict(t, c, at(1), commit.Commit)
	c.Note("d1", commit.StateReady, commit.ReasonWindow)
	c.Note("d2", commit.StateReady, commit.ReasonHealth)
	want := map[string]commit.Reason{"d1": commit.ReasonWindow, "d2": commit.ReasonNoOutcome}
	for d := range c.Laggards() {
		if d.Reason != want[d.Device] {
			t.Errorf("%s: %s, want %s", d.Device, d.Reason, want[d.Device])
		}
	}
	must(t, receive(t, c, at(2), report("d1", 2, commit.StateCommitted, "")))
	for d := range c.Devices() {
		if d.Device == "d1" && d.Reason != commit.ReasonNone {
			t.Errorf("d1 is committed, and %s", d.Reason)
		}
	}
}

package commit_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// decision is what the server would sign for the round.
func decision(v commit.Verdict, change ...func(*commit.Decision)) []byte {
	d := commit.Decision{Round: round, Targets: commit.TargetsDigest(targets("d1")), Verdict: v}
	for _, f := range change {
		f(&d)
	}
	return sign(d, serverKey)
}

// readyDevice is d1 with READY in its log.
func readyDevice(t testing.TB, log *memoryLog) *commit.Participant {
	t.Helper()
	p := openParticipant(t, start, log, "d1", "boot-1")
	must(t, p.Stage(start, stage()))
	do(t, p, start, commit.TaskVerify)
	wantChanges(t, p, "staged", "ready")
	return p
}

// activatingDevice is d1 with ACTIVATING in its log.
func activatingDevice(t testing.TB, log *memoryLog) *commit.Participant {
	t.Helper()
	p := readyDevice(t, log)
	must(t, p.Decide(start, decision(commit.Commit)))
	do(t, p, start, commit.TaskAskBrake)
	do(t, p, start, commit.TaskCheckStage)
	return p
}

// wantMessages compares what is to be told: "READY", "NO reason", or "outcome reason".
func wantMessages(t testing.TB, p *commit.Participant, want ...string) []commit.Message {
	t.Helper()
	all, err := p.Messages()
	must(t, err)
	var got []string
	for _, m := range all {
		if m.Unsigned {
			t.Errorf("unsigned %s", m.Kind)
		}
		s, purpose := "", "multicast-upgrade commit vote 1"
		if m.Kind == commit.ReportMessage {
			purpose = "multicast-upgrade commit report 1"
		}
		payload, err := deviceKey("d1").Public().Verify(purpose, m.Bytes)
		must(t, err)
		if m.Kind == commit.ReportMessage {
			r, err := commit.ParseReport(payload)
			must(t, err)
			s = fmt.Sprint(r.Outcome, " ", r.Reason)
		} else {
			v, err := commit.ParseVote(payload)
			must(t, err)
			if s = "READY"; !v.Ready {
				s = fmt.Sprint("NO ", v.Reason)
			}
		}
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("messages %q, want %q", got, want)
	}
	return all
}

func TestWholeRoundOnADevice(t *testing.T) {
	log := &memoryLog{}
	p := openParticipant(t, start, log, "d1", "boot-1")
	must(t, p.Stage(start, stage()))
	must(t, p.Stage(start, stage())) // again: nothing new
	wantMessages(t, p)               // nothing is said before the vote is in the log
	verify := next(t, p, start, commit.TaskVerify)
	next(t, p, start, commit.TaskNone) // each job is handed out once
	must(t, p.Finish(start, verify, commit.Result{Roots: []commit.Digest{image}}))
	wantErr(t, p.Finish(start, verify, commit.Result{Roots: []commit.Digest{image}}), commit.ErrStale)

	m := wantMessages(t, p, "READY")
	must(t, p.Acknowledge(start, m[0].Counter))
	wantMessages(t, p)
	must(t, p.Repeat(start, round)) // the server has lost it
	if again := wantMessages(t, p, "READY"); !bytes.Equal(again[0].Bytes, m[0].Bytes) {
		t.Error("the repeated vote has other bytes")
	}
	must(t, p.Acknowledge(start, m[0].Counter))

	must(t, p.Decide(start, decision(commit.Commit)))
	must(t, p.Decide(start, decision(commit.Commit))) // heard twice
	ask := do(t, p, start, commit.TaskAskBrake)
	check := do(t, p, start, commit.TaskCheckStage)
	activate := do(t, p, start, commit.TaskActivate)
	health := do(t, p, start, commit.TaskHealth)
	if ask.Activation == "" || ask.Activation != check.Activation || check.Activation != activate.Activation || activate.Activation != health.Activation {
		t.Errorf("activation ids %q %q %q %q", ask.Activation, check.Activation, activate.Activation, health.Activation)
	}
	next(t, p, start, commit.TaskNone)
	wantChanges(t, p, "staged", "ready", "committed")
	if got := p.Floors(); got != (commit.Floors{Sequence: 7, Epoch: 1}) {
		t.Errorf("floors %+v", got)
	}

	// The outcome is reported until it is acknowledged, over restarts as well.
	p = openParticipant(t, start, log, "d1", "boot-2")
	m = wantMessages(t, p, "committed ")
	must(t, p.Acknowledge(start, m[0].Counter))
	p = openParticipant(t, start, log, "d1", "boot-2")
	wantMessages(t, p)
	wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrFinished)
	wantErr(t, p.Stage(start, stage()), commit.ErrFinished)
	next(t, p, start, commit.TaskNone)

	// A server that was restored from a backup is shown the decision, and told the outcome once more.
	if shown, ok := p.Decision(round); !ok || !bytes.Equal(shown, decision(commit.Commit)) {
		t.Error("the decision is forgotten")
	}
	must(t, p.Repeat(start, round))
	must(t, p.Repeat(start, round)) // once is enough
	must(t, p.Repeat(start, commit.Round{}))
	wantMessages(t, p, "committed ")
}

// TestRestartInEachPhase restarts the device, with the system or without, and looks at the job that is open then.
func TestRestartInEachPhase(t *testing.T) {
	phases := []struct {
		name             string
		reach            func(t *testing.T, log *memoryLog) *commit.Participant
		sameBoot, reboot commit.Task
	}{
		{"verifying", func(t *testing.T, log *memoryLog) *commit.Participant {
			p := openParticipant(t, start, log, "d1", "boot-1")
			must(t, p.Stage(start, stage()))
			return p
		}, commit.TaskVerify, commit.TaskVerify},
		{"ready", func(t *testing.T, log *memoryLog) *commit.Participant { return readyDevice(t, log) },
			commit.TaskNone, commit.TaskNone},
		{"committed", func(t *testing.T, log *memoryLog) *commit.Participant {
			p := readyDevice(t, log)
			must(t, p.Decide(start, decision(commit.Commit)))
			return p
		}, commit.TaskAskBrake, commit.TaskAskBrake},
		{"asked", func(t *testing.T, log *memoryLog) *commit.Participant {
			p := readyDevice(t, log)
			must(t, p.Decide(start, decision(commit.Commit)))
			do(t, p, start, commit.TaskAskBrake)
			return p
		}, commit.TaskAskBrake, commit.TaskAskBrake}, // it may have been held meanwhile
		{"activating", func(t *testing.T, log *memoryLog) *commit.Participant { return activatingDevice(t, log) },
			commit.TaskActivate, commit.TaskHealth},
		{"hook ended", func(t *testing.T, log *memoryLog) *commit.Participant {
			p := activatingDevice(t, log)
			do(t, p, start, commit.TaskActivate)
			return p
		}, commit.TaskActivate, commit.TaskHealth},
		{"hook failed", func(t *testing.T, log *memoryLog) *commit.Participant {
			p := activatingDevice(t, log)
			do(t, p, start, commit.TaskActivate, commit.ReasonActivateHook)
			return p
		}, commit.TaskRollback, commit.TaskRollback},
		{"not active", func(t *testing.T, log *memoryLog) *commit.Participant {
			activatingDevice(t, log)
			p := openParticipant(t, start, log, "d1", "boot-1a") // the power went before the hook ran
			do(t, p, start, commit.TaskHealth, commit.ReasonNotActive)
			next(t, p, start, commit.TaskActivate)
			return p
		}, commit.TaskHealth, commit.TaskHealth},
		{"unhealthy", func(t *testing.T, log *memoryLog) *commit.Participant {
			p := activatingDevice(t, log)
			do(t, p, start, commit.TaskActivate)
			do(t, p, start, commit.TaskHealth, commit.ReasonHealth)
			return p
		}, commit.TaskRollback, commit.TaskRollback}, // and never health again, which might say yes now
	}
	for _, ph := range phases {
		for _, boot := range []string{"boot-1", "boot-2"} {
			t.Run(ph.name+" "+boot, func(t *testing.T) {
				log := &memoryLog{}
				before, _ := ph.reach(t, log).Next(start)
				p := openParticipant(t, start, log, "d1", boot)
				want := ph.sameBoot
				if boot == "boot-2" {
					want = ph.reboot
				}
				job := next(t, p, start, want)
				if before.Activation != "" && job.Activation != before.Activation {
					t.Errorf("activation id %q, was %q", job.Activation, before.Activation)
				}
			})
		}
	}
}

func TestOutcomes(t *testing.T) {
	cases := []struct {
		name    string
		finish  func(t *testing.T, p *commit.Participant)
		change  string
		message string
	}{
		{"stage changed before activation", func(t *testing.T, p *commit.Participant) {
			must(t, p.Finish(start, next(t, p, start, commit.TaskCheckStage), commit.Result{Roots: []commit.Digest{{1}}}))
		}, "failed:stage-changed", "failed stage-changed"},
		{"stage cannot be read", func(t *testing.T, p *commit.Participant) {
			do(t, p, start, commit.TaskCheckStage, commit.ReasonStorage)
		}, "failed:storage", "failed storage"},
		{"hook fails, rolled back", func(t *testing.T, p *commit.Participant) {
			do(t, p, start, commit.TaskCheckStage)
			do(t, p, start, commit.TaskActivate, commit.ReasonActivateHook)
			do(t, p, start, commit.TaskRollback)
		}, "rolled-back:activate-hook", "rolled-back activate-hook"},
		{"not healthy, rolled back", func(t *testing.T, p *commit.Participant) {
			do(t, p, start, commit.TaskCheckStage)
			do(t, p, start, commit.TaskActivate)
			do(t, p, start, commit.TaskHealth, commit.ReasonHealth)
			do(t, p, start, commit.TaskRollback)
		}, "rolled-back:health", "rolled-back health"},
		{"never becomes active", func(t *testing.T, p *commit.Participant) {
			do(t, p, start, commit.TaskCheckStage)
			for range 4 {
				do(t, p, start, commit.TaskActivate)
				do(t, p, start, commit.TaskHealth, commit.ReasonNotActive)
			}
			do(t, p, start, commit.TaskRollback)
		}, "rolled-back:not-active", "rolled-back not-active"},
		{"cannot be rolled back", func(t *testing.T, p *commit.Participant) {
			do(t, p, start, commit.TaskCheckStage)
			do(t, p, start, commit.TaskActivate, commit.ReasonHookTimeout)
			do(t, p, start, commit.TaskRollback, commit.ReasonRollbackHook)
		}, "failed:rollback-hook", "failed rollback-hook"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			log := &memoryLog{}
			p := readyDevice(t, log)
			must(t, p.Acknowledge(start, 1))
			must(t, p.Decide(start, decision(commit.Commit)))
			do(t, p, start, commit.TaskAskBrake)
			tc.finish(t, p)
			wantChanges(t, p, tc.change)
			for range 2 {
				next(t, p, start, commit.TaskNone)
				wantMessages(t, p, tc.message)
				if p.Floors() != (commit.Floors{}) {
					t.Errorf("floors were raised to %+v without COMMITTED", p.Floors())
				}
				wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrFinished) // never acts twice on one decision
				p = openParticipant(t, start, log, "d1", "boot-2")
			}
		})
	}
}

func TestVotesNo(t *testing.T) {
	cases := []struct {
		name   string
		vote   func(t *testing.T, p *commit.Participant)
		reason string
	}{
		{"roots differ", func(t *testing.T, p *commit.Participant) {
			must(t, p.Stage(start, stage()))
			must(t, p.Finish(start, next(t, p, start, commit.TaskVerify), commit.Result{Roots: []commit.Digest{{1}}}))
		}, "verify-failed"},
		{"an image is missing", func(t *testing.T, p *commit.Participant) {
			must(t, p.Stage(start, stage()))
			must(t, p.Finish(start, next(t, p, start, commit.TaskVerify), commit.Result{}))
		}, "verify-failed"},
		{"verify hook", func(t *testing.T, p *commit.Participant) {
			must(t, p.Stage(start, stage()))
			do(t, p, start, commit.TaskVerify, commit.ReasonVerifyHook)
		}, "verify-hook"},
		{"refused before reception", func(t *testing.T, p *commit.Participant) {
			must(t, p.Refuse(start, round, at(1), commit.ReasonHardware))
		}, "hardware"},
		{"expired while it was received", func(t *testing.T, p *commit.Participant) {
			must(t, p.Timestamp(start, sign(commit.Timestamp{Time: at(24*60 + 1)}, serverKey)))
			must(t, p.Stage(start, stage()))
		}, "expired"},
		{"expired while it was verified", func(t *testing.T, p *commit.Participant) {
			must(t, p.Stage(start, stage()))
			job := next(t, p, start, commit.TaskVerify)
			must(t, p.Timestamp(start, sign(commit.Timestamp{Time: at(24*60 + 1)}, serverKey)))
			must(t, p.Finish(start, job, commit.Result{Roots: []commit.Digest{image}}))
		}, "expired"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			log := &memoryLog{}
			p := openParticipant(t, start, log, "d1", "boot-1")
			tc.vote(t, p)
			for range 2 {
				m := wantMessages(t, p, "NO "+tc.reason)
				if m[0].Counter != 1 {
					t.Errorf("counter %d", m[0].Counter)
				}
				// Who voted NO never activates.
				wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrFinished)
				wantErr(t, p.Stage(start, stage()), commit.ErrFinished)
				next(t, p, start, commit.TaskNone)
				p = openParticipant(t, start, log, "d1", "boot-1")
			}
			must(t, p.Acknowledge(start, 1))
			wantMessages(t, p)
		})
	}
}

func TestAfterAbortTheStageCannotBeActivated(t *testing.T) {
	log := &memoryLog{}
	p := readyDevice(t, log)
	must(t, p.Decide(start, decision(commit.Abort)))
	wantChanges(t, p, "aborted")
	wantMessages(t, p, "READY") // the server may not have heard it
	must(t, p.Acknowledge(start, 1))
	for range 2 {
		wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrFinished)
		wantErr(t, p.Stage(start, stage()), commit.ErrFinished)
		next(t, p, start, commit.TaskNone)
		if _, holds := p.Holds(); holds {
			t.Error("the stage is held after ABORT")
		}
		p = openParticipant(t, start, log, "d1", "boot-2")
	}
	// The next try is another campaign.
	again := stage()
	again.Campaign[0]++
	must(t, p.Stage(start, again))
	do(t, p, start, commit.TaskVerify)
	wantMessages(t, p, "READY")
}

func TestFloorsRefuseOlderManifests(t *testing.T) {
	log := &memoryLog{}
	p := activatingDevice(t, log)
	do(t, p, start, commit.TaskActivate)
	do(t, p, start, commit.TaskHealth)
	must(t, p.Acknowledge(start, 1))
	must(t, p.Acknowledge(start, 2))
	for i, tc := range []struct {
		sequence, epoch uint64
		message         string
	}{
		{6, 1, "NO sequence"},
		{8, 0, "NO epoch"},
	} {
		st := stage()
		st.Campaign[1] = byte(i + 50)
		st.Sequence, st.Epoch = tc.sequence, tc.epoch
		must(t, p.Stage(start, st))
		m := wantMessages(t, p, tc.message)
		must(t, p.Acknowledge(start, m[0].Counter))
	}
	st := stage() // the same sequence is not lower
	st.Campaign[1] = 60
	must(t, p.Stage(start, st))
	next(t, p, start, commit.TaskVerify)
}

func TestHoldStopsUntilActivating(t *testing.T) {
	brake := func(sequence uint64, hold bool) []byte {
		return sign(commit.Brake{Campaign: campaign, Sequence: sequence, Hold: hold}, serverKey)
	}
	t.Run("before the decision", func(t *testing.T) {
		log := &memoryLog{}
		p := readyDevice(t, log)
		must(t, p.Brake(start, brake(1, true)))
		must(t, p.Decide(start, decision(commit.Commit)))
		next(t, p, start, commit.TaskNone)
		p = openParticipant(t, start, log, "d1", "boot-2")
		next(t, p, start, commit.TaskNone) // a restart does not forget it
		must(t, p.Brake(start, brake(2, false)))
		next(t, p, start, commit.TaskAskBrake)
	})
	t.Run("in the answer", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		must(t, p.Decide(start, decision(commit.Commit)))
		job := next(t, p, start, commit.TaskAskBrake)
		must(t, p.Brake(start, brake(1, true)))
		must(t, p.Finish(start, job, commit.Result{}))
		next(t, p, start, commit.TaskNone)
		must(t, p.Brake(start, brake(2, false)))
		do(t, p, start, commit.TaskAskBrake) // it may have been put on again
		next(t, p, start, commit.TaskCheckStage)
	})
	t.Run("while the stage is checked", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		must(t, p.Decide(start, decision(commit.Commit)))
		do(t, p, start, commit.TaskAskBrake)
		job := next(t, p, start, commit.TaskCheckStage)
		must(t, p.Brake(start, brake(1, true)))
		must(t, p.Finish(start, job, commit.Result{Roots: []commit.Digest{image}}))
		next(t, p, start, commit.TaskNone)
		if p.Status().Active {
			t.Error("ACTIVATING although HOLD came before")
		}
		must(t, p.Brake(start, brake(2, false)))
		do(t, p, start, commit.TaskAskBrake)
		do(t, p, start, commit.TaskCheckStage) // the stage is checked anew
		next(t, p, start, commit.TaskActivate)
	})
	t.Run("too late", func(t *testing.T) {
		p := activatingDevice(t, &memoryLog{})
		must(t, p.Brake(start, brake(1, true)))
		next(t, p, start, commit.TaskActivate)
	})
	t.Run("server out of reach", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		must(t, p.Decide(start, decision(commit.Commit)))
		do(t, p, start, commit.TaskAskBrake) // no answer
		next(t, p, start, commit.TaskCheckStage)
	})
	t.Run("older sequence", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		must(t, p.Brake(start, brake(5, true)))
		must(t, p.Brake(start, brake(4, false))) // a replay must not release it
		must(t, p.Decide(start, decision(commit.Commit)))
		next(t, p, start, commit.TaskNone)
		if !p.Status().Held {
			t.Error("not held")
		}
	})
	t.Run("other campaign", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		must(t, p.Brake(start, sign(commit.Brake{Campaign: commit.CampaignID{9}, Sequence: 1, Hold: true}, serverKey)))
		must(t, p.Decide(start, decision(commit.Commit)))
		next(t, p, start, commit.TaskAskBrake)
	})
}

func TestTimedActivation(t *testing.T) {
	timed := func(d *commit.Decision) {
		d.NotBefore, d.NotAfter, d.Spread = at(120), at(180), 30*time.Minute
	}
	log := &memoryLog{}
	p := readyDevice(t, log)
	must(t, p.Decide(start, decision(commit.Commit, timed)))

	// Without a timestamp since the start nothing timed activates, however long it takes.
	next(t, p, at(1e6), commit.TaskNone)
	if !p.Deadline().IsZero() {
		t.Errorf("deadline %v without knowing the time", p.Deadline())
	}

	// Now it is 12:10 for the server, at reading 13:00 of the device.
	p = openParticipant(t, at(60), log, "d1", "boot-2")
	must(t, p.Timestamp(at(60), sign(commit.Timestamp{Time: at(10)}, serverKey)))
	due := p.Deadline() // reading of its own instant
	utc := due.Add(-50 * time.Minute)
	if utc.Before(at(120)) || utc.After(at(150)) {
		t.Fatalf("own instant %v is not within the spread", utc)
	}
	next(t, p, due.Add(-time.Nanosecond), commit.TaskNone)
	next(t, p, due, commit.TaskAskBrake)

	// The same instant after a restart.
	p = openParticipant(t, at(0), log, "d1", "boot-3")
	must(t, p.Timestamp(at(0), sign(commit.Timestamp{Time: at(10)}, serverKey)))
	if again := p.Deadline().Add(10 * time.Minute); !again.Equal(utc) {
		t.Errorf("own instant %v, was %v before the restart", again, utc)
	}

	// Too late: it never activates.
	job := next(t, p, at(140), commit.TaskAskBrake)
	must(t, p.Advance(at(170).Add(time.Nanosecond)))
	wantErr(t, p.Finish(at(171), job, commit.Result{}), commit.ErrStale)
	next(t, p, at(171), commit.TaskNone)
	wantMessages(t, p, "failed too-late") // the outcome says all that the READY did
}

func TestSpreadIsEven(t *testing.T) {
	const devices, parts = 1000, 10
	var count [parts]int
	for i := range devices {
		log := &memoryLog{}
		name := fmt.Sprintf("device-%d", i)
		p := openParticipant(t, start, log, name, "boot-1")
		must(t, p.Stage(start, stage()))
		do(t, p, start, commit.TaskVerify)
		must(t, p.Decide(start, decision(commit.Commit, func(d *commit.Decision) { d.NotBefore, d.Spread = at(60), time.Hour })))
		must(t, p.Timestamp(start, sign(commit.Timestamp{Time: start}, serverKey)))
		count[int(p.Deadline().Sub(at(60))*parts/time.Hour)]++
	}
	for i, n := range count { // 100 each, standard deviation 9.5
		if n < 60 || n > 140 {
			t.Errorf("part %d of the spread has %d of %d devices", i, n, devices)
		}
	}
}

func TestHoldTimeRunsOut(t *testing.T) {
	log := &memoryLog{}
	st := stage()
	st.Hold = time.Hour
	p := openParticipant(t, start, log, "d1", "boot-1")
	must(t, p.Stage(start, st))
	do(t, p, start, commit.TaskVerify)
	must(t, p.Timestamp(start, sign(commit.Timestamp{Time: start}, serverKey)))
	changes(p)

	// Nothing counts before the deadline of votes, at minute 60.
	if want := at(60 + 10); !p.Deadline().Equal(want) {
		t.Errorf("deadline %v, want %v", p.Deadline(), want)
	}
	must(t, p.Advance(at(60)))
	// Half of it passes, then the device is off for a year, and only powered time counts.
	for m := 61.0; m <= 90; m++ {
		must(t, p.Advance(at(m)))
	}
	wantChanges(t, p)
	p = openParticipant(t, at(1e6), log, "d1", "boot-2")
	must(t, p.Timestamp(at(1e6), sign(commit.Timestamp{Time: at(1e6)}, serverKey)))
	for m := 1e6; m < 1e6+29; m++ {
		must(t, p.Advance(at(m)))
	}
	wantChanges(t, p)
	if _, holds := p.Holds(); !holds {
		t.Fatal("the stage is not held")
	}
	must(t, p.Advance(at(1e6+40))) // 10 minutes may be lost in a power cut
	wantChanges(t, p, "released:hold-expired")
	wantMessages(t, p, "released hold-expired")
	wantErr(t, p.Decide(at(1e6+40), decision(commit.Commit)), commit.ErrNoVote)

	// It votes anew, under a higher counter, and then the decision counts.
	late := stage()
	late.Expires = at(2e6)
	must(t, p.Stage(at(1e6+41), late))
	do(t, p, at(1e6+41), commit.TaskVerify)
	m := wantMessages(t, p, "released hold-expired", "READY")
	if m[0].Counter != 2 || m[1].Counter != 3 {
		t.Errorf("counters %d and %d, want 2 and 3", m[0].Counter, m[1].Counter)
	}
	must(t, p.Decide(at(1e6+41), decision(commit.Commit)))
	next(t, p, at(1e6+41), commit.TaskAskBrake)
}

func TestDefaultHoldIsAWeek(t *testing.T) {
	p := readyDevice(t, &memoryLog{})
	must(t, p.Timestamp(start, sign(commit.Timestamp{Time: at(60)}, serverKey)))
	must(t, p.Advance(start.Add(commit.DefaultHold-time.Nanosecond)))
	wantChanges(t, p)
	must(t, p.Advance(start.Add(commit.DefaultHold)))
	wantChanges(t, p, "released:hold-expired")
	if commit.DefaultHold != 7*24*time.Hour {
		t.Error("the default is 7 days")
	}
}

func TestSignedDecisionEndsTheHold(t *testing.T) {
	p := readyDevice(t, &memoryLog{})
	must(t, p.Decide(start, decision(commit.Commit, func(d *commit.Decision) { d.NotBefore = at(1e6) })))
	must(t, p.Timestamp(start, sign(commit.Timestamp{Time: start}, serverKey)))
	must(t, p.Advance(at(9e5)))
	if _, holds := p.Holds(); !holds {
		t.Error("released although COMMIT was heard")
	}
}

func TestReleases(t *testing.T) {
	t.Run("abandoned", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		must(t, p.Release(start, commit.ReasonAbandoned))
		wantMessages(t, p, "released abandoned")
		wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrNoVote)
		must(t, p.Release(start, commit.ReasonAbandoned)) // nothing to release
	})
	t.Run("abandoned after COMMIT", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		must(t, p.Decide(start, decision(commit.Commit)))
		must(t, p.Release(start, commit.ReasonAbandoned))
		next(t, p, start, commit.TaskNone)
	})
	t.Run("superseded", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		other := stage()
		other.Campaign[0]++
		must(t, p.Stage(start, other))
		wantChanges(t, p, "released:superseded", "staged")
		wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrNoVote)
		wantMessages(t, p, "released superseded")
		if held, _ := p.Holds(); held != other.Round {
			t.Errorf("holds %s", held)
		}
	})
	t.Run("not once it is activating", func(t *testing.T) {
		p := activatingDevice(t, &memoryLog{})
		wantErr(t, p.Release(start, commit.ReasonAbandoned), commit.ErrBusy)
		other := stage()
		other.Campaign[0]++
		wantErr(t, p.Stage(start, other), commit.ErrBusy)
		next(t, p, start, commit.TaskActivate)
	})
	t.Run("another campaign refused", func(t *testing.T) {
		p := readyDevice(t, &memoryLog{})
		other := round
		other.Campaign[0]++
		must(t, p.Refuse(start, other, at(1), commit.ReasonHardware))
		wantMessages(t, p, "READY", "NO hardware")
		must(t, p.Decide(start, decision(commit.Commit))) // the READY stands
		wantErr(t, p.Refuse(start, round, at(1), commit.ReasonHardware), commit.ErrBusy)
	})
}

// TestFinishedCampaignsAreRememberedUntilTheyEnd, and no longer than there is room for them; then everything that ended
// as early counts as finished too.
func TestFinishedCampaignsAreRememberedUntilTheyEnd(t *testing.T) {
	log := &memoryLog{}
	p := openParticipant(t, start, log, "d1", "boot-1")
	number := func(i int) commit.Stage {
		st := stage()
		st.Campaign = commit.CampaignID{byte(i), byte(i >> 8), 7}
		st.Ends = at(float64(100 + i))
		return st
	}
	for i := range 200 {
		must(t, p.Refuse(start, number(i).Round, number(i).Ends, commit.ReasonDiskFull))
	}
	p = openParticipant(t, start, log, "d1", "boot-1")
	for i := range 200 {
		wantErr(t, p.Stage(start, number(i)), commit.ErrFinished)
	}
	if n := len(p.Snapshot()); n > 16<<10 {
		t.Errorf("the state has %d bytes", n)
	}
	// What ends between those forgotten (up to 135) and those remembered is neither.
	between := number(140)
	between.Campaign[5] = 1
	must(t, p.Stage(start, between))
	must(t, p.Stage(start, number(200)))
}

// TestReplacedServerKeyDoesNotStrandACommit: what is in the log was checked when it came.
func TestReplacedServerKeyDoesNotStrandACommit(t *testing.T) {
	log := &memoryLog{}
	must(t, readyDevice(t, log).Decide(start, decision(commit.Commit)))
	p, err := commit.OpenParticipant(start, commit.ParticipantConfig{Device: "d1", Key: deviceKey("d1"),
		Server: testKey(manifest.RoleServer, "next").Public(), Boot: "boot-1", Open: log.open})
	must(t, err)
	next(t, p, start, commit.TaskAskBrake)
	if shown, ok := p.Decision(round); !ok || !bytes.Equal(shown, decision(commit.Commit)) {
		t.Error("the decision cannot be shown to a server that has forgotten it")
	}
}

func TestStateIsOneRecord(t *testing.T) {
	log := &memoryLog{}
	p := readyDevice(t, log)
	must(t, p.Decide(start, decision(commit.Commit)))
	short := &memoryLog{recs: [][]byte{p.Snapshot()}}
	p = openParticipant(t, start, short, "d1", "boot-1")
	next(t, p, start, commit.TaskAskBrake)
	st, err := commit.ReadParticipantStatus(log.recs[len(log.recs)-1])
	if err != nil || !st.Committed || st.Current.Round != round || st.Active {
		t.Errorf("status from outside: %+v, %v", st, err)
	}
	if _, err := commit.ReadParticipantStatus([]byte("?")); err == nil {
		t.Error("read a status from a foreign record")
	}
}

func TestDeviceWithoutKeySaysSo(t *testing.T) {
	p, err := commit.OpenParticipant(start, commit.ParticipantConfig{
		Device: "d1", Server: serverKey.Public(), Boot: "boot-1", Open: new(memoryLog).open,
	})
	must(t, err)
	must(t, p.Stage(start, stage()))
	do(t, p, start, commit.TaskVerify)
	all, err := p.Messages()
	if err != nil || len(all) != 1 || !all[0].Unsigned {
		t.Fatalf("messages %+v, %v", all, err)
	}
	pl := plan("d1")
	pl.Targets = []commit.Target{{Device: "d1"}}
	pl.AllowUnsigned = true
	c := startCoordinator(t, &memoryLog{}, pl)
	must(t, receive(t, c, start, all[0]))
	wantVerdict(t, c, start, commit.Commit)
	if s := c.Status(); s.Unsigned != 1 {
		t.Errorf("status names %d unsigned votes, want 1", s.Unsigned)
	}
	if d, _ := c.Device("d1"); !d.Unsigned {
		t.Error("the vote is not marked as unsigned")
	}
}

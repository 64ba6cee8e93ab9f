package commit_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// TestPolicies applies each policy to votes as they come: "d1" is READY, "!d1" is NO, "+30" is minutes that pass,
// "ok" is a person's approval, "abort" a person's abort.
func TestPolicies(t *testing.T) {
	sites := func(p *commit.Plan) {
		for i := range p.Targets {
			p.Targets[i].Site = []string{"north", "south"}[i%2] // d1, d3 north, d2, d4 south
		}
	}
	cases := []struct {
		name    string
		change  func(p *commit.Plan)
		steps   string
		verdict commit.Verdict
		reason  commit.Reason
	}{
		{"all are ready", nil, "d1 d2 d3 d4", commit.Commit, ""},
		{"one is missing", nil, "d1 d2 d3", commit.Undecided, ""},
		{"one is missing at the deadline", nil, "d1 d2 d3 +60", commit.Abort, commit.ReasonDeadline},
		{"one nanosecond is left", nil, "d1 d2 d3 +59.99", commit.Undecided, ""},
		{"one refuses: no need to wait", nil, "d1 !d2", commit.Abort, commit.ReasonQuorum},
		{"nobody was there", nil, "+60", commit.Abort, commit.ReasonDeadline},
		{"quorum 75 with one refusal", func(p *commit.Plan) { p.Waves[0].Quorum = 75 }, "!d1 d2 d3 d4", commit.Commit, ""},
		{"quorum 75 before the third", func(p *commit.Plan) { p.Waves[0].Quorum = 75 }, "d1 d2", commit.Undecided, ""},
		{"quorum 75 with two refusals", func(p *commit.Plan) { p.Waves[0].Quorum = 75 }, "!d1 !d2", commit.Abort, commit.ReasonQuorum},
		{"quorum is rounded up", func(p *commit.Plan) { p.Waves[0].Quorum = 51 }, "d1 d2", commit.Undecided, ""},
		{"share of the list, not of those who came", func(p *commit.Plan) { p.Waves[0].Quorum = 60 }, "d1 d2 +60", commit.Abort, commit.ReasonDeadline},
		{"must-have is missing", func(p *commit.Plan) { p.Waves[0].Quorum, p.Waves[0].Must = 50, []string{"d4"} }, "d1 d2 d3", commit.Undecided, ""},
		{"must-have is ready", func(p *commit.Plan) { p.Waves[0].Quorum, p.Waves[0].Must = 50, []string{"d4"} }, "d1 d4", commit.Commit, ""},
		{"must-have refuses", func(p *commit.Plan) { p.Waves[0].Quorum, p.Waves[0].Must = 50, []string{"d4"} }, "d1 d2 !d4", commit.Abort, commit.ReasonMustHave},
		{"site quorum not met in the south", func(p *commit.Plan) { sites(p); p.Waves[0].Quorum, p.Waves[0].SiteQuorum = 50, 50 }, "d1 d3", commit.Undecided, ""},
		{"site quorum met", func(p *commit.Plan) { sites(p); p.Waves[0].Quorum, p.Waves[0].SiteQuorum = 50, 50 }, "d1 d2", commit.Commit, ""},
		{"site quorum out of reach", func(p *commit.Plan) { sites(p); p.Waves[0].Quorum, p.Waves[0].SiteQuorum = 50, 50 }, "d1 d3 !d2 !d4", commit.Abort, commit.ReasonSiteQuorum},
		{"asks a person", func(p *commit.Plan) { p.Waves[0].Ask = true }, "d1 d2 d3 d4", commit.Undecided, ""},
		{"the person agrees", func(p *commit.Plan) { p.Waves[0].Ask = true }, "d1 d2 d3 d4 ok", commit.Commit, ""},
		{"the person agrees too early", func(p *commit.Plan) { p.Waves[0].Ask = true }, "d1 d2 d3 ok d4", commit.Undecided, ""},
		{"the person sleeps", func(p *commit.Plan) { p.Waves[0].Ask = true }, "d1 d2 d3 d4 +60", commit.Abort, commit.ReasonNotApproved},
		{"the person is late", func(p *commit.Plan) { p.Waves[0].Ask = true }, "d1 d2 d3 d4 +60 ok", commit.Abort, commit.ReasonNotApproved},
		{"the person says no", nil, "d1 d2 d3 abort d4", commit.Abort, commit.ReasonOperator},
		{"votes after the deadline do not help", nil, "d1 d2 d3 +60 d4", commit.Abort, commit.ReasonDeadline},
		{"expected devices", func(p *commit.Plan) { p.Targets, p.Expect = nil, 2 }, "@d1 @d2 d1 d2", commit.Commit, ""},
		{"expected devices, quorum of those that did not come", func(p *commit.Plan) { p.Targets, p.Expect, p.Waves[0].Quorum = nil, 4, 50 }, "@d1 d1", commit.Undecided, ""},
		{"expected devices, half of them came", func(p *commit.Plan) { p.Targets, p.Expect, p.Waves[0].Quorum = nil, 4, 50 }, "@d1 @d2 d1 d2", commit.Commit, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := plan("d1", "d2", "d3", "d4")
			if tc.change != nil {
				tc.change(&p)
			}
			log := &memoryLog{}
			c := startCoordinator(t, log, p)
			now := start
			for i, step := range strings.Fields(tc.steps) {
				counter := uint64(i + 1)
				var minutes float64
				switch {
				case step == "ok":
					c.Approve(now, 0) // the verdict tells whether it counted
				case step == "abort":
					must(t, c.Abort(now, 0))
				case step[0] == '+':
					fmt.Sscan(step, &minutes)
					now = now.Add(time.Duration(minutes * float64(time.Minute)))
				case step[0] == '@':
					must(t, c.Announce(now, commit.Presence{Device: step[1:], Key: deviceKey(step[1:]).Public()}))
				case step[0] == '!':
					must(t, receive(t, c, now, refusal(step[1:], counter, commit.ReasonDiskFull)))
				default:
					must(t, receive(t, c, now, ready(step, counter)))
				}
			}
			a := wantVerdict(t, c, now, tc.verdict)
			if got := c.Status().Waves[0]; got.Reason != tc.reason {
				t.Errorf("reason %q, want %q", got.Reason, tc.reason)
			}
			// The same after a restart, from the log alone, and the same bytes.
			again := wantVerdict(t, openCoordinator(t, log), now, tc.verdict)
			if !bytes.Equal(a.Signed, again.Signed) {
				t.Error("a restart changed the signed bytes")
			}
		})
	}
}

func TestPlanIsDurableBeforeAnything(t *testing.T) {
	log := &memoryLog{}
	c := openCoordinator(t, log)
	if _, err := c.Receive(start, ready("d1", 1)); err == nil {
		t.Error("received a vote without a plan")
	}
	wantErr(t, c.Hold(start), commit.ErrNoPlan)
	wantErr(t, c.Announce(start, commit.Presence{Device: "d1"}), commit.ErrNoPlan)
	want := plan("d1", "d2")
	want.Waves[0] = commit.Policy{Quorum: 60, SiteQuorum: 50, Must: []string{"d1"}, Deadline: at(60).Add(7), Ask: true,
		NotBefore: at(90), Window: time.Hour, Spread: time.Minute, Success: 55, Errors: 5, OutcomeTimeout: time.Hour, Soak: 2 * time.Hour}
	want.Waves = append(want.Waves, commit.Policy{Quorum: 100, Success: 100, ReadyTimeout: 3 * time.Hour})
	want.MaxFailures, want.AllowUnsigned = 3, true
	want.Targets[1] = commit.Target{Device: "d2", Site: "north", Wave: 1}
	must(t, c.Start(want))
	wantErr(t, c.Start(want), commit.ErrStarted)

	c = openCoordinator(t, log)
	wantErr(t, c.Start(want), commit.ErrStarted)
	got, ok := c.Plan()
	if !ok || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after a restart the plan is\n%v, want\n%v", got, want)
	}
}

// second puts the second device into a wave of its own.
func second(p *commit.Plan) {
	p.Targets[1].Wave = 1
	p.Waves = append(p.Waves, commit.Policy{ReadyTimeout: time.Hour})
}

func TestImpossiblePlansAreRefused(t *testing.T) {
	cases := map[string]func(p *commit.Plan){
		"no campaign":                func(p *commit.Plan) { p.Campaign = commit.CampaignID{} },
		"no roots":                   func(p *commit.Plan) { p.Roots = nil },
		"no targets":                 func(p *commit.Plan) { p.Targets = nil },
		"targets and expected":       func(p *commit.Plan) { p.Expect = 2 },
		"no waves":                   func(p *commit.Plan) { p.Waves = nil },
		"empty wave":                 func(p *commit.Plan) { p.Waves = append(p.Waves, commit.Policy{ReadyTimeout: time.Hour}) },
		"second wave with deadline":  func(p *commit.Plan) { second(p); p.Waves[1].Deadline = at(60) },
		"second wave without end":    func(p *commit.Plan) { second(p); p.Waves[1].ReadyTimeout = 0 },
		"first wave with both":       func(p *commit.Plan) { p.Waves[0].ReadyTimeout = time.Hour },
		"success of 101":             func(p *commit.Plan) { p.Waves[0].Success = 101 },
		"errors of -1":               func(p *commit.Plan) { p.Waves[0].Errors = -1 },
		"negative soak":              func(p *commit.Plan) { p.Waves[0].Soak = -1 },
		"unknown wave":               func(p *commit.Plan) { p.Targets[1].Wave = 1 },
		"waves of expected devices":  func(p *commit.Plan) { p.Targets, p.Expect, p.Waves = nil, 2, append(p.Waves, p.Waves[0]) },
		"no deadline":                func(p *commit.Plan) { p.Waves[0].Deadline = time.Time{} },
		"quorum of 101":              func(p *commit.Plan) { p.Waves[0].Quorum = 101 },
		"site quorum of -1":          func(p *commit.Plan) { p.Waves[0].SiteQuorum = -1 },
		"must-have is no target":     func(p *commit.Plan) { p.Waves[0].Must = []string{"d9"} },
		"spread beyond the window":   func(p *commit.Plan) { p.Waves[0].Window, p.Waves[0].Spread = time.Hour, 2*time.Hour },
		"two devices with one name":  func(p *commit.Plan) { p.Targets[1].Device = "d1" },
		"two devices with one key":   func(p *commit.Plan) { p.Targets[1].Key = p.Targets[0].Key },
		"key of another role":        func(p *commit.Plan) { p.Targets[1].Key = serverKey.Public() },
		"no key where votes must be": func(p *commit.Plan) { p.Targets[1] = commit.Target{Device: "d2"} },
		"device name with a slash":   func(p *commit.Plan) { p.Targets[1].Device = "../d2" },
		"negative failures":          func(p *commit.Plan) { p.MaxFailures = -1 },
	}
	good := plan("d1", "d2")
	second(&good)
	must(t, openCoordinator(t, &memoryLog{}).Start(good)) // what the cases make of it is what is wrong with it
	for name, change := range cases {
		p := plan("d1", "d2")
		change(&p)
		log := &memoryLog{}
		if err := openCoordinator(t, log).Start(p); err == nil || len(log.recs) > 0 {
			t.Errorf("%s: error %v, %d records", name, err, len(log.recs))
		}
	}
}

// An unsteady signer never signs twice alike, and not always, as a key in hardware might.
type unsteady struct{ calls int }

func (s *unsteady) Sign(context string, payload []byte) ([]byte, error) {
	if s.calls++; s.calls == 1 {
		return nil, errors.New("key is not plugged in")
	}
	return fmt.Appendf(nil, "signature %d of %x for %s", s.calls, payload, context), nil
}

func TestDecisionIsSignedOnce(t *testing.T) {
	log := &memoryLog{}
	key := &unsteady{}
	open := func() *commit.Coordinator {
		c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: key, Public: serverKey.Public(), Open: log.open})
		must(t, err)
		return c
	}
	c := open()
	must(t, c.Start(plan("d1")))
	if _, err := c.Receive(at(1), ready("d1", 1)); err == nil {
		t.Fatal("no error although the key is not plugged in")
	}
	first := wantVerdict(t, c, at(100), commit.Commit) // decided in time, signed when the key was back
	for range 3 {
		if again := wantVerdict(t, open(), at(100), commit.Commit); !bytes.Equal(again.Signed, first.Signed) {
			t.Fatalf("signed again: %q, was %q", again.Signed, first.Signed)
		}
	}
}

func TestLateReadyGetsTheDecisionUntilTheCampaignCloses(t *testing.T) {
	log := &memoryLog{}
	p := plan("d1", "d2", "d3")
	p.Waves[0].Quorum = 30
	c := startCoordinator(t, log, p)
	wantErr(t, c.Close(start), commit.ErrNotReady)
	must(t, receive(t, c, at(1), ready("d1", 1)))
	first := wantVerdict(t, c, at(1), commit.Commit)
	must(t, receive(t, c, at(600), ready("d2", 1))) // long past the deadline
	late := wantVerdict(t, c, at(600), commit.Commit)
	if !bytes.Equal(first.Signed, late.Signed) {
		t.Error("the late device gets other bytes")
	}
	must(t, c.Close(at(700)))
	for range 2 {
		wantErr(t, receive(t, c, at(701), ready("d3", 1)), commit.ErrClosed)
		must(t, receive(t, c, at(701), report("d2", 2, commit.StateCommitted, ""))) // outcomes are still taken
		c = openCoordinator(t, log)
	}
}

func TestUnknownCampaignIsNeverAborted(t *testing.T) {
	for name, c := range map[string]*commit.Coordinator{
		"empty log":      openCoordinator(t, &memoryLog{}),
		"other campaign": startCoordinator(t, &memoryLog{}, plan("d1")),
	} {
		a, err := c.Answer(at(1e6), commit.CampaignID{9}, 0)
		if err != nil || a.Known || a.Signed != nil || a.Verdict != commit.Undecided {
			t.Errorf("%s: answer %+v, %v; want unknown", name, a, err)
		}
	}
	c := startCoordinator(t, &memoryLog{}, plan("d1"))
	if a, err := c.Answer(at(1e6), campaign, 1); err != nil || a.Known || a.Signed != nil {
		t.Errorf("wave of another store: answer %+v, %v; want unknown", a, err)
	}
}

// TestEachWaveHasItsOwnDecision: two waves, of which one commits and one aborts.
func TestEachWaveHasItsOwnDecision(t *testing.T) {
	p := plan("d1", "d2", "d3")
	p.Targets[2].Wave = 1
	p.Waves = []commit.Policy{{Deadline: at(60)}, {ReadyTimeout: time.Hour}}
	c := startCoordinator(t, &memoryLog{}, p)
	if got := c.Deadline(); !got.Equal(at(60)) {
		t.Errorf("deadline %v, want %v", got, at(60))
	}
	must(t, receive(t, c, at(1), ready("d1", 1)))
	must(t, receive(t, c, at(1), ready("d2", 1)))
	wantVerdict(t, c, at(1), commit.Commit)
	if got := c.Deadline(); !got.IsZero() {
		t.Errorf("deadline %v while results are awaited", got)
	}
	must(t, receive(t, c, at(60), report("d1", 2, commit.StateCommitted, commit.ReasonNone)))
	must(t, receive(t, c, at(60), report("d2", 2, commit.StateCommitted, commit.ReasonNone)))
	if got := c.Deadline(); !got.Equal(at(120)) {
		t.Errorf("deadline %v, want %v", got, at(120))
	}
	second := round
	second.Wave = 1
	wantErr(t, receive(t, c, at(2), ready("d3", 1)), commit.ErrUnknown) // a vote for wave 0 of a device in wave 1
	a, err := c.Answer(at(120), campaign, 1)
	if err != nil || a.Verdict != commit.Abort {
		t.Fatalf("second wave: %+v, %v", a, err)
	}
	d, err := commit.OpenDecision(a.Signed, serverKey.Public())
	if err != nil || d.Round != second {
		t.Errorf("decision is for %s, %v", d.Round, err)
	}
	if got := c.Deadline(); !got.IsZero() {
		t.Errorf("deadline %v after all waves are decided", got)
	}
}

func TestDecisionHasTheTimesOfThePolicy(t *testing.T) {
	cases := []struct {
		policy              commit.Policy
		notBefore, notAfter time.Time
		spread              time.Duration
	}{
		{commit.Policy{}, time.Time{}, time.Time{}, 0},
		{commit.Policy{NotBefore: at(90)}, at(90), time.Time{}, 0},
		{commit.Policy{Spread: time.Minute}, at(5), time.Time{}, time.Minute},
		{commit.Policy{Window: time.Hour}, at(5), at(65), 0},
		{commit.Policy{NotBefore: at(90), Window: time.Hour, Spread: time.Hour}, at(90), at(150), time.Hour},
	}
	for _, tc := range cases {
		p := plan("d1")
		tc.policy.Deadline = at(60)
		p.Waves[0] = tc.policy
		c := startCoordinator(t, &memoryLog{}, p)
		must(t, receive(t, c, at(5), ready("d1", 1)))
		d, err := commit.OpenDecision(wantVerdict(t, c, at(5), commit.Commit).Signed, serverKey.Public())
		must(t, err)
		if !d.NotBefore.Equal(tc.notBefore) || !d.NotAfter.Equal(tc.notAfter) || d.Spread != tc.spread {
			t.Errorf("%+v: not before %v, not after %v, spread %v", tc.policy, d.NotBefore, d.NotAfter, d.Spread)
		}
		if d.Targets != commit.TargetsDigest(p.Targets) {
			t.Error("decision names another target list")
		}
	}
}

func TestTargetsDigest(t *testing.T) {
	list := targets("d1", "d2", "d3")
	want := commit.TargetsDigest(list)
	slices.Reverse(list)
	if commit.TargetsDigest(list) != want {
		t.Error("the order of the list changes its digest")
	}
	for name, other := range map[string][]commit.Target{
		"fewer": list[1:], "other key": append(targets("d9")[:0:0], commit.Target{Device: "d1", Key: deviceKey("d9").Public()}, list[0], list[1]),
		"other wave": {list[0], list[1], {Device: "d1", Key: list[2].Key, Wave: 1}},
		"other site": {list[0], list[1], {Device: "d1", Key: list[2].Key, Site: "x"}},
	} {
		if commit.TargetsDigest(other) == want {
			t.Errorf("%s: same digest", name)
		}
	}
}

func TestBrake(t *testing.T) {
	log := &memoryLog{}
	c := startCoordinator(t, log, plan("d1"))
	if a := answer(t, c, start); a.Brake != nil {
		t.Error("a brake nobody has set")
	}
	sequence := uint64(0)
	for _, hold := range []bool{true, true, false, true} {
		if hold {
			must(t, c.Hold(start))
		} else {
			must(t, c.Resume(start))
		}
		sequence++
		for range 2 { // the same after a restart
			b, err := commit.OpenBrake(answer(t, c, start).Brake, serverKey.Public())
			if err != nil || b != (commit.Brake{Campaign: campaign, Sequence: sequence, Hold: hold}) {
				t.Fatalf("brake %+v, %v; want sequence %d, hold %v", b, err, sequence, hold)
			}
			if s := c.Status(); s.Held != hold {
				t.Errorf("status: held %v", s.Held)
			}
			c = openCoordinator(t, log)
		}
	}
}

func TestTooManyFailuresHoldByThemselves(t *testing.T) {
	log := &memoryLog{}
	p := plan(names(5)...)
	p.MaxFailures = 2
	c := startCoordinator(t, log, p)
	for _, d := range names(5) {
		must(t, receive(t, c, at(1), ready(d, 1)))
	}
	wantVerdict(t, c, at(1), commit.Commit)
	held := func(want bool, because commit.Reason) {
		t.Helper()
		if s := c.Status(); s.Held != want || s.Brake != because {
			t.Fatalf("held %v because %q, want %v because %q", s.Held, s.Brake, want, because)
		}
	}
	must(t, receive(t, c, at(2), report("d1", 2, commit.StateRolledBack, commit.ReasonHealth)))
	must(t, receive(t, c, at(2), report("d1", 2, commit.StateRolledBack, commit.ReasonHealth))) // repeated: one failure
	wantErr(t, receive(t, c, at(2), report("d1", 3, commit.StateFailed, commit.ReasonHealth)), commit.ErrReplay)
	must(t, receive(t, c, at(2), report("d2", 2, commit.StateReleased, commit.ReasonAbandoned))) // not a failure
	held(false, "")
	must(t, receive(t, c, at(2), report("d3", 2, commit.StateFailed, commit.ReasonStageChanged)))
	held(true, commit.ReasonMaxFailures)
	must(t, c.Resume(start))
	held(false, "")
	c = openCoordinator(t, log)
	must(t, c.Advance(at(3)))
	held(false, "") // a restart does not count the old failures again
	must(t, receive(t, c, at(4), report("d4", 2, commit.StateFailed, commit.ReasonActivateHook)))
	held(true, commit.ReasonMaxFailures)
}

// TestFinalStatusNamesLaggardsWithTheirCause goes through all that can become of a target of a committed wave.
func TestFinalStatusNamesLaggardsWithTheirCause(t *testing.T) {
	log := &memoryLog{}
	p := plan(names(9)...)
	p.Waves[0].Quorum = 60
	c := startCoordinator(t, log, p)
	must(t, receive(t, c, at(1), refusal("d6", 1, commit.ReasonHardware)))
	c.Note("d7", commit.StateReceiving, "")
	for _, d := range []string{"d1", "d2", "d3", "d4", "d5", "d9"} {
		must(t, receive(t, c, at(1), ready(d, 1)))
	}
	wantVerdict(t, c, at(1), commit.Commit)
	if c.Settled() {
		t.Error("settled before any outcome")
	}
	must(t, receive(t, c, at(2), report("d1", 2, commit.StateCommitted, "")))
	must(t, receive(t, c, at(2), report("d2", 2, commit.StateRolledBack, commit.ReasonHealth)))
	must(t, receive(t, c, at(2), report("d3", 2, commit.StateFailed, commit.ReasonTooLate)))
	must(t, receive(t, c, at(2), report("d4", 2, commit.StateReleased, commit.ReasonAbandoned)))
	must(t, c.Announce(at(2), commit.Presence{Device: "d7"}))
	want := []string{
		"d2 rolled-back health", "d3 failed too-late", "d4 released abandoned", "d5 ready no-outcome",
		"d6 refused hardware", "d7 receiving no-vote", "d8  not-heard", "d9 ready no-outcome",
	}
	var got []string
	for d := range c.Laggards() {
		got = append(got, fmt.Sprintf("%s %s %s", d.Device, d.State, d.Reason))
	}
	if !slices.Equal(got, want) {
		t.Errorf("laggards\n%q, want\n%q", got, want)
	}
	if c.Settled() {
		t.Error("settled although two owe an outcome")
	}
	must(t, receive(t, c, at(3), report("d5", 2, commit.StateCommitted, "")))
	must(t, receive(t, c, at(3), report("d9", 2, commit.StateCommitted, "")))
	c = openCoordinator(t, log)
	if !c.Settled() {
		t.Error("not settled after all outcomes")
	}
	s := c.Status()
	if s.Devices[commit.StateCommitted] != 3 || s.Devices[commit.StateFailed] != 1 || s.Waves[0].Targets != 9 {
		t.Errorf("status %+v", s)
	}
}

func TestAbortedDevicesAreSettled(t *testing.T) {
	c := startCoordinator(t, &memoryLog{}, plan("d1", "d2", "d3"))
	must(t, receive(t, c, at(1), ready("d1", 1)))
	must(t, receive(t, c, at(1), refusal("d2", 1, commit.ReasonVerifyHook)))
	wantVerdict(t, c, at(1), commit.Abort)
	var got []string
	for d := range c.Devices() {
		got = append(got, fmt.Sprintf("%s %s %s", d.Device, d.State, d.Reason))
	}
	if want := []string{"d1 aborted quorum", "d2 refused verify-hook", "d3  not-heard"}; !slices.Equal(got, want) || !c.Settled() {
		t.Errorf("devices %q, want %q; settled %v", got, want, c.Settled())
	}
	for range c.Laggards() {
		t.Error("laggards of an aborted wave")
	}
}

func TestReleasedDeviceMustVoteAnew(t *testing.T) {
	c := startCoordinator(t, &memoryLog{}, plan("d1", "d2"))
	must(t, receive(t, c, at(1), ready("d1", 1)))
	must(t, receive(t, c, at(2), report("d1", 2, commit.StateReleased, commit.ReasonAbandoned)))
	must(t, receive(t, c, at(3), ready("d2", 1)))
	wantVerdict(t, c, at(3), commit.Undecided)
	must(t, receive(t, c, at(4), ready("d1", 3)))
	wantVerdict(t, c, at(4), commit.Commit)
}

func TestEventsTellEachChangeOnce(t *testing.T) {
	p := plan("d1")
	p.Waves[0].Ask = true
	c := startCoordinator(t, &memoryLog{}, p)
	for range 2 {
		must(t, c.Announce(start, commit.Presence{Device: "d1", Key: deviceKey("d1").Public()}))
		c.Note("d1", commit.StateReceiving, "")
		must(t, receive(t, c, start, ready("d1", 1)))
	}
	must(t, c.Approve(start, 0))
	must(t, c.Hold(start))
	var got []string
	for e := range c.Events() {
		got = append(got, fmt.Sprint(e.Kind, e.State, e.Verdict, e.Hold))
	}
	want := []string{
		fmt.Sprint(commit.EventDevice, commit.StateAnnounced, commit.Undecided, false),
		fmt.Sprint(commit.EventDevice, commit.StateReceiving, commit.Undecided, false),
		fmt.Sprint(commit.EventDevice, commit.StateReady, commit.Undecided, false),
		fmt.Sprint(commit.EventAsking, commit.StateNone, commit.Undecided, false),
		fmt.Sprint(commit.EventDecided, commit.StateNone, commit.Commit, false),
		fmt.Sprint(commit.EventBrake, commit.StateNone, commit.Undecided, true),
	}
	if !slices.Equal(got, want) {
		t.Errorf("events\n%q, want\n%q", got, want)
	}
	for e := range c.Events() {
		t.Errorf("event %+v was told before", e)
	}
}

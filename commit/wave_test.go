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

// waves is a campaign whose first devices are one wave each, and the rest the last one: results have an hour, as votes do.
func waves(sizes ...int) commit.Plan {
	n := 0
	for _, size := range sizes {
		n += size
	}
	p := plan(names(n)...)
	p.Waves[0].OutcomeTimeout = time.Hour
	i := 0
	for wave, size := range sizes {
		for range size {
			p.Targets[i].Wave = uint32(wave)
			i++
		}
		if wave > 0 {
			p.Waves = append(p.Waves, commit.Policy{ReadyTimeout: time.Hour, OutcomeTimeout: time.Hour})
		}
	}
	return p
}

// of says in which wave a device of the plan is.
func of(p commit.Plan, device string) uint32 {
	i := slices.IndexFunc(p.Targets, func(t commit.Target) bool { return t.Device == device })
	return p.Targets[i].Wave
}

// A waveRig speaks for the devices of a campaign with waves.
type waveRig struct {
	testing.TB
	plan    commit.Plan
	log     *memoryLog
	c       *commit.Coordinator
	now     time.Time
	counter uint64
}

func newWaveRig(t testing.TB, p commit.Plan) *waveRig {
	log := &memoryLog{}
	return &waveRig{TB: t, plan: p, log: log, c: startCoordinator(t, log, p), now: start}
}

func (r *waveRig) round(device string) commit.Round {
	return commit.Round{Campaign: campaign, Wave: of(r.plan, device), Manifest: release}
}

// message makes what a device says: "d1" is READY, "!d1" NO, "+d1" COMMITTED, "-d1" FAILED.
func (r *waveRig) message(says string) commit.Message {
	r.counter++
	device := strings.TrimLeft(says, "!+-")
	switch says[0] {
	case '+', '-':
		outcome := map[byte]commit.State{'+': commit.StateCommitted, '-': commit.StateRolledBack}[says[0]]
		rep := commit.Report{Round: r.round(device), Device: device, Outcome: outcome, Counter: r.counter}
		return commit.Message{Kind: commit.ReportMessage, Device: device, Bytes: sign(rep, deviceKey(device)), Counter: r.counter}
	case '!':
		return vote(device, commit.Vote{Round: r.round(device), Device: device, Reason: commit.ReasonDiskFull, Counter: r.counter})
	}
	return vote(device, commit.Vote{Round: r.round(device), Roots: []commit.Digest{image}, Device: device, Ready: true, Counter: r.counter})
}

// say gives what devices say, in words, to the coordinator; "@90" is a minute to wait for, "pause", "hold", "resume", "abort"
// and "ok" are people.
func (r *waveRig) say(words string) {
	r.Helper()
	for says := range strings.FieldsSeq(words) {
		var err error
		wave, _ := r.c.Open()
		switch {
		case says[0] == '@':
			var minutes float64
			fmt.Sscan(says[1:], &minutes)
			r.now = at(minutes)
			err = r.c.Advance(r.now)
		case says == "pause":
			err = r.c.Pause(r.now)
		case says == "hold":
			err = r.c.Hold(r.now)
		case says == "resume":
			if err = r.c.Resume(r.now); err == nil {
				err = r.c.Advance(r.now)
			}
		case says == "abort":
			err = r.c.Abort(r.now, wave)
		case says == "ok":
			err = r.c.Approve(r.now, wave)
		default:
			err = receive(r.TB, r.c, r.now, r.message(says))
		}
		if err != nil {
			r.Fatalf("%s: %v", says, err)
		}
	}
}

// state returns the steps of the waves, and why the campaign has stopped.
func (r *waveRig) state() string {
	var words []string
	s := r.c.Status()
	for _, w := range s.Waves {
		words = append(words, string(w.Step))
	}
	switch {
	case s.Paused:
		words = append(words, "paused:"+string(s.Brake))
	case s.Held:
		words = append(words, "held:"+string(s.Brake))
	}
	return strings.Join(words, " ")
}

// reopen reads the log again, as after a crash.
func (r *waveRig) reopen() { r.c = openCoordinator(r.TB, r.log) }

// TestWavesFollowOneAnother goes through what can become of waves. Each case is told twice, the second time with a restart
// of the coordinator after each word.
func TestWavesFollowOneAnother(t *testing.T) {
	soak := func(p *commit.Plan) { p.Waves[0].Soak = 30 * time.Minute }
	auto := func(*commit.Plan) {}
	for _, tc := range []struct {
		name   string
		sizes  []int
		change func(*commit.Plan)
		words  string
		want   string
	}{
		{"the first is open", []int{1, 1}, auto, "", "voting waiting"},
		{"all are READY, one is decided", []int{1, 1, 1}, auto, "d1 d2 d3", "activating waiting waiting"},
		{"the second is READY long before", []int{1, 1, 1}, auto, "d1 d2 d3 +d1", "done activating waiting"},
		{"each after the other", []int{1, 1, 1}, auto, "d1 d2 d3 +d1 +d2 +d3", "done done done"},
		{"a soak", []int{1, 1}, soak, "d1 d2 +d1 @29", "soaking waiting"},
		{"the end of the soak", []int{1, 1}, soak, "d1 d2 +d1 @30", "done activating"},
		{"votes of the second end an hour after the soak", []int{1, 1}, soak, "d1 @20 +d1 @50 @109", "done voting"},
		{"and not later", []int{1, 1}, soak, "d1 @20 +d1 @50 @110", "done aborted"},
		{"READY late for a decided wave", []int{2, 1}, func(p *commit.Plan) { p.Waves[0].Quorum = 50 }, "d1 +d1 d3 d2 +d2", "done activating"},
		{"ABORT ends those behind", []int{1, 1, 1}, auto, "!d1", "aborted aborted aborted"},
		{"ABORT of the second", []int{1, 1, 1}, auto, "d1 +d1 !d2", "done aborted aborted"},
		{"the deadline passes for all", []int{1, 1}, auto, "d2 @60", "aborted aborted"},
		{"a person aborts the rest", []int{1, 1, 1}, auto, "d1 +d1 abort", "done aborted aborted"},
		{"a person is asked for each", []int{1, 1}, func(p *commit.Plan) { p.Waves[0].Ask, p.Waves[1].Ask = true, true }, "d1 d2 ok +d1", "done voting"},
		{"and agrees", []int{1, 1}, func(p *commit.Plan) { p.Waves[0].Ask, p.Waves[1].Ask = true, true }, "d1 d2 ok +d1 ok", "done activating"},

		// Success is a share of the targets, rounded up.
		{"success below", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Success = 51 }, "d1 d2 d3 d4 d5 +d1 +d2", "activating waiting"},
		{"success reached", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Success = 51 }, "d1 d2 d3 d4 d5 +d1 +d2 +d3", "done activating"},
		{"success is the quorum if nothing else is said", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Quorum = 50 }, "d1 d2 d5 +d1 +d2", "done activating"},
		{"success out of reach", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Success = 75 }, "d1 d2 d3 d4 -d1 -d2", "activating waiting paused:wave-short"},
		{"success still in reach", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Success = 75 }, "d1 d2 d3 d4 -d1", "activating waiting"},
		{"who voted NO is lost to success", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Quorum, p.Waves[0].Success = 50, 75 }, "!d1 d2 d3 -d2", "activating waiting paused:wave-short"},
		{"results late", []int{2, 1}, auto, "d1 d2 +d1 @60", "activating waiting paused:no-outcome"},
		{"results just in time", []int{2, 1}, auto, "d1 d2 d3 +d1 @59 +d2", "done activating"},

		// Errors is the share that may fail; more of them stop the campaign.
		{"errors at the limit", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Errors, p.Waves[0].Success = 50, 25 }, "d1 d2 d3 d4 d5 -d1 -d2", "activating waiting"},
		{"errors past the limit", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Errors, p.Waves[0].Success = 50, 25 }, "d1 d2 d3 d4 d5 -d1 -d2 -d3", "activating waiting paused:wave-errors"},
		{"the first of four is past 24 %", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Errors, p.Waves[0].Success = 24, 25 }, "d1 d2 d3 d4 d5 -d1", "activating waiting paused:wave-errors"},
		{"errors in the soak", []int{4, 1}, func(p *commit.Plan) { soak(p); p.Waves[0].Errors, p.Waves[0].Success = 25, 50 }, "d1 d2 d3 d4 d5 +d1 +d2 -d3 -d4 @40", "soaking waiting paused:wave-errors"},
		{"errors of the last wave hold it", []int{1, 4}, func(p *commit.Plan) { p.Waves[1].Errors = 25 }, "d1 d2 d3 d4 d5 +d1 -d2 -d3", "done activating held:wave-errors"},
		{"errors of a wave long done", []int{4, 1, 1}, func(p *commit.Plan) { p.Waves[0].Errors, p.Waves[0].Success = 25, 50 }, "d1 d2 d3 d4 d5 d6 +d1 +d2 -d3 -d4", "done activating waiting paused:wave-errors"},
		{"failures of all waves", []int{1, 1, 1}, func(p *commit.Plan) { p.MaxFailures, p.Waves[0].Success = 1, 1 }, "d1 d2 d3 -d1", "activating waiting waiting paused:max-failures"},

		// A person resumes what has stopped.
		{"resumed although it is short", []int{2, 1}, auto, "d1 d2 d3 -d1 resume", "done activating"},
		{"and soaks", []int{2, 1}, soak, "d1 d2 d3 -d1 @10 resume @39", "soaking waiting"},
		{"resumed although results are late", []int{2, 1}, auto, "d1 d2 d3 +d1 @60 @90 resume", "done activating"},
		{"resumed after errors, and success is still awaited", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Errors, p.Waves[0].Success = 20, 75 }, "d1 d2 d3 d4 d5 -d1 resume +d2 +d3", "activating waiting"},
		{"until it comes", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Errors, p.Waves[0].Success = 20, 75 }, "d1 d2 d3 d4 d5 -d1 resume +d2 +d3 +d4", "done activating"},
		{"the next failure stops it again", []int{4, 1}, func(p *commit.Plan) { p.Waves[0].Errors, p.Waves[0].Success = 20, 25 }, "d1 d2 d3 d4 d5 -d1 resume -d2", "activating waiting paused:wave-errors"},
		{"stopped and aborted", []int{2, 1}, auto, "d1 d2 d3 -d1 abort", "activating aborted held:wave-short"},

		// A pause decides nothing, and its time does not count.
		{"paused", []int{1, 1}, auto, "pause d1 d2", "voting waiting paused:operator"},
		{"its deadline stands still", []int{1, 1}, auto, "@30 pause @300", "voting waiting paused:operator"},
		{"and goes on", []int{1, 1}, auto, "@30 pause @300 resume @329", "voting waiting"},
		{"to its end", []int{1, 1}, auto, "@30 pause @300 resume @330", "aborted aborted"},
		{"READY in a pause", []int{1, 1}, auto, "pause d1 resume", "activating waiting"},
		{"a soak stands still", []int{1, 1}, soak, "d1 d2 +d1 @10 pause @100 resume @119", "soaking waiting"},
		{"and ends", []int{1, 1}, soak, "d1 d2 +d1 @10 pause @100 resume @120", "done activating"},
		{"success in a pause", []int{1, 1}, auto, "d1 d2 pause +d1 @200", "activating waiting paused:operator"},
		{"results stand still", []int{1, 1}, auto, "d1 d2 @30 pause @200 resume @229", "activating waiting"},
		{"paused twice", []int{1, 1}, auto, "@10 pause @20 pause @30 resume @79", "voting waiting"},
		{"and in time", []int{1, 1}, auto, "@10 pause @20 pause @30 resume @80", "aborted aborted"},
		{"paused and aborted", []int{1, 1}, auto, "pause abort", "aborted aborted"},
		{"nothing left to pause", []int{1}, auto, "d1 pause", "activating held:operator"},
		{"hold in a pause", []int{1, 1}, auto, "@10 pause @20 hold @30 resume @79", "voting waiting"},
		{"pause in a hold", []int{1, 1}, auto, "@10 hold @20 pause @30 resume @69", "voting waiting"},
		{"pause in a hold, to its end", []int{1, 1}, auto, "@10 hold @20 pause @30 resume @70", "aborted aborted"},
		{"no wave begins in a hold", []int{1, 1}, soak, "d1 d2 +d1 hold @90", "soaking waiting held:operator"},
		{"but after it", []int{1, 1}, soak, "d1 d2 +d1 hold @90 resume", "done activating"},
		{"results have time in a hold", []int{2, 1}, auto, "d1 d2 hold @90 resume @149", "activating waiting"},
		{"and not more", []int{2, 1}, auto, "d1 d2 hold @90 resume @150", "activating waiting paused:no-outcome"},

		{"the window has closed", []int{1, 1}, func(p *commit.Plan) {
			soak(p)
			for i := range p.Waves {
				p.Waves[i].NotBefore, p.Waves[i].Window = at(5), 20*time.Minute
			}
		}, "d1 d2 @6 +d1 @36", "done aborted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := waves(tc.sizes...)
			tc.change(&p)
			straight, torn := newWaveRig(t, p), newWaveRig(t, p)
			straight.say(tc.words)
			if got := straight.state(); got != tc.want {
				t.Fatalf("%q leads to %q, want %q", tc.words, got, tc.want)
			}
			for word := range strings.FieldsSeq(tc.words) {
				torn.say(word)
				torn.reopen()
			}
			if got := torn.state(); got != tc.want {
				t.Errorf("with restarts it leads to %q", got)
			}
			if a, b := straight.c.Answers(), torn.c.Answers(); !slices.EqualFunc(a, b, func(a, b commit.Answer) bool { return bytes.Equal(a.Signed, b.Signed) }) {
				t.Error("with restarts other decisions are signed")
			}
			if a, b := straight.c.Deadline(), torn.c.Deadline(); !a.Equal(b) {
				t.Errorf("the next step is at %v, with restarts at %v", a, b)
			}
		})
	}
}

// TestCommitOfAnotherWaveActivatesNothing: the signed decision names its wave, and a device acts on that of its own only.
func TestCommitOfAnotherWaveActivatesNothing(t *testing.T) {
	r := newWaveRig(t, waves(1, 1))
	r.say("d1 d2")
	answers := r.c.Answers()
	if len(answers) != 1 || answers[0].Verdict != commit.Commit {
		t.Fatalf("answers %+v, want the COMMIT of the first wave", answers)
	}
	d2 := openParticipant(t, start, &memoryLog{}, "d2", "boot-1")
	st := stage()
	st.Round = r.round("d2")
	must(t, d2.Stage(start, st))
	job, _ := d2.Next(start)
	must(t, d2.Finish(start, job, commit.Result{Roots: []commit.Digest{image}}))
	wantErr(t, d2.Decide(start, answers[0].Signed), commit.ErrNoVote)
	if job, ok := d2.Next(start); ok || d2.Status().Committed {
		t.Errorf("a device of the second wave begins %v by the COMMIT of the first", job.Task)
	}
	r.say("+d1")
	must(t, d2.Decide(start, r.c.Answers()[1].Signed))
	if !d2.Status().Committed {
		t.Error("the COMMIT of its own wave does not count")
	}
}

// TestSeatIsTheServersWord: neither another key nor another kind of message makes a seat.
func TestSeatIsTheServersWord(t *testing.T) {
	want := commit.Seat{Campaign: campaign, Device: "d1", Wave: 3}
	signed := sign(want, serverKey)
	if got, err := commit.OpenSeat(signed, serverKey.Public()); err != nil || got != want {
		t.Errorf("seat %+v, %v; want %+v", got, err, want)
	}
	if got, err := commit.OpenSeat(sign(want, deviceKey("d1")), serverKey.Public()); err == nil {
		t.Errorf("a device gave itself seat %+v", got)
	}
	if got, err := commit.OpenSeat(sign(commit.Timestamp{Time: start}, serverKey), serverKey.Public()); err == nil {
		t.Errorf("a timestamp is seat %+v", got)
	}
	if got, err := commit.OpenSeat(sign(commit.Seat{Campaign: campaign, Device: "d1", Wave: commit.MaxWaves}, serverKey), serverKey.Public()); !errors.Is(err, commit.ErrMessage) {
		t.Errorf("wave %d: seat %+v, %v", commit.MaxWaves, got, err)
	}
}

// TestOnePersonWinsInEachWave: two people who do the opposite, or the same twice, get one decision for each wave.
func TestOnePersonWinsInEachWave(t *testing.T) {
	p := waves(1, 1, 1)
	for i := range p.Waves {
		p.Waves[i].Ask = true
	}
	r := newWaveRig(t, p)
	r.say("d1 d2 d3")
	must(t, r.c.Approve(r.now, 0))
	wantErr(t, r.c.Abort(r.now, 0), commit.ErrDecided)
	wantErr(t, r.c.Approve(r.now, 0), commit.ErrDecided)
	wantErr(t, r.c.Approve(r.now, 1), commit.ErrNotReady) // all of it is READY, and it has not begun
	wantErr(t, r.c.Abort(r.now, 2), commit.ErrNotReady)
	r.say("+d1 pause")
	wantErr(t, r.c.Approve(r.now, 1), commit.ErrPaused)
	must(t, r.c.Abort(r.now, 1))
	wantErr(t, r.c.Approve(r.now, 1), commit.ErrDecided)
	wantErr(t, r.c.Approve(r.now, 2), commit.ErrDecided)
	wantErr(t, r.c.Approve(r.now, 3), commit.ErrUnknown)
	if got, want := r.state(), "done aborted aborted held:operator"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s := r.c.Status(); s.Waves[1].Reason != commit.ReasonOperator || s.Waves[2].Reason != commit.ReasonEarlierWave {
		t.Errorf("aborted for %q and %q", s.Waves[1].Reason, s.Waves[2].Reason)
	}
}

// TestRestoredCampaignBeginsNoWave: what the log may have forgotten decides.
func TestRestoredCampaignBeginsNoWave(t *testing.T) {
	r := newWaveRig(t, waves(1, 1))
	must(t, r.c.MarkRestored())
	r.say("d1 d2 @600")
	if got := r.state(); got != "voting waiting" {
		t.Errorf("a restored campaign is %q", got)
	}
	for wave := range uint32(2) {
		d := commit.Decision{Round: commit.Round{Campaign: campaign, Wave: wave, Manifest: release}, Targets: commit.TargetsDigest(r.plan.Targets), Verdict: commit.Commit}
		must(t, r.c.Adopt(sign(d, serverKey)))
	}
	if r.reopen(); len(r.c.Answers()) != 2 {
		t.Errorf("%d decisions after both were adopted", len(r.c.Answers()))
	}
}

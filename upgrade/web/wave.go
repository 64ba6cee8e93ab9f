package web

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// OpenWave returns the wave that is to be decided next, counted from 0; the last one if all are decided.
func (p campaignPage) OpenWave() int {
	for i, w := range p.Snap.Waves {
		if w.Verdict == commit.Undecided.String() {
			return i
		}
	}
	return max(len(p.Snap.Waves)-1, 0)
}

// open returns the wave that is open, and says which one it is where there are several.
func (p campaignPage) open() (w fleet.WaveState, name string) {
	if len(p.Snap.Waves) == 0 {
		return w, ""
	}
	i := p.OpenWave()
	if len(p.Snap.Waves) > 1 {
		name = fmt.Sprintf("Wave %d of %d: ", i+1, len(p.Snap.Waves))
	}
	return p.Snap.Waves[i], name
}

// committed reports whether a wave is committed.
func committed(p campaignPage) bool {
	return slices.ContainsFunc(p.Snap.Waves, func(w fleet.WaveState) bool { return w.Verdict == commit.Commit.String() })
}

// stopped says why a campaign is paused, and what it waits for.
func stopped(snap fleet.Snapshot) string {
	why := map[commit.Reason]string{
		commit.ReasonOperator: "Somebody has paused it.", commit.ReasonMaxFailures: "So many devices have failed that it paused itself.",
		commit.ReasonWaveErrors: "More devices of a wave have failed than may, so it paused itself.",
		commit.ReasonWaveShort:  "Too few devices of a wave run the new release, and no more can, so it paused itself.",
		commit.ReasonNoOutcome:  "The results of a wave stay away, so it paused itself.",
	}[snap.Brake]
	return why + " Nothing is sent or decided before somebody resumes or aborts it."
}

// waves says how far each wave is; nothing of a campaign that has just one.
func (p campaignPage) Waves() []waveLine {
	if len(p.Snap.Waves) < 2 {
		return nil
	}
	var lines []waveLine
	for i, w := range p.Snap.Waves {
		l := waveLine{WaveState: w, Number: i + 1, Text: waveSteps[w.Step]}
		if i < len(p.Settings.Policy.Waves) {
			l.Part = sayPart(p.Settings.Policy.Waves[i])
		}
		switch {
		case w.Asking && w.MissingApprovals > 0:
			l.Text = count(w.MissingApprovals, "approver has", "approvers have") + " to sign"
		case w.Asking:
			l.Text = "somebody has to agree to COMMIT"
		}
		lines = append(lines, l)
	}
	return lines
}

// A waveLine is a wave as the page shows it.
type waveLine struct {
	fleet.WaveState
	Number int
	Part   string // which devices
	Text   string // how far it is
}

var waveSteps = map[commit.WaveStep]string{
	commit.WaveWaiting: "waits for the one before", commit.WaveVoting: "receives and votes", commit.WaveActivating: "COMMIT: activates",
	commit.WaveSoaking: "succeeded; the next one waits a while", commit.WaveDone: "succeeded", commit.WaveAborted: "ABORT",
}

var pauseDeed = campaignDeed{
	operation: "POST /campaigns/{campaign}/pause", title: "Pause %s", button: "Pause", danger: true, done: "The campaign is paused.",
	lines: func(p campaignPage, _ fleet.Preview) []string {
		lines := []string{"Nothing is sent or decided until somebody resumes. Votes do not run out meanwhile, and devices keep what they have received."}
		if committed(p) {
			lines = append(lines, "Devices that have not begun to activate wait as well. Those that have begun go on.")
		}
		return lines
	},
	possible: func(p campaignPage, _ string) bool { return runs(p) && !decided(p) && !p.Snap.Paused },
	do: func(s *Site, ctx context.Context, id commit.CampaignID, _ int64, actor string) error {
		return s.fleet.Pause(ctx, id, actor)
	},
}

// resumeLines say what goes on.
func resumeLines(p campaignPage, _ fleet.Preview) []string {
	var lines []string
	if p.Snap.Paused {
		lines = append(lines, "Sending and votes go on where they stopped.")
		switch p.Snap.Brake {
		case commit.ReasonWaveErrors, commit.ReasonWaveShort, commit.ReasonNoOutcome:
			lines = append(lines, "You accept the results of the wave that stopped it: if it cannot succeed any more, the next one begins all the same.")
		}
	}
	if committed(p) {
		lines = append(lines, fmt.Sprintf("Devices that wait go on to activate: up to %d of %d.", p.Snap.Targets-p.Snap.Committed, p.Snap.Targets))
	}
	return lines
}

// abortLines say what ends.
func abortLines(p campaignPage, _ fleet.Preview) []string {
	left := p.Snap.Targets
	for _, w := range p.Snap.Waves {
		if w.Verdict != commit.Undecided.String() {
			left -= w.Targets
		}
	}
	lines := []string{fmt.Sprintf("The campaign ends for all %s. They drop what they have received and keep what they run.", count(left, "device", "devices"))}
	if committed(p) {
		lines = append(lines, fmt.Sprintf("%s of waves that are committed are not called back.", count(p.Snap.Targets-left, "device", "devices")))
	}
	return append(lines, "It cannot be taken back.")
}

// readWaves reads the waves: one for each line, and the rest. All share what else is said of waves.
func (r *reader) readWaves(was []store.Wave) []store.Wave {
	if !uniform(was) {
		r.complain("Waves: those of this draft differ in more than their devices. Change it by its settings: normsend campaign create --settings.")
		return was
	}
	wave := store.Wave{
		Quorum: r.number("quorum", "Quorum", 100), SiteQuorum: r.number("site_quorum", "Quorum of each site", 100), Must: fields(r.Get("must")),
		Ask: r.Is("ask", "on"), ReadyTimeout: r.span("ready_timeout", "Votes end after"),
		Success: r.number("success", "Success", 100), Errors: r.number("errors", "Errors", 100),
		OutcomeTimeout: r.span("outcome_timeout", "Results after"), Soak: r.span("soak", "Soak"),
	}
	var waves []store.Wave
	for line := range strings.Lines(r.Get("waves")) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		w := wave
		var err error
		if w.Targets, w.Percent, err = fleet.ReadPart(line); err != nil {
			r.complain("Waves: %s.", err)
		}
		waves = append(waves, w)
	}
	if len(waves) > 0 && len(wave.Must) > 0 {
		r.complain("Devices that have to be ready in any case: with waves, say in settings which wave has them: normsend campaign create --settings.")
	}
	return append(waves, wave)
}

// uniform reports whether waves differ in their devices only, and the last one is the rest.
func uniform(waves []store.Wave) bool {
	if len(waves) == 0 {
		return true
	}
	last := waves[len(waves)-1]
	for _, w := range waves {
		w.Targets, w.Percent = store.Selector{}, 0
		if !reflect.DeepEqual(w, last) {
			return false
		}
	}
	return true
}

// putWaves is the inverse of readWaves.
func putWaves(waves []store.Wave, put func(name, value string), number func(name string, n int), span func(name string, d time.Duration), flag func(name string, on bool)) {
	wave := waves[len(waves)-1]
	var parts []string
	for _, w := range waves[:len(waves)-1] {
		parts = append(parts, fleet.PartText(w))
	}
	put("waves", strings.Join(parts, "\n"))
	number("quorum", wave.Quorum)
	number("site_quorum", wave.SiteQuorum)
	put("must", strings.Join(wave.Must, "\n"))
	flag("ask", wave.Ask)
	span("ready_timeout", wave.ReadyTimeout)
	number("success", wave.Success)
	number("errors", wave.Errors)
	span("outcome_timeout", wave.OutcomeTimeout)
	span("soak", wave.Soak)
}

// sayPart says which devices a wave has.
func sayPart(w store.Wave) string { return cmp.Or(fleet.PartText(w), "the rest") }

// sayWaves says in which order devices activate; nothing if all do at once.
func sayWaves(p store.Policy) string {
	if len(p.Waves) < 2 {
		return ""
	}
	var parts []string
	for _, w := range p.Waves {
		parts = append(parts, sayPart(w))
	}
	return strings.Join(parts, ", then ")
}

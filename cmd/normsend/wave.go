package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/spf13/pflag"
)

// waveFlags are what a person says of the waves of a campaign: the same of each.
type waveFlags struct {
	wave                          rest.Wave
	mode                          string
	specs                         []string
	readyTimeout, outcomes, soaks cli.Duration
}

func (f *waveFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.specs, "wave", nil, "a `part` of the targets that goes first, such as 1%, tag=brave, or site=berlin,10%; several follow one another, and the rest is the last wave")
	fs.IntVar(&f.wave.Quorum, "quorum", 0, "percentage of the targets that have to be READY (default 100)")
	fs.IntVar(&f.wave.SiteQuorum, "site-quorum", 0, "percentage of the targets of each site")
	fs.StringSliceVar(&f.wave.Must, "must", nil, "`devices` that have to be READY in any case")
	fs.Var(&f.readyTimeout, "ready-timeout", "votes end so long after the start, or after the wave has begun; then the campaign is aborted")
	fs.StringVar(&f.mode, "commit", "ask", "ask a person before each COMMIT, or auto")
	fs.IntVar(&f.wave.Success, "success", 0, "percentage that has to run the new image before the next wave begins (default that of --quorum)")
	fs.IntVar(&f.wave.Errors, "errors", 0, "percentage that may fail; with more the campaign is paused (default what --success leaves)")
	fs.Var(&f.outcomes, "outcome-timeout", "pause the campaign when the results of a wave take longer (default 15m)")
	fs.Var(&f.soaks, "soak", "begin the next wave so long after success")
}

// waves returns what is said by flags alone.
func (f *waveFlags) waves() ([]rest.Wave, error) {
	if f.mode != "ask" && f.mode != "auto" {
		return nil, cli.Usagef("--commit %q: want ask or auto", f.mode)
	}
	if len(f.specs) > 0 && len(f.wave.Must) > 0 {
		return nil, cli.Usagef("--must with --wave: say in a file (--settings) which wave has the devices")
	}
	w := f.wave
	w.Ask, w.ReadyTimeout, w.OutcomeTimeout, w.Soak = f.mode == "ask", int64(f.readyTimeout), int64(f.outcomes), int64(f.soaks)
	var all []rest.Wave
	for _, spec := range f.specs {
		sel, percent, err := fleet.ReadPart(spec)
		if err != nil || spec == "" {
			return nil, cli.Usagef("--wave %q: %w", spec, cmp.Or(err, errors.New("want a part of the targets; the rest is the last wave anyway")))
		}
		part := w
		part.Targets, part.Percent = rest.Selector{Products: sel.Products, Sites: sel.Sites, Tags: sel.Tags, Devices: sel.Devices}, percent
		all = append(all, part)
	}
	return append(all, w), nil
}

// mergeSettings reads settings of a file and puts over them what flags say: of waves, each wave of the file, unless the
// flags have waves of their own. Whether a person is asked is the file's unless asked says that a flag does.
func mergeSettings(file string, flags rest.Settings, asked bool) (merged rest.Settings, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return merged, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&merged); err != nil {
		return merged, err
	}
	waves := merged.Policy.Waves
	if len(flags.Policy.Waves) > 1 || len(waves) == 0 {
		waves = flags.Policy.Waves
	} else {
		for i := range waves {
			ask := waves[i].Ask
			if asked {
				ask = flags.Policy.Waves[0].Ask
			}
			if err := over(&waves[i], flags.Policy.Waves[0]); err != nil {
				return merged, err
			}
			waves[i].Ask = ask
		}
	}
	flags.Policy.Waves = nil
	if err := over(&merged, flags); err != nil {
		return merged, err
	}
	merged.Policy.Waves = waves
	return merged, nil
}

// over puts what is given over what is there.
func over[T any](there *T, given T) error {
	b, err := json.Marshal(given) // what was not given is not in it
	if err != nil {
		return err
	}
	return json.Unmarshal(b, there)
}

// waveLines returns a line for each wave, as pairs of what it is about and what it says; none for the only one.
func waveLines(waves []rest.WaveState, now time.Time) (lines []any) {
	if len(waves) < 2 {
		return nil
	}
	for i, w := range waves {
		lines = append(lines, fmt.Sprintf("wave %d", i+1), waveText(w, now))
	}
	return lines
}

func waveText(w rest.WaveState, now time.Time) string {
	text := string(w.Step)
	switch left := w.Until.Sub(now).Round(time.Second); {
	case w.Step == rest.WaveStateStepAborted:
		text = because(text, commit.Reason(w.Reason))
	case w.Asking:
		text += ", waits for normsend campaign commit"
	case left <= 0:
	case w.Step == rest.WaveStateStepSoaking:
		text += fmt.Sprintf(", the next begins in %v", left)
	case w.Step == rest.WaveStateStepActivating:
		text += fmt.Sprintf(", results are due in %v", left)
	}
	return fmt.Sprintf("%s; %d: %d ready, %d committed, %d failed", text, w.Targets, w.Ready, w.Committed, w.Failed)
}

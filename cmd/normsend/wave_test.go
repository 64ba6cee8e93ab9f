package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
)

func TestWaveFlags(t *testing.T) {
	for args, want := range map[string]string{
		"":                                  `[{"ask":true}]`,
		"--wave 1% --soak 1h --commit auto": `[{"percent":1,"soak":3600000000000},{"soak":3600000000000}]`,
		"--wave site=rome,10% --wave tag=a,tag=b --errors 5 --success 90": `[{"ask":true,"errors":5,"percent":10,"success":90,"targets":{"sites":["rome"]}},` +
			`{"ask":true,"errors":5,"success":90,"targets":{"tags":["a","b"]}},{"ask":true,"errors":5,"success":90}]`,
		"--wave device=d1 --quorum 80": `[{"ask":true,"quorum":80,"targets":{"devices":["d1"]}},{"ask":true,"quorum":80}]`,
		"--wave 0%":                    "", "--wave 101%": "", "--wave 1%,2%": "", "--wave half": "", "--wave colour=red": "", "--wave site=": "", "--wave=": "",
		"--wave 1% --must d1": "", "--commit never": "",
	} {
		var f waveFlags
		fs := pflag.NewFlagSet("create", pflag.ContinueOnError)
		f.add(fs)
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		waves, err := f.waves()
		if (err != nil) != (want == "") {
			t.Errorf("%q: %v", args, err)
			continue
		}
		if got, _ := json.Marshal(waves); err == nil && string(got) != want {
			t.Errorf("%q makes\n%s, want\n%s", args, got, want)
		}
	}
}

// Flags go before a file: what is said of waves, before each wave of the file.
func TestMergeSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(file, []byte(`{"policy":{"max_failures":3,"waves":[{"percent":1,"quorum":50,"ask":true},{"quorum":60}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		flags []rest.Wave
		asked bool
		want  string
	}{
		{[]rest.Wave{{Ask: true}}, false, `[{"ask":true,"percent":1,"quorum":50},{"quorum":60}]`},
		{[]rest.Wave{{Ask: true, Soak: int64(time.Hour)}}, true, `[{"ask":true,"percent":1,"quorum":50,"soak":3600000000000},{"ask":true,"quorum":60,"soak":3600000000000}]`},
		{[]rest.Wave{{}}, true, `[{"percent":1,"quorum":50},{"quorum":60}]`},
		{[]rest.Wave{{Percent: 10}, {}}, false, `[{"percent":10},{}]`},
	} {
		got, err := mergeSettings(file, rest.Settings{Policy: rest.Policy{Waves: tt.flags}}, tt.asked)
		if err != nil {
			t.Fatal(err)
		}
		if waves, _ := json.Marshal(got.Policy.Waves); string(waves) != tt.want || got.Policy.MaxFailures != 3 {
			t.Errorf("%+v over the file: %s, want %s", tt.flags, waves, tt.want)
		}
	}
}

func TestWaveLines(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if lines := waveLines([]rest.WaveState{{}}, now); lines != nil {
		t.Errorf("the only wave: %q", lines)
	}
	lines := waveLines([]rest.WaveState{
		{Step: "soaking", Until: now.Add(time.Hour), Targets: 2, Committed: 2}, {Step: "voting", Asking: true, Targets: 3, Ready: 3}, {Step: "activating", Until: now.Add(time.Minute), Failed: 1},
		{Step: "aborted", Reason: "earlier-wave"}, {Step: "waiting"},
	}, now)
	want := []string{
		"wave 1", "soaking, the next begins in 1h0m0s; 2: 0 ready, 2 committed, 0 failed", "wave 2", "voting, waits for normsend campaign commit; 3: 3 ready, 0 committed, 0 failed",
		"wave 3", "activating, results are due in 1m0s; 0: 0 ready, 0 committed, 1 failed", "wave 4", "aborted (earlier-wave); 0: 0 ready, 0 committed, 0 failed",
		"wave 5", "waiting; 0: 0 ready, 0 committed, 0 failed",
	}
	for i, line := range lines {
		if i >= len(want) || line != want[i] {
			t.Errorf("line %q, want %q", line, want[i:])
			break
		}
	}
	if got := decisionText(rest.Status{Phase: rest.PhasePaused, Paused: true, Brake: "wave-errors"}, now); got != "open; paused (wave-errors), waits for normsend campaign resume or abort" {
		t.Errorf("%q", got)
	}
}

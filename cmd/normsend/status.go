package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/spf13/cobra"
)

// maxStatusDevices is how many devices a person is shown, and beyond which those that are where they should be are left
// out.
const maxStatusDevices = 40

// states is the order in which the states of devices are counted.
var states = []commit.State{
	commit.StateNone, commit.StateAnnounced, commit.StateReceiving, commit.StateStaged, commit.StateReady, commit.StateCommitted,
	commit.StateRefused, commit.StateAborted, commit.StateRolledBack, commit.StateFailed, commit.StateReleased,
}

func statusCommand(w cli.World) *cobra.Command {
	var asJSON bool
	c := controlCommand(w, "status", "Show a running or crashed campaign",
		`status shows where a campaign is, from the process that runs it, or else from its log.`,
		func(ctx context.Context, control *upgrade.Control) error {
			s, err := control.Status(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				line, err := json.Marshal(struct {
					Time  time.Time `json:"time"`
					Event string    `json:"event"`
					upgrade.CampaignStatus
				}{time.Now().UTC(), "status", s})
				cli.NewEvents(w.Stdout, true).Line(line)
				return err
			}
			for _, line := range statusLines(s, time.Now()) {
				fmt.Fprintln(w.Stdout, line)
			}
			return nil
		})
	c.Flags().BoolVar(&asJSON, "json", false, "print it as a line of JSON, with all devices")
	return c
}

// statusLines describes a campaign to a person.
func statusLines(s upgrade.CampaignStatus, now time.Time) []string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "campaign\t%v, %s %s, %s\n", s.Campaign, s.Product, s.Version, running(s))
	fmt.Fprintf(t, "rendezvous\t%s, group %s\n", s.Server, s.Group)
	fmt.Fprintf(t, "decision\t%s\n", decision(s, now))
	for i, wave := range s.Waves {
		if wave.MissingApprovals > 0 && wave.Verdict == commit.Undecided.String() {
			fmt.Fprintf(t, "approvals\t%d more needed for wave %d: normsend approve --campaign %v --wave %[2]d --targets %s\n", wave.MissingApprovals, i+1, s.Campaign, s.List)
		}
	}
	var counts []string
	for _, state := range states {
		if n := s.Counts[state]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, stateName(state)))
		}
	}
	if missing := s.Targets - len(s.Devices); missing > 0 {
		counts = append(counts, fmt.Sprintf("%d still to show themselves", missing))
	}
	unsigned := ""
	if s.Unsigned > 0 {
		unsigned = fmt.Sprintf("; the votes of %d are unsigned", s.Unsigned)
	}
	fmt.Fprintf(t, "devices\t%d: %s%s\n", s.Targets, strings.Join(counts, ", "), unsigned)
	t.Flush()
	deviceLines(t, s)
	t.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func running(s upgrade.CampaignStatus) string {
	switch {
	case s.Running:
		return "running"
	case s.Closed:
		return "over"
	}
	return "not running"
}

func decision(s upgrade.CampaignStatus, now time.Time) string {
	held := ""
	if s.Paused {
		return fmt.Sprintf("open; %d ready; paused%s, waits for normsend resume or abort", s.Ready, inBrackets(s.Brake))
	}
	if s.Held {
		held = "; on hold" + inBrackets(s.Brake)
	}
	if s.Verdict != commit.Undecided.String() {
		return because(s.Verdict, s.Reason) + held
	}
	left := s.Deadline.Sub(now).Round(time.Second)
	switch {
	case left <= 0:
		return "open, and the deadline has passed" + held
	case s.Asking:
		return fmt.Sprintf("open, waits for normsend commit; votes end in %v%s", left, held)
	}
	return fmt.Sprintf("open; %d ready, votes end in %v%s", s.Ready, left, held)
}

// deviceLines lists devices; if they are many, only those that give cause to look.
func deviceLines(w *tabwriter.Writer, s upgrade.CampaignStatus) {
	shown := 0
	for _, d := range s.Devices {
		if len(s.Devices) > maxStatusDevices && (d.State == commit.StateReady || d.State == commit.StateCommitted || d.State == commit.StateReceiving) {
			continue
		}
		if shown++; shown > maxStatusDevices {
			fmt.Fprintf(w, "  … more; see normsend status --json\n")
			return
		}
		remark := string(d.Reason)
		if d.State == commit.StateReceiving && d.Total > 0 {
			remark = fmt.Sprintf("%d %%", d.Bytes*100/d.Total)
		}
		if d.Unsigned {
			remark = strings.TrimSpace(remark + " unsigned")
		}
		if d.Duplicate {
			remark = strings.TrimSpace(remark + " duplicate")
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", d.Device, d.Site, stateName(d.State), remark)
	}
}

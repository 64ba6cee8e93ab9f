package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/spf13/cobra"
)

func statusCommand(w cli.World) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:     "status --dir DIR",
		Short:   "Show how far the agent of this device is",
		Long:    `status shows where the agent of a directory is, whether it runs or not.`,
		Example: `  normrecv status --dir /var/lib/upgrade`,
		Args:    cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := isDir(dir); err != nil {
				return cli.Usage(err)
			}
			s, err := upgrade.Status(dir)
			if err != nil {
				return err
			}
			if asJSON {
				line, err := json.Marshal(newStatusEvent(s, time.Now()))
				cli.NewEvents(w.Stdout, true).Line(line)
				return err
			}
			return writeStatus(w.Stdout, s)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "`directory` of the agent")
	c.Flags().BoolVar(&asJSON, "json", false, "print it as a line of JSON")
	c.MarkFlagRequired("dir")
	return c
}

// A statusEvent is a status as a line of JSON.
type statusEvent struct {
	Time     time.Time      `json:"time"`
	Event    string         `json:"event"`
	Running  bool           `json:"running"`
	Version  string         `json:"version,omitempty"`  // committed last
	Sequence uint64         `json:"sequence,omitempty"` // below which the device does not go
	Epoch    uint64         `json:"epoch,omitempty"`
	Campaign string         `json:"campaign,omitempty"` // under way, or else the one before
	State    commit.State   `json:"state,omitempty"`
	Reason   commit.Reason  `json:"reason,omitempty"`
	Decided  bool           `json:"decided,omitempty"` // COMMIT is in the log
	Held     bool           `json:"held,omitempty"`
	Pending  int            `json:"pending,omitempty"` // messages the server has not taken yet
	Root     uint64         `json:"root,omitempty"`    // version of the newest root document seen
	Expires  time.Time      `json:"root_expires,omitzero"`
	Latest   *upgrade.Event `json:"latest,omitempty"` // event
}

func newStatusEvent(s upgrade.AgentStatus, now time.Time) statusEvent {
	e := statusEvent{
		Time: now.UTC(), Event: "status", Running: s.Running, Version: s.Version, Sequence: s.Commit.Floors.Sequence,
		Epoch: s.Commit.Floors.Epoch, Decided: s.Commit.Committed, Held: s.Commit.Held, Pending: s.Commit.Pending,
		Root: s.Root, Expires: s.RootExpires,
	}
	o := s.Commit.Current
	if o.State == commit.StateNone {
		o = s.Commit.Last
	}
	if o.State != commit.StateNone {
		e.Campaign, e.State, e.Reason = o.Round.Campaign.String(), o.State, o.Reason
	}
	if s.Latest.Kind != "" {
		e.Latest = &s.Latest
	}
	return e
}

// writeStatus describes a status to a person.
func writeStatus(w io.Writer, s upgrade.AgentStatus) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	if s.Running {
		line("agent", "running")
	} else {
		line("agent", "not running")
	}
	if s.Version == "" {
		line("installed", "nothing by this agent")
	} else {
		line("installed", "%s; sequence %d and epoch %d at the least from now on", s.Version, s.Commit.Floors.Sequence, s.Commit.Floors.Epoch)
	}
	if s.Root > 0 {
		line("root", "version %d, expires %s", s.Root, s.RootExpires.Format(time.RFC3339))
	}
	switch c := s.Commit; {
	case c.Active:
		line("campaign", "%v: being activated", c.Current.Round.Campaign)
	case c.Held:
		line("campaign", "%v: committed, and on hold", c.Current.Round.Campaign)
	case c.Committed:
		line("campaign", "%v: committed, waits for its time", c.Current.Round.Campaign)
	case c.Current.State != commit.StateNone:
		line("campaign", "%v: %s", c.Current.Round.Campaign, c.Current.State)
	case c.Last.State != commit.StateNone:
		line("last campaign", "%v: %s", c.Last.Round.Campaign, outcome(c.Last))
	}
	if e := s.Latest; e.Kind != "" {
		line("latest", "%s  %s", e.Time.Format(time.RFC3339), latest(e))
	}
	if n := s.Commit.Pending; n > 0 {
		line("to be told", "%d to the server", n)
	}
	return t.Flush()
}

func outcome(o commit.Outcome) string {
	if o.Reason == commit.ReasonNone {
		return string(o.State)
	}
	return fmt.Sprintf("%s (%s)", o.State, o.Reason)
}

// latest describes an event shortly.
func latest(e upgrade.Event) string {
	switch {
	case e.Total > 0:
		return fmt.Sprintf("%s, %s of %s", e.Kind, cli.HumanBytes(e.Bytes), cli.HumanBytes(e.Total))
	case e.Reason != "":
		return fmt.Sprintf("%s (%s)", e.Kind, e.Reason)
	}
	return string(e.Kind)
}

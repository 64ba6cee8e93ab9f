package main

import (
	"context"
	"fmt"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/spf13/cobra"
)

// controlCommands are what a person does with a campaign from another terminal.
func controlCommands(w cli.World) []*cobra.Command {
	act := func(name, short, long, done string, f func(*upgrade.Control, context.Context) error) *cobra.Command {
		return controlCommand(w, name, short, long, func(ctx context.Context, control *upgrade.Control) error {
			if err := f(control, ctx); err != nil {
				return err
			}
			fmt.Fprintln(w.Stdout, done)
			return nil
		})
	}
	return []*cobra.Command{
		statusCommand(w),
		commitCommand(w),
		act("abort", "Abort a campaign",
			`abort ends a campaign that has not decided: no device activates. After COMMIT, see normsend hold.`,
			"the campaign is aborted", (*upgrade.Control).Abort),
		act("pause", "Stop all that can be stopped of a campaign",
			`pause stops a campaign that has not decided: nothing is sent or decided, and the deadline stands still, until normsend
resume. Votes are taken. After COMMIT it is normsend hold.`,
			"paused", (*upgrade.Control).Pause),
		act("hold", "Stop devices that have not begun to activate",
			`hold puts the brake on: devices that have not begun to activate wait until normsend resume.`,
			"on hold", (*upgrade.Control).Hold),
		act("resume", "Let a campaign go on after a pause or a hold",
			`resume releases the brake that normsend pause or hold, or too many failures, have put on.`,
			"resumed", (*upgrade.Control).Resume),
	}
}

func controlCommand(w cli.World, name, short, long string, f func(context.Context, *upgrade.Control) error) *cobra.Command {
	var state string
	c := &cobra.Command{
		Use:     name + " --state DIR",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  normsend %s --state upgrade-3f2a9c0d5e6b7a8190b2c3d4e5f60718", name),
		Args:    cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			control, err := upgrade.OpenControl(state)
			if err != nil {
				return cli.Usage(err)
			}
			defer control.Close()
			return f(c.Context(), control)
		},
	}
	c.Flags().StringVar(&state, "state", "", "the campaign's `directory`")
	c.MarkFlagRequired("state")
	return c
}

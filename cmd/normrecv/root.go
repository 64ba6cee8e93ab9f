package main

import (
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/spf13/cobra"
)

// run executes the command with the given arguments and returns its exit status.
func run(args []string, w cli.World) int { return cli.Run(root(w), args, w) }

// root returns the command with all its sub-commands.
func root(w cli.World) *cobra.Command {
	root := &cobra.Command{
		Use:   "normrecv",
		Short: "Receive files and signed firmware images sent by multicast",
		Long: `normrecv receives files (file) and upgrades the device it runs on (agent), sent by NORM, RFC 5740, and shows its
messages (dump). Where multicast does not work, it says why (doctor).

Exit status: 0 done, 1 failed, 2 usage, 3 timed out.
Every flag can be set by an environment variable, NORMRECV_ and its name (NORMRECV_GROUP=239.1.2.3:6003),
and in a TOML file given by --config.`,
	}
	root.AddCommand(fileCommand(w), agentCommand(w), statusCommand(w), abandonCommand(w), dumpCommand(w),
		doctorCommand(w))
	return root
}

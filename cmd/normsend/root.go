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
		Use:   "normsend",
		Short: "Send files and signed firmware images to many receivers at once",
		Long: `normsend sends files (file) and signed firmware images (upgrade) to any number of
receivers in one multicast session by NORM, RFC 5740. It answers normrecv doctor, which finds out why multicast does not
work (doctor).

Exit status: 0 done, 1 failed, 2 usage, 3 timed out, 4 committed but not on every target.
Every flag can be set by an environment variable, NORMSEND_ and its name (NORMSEND_RATE=50M),
and in a TOML file given by --config.`,
	}
	root.AddCommand(fileCommand(w), keygenCommand(w), signCommand(w), inspectCommand(w), rootCommand(w), approveCommand(w), auditCommand(w), initCommand(w), upgradeCommand(w),
		doctorCommand(w))
	root.AddCommand(controlCommands(w)...)
	root.AddCommand(serveCommand(w), backupCommand(w), restoreCommand(w), campaignCommand(w), deviceCommand(w), releaseCommand(w), tokenCommand(w))
	return root
}

//go:build man

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// ManualsMain is main of a command that is built with the tag man: it writes the command's manuals into the directory that
// is its only argument.
func ManualsMain(root *cobra.Command) {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "want a directory to write to")
		os.Exit(BadUsage)
	}
	if err := writeManuals(root, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(Failed)
	}
}

// writeManuals writes a manual page for each command beneath root (section 1), and the completions of bash, zsh, fish and
// PowerShell, into a directory. It is built with the tag man only, so that the commands do not carry what it needs.
func writeManuals(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	date := time.Unix(0, 0) // the same pages from the same source
	root.DisableAutoGenTag = true
	name := filepath.Join(dir, root.Name())
	return errors.Join(
		doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "multicast upgrade tool", Manual: "User Commands", Date: &date}, dir),
		root.GenBashCompletionFileV2(name+".bash", true),
		root.GenZshCompletionFile(filepath.Join(dir, "_"+root.Name())),
		root.GenFishCompletionFile(name+".fish", true),
		root.GenPowerShellCompletionFileWithDesc(name+".ps1"),
	)
}

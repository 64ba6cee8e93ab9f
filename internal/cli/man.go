//go:build man

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// WriteManuals writes a manual page for each command beneath root (section 1), and the completions of bash, zsh, fish and
// PowerShell, into a directory. It is built with the tag man only, so that the commands do not carry what it needs.
func WriteManuals(root *cobra.Command, dir string) error {
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

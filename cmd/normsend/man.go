//go:build man

package main

import (
	"fmt"
	"os"

	"github.com/multicast-upgrade/tool/internal/cli"
)

// main writes the manual pages and shell completions into the directory that is its argument:
//
//	go run -tags man ./cmd/normsend man
func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "want a directory to write to")
		os.Exit(cli.BadUsage)
	}
	if err := cli.WriteManuals(root(cli.OSWorld()), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(cli.Failed)
	}
}

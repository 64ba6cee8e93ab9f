//go:build !man

// Command normrecv receives files and firmware images that are sent to many at once by NORM (RFC 5740).
package main

import (
	"os"
	"runtime/debug"

	"github.com/multicast-upgrade/tool/internal/cli"
)

// gcPercent has the garbage collector run early: a receiver allocates next to nothing while it receives, and on a device memory
// counts. GOGC in the environment goes before it.
const gcPercent = 25

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(run(os.Args[1:], cli.OSWorld()))
}

//go:build !man

// Command normrecv receives files and firmware images that are sent to many at once by NORM (RFC 5740).
package main

import (
	"os"

	"github.com/multicast-upgrade/tool/internal/cli"
)

func main() { os.Exit(run(os.Args[1:], cli.OSWorld())) }

//go:build !man

// Command normsend sends files and firmware images to many receivers at once by NORM (RFC 5740).
package main

import (
	"os"

	"github.com/multicast-upgrade/tool/internal/cli"
)

func main() { os.Exit(run(os.Args[1:], cli.OSWorld())) }

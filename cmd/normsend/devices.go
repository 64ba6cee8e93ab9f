package main

import (
	"cmp"
	"fmt"
	"io"
	"os"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
)

// readTargets reads a devices file.
func readTargets(path string) ([]commit.Target, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return upgrade.ReadTargets(f, path)
}

// writeTargets writes what upgrade.ReadTargets reads.
func writeTargets(w io.Writer, targets []commit.Target) {
	fmt.Fprintln(w, "# id, site, public key; - for none")
	for _, t := range targets {
		fmt.Fprintln(w, t.Device, cmp.Or(t.Site, "-"), cmp.Or(t.Key.String(), "-"))
	}
}

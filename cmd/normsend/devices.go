package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// absent stands for a site or key that a device does not have.
const absent = "-"

// readTargets reads a list of devices: in each line id, site and public key, as writeTargets writes them. Empty lines,
// and what follows a #, do not count.
func readTargets(path string) (targets []commit.Target, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		t, err := parseTarget(fields)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if targets = append(targets, t); len(targets) > commit.MaxTargets {
			return nil, fmt.Errorf("%s: more than %d devices", path, commit.MaxTargets)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("%s has no devices", path)
	}
	return targets, nil
}

func parseTarget(fields []string) (t commit.Target, err error) {
	if len(fields) != 3 {
		return t, fmt.Errorf("want a device's id, site and public key (%s for none), in words", absent)
	}
	if t.Device = fields[0]; !manifest.ValidName(t.Device) {
		return t, fmt.Errorf("device id %.70q: %s", t.Device, wantName)
	}
	if fields[1] != absent {
		if t.Site = fields[1]; !manifest.ValidName(t.Site) {
			return t, fmt.Errorf("site %.70q: %s", t.Site, wantName)
		}
	}
	if fields[2] == absent {
		return t, nil
	}
	if t.Key, err = manifest.ParsePublicKey(fields[2]); err != nil {
		return t, fmt.Errorf("public key of %s: %w", t.Device, err)
	}
	if t.Key.Role() != manifest.RoleDevice {
		return t, fmt.Errorf("public key of %s: %w: it is a %s key", t.Device, manifest.ErrKeyRole, t.Key.Role())
	}
	return t, nil
}

// writeTargets writes a list of devices.
func writeTargets(w io.Writer, targets []commit.Target) {
	or := func(s string) string {
		if s == "" {
			return absent
		}
		return s
	}
	fmt.Fprintln(w, "# id, site, public key; - for none")
	for _, t := range targets {
		fmt.Fprintln(w, t.Device, or(t.Site), or(t.Key.String()))
	}
}

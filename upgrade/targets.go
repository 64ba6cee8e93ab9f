package upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

const (
	maxTargetLine   = 1024
	maxTargetErrors = 10
)

// ReadTargets reads a devices file: a line for each device, with its id, its site and its public key as a .pub file has
// it, separated by spaces. A site of "-" is none; a key of "-", or none, is a device that votes unsigned. Empty lines and
// what follows a # are ignored.
//
//	phone-0017  berlin  device:ed25519:4Yk…
//	phone-0018  -       device:ed25519:Zq1…
//
// The error has a line for each of the first bad lines of the file, which name tells.
func ReadTargets(r io.Reader, name string) ([]commit.Target, error) {
	var (
		targets []commit.Target
		errs    []error
		lines   = map[string]int{}                // of each device
		holders = map[manifest.PublicKey]string{} // of each key
		in      = bufio.NewScanner(r)
	)
	in.Buffer(nil, maxTargetLine)
	line := 0
	for in.Scan() && len(errs) < maxTargetErrors {
		line++
		text, _, _ := strings.Cut(in.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		t, err := parseTarget(fields)
		switch first, twice := lines[t.Device]; {
		case err != nil:
		case twice:
			err = fmt.Errorf("device %s is already on line %d", t.Device, first)
		case !t.Key.IsZero() && holders[t.Key] != "":
			err = fmt.Errorf("device %s has the key of %s", t.Device, holders[t.Key])
		case len(targets) == commit.MaxTargets:
			err = fmt.Errorf("more than %d devices", commit.MaxTargets)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, line, err))
			continue
		}
		lines[t.Device] = line
		if !t.Key.IsZero() {
			holders[t.Key] = t.Device
		}
		targets = append(targets, t)
	}
	switch err := in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		errs = append(errs, fmt.Errorf("%s:%d: the line is longer than %d bytes", name, line+1, maxTargetLine))
	case err != nil:
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	case len(targets) == 0 && len(errs) == 0:
		errs = append(errs, fmt.Errorf("%s: no device is listed", name))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return targets, nil
}

func parseTarget(fields []string) (t commit.Target, err error) {
	if len(fields) > 3 {
		return t, fmt.Errorf("%d fields, want: id site public-key", len(fields))
	}
	fields = append(fields, "-", "-")[:3]
	if t.Device = fields[0]; !manifest.ValidName(t.Device) {
		return t, fmt.Errorf("device id %.70q: want 1 to 64 of A-Z a-z 0-9 . _ + -, the first a letter or digit", t.Device)
	}
	if fields[1] != "-" {
		if t.Site = fields[1]; !manifest.ValidName(t.Site) {
			return t, fmt.Errorf("site %.70q: want 1 to 64 of A-Z a-z 0-9 . _ + -, or - for none", t.Site)
		}
	}
	if fields[2] == "-" {
		return t, nil
	}
	if t.Key, err = manifest.ParsePublicKey(fields[2]); err != nil {
		return t, fmt.Errorf("public key of device %s: %w", t.Device, err)
	}
	if t.Key.Role() != manifest.RoleDevice {
		return t, fmt.Errorf("public key of device %s: %w: want a device key, this is a %s key", t.Device, manifest.ErrKeyRole, t.Key.Role())
	}
	return t, nil
}

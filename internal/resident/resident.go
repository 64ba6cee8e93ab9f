// Package resident tells how much memory another process has, on Linux.
package resident

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Peak returns the most memory that a process has ever had resident, in bytes. The error says that it has ended, or that the
// system does not tell.
func Peak(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("resident: /proc has no VmHWM")
}

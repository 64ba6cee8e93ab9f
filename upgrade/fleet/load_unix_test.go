//go:build unix

package fleet_test

import (
	"fmt"
	"syscall"
)

// fileLimit says how many files this process may have open.
func fileLimit() string {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d of at most %d", l.Cur, l.Max)
}

package upgrade

import (
	"os"
	"strings"
)

// bootID returns the id that the kernel made when it started.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

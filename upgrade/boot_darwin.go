package upgrade

import "golang.org/x/sys/unix"

// bootID returns the id that the kernel made when it started.
func bootID() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }

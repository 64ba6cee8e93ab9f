//go:build unix

package pgtest

import (
	"os"
	"syscall"
)

// unprivileged gives dir to a user that is not root, and returns how to start a program as that one.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	uid, gid, err := owner()
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, uid, gid)
}

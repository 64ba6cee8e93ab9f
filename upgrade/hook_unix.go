//go:build unix

package upgrade

import (
	"os/exec"
	"syscall"
)

// runGroup runs cmd as a process group of its own, which is killed as a whole when cmd's context ends.
func runGroup(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd.Run()
}

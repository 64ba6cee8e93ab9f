//go:build unix

package upgrade

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A seed that would be waited for, or never ends, is not opened.
func TestAttackSeedIsNoFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fw")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{fifo, filepath.Dir(fifo), os.DevNull, "/dev/zero"} {
		if f, err := openSeed(path, "fw"); err == nil {
			f.Close()
			t.Errorf("%s was opened", path)
		}
	}
}

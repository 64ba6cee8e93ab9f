package disk_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/multicast-upgrade/tool/commit/disk"
)

// TestBlockDevice opens a loop device, which the test makes and takes away.
func TestBlockDevice(t *testing.T) {
	backing := filepath.Join(t.TempDir(), "backing")
	if err := errors.Join(os.WriteFile(backing, nil, 0o600), os.Truncate(backing, 1<<20)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", backing).Output()
	if err != nil {
		t.Skipf("no loop device can be made here: %v", err)
	}
	loop := strings.TrimSpace(string(out))
	defer exec.Command("losetup", "--detach", loop).Run()
	f, err := disk.OpenDevice(loop, true)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 1<<20 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if _, err := disk.OpenDevice(loop, true); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("opened for writing twice: %v", err)
	}
	want := strings.Repeat("slot", 100)
	_, err = f.WriteAt([]byte(want), 1000)
	if err := errors.Join(err, f.Sync(), f.DropCache(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if f, err = disk.OpenDevice(loop, false); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	_, err = f.ReadAt(got, 1000)
	if err := errors.Join(err, f.Close()); err != nil || string(got) != want {
		t.Errorf("read %.20q, %v", got, err)
	}
}

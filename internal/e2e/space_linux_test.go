package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
	"golang.org/x/sys/unix"
)

// TestNoSpaceIsRefusedBeforeAnythingIsReceived gives a receiver a file system of 1 MiB.
func TestNoSpaceIsRefusedBeforeAnythingIsReceived(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	out := t.TempDir()
	if err := unix.Mount("tmpfs", out, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("REQUIRE_NETNS") == "1" {
			t.Fatalf("REQUIRE_NETNS=1, but no file system: %v", err)
		}
		t.Skipf("no file system can be mounted: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(out, unix.MNT_DETACH) })
	old := filepath.Join(out, "image.bin")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image.bin")
	writeImage(t, image, 2<<20, 1)
	host := netns.New(t, 1).Host(0)
	receiver := start(t, host, "normrecv", "file", "--group", "239.77.3.1:6003", "--interface", netns.Interface, "--out", out)
	receiver.awaitEvent("listening")
	start(t, host, "normsend", "file", "--group", "239.77.3.1:6003", "--interface", netns.Interface, image)
	if status := receiver.exit(); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	if _, last, _ := strings.Cut(strings.TrimSpace(receiver.stderr.String()), "\n"); !strings.HasPrefix(last,
		"normrecv: what is sent does not fit into "+out+": not enough space: it has 2097152 bytes, ") || strings.Contains(last, "\n") {
		t.Errorf("said %q", last)
	}
	if files, err := os.ReadDir(out); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if b, err := os.ReadFile(old); err != nil || string(b) != "old" {
		t.Errorf("the old file: %q, %v", b, err)
	}
}

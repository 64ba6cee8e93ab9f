package disk_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/multicast-upgrade/tool/commit/disk"
)

func open(t *testing.T) *disk.Dir {
	t.Helper()
	d, err := disk.Open(filepath.Join(t.TempDir(), "made", "on", "demand"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestNamesStayBeneathTheDirectory(t *testing.T) {
	d := open(t)
	outside := filepath.Join(filepath.Dir(d.Path(".")), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{"../outside", outside, "a/../../outside"}
	if runtime.GOOS != "windows" {
		if err := os.Symlink("../outside", d.Path("link")); err != nil {
			t.Fatal(err)
		}
		names = append(names, "link")
	}
	for _, name := range names {
		if f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			f.Close()
			t.Errorf("opened %q, which leads outside", name)
		}
		if _, err := disk.ReadFile(d, name, 100); err == nil {
			t.Errorf("read %q, which leads outside", name)
		}
	}
	if err := d.Rename("link", "../elsewhere"); err == nil {
		t.Error("renamed to outside")
	}
}

func TestLockIsExclusiveAndReleased(t *testing.T) {
	d := open(t)
	first, err := d.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock("lock"); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("second lock: %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := d.Lock("lock")
	if err != nil {
		t.Fatal("lock after unlock:", err)
	}
	again.Close()
}

func TestFileAndDirectoryCalls(t *testing.T) {
	d := open(t)
	if err := d.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFile(d, "sub/a", []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFile(d, "sub/a", []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := d.OpenFile("sub/a", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Sync(), f.DropCache()); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); err != nil || size != 6 {
		t.Fatalf("size %d, %v; want 6", size, err)
	}
	if got, err := disk.ReadFile(d, "sub/a", 6); err != nil || string(got) != "second" {
		t.Fatalf("read %q, %v", got, err)
	}
	if _, err := disk.ReadFile(d, "sub/a", 5); err == nil {
		t.Error("read 6 bytes with a limit of 5")
	}
	entries, err := d.ReadDir("sub")
	if err != nil || len(entries) != 1 || entries[0].Name() != "a" {
		t.Fatalf("entries %v, %v; want just a", entries, err)
	}
	if err := errors.Join(d.SyncDir("sub"), d.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	if free, err := d.Free(); err != nil || free <= 0 {
		t.Errorf("free space %d, %v", free, err)
	}
	if _, err := d.OpenFile("sub/a", os.O_WRONLY|os.O_APPEND, 0); err == nil {
		t.Error("opened with O_APPEND, which WriteAt excludes")
	}
	if _, err := d.Stat("nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat of nothing: %v", err)
	}
	if b, err := os.ReadFile(d.Path("sub/a")); err != nil || string(b) != "second" {
		t.Errorf("by Path: %q, %v", b, err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 3); err != io.EOF {
		t.Errorf("short read: %v, want io.EOF", err)
	}
}

package diskfault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
)

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func create(t fataler, d disk.FS, name string) disk.File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(d disk.FS, name string) string {
	b, err := disk.ReadFile(d, name, 1<<20)
	if err != nil {
		return "?"
	}
	return string(b)
}

// TestBehavesLikeTheSystem runs the same random calls on a simulated and on a real directory.
func TestBehavesLikeTheSystem(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		system, err := disk.Open(fmt.Sprintf("%s/%d", dir, runs))
		must(t, err)
		defer system.Close()
		fake := diskfault.New(1)
		both := []disk.FS{fake, system}
		name := rapid.SampledFrom([]string{"a", "b", "sub/a", "sub/b", "no/a"})
		// same calls f on both and compares what it describes, and whether it failed.
		same := func(what string, f func(disk.FS) (string, error)) {
			var out [2]string
			for i, d := range both {
				got, err := f(d)
				out[i] = fmt.Sprintf("%s failed=%v exist=%v notexist=%v", got, err != nil, errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist))
			}
			if out[0] != out[1] {
				t.Fatalf("%s: simulated %s, real %s", what, out[0], out[1])
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				n := name.Draw(t, "name")
				flag := os.O_RDWR | rapid.SampledFrom([]int{0, os.O_CREATE, os.O_CREATE | os.O_EXCL, os.O_CREATE | os.O_TRUNC}).Draw(t, "flag")
				off, b := rapid.Int64Range(0, 30).Draw(t, "off"), rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
				same("write "+n, func(d disk.FS) (string, error) {
					f, err := d.OpenFile(n, flag, 0o600)
					if err != nil {
						return "", err
					}
					defer f.Close()
					k, err := f.WriteAt(b, off)
					return fmt.Sprint(k), err
				})
			},
			"truncate": func(t *rapid.T) {
				n, size := name.Draw(t, "name"), rapid.Int64Range(0, 50).Draw(t, "size")
				same("truncate "+n, func(d disk.FS) (string, error) {
					f, err := d.OpenFile(n, os.O_RDWR, 0)
					if err != nil {
						return "", err
					}
					defer f.Close()
					return "", f.Truncate(size)
				})
			},
			"rename": func(t *rapid.T) {
				from, to := rapid.SampledFrom([]string{"a", "sub/a", "b"}).Draw(t, "from"), rapid.SampledFrom([]string{"b", "sub/b", "no/b"}).Draw(t, "to")
				same("rename", func(d disk.FS) (string, error) { return "", d.Rename(from, to) })
			},
			"remove": func(t *rapid.T) {
				n := rapid.OneOf(name, rapid.Just("sub")).Draw(t, "name")
				same("remove "+n, func(d disk.FS) (string, error) { return "", d.Remove(n) })
			},
			"mkdir": func(t *rapid.T) {
				same("mkdir", func(d disk.FS) (string, error) { return "", d.Mkdir("sub", 0o700) })
			},
			"": func(t *rapid.T) {
				for _, dir := range []string{".", "sub"} {
					same("list "+dir, func(d disk.FS) (s string, err error) {
						entries, err := d.ReadDir(dir)
						for _, e := range entries {
							s += fmt.Sprint(e.Name(), e.IsDir(), " ")
							if !e.IsDir() {
								s += content(d, path.Join(dir, e.Name())) + " "
							}
						}
						return s, err
					})
				}
			},
		})
	})
}

// TestCrashLosesOnlyWhatWasNotSynced takes many crashes: the synced part is always there, the rest in all variants.
func TestCrashLosesOnlyWhatWasNotSynced(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		d := diskfault.New(seed)
		f := create(t, d, "a")
		_, err := f.WriteAt([]byte("synced"), 0)
		must(t, errors.Join(err, f.Sync(), d.SyncDir(".")))
		_, err = f.WriteAt([]byte("MORE"), 6)
		must(t, err)
		create(t, d, "b")
		must(t, d.Rename("a", "c"))
		d.Restart()
		a, c := content(d, "a"), content(d, "c")
		if (a == "?") == (c == "?") {
			t.Fatalf("seed %d: a is %q and c is %q: rename is half done", seed, a, c)
		}
		got := a
		if a == "?" {
			got = c
		}
		if len(got) < 6 || got[:6] != "synced" {
			t.Fatalf("seed %d: synced bytes are lost: %q", seed, got)
		}
		seen["renamed "+fmt.Sprint(a == "?")] = true
		seen["b is there "+fmt.Sprint(content(d, "b") != "?")] = true
		seen[got[6:]] = true
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, diskfault.ErrCrashed) {
			t.Fatalf("file from before the crash: %v", err)
		}
	}
	for _, want := range []string{"renamed true", "renamed false", "b is there true", "b is there false", "", "MORE", "M", "\x00\x00RE"} {
		if !seen[want] {
			t.Errorf("never seen after a crash: %q", want)
		}
	}
}

func TestSyncedIsThereAfterEveryCrash(t *testing.T) {
	for seed := range uint64(100) {
		d := diskfault.New(seed)
		must(t, d.Mkdir("sub", 0o700))
		must(t, d.SyncDir("."))
		must(t, disk.WriteFile(d, "sub/a", []byte("content"), 0o600))
		d.Restart()
		if got := content(d, "sub/a"); got != "content" {
			t.Fatalf("seed %d: %q after restart", seed, got)
		}
	}
}

func TestPlannedFailures(t *testing.T) {
	d := diskfault.New(1)
	f := create(t, d, "a")
	d.FailAt(2, syscall.EIO)
	_, err := f.WriteAt([]byte("one"), 0)
	must(t, err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("planned failure: %v, want EIO", err)
	}
	must(t, f.Sync())
	d.SetFree(2)
	if _, err := f.WriteAt([]byte("four"), 0); err != nil && errors.Is(err, syscall.ENOSPC) != true {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 10), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write beyond the free space: %v, want ENOSPC", err)
	}
	d.CrashAt(1)
	if err := f.Sync(); !errors.Is(err, diskfault.ErrCrashed) {
		t.Fatalf("planned crash: %v", err)
	}
	if _, err := d.Stat("a"); !errors.Is(err, diskfault.ErrCrashed) {
		t.Fatalf("power is off, but stat gives %v", err)
	}
	d.Restart()
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, diskfault.ErrCrashed) {
		t.Fatalf("old file after restart: %v", err)
	}
}

// TestFailedSyncIsNotRepairedByTheNext models what systems do: the pages count as clean although they never arrived.
func TestFailedSyncIsNotRepairedByTheNext(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		d := diskfault.New(seed)
		f := create(t, d, "a")
		must(t, d.SyncDir("."))
		_, err := f.WriteAt([]byte("data"), 0)
		must(t, err)
		d.FailAt(1, syscall.EIO)
		if f.Sync() == nil {
			t.Fatal("sync did not fail")
		}
		must(t, f.Sync())
		b := make([]byte, 4)
		if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF || !bytes.Equal(b, []byte("data")) {
			t.Fatalf("read back before the crash: %q, %v", b, err)
		}
		d.Restart()
		if content(d, "a") != "data" {
			lost++
		}
	}
	if lost == 0 || lost == 50 {
		t.Errorf("lost in %d of 50 crashes, want some and not all", lost)
	}
}

func TestLocksEndWithTheCrash(t *testing.T) {
	d := diskfault.New(1)
	l, err := d.Lock("lock")
	must(t, err)
	if _, err := d.Lock("lock"); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	d.Restart()
	again, err := d.Lock("lock")
	must(t, err)
	must(t, l.Close()) // of a dead process: must not open the new one's
	if _, err := d.Lock("lock"); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("lock of a dead process closed a live one: %v", err)
	}
	must(t, again.Close())
}

// TestRenameBetweenDirectoriesIsDurableWithTheNewName also says that before it is the old name or the new one.
func TestRenameBetweenDirectoriesIsDurableWithTheNewName(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(60) {
		for synced := range 4 {
			d := diskfault.New(seed)
			must(t, d.Mkdir("a", 0o700))
			must(t, d.Mkdir("b", 0o700))
			must(t, disk.WriteFile(d, "a/f", []byte("new"), 0o600))
			must(t, disk.WriteFile(d, "b/f", []byte("old"), 0o600))
			must(t, d.SyncDir("."))
			must(t, d.Rename("a/f", "b/f"))
			if synced&1 != 0 {
				must(t, d.SyncDir("a"))
			}
			if synced&2 != 0 {
				must(t, d.SyncDir("b"))
			}
			d.Restart()
			got := content(d, "a/f") + content(d, "b/f")
			if got != "?new" && (got != "newold" || synced >= 2) {
				t.Errorf("seed %d, synced %d: a/f and b/f hold %s", seed, synced, got)
			}
			outcomes[got]++
		}
	}
	if outcomes["newold"] == 0 {
		t.Error("no crash undid a rename that was not synced")
	}
}

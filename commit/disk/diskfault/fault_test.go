package diskfault_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
)

// at lets one operation meet a fault, and notes all.
func at(d *diskfault.Disk, n int, f diskfault.Fault) *[]string {
	var seen []string
	d.Inject(func(op diskfault.Op) diskfault.Fault {
		seen = append(seen, op.String())
		if op.N == n {
			return f
		}
		return diskfault.None
	})
	return &seen
}

func TestEachOperationIsSeenOnce(t *testing.T) {
	d := diskfault.New(1)
	seen := at(d, 0, diskfault.None)
	must(t, d.Mkdir("sub", 0o700))
	must(t, disk.WriteFile(d, "sub/a", []byte("content"), 0o600))
	content(d, "sub/a") // from memory
	f, err := d.OpenFile("sub/a", 2, 0)
	must(t, errors.Join(err, f.DropCache()))
	content(d, "sub/a")
	must(t, errors.Join(f.Truncate(3), d.Remove("sub/a")))
	want := "1 mkdir sub, 2 create sub/a.tmp, 3 write sub/a.tmp, 4 sync sub/a.tmp, 5 rename sub/a, 6 sync-dir sub, 7 read sub/a, 8 truncate sub/a, 9 remove sub/a"
	if got := strings.Join(*seen, ", "); got != want {
		t.Errorf("seen\n%s, want\n%s", got, want)
	}
	if d.Seen() != 9 || d.Ops() != 8 {
		t.Errorf("%d seen, of which %d change the disk; want 9 and 8", d.Seen(), d.Ops())
	}
}

// TestFaults has each fault at the sync of a file (4) and looks what is left of it.
func TestFaults(t *testing.T) {
	for f, want := range map[diskfault.Fault]struct {
		err      error
		now      string // what the next process sees
		survives []string
	}{
		diskfault.Cut:        {diskfault.ErrCrashed, "", []string{"", "content", "cont", "\x00\x00\x00\x00\x00\x00\x00"}},
		diskfault.CutAfter:   {diskfault.ErrCrashed, "content", []string{"content"}},
		diskfault.KillBefore: {diskfault.ErrKilled, "content", []string{"", "content", "cont"}},
		diskfault.KillAfter:  {diskfault.ErrKilled, "content", []string{"content"}},
		diskfault.Failed:     {syscall.EIO, "content", []string{"", "content", "cont"}},
	} {
		t.Run(f.String(), func(t *testing.T) {
			seen := map[string]bool{}
			for seed := range uint64(300) {
				d := diskfault.New(seed)
				at(d, 4, f)
				file := create(t, d, "a")
				must(t, d.SyncDir("."))
				_, err := file.WriteAt([]byte("content"), 0)
				must(t, err)
				if err := file.Sync(); !errors.Is(err, want.err) {
					t.Fatalf("sync: %v, want %v", err, want.err)
				}
				if errors.Is(want.err, diskfault.ErrCrashed) {
					if down := d.Down(); down != want.err {
						t.Fatalf("the disk is down by %v", down)
					}
					d.Restart()
				}
				if got := content(d, "a"); want.now != "" && got != want.now {
					t.Fatalf("seed %d: then there is %q, want %q", seed, got, want.now)
				}
				d.Crash()
				d.Restart()
				seen[content(d, "a")] = true
			}
			for _, s := range want.survives {
				if !seen[s] {
					t.Errorf("never left after a power cut: %q", s)
				}
			}
			if len(want.survives) == 1 && len(seen) > 1 {
				t.Errorf("left was %v", seen)
			}
		})
	}
}

func TestKindsOfOperationsHaveTheirFaults(t *testing.T) {
	for kind, want := range map[diskfault.Kind]error{diskfault.Write: syscall.ENOSPC, diskfault.Create: syscall.ENOSPC, diskfault.Mkdir: syscall.ENOSPC} {
		d := diskfault.New(1)
		d.Inject(func(op diskfault.Op) diskfault.Fault {
			if op.Kind == kind && slices.Contains(kind.Faults(), diskfault.NoSpace) {
				return diskfault.NoSpace
			}
			return diskfault.None
		})
		err := errors.Join(d.Mkdir("sub", 0o700), disk.WriteFile(d, "a", []byte("content"), 0o600))
		if !errors.Is(err, want) {
			t.Errorf("no space at %s: %v", kind, err)
		}
	}
}

// TestRotIsSeenOnlyOnTheMedium writes well, has it rot, and reads it from memory and from the medium.
func TestRotIsSeenOnlyOnTheMedium(t *testing.T) {
	d := diskfault.New(1)
	at(d, 2, diskfault.Rot)
	f := create(t, d, "a")
	_, err := f.WriteAt([]byte("content"), 0)
	must(t, errors.Join(err, f.Sync(), d.SyncDir(".")))
	if got := content(d, "a"); got != "content" {
		t.Errorf("memory has %q", got)
	}
	if got := content(d.Medium(), "a"); got == "content" || len(got) != 7 {
		t.Errorf("the medium has %q", got)
	}
	must(t, f.DropCache())
	if got := content(d, "a"); got == "content" || len(got) != 7 {
		t.Errorf("read back: %q", got)
	}
}

// TestMisreadIsOverWhenMemoryIsDropped reads wrong once.
func TestMisreadIsOverWhenMemoryIsDropped(t *testing.T) {
	d := diskfault.New(1)
	must(t, disk.WriteFile(d, "a", []byte("content"), 0o600))
	d.Restart()
	at(d, d.Seen()+1, diskfault.Misread)
	if got := content(d, "a"); got == "content" || len(got) != 7 {
		t.Errorf("read %q", got)
	}
	if got := content(d, "a"); got == "content" {
		t.Error("memory was right at once")
	}
	f := create(t, d, "a")
	must(t, f.DropCache())
	if got := content(d, "a"); got != "content" {
		t.Errorf("read back: %q", got)
	}
}

func TestDroppingKeepsWhatIsNotSynced(t *testing.T) {
	d := diskfault.New(1)
	f := create(t, d, "a")
	_, err := f.WriteAt([]byte("content"), 0)
	must(t, errors.Join(err, f.DropCache()))
	b := make([]byte, 7)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
}

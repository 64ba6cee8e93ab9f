package upgrade

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/manifest"
)

// A bootLoader is hooks that switch slots by a file, which says what runs.
type bootLoader struct {
	fsys  disk.FS
	ready []string // what the verify hook was shown
}

func (*bootLoader) Has(Step) bool { return true }

func (b *bootLoader) Run(_ context.Context, step Step, c HookContext) error {
	switch step {
	case StepVerify:
		b.ready = append(b.ready, c.Slot+" "+c.Images[0])
	case StepActivate:
		return disk.WriteFile(b.fsys, "boot", []byte(c.Slot), 0o600)
	}
	return nil
}

func (b *bootLoader) current(context.Context) (string, error) {
	name, err := disk.ReadFile(b.fsys, "boot", 16)
	return string(name), err
}

// slots are two files beside the agent's.
func (b *bootLoader) slots() *Slots {
	return &Slots{Of: [2]Slot{{"A", "slot-a"}, {"B", "slot-b"}}, Current: b.current,
		Open: func(path string, write bool) (disk.File, error) {
			if write {
				return b.fsys.OpenFile(path, os.O_RDWR, 0)
			}
			return b.fsys.OpenFile(path, os.O_RDONLY, 0)
		}}
}

const slotSize = 256 << 10

// fill makes the slots, with the old image in the first one.
func fillSlots(t *testing.T, fsys disk.FS, size int) {
	t.Helper()
	err := errors.Join(disk.WriteFile(fsys, "slot-a", append(bytes.Clone(oldImage), make([]byte, size-len(oldImage))...), 0o600),
		disk.WriteFile(fsys, "slot-b", make([]byte, size), 0o600), disk.WriteFile(fsys, "boot", []byte("A"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutAnywhereLeavesTheActiveSlot cuts the power at every operation, those that write the other slot among them.
func TestPowerCutAnywhereLeavesTheActiveSlot(t *testing.T) {
	cutPowerAnywhere(t, cutDevice{
		config: func(fsys *diskfault.Disk, cfg *AgentConfig) {
			b := &bootLoader{fsys: fsys}
			cfg.Hooks, cfg.Slots = b, b.slots()
		},
		old: func(fsys *diskfault.Disk) { fillSlots(t, fsys, slotSize) },
		runs: func(fsys *diskfault.Disk) ([]byte, error) {
			a, err := disk.ReadFile(fsys, "slot-a", slotSize)
			if err != nil || !bytes.HasPrefix(a, oldImage) || len(bytes.Trim(a[len(oldImage):], "\x00")) > 0 {
				return nil, errors.Join(errors.New("the slot that ran was written to"), err)
			}
			boot, err := disk.ReadFile(fsys, "boot", 16)
			if string(boot) == "A" {
				return oldImage, err
			}
			b, err := disk.ReadFile(fsys, "slot-b", slotSize)
			return b[:200_000], err
		},
	})
}

func TestSlotThatIsTooSmallIsRefusedBeforeReception(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(200_000, 1)), commit.Policy{}, "d1")
		fsys, w := newFaultDisk(1), new(watcher)
		fillSlots(t, fsys, 200_000-1)
		b := &bootLoader{fsys: fsys}
		cfg := s.config("", "d1", w)
		cfg.FS, cfg.Hooks, cfg.Slots = fsys, b, b.slots()
		a := run(t, cfg, w)
		s.publish()
		eventually(t, time.Minute, "refusal", w.has(EventRefused))
		if e, _ := w.find(EventRefused); e.Reason != commit.ReasonDiskFull || w.has(EventReceiving)() {
			t.Errorf("refused for %s, events %v", e.Reason, w.kinds())
		}
		a.stop()
	})
}

// TestSlotHoldsOneStage: to receive a second release is to give up the first one's READY, before a byte is written.
func TestSlotHoldsOneStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys, w := newFaultDisk(1), new(watcher)
		fillSlots(t, fsys, slotSize)
		b := &bootLoader{fsys: fsys}
		first := newServer(t, makeRelease(t, nil, testImage(200_000, 1)), commit.Policy{}, "d1")
		cfg := first.config("", "d1", w)
		cfg.FS, cfg.Hooks, cfg.Slots = fsys, b, b.slots()
		a := run(t, cfg, w)
		first.publish()
		eventually(t, 2*time.Minute, "READY", w.has(EventReady))
		if want := []string{"B slot-b"}; !slices.Equal(b.ready, want) {
			t.Errorf("the verify hook was shown %q, want %q", b.ready, want)
		}
		second := newServer(t, makeRelease(t, func(m *manifest.Manifest) { m.Sequence = 6 }, testImage(200_000, 2)), commit.Policy{}, "d1")
		first.sess, first.rel, first.c = second.sess, second.rel, second.c
		first.decided = false
		first.publish()
		eventually(t, time.Minute, "release", w.has(EventReleased))
		first.decideAndTell()
		eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
		a.stop()
		got, err := disk.ReadFile(fsys, "slot-b", slotSize)
		if err != nil || !bytes.Equal(got[:200_000], second.rel.images[0]) {
			t.Errorf("slot B does not hold the second image: %v", err)
		}
	})
}

// TestAttackTimeOfCheckTimeOfUseInASlot: the stage is hashed from the slot once more.
func TestAttackTimeOfCheckTimeOfUseInASlot(t *testing.T) {
	for name, spoil := range map[string]func(*diskfault.Disk) error{
		"one byte": func(fsys *diskfault.Disk) error {
			f, err := fsys.OpenFile("slot-b", os.O_RDWR, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{0x5a, 0xa5}, 100_000)
			}
			return err
		},
		"the slot runs": func(fsys *diskfault.Disk) error { return disk.WriteFile(fsys, "boot", []byte("B"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, makeRelease(t, nil, testImage(200_000, 1)), commit.Policy{}, "d1")
				fsys, w := newFaultDisk(1), new(watcher)
				fillSlots(t, fsys, slotSize)
				b := &bootLoader{fsys: fsys}
				cfg := s.config("", "d1", w)
				cfg.FS, cfg.Hooks, cfg.Slots = fsys, b, b.slots()
				a := run(t, cfg, w)
				s.publish()
				eventually(t, 2*time.Minute, "READY", w.has(EventReady))
				if err := spoil(fsys); err != nil {
					t.Fatal(err)
				}
				s.decideAndTell()
				eventually(t, 2*time.Minute, "end", w.has(EventFailed))
				if e, _ := w.find(EventFailed); e.Reason != commit.ReasonStageChanged {
					t.Errorf("failed for %s", e.Reason)
				}
				a.stop()
			})
		})
	}
}

func TestSlotsThatCannotWork(t *testing.T) {
	current := func(context.Context) (string, error) { return "A", nil }
	for want, s := range map[string]Slots{
		"the same":      {Of: [2]Slot{{"A", "x"}, {"B", "x"}}, Current: current},
		"no path":       {Of: [2]Slot{{"A", "x"}, {"B", ""}}, Current: current},
		"names":         {Of: [2]Slot{{"A", "x"}, {"/", "y"}}, Current: current},
		"which of them": {Of: [2]Slot{{"A", "x"}, {"B", "y"}}},
	} {
		if err := s.resolve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want something about %q", s.Of, err, want)
		}
	}
	s := Slots{Of: [2]Slot{{"A", "x"}, {"B", "y"}}, Current: func(context.Context) (string, error) { return "C", nil }}
	if slot, err := s.inactive(t.Context()); err == nil {
		t.Errorf("of A and B, C runs, and %s is written to", slot.Name)
	}
}

// TestSlotFileIsTheImageOnly: what is behind the image in the slot is not read, and Size says so.
func TestSlotFileIsTheImageOnly(t *testing.T) {
	name := filepath.Join(t.TempDir(), "slot")
	if err := os.WriteFile(name, []byte("image|rest"), 0o600); err != nil {
		t.Fatal(err)
	}
	dev, err := disk.OpenDevice(name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	f := &slotFile{dev, Slot{"A", name}, 5, 10}
	size, _ := f.Size()
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	if size != 5 || string(got) != "image" || err != nil {
		t.Errorf("size %d, content %q, %v", size, got, err)
	}
	if n, err := f.ReadAt(make([]byte, 3), 7); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d bytes, %v", n, err)
	}
}

// TestNotesAreImagesOnly: an image may have the name of another file of the stage.
func TestNotesAreImagesOnly(t *testing.T) {
	for name, want := range map[string]bool{
		"stage/00/part/release": true, "stage/00/image/release": true, "stage/00/release": false, "stage/release": false,
		"release": false, "current/release": false, "stage/00/part/session": false, "stage/00/part/xrelease": false,
	} {
		f := &slotFS{image: &manifest.Image{Name: "release"}}
		if got := f.isNote(name); got != want {
			t.Errorf("%s is a note: %v", name, got)
		}
	}
}

func TestParseSlots(t *testing.T) {
	got, err := ParseSlots("A=/dev/mmcblk0p2,B=/dev/mmcblk0p3")
	if want := [2]Slot{{"A", "/dev/mmcblk0p2"}, {"B", "/dev/mmcblk0p3"}}; err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "A=x", "A=x,B", "A=x,=y", "A=,B=y", "A=x,B=y,C=z"} {
		if got, err := ParseSlots(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

func TestCommandCurrent(t *testing.T) {
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Skip("there is no echo")
	}
	current, err := CommandCurrent(echo + " B")
	if err != nil {
		t.Fatal(err)
	}
	if name, err := current(t.Context()); name != "B" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := CommandCurrent("/nowhere/current-slot"); err == nil {
		t.Error("a command that is not there is no mistake")
	}
}

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
)

// Slots are the two places of a device between which the boot loader chooses, such as partitions. An image is written to
// the one that does not run, while it is received; the activate hook makes the boot loader choose it. The slot
// that runs is only read, to find in it what of the next image is there.
type Slots struct {
	// Image names the image of a release that goes to a slot; its others lie in the agent's directory. If empty, the
	// release must have one image only.
	Image string
	Of    [2]Slot
	// Current names the slot that runs.
	Current func(ctx context.Context) (name string, err error)
	// Open opens a slot by its path, for reading and, if write is true, writing. If nil, disk.OpenDevice.
	Open func(path string, write bool) (disk.File, error)
}

// A Slot is one of them: its name, as the boot loader has it, and where it is.
type Slot struct{ Name, Path string }

var errSlotRuns = errors.New("it is the slot that runs")

func (s *Slots) resolve() error {
	switch {
	case !manifest.ValidName(s.Of[0].Name), !manifest.ValidName(s.Of[1].Name):
		return errors.New("slots want names of A-Z a-z 0-9 . _ + -, a letter or digit first")
	case s.Of[0].Name == s.Of[1].Name, s.Of[0].Path == s.Of[1].Path:
		return errors.New("the two slots are the same")
	case s.Of[0].Path == "" || s.Of[1].Path == "":
		return errors.New("a slot has no path")
	case s.Current == nil:
		return errors.New("slots need a way to tell which of them runs")
	}
	if s.Open == nil {
		s.Open = disk.OpenDevice
	}
	return nil
}

// imageOf returns the image of a release that goes to a slot.
func (s *Slots) imageOf(m *manifest.Manifest) (*manifest.Image, error) {
	if s.Image == "" && len(m.Images) == 1 {
		return &m.Images[0], nil
	}
	for i := range m.Images {
		if m.Images[i].Name == s.Image {
			return &m.Images[i], nil
		}
	}
	if s.Image == "" {
		return nil, fmt.Errorf("the release has %d images, and it was not said which of them goes to a slot", len(m.Images))
	}
	return nil, fmt.Errorf("the release has no image %q, which goes to a slot", s.Image)
}

// inactive returns the slot that does not run.
func (s *Slots) inactive(ctx context.Context) (Slot, error) {
	name, err := s.Current(ctx)
	if err != nil {
		return Slot{}, fmt.Errorf("which slot runs is not known: %w", err)
	}
	switch name {
	case s.Of[0].Name:
		return s.Of[1], nil
	case s.Of[1].Name:
		return s.Of[0], nil
	}
	return Slot{}, fmt.Errorf("%.70q is said to run, which is none of the slots %s and %s", name, s.Of[0].Name, s.Of[1].Name)
}

// A slotFS is the agent's directory as the stage of one release sees it: the image that goes to a slot is there as a note
// that names the slot, and opening it opens the slot. So a slot whose image is verified has its note among the verified
// images, durably, and whatever else is true of a stage's files is true of it.
type slotFS struct {
	disk.FS
	ctx   context.Context // of finding out what runs
	slots *Slots
	image *manifest.Image
}

// maxNote bounds the name of a slot.
const maxNote = 64

// stageFS returns the file system of a release's stage.
func (a *Agent) stageFS(ctx context.Context, m *manifest.Manifest) disk.FS {
	if a.cfg.Slots == nil {
		return a.fs
	}
	im, err := a.cfg.Slots.imageOf(m)
	if err != nil { // refused before; a stage of before there were slots
		return a.fs
	}
	return &slotFS{a.fs, ctx, a.cfg.Slots, im}
}

// isNote reports whether a name is that of a note: the image's, among those on their way or those that are verified.
func (f *slotFS) isNote(name string) bool {
	dir, ok := strings.CutSuffix(name, "/"+f.image.Name)
	stage, kind := path.Split(dir)
	return ok && strings.HasPrefix(stage, stagesDir+"/") && (kind == "part" || kind == "image")
}

// noted returns the slot that a note names.
func (f *slotFS) noted(name string) (Slot, error) {
	note, err := disk.ReadFile(f.FS, name, maxNote)
	if err != nil {
		return Slot{}, err
	}
	for _, s := range f.slots.Of {
		if string(note) == s.Name {
			return s, nil
		}
	}
	return Slot{}, fmt.Errorf("%s names no slot", name)
}

// OpenFile opens the slot of a note. With O_CREATE that is the slot that does not run, whatever the note said, or fails
// if the note is that of a verified image.
func (f *slotFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if !f.isNote(name) {
		return f.FS.OpenFile(name, flag, perm)
	}
	slot, err := f.slots.inactive(f.ctx)
	if err != nil {
		return nil, err
	}
	noted, err := f.noted(name)
	switch {
	case err == nil && noted == slot:
	case flag&os.O_CREATE == 0 || path.Base(path.Dir(name)) == "image":
		if err == nil {
			err = errSlotRuns
		}
		return nil, fmt.Errorf("slot of %s: %w", name, err)
	default:
		if err := disk.WriteFile(f.FS, name, []byte(slot.Name), 0o600); err != nil {
			return nil, err
		}
	}
	file, err := f.slots.Open(slot.Path, flag&(os.O_RDWR|os.O_WRONLY) != 0)
	if err != nil {
		return nil, fmt.Errorf("slot %s: %w", slot.Name, err)
	}
	room, err := file.Size()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("slot %s: %w", slot.Name, err), file.Close())
	}
	size, _ := f.image.Plain()
	return &slotFile{file, slot, size, room}, nil
}

// Path returns the slot's path for the name of a note.
func (f *slotFS) Path(name string) string {
	if f.isNote(name) {
		if slot, err := f.noted(name); err == nil {
			return slot.Path
		}
	}
	return f.FS.Path(name)
}

// A slotFile is a slot as the file of an image: what is behind the image in the slot is not part of it.
type slotFile struct {
	disk.File
	slot Slot
	size int64 // of the image
	room int64 // of the slot
}

func (f *slotFile) Size() (int64, error) { return min(f.size, f.room), nil }

// Truncate does nothing: a slot has the size that it has.
func (f *slotFile) Truncate(size int64) error {
	if size > f.room {
		return f.fits()
	}
	return nil
}

func (f *slotFile) ReadAt(p []byte, off int64) (int, error) {
	if rest := f.size - off; rest < int64(len(p)) {
		n, err := f.File.ReadAt(p[:max(0, rest)], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return f.File.ReadAt(p, off)
}

// fits returns errNoSpace if the slot is too small for its image.
func (f *slotFile) fits() error {
	if f.size > f.room {
		return fmt.Errorf("%w: slot %s (%s) has %d bytes, the image %d", errNoSpace, f.slot.Name, f.slot.Path, f.room, f.size)
	}
	return nil
}

// slotOf returns the slot with the image of a stage; zero without slots.
func slotOf(fsys disk.FS, dir string) (slot Slot, err error) {
	f, ok := fsys.(*slotFS)
	if !ok {
		return Slot{}, nil
	}
	return f.noted(locate(fsys, dir, f.image.Name))
}

// waitForSlot returns true when the slot that does not run is free for a campaign. With a READY of another one it is not:
// that is released, because to receive this one is to overwrite it. While the other is activated this one waits.
func (a *Agent) waitForSlot(ctx context.Context, c *campaign) bool {
	if a.cfg.Slots == nil {
		return true
	}
	for {
		free := make(chan bool, 1)
		a.do(func(now time.Time) {
			held, ok := a.p.Holds()
			if ok && held.Manifest != c.round.Manifest {
				if err := a.p.Release(now, commit.ReasonSuperseded); err != nil && !errors.Is(err, commit.ErrBusy) {
					a.log.Error("the stage in the slot cannot be released", "error", err)
				}
				held, ok = a.p.Holds()
			}
			free <- (!ok || held.Manifest == c.round.Manifest) && !a.job.busy
		})
		select {
		case ok := <-free:
			if ok {
				return true
			}
		case <-ctx.Done():
			return false
		}
		if !pause(ctx, slotPatience) {
			return false
		}
	}
}

// slotPatience is the time between two looks whether a slot is free.
const slotPatience = 2 * time.Second

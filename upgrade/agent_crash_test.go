package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/norm"
)

func newFaultDisk(seed uint64) *diskfault.Disk { return diskfault.New(seed) }

// A cutDevice is what is different about a device whose power is cut.
type cutDevice struct {
	config func(*diskfault.Disk, *AgentConfig)
	old    func(*diskfault.Disk) // what ran before
	runs   func(*diskfault.Disk) ([]byte, error)
	sealed bool // the release is
}

var oldImage = []byte("the image that ran before")

// TestPowerCutAnywhereLeadsToTheSameOutcome cuts the power at every operation that changes the disk.
func TestPowerCutAnywhereLeadsToTheSameOutcome(t *testing.T) {
	cutPowerAnywhere(t, cutDevice{
		config: func(*diskfault.Disk, *AgentConfig) {},
		old: func(fsys *diskfault.Disk) {
			if err := errors.Join(fsys.Mkdir("current", 0o755), disk.WriteFile(fsys, "current/fw0", oldImage, 0o644)); err != nil {
				t.Fatal(err)
			}
		},
		runs: func(fsys *diskfault.Disk) ([]byte, error) { return disk.ReadFile(fsys, "current/fw0", 1<<20) },
	})
}

// cutPowerAnywhere upgrades a device once without a cut, and then with a cut at each operation, with all that Agent.Run does.
func cutPowerAnywhere(t *testing.T, d cutDevice) {
	t.Helper()
	total := 0
	synctest.Test(t, func(t *testing.T) { total = d.cut(t, 0, 0) })
	if total < 20 {
		t.Fatalf("an upgrade takes %d operations only", total)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 1; n <= total; n += step { // TestCrashes loses other parts of what is not synced
		synctest.Test(t, func(t *testing.T) { d.cut(t, n, uint64(n)) })
	}
	t.Logf("%d operations", total)
}

// cut upgrades a device whose power goes at operation n, if n is not 0, and returns how many operations it took.
func (d cutDevice) cut(t *testing.T, n int, seed uint64) (ops int) {
	image := testImage(200_000, 1)
	rel := makeRelease(t, nil, image)
	if d.sealed {
		rel = makeSealedRelease(t, nil, image)
	}
	s := newServer(t, rel, commit.Policy{}, "d1")
	if d.sealed {
		s.sealTo(testGroupKey)
	}
	fsys := newFaultDisk(seed)
	d.old(fsys)
	if err := fsys.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	before := fsys.Ops()
	if n > 0 {
		fsys.CrashAt(n)
	}
	s.publish()
	activated, last := false, ""
	for boot := 1; boot <= 3 && !activated; boot++ {
		w := new(watcher)
		cfg := s.config("", "d1", w)
		cfg.FS, cfg.Once, cfg.Boot = fsys, true, fmt.Sprint("boot-", boot)
		d.config(fsys, &cfg)
		agent, err := NewAgent(cfg)
		if err != nil {
			last = err.Error()
			fsys.Restart()
			continue
		}
		a := start(t, agent, w)
		for i := 0; i < 50 && !w.has(EventReceiving)() && !a.ended(); i++ {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		s.stop()
		s.send(norm.InstanceID(boot))
		told := false
		for end := time.Now().Add(time.Hour); time.Now().Before(end) && !a.ended(); time.Sleep(time.Second) {
			synctest.Wait()
			if !told && s.isDecided() {
				told = true
				s.tellDecision()
			}
		}
		a.stop()
		activated = *a.err == nil
		if !activated {
			last = (*a.err).Error()
		}
		fsys.Restart()
		got, err := d.runs(fsys)
		if err != nil || !bytes.Equal(got, oldImage) && !bytes.Equal(got, image) {
			t.Errorf("cut at %d, boot %d: neither the old image runs nor the new one: %d bytes, %v", n, boot, len(got), err)
		}
	}
	s.stop()
	if !activated {
		t.Errorf("cut at %d: not activated: %s", n, last)
		return
	}
	if got, _ := d.runs(fsys); !bytes.Equal(got, image) {
		t.Errorf("cut at %d: COMMITTED, and the image does not run", n)
	}
	if len(s.reports) != 1 || s.reports[0].Outcome != commit.StateCommitted {
		t.Errorf("cut at %d: reports %+v", n, s.reports)
	}
	return fsys.Ops() - before
}

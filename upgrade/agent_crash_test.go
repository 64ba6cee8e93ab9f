package upgrade

import (
	"bytes"
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

// TestPowerCutAnywhereLeadsToTheSameOutcome cuts the power at every operation that changes the disk.
func TestPowerCutAnywhereLeadsToTheSameOutcome(t *testing.T) {
	old := []byte("the image that ran before")
	cut := func(t *testing.T, n int, seed uint64) (ops int) {
		rel := makeRelease(t, nil, testImage(200_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		fsys := newFaultDisk(seed)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(fsys.Mkdir("current", 0o755))
		must(disk.WriteFile(fsys, "current/fw0", old, 0o644))
		must(fsys.SyncDir("."))
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
			got, err := disk.ReadFile(fsys, "current/fw0", 1<<20)
			if err != nil || !bytes.Equal(got, old) && !bytes.Equal(got, rel.images[0]) {
				t.Errorf("cut at %d, boot %d: current is neither the old image nor the new one: %d bytes, %v", n, boot, len(got), err)
			}
		}
		s.stop()
		if !activated {
			t.Errorf("cut at %d: not activated: %s", n, last)
			return
		}
		if got, _ := disk.ReadFile(fsys, "current/fw0", 1<<20); !bytes.Equal(got, rel.images[0]) {
			t.Errorf("cut at %d: COMMITTED, and current is not the image", n)
		}
		if len(s.reports) != 1 || s.reports[0].Outcome != commit.StateCommitted {
			t.Errorf("cut at %d: reports %+v", n, s.reports)
		}
		return fsys.Ops() - before
	}
	total := 0
	synctest.Test(t, func(t *testing.T) { total = cut(t, 0, 0) })
	if total < 20 {
		t.Fatalf("an upgrade takes %d operations only", total)
	}
	seeds, step := uint64(3), 1
	if testing.Short() {
		seeds, step = 1, 7
	}
	for seed := range seeds {
		for n := 1; n <= total; n += step {
			synctest.Test(t, func(t *testing.T) { cut(t, n, seed*1000+uint64(n)) })
		}
	}
	t.Logf("%d operations", total)
}

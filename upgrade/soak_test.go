package upgrade_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
	"github.com/multicast-upgrade/tool/upgrade"
)

var soakCampaigns = flag.Int("soak.campaigns", 10, "how many campaigns TestCampaignsFollowEachOther runs")

// Campaigns follow each other, in one process, to agents that stay; every third time one of these is started anew. Each image
// shares most of its leaves with the one before. Neither server nor agents keep anything of the campaigns that are over:
// goroutines, files and memory are as many in the end as they were after a few.
func TestCampaignsFollowEachOther(t *testing.T) {
	if testing.Short() && *soakCampaigns > 5 {
		t.Skip("takes some seconds")
	}
	synctest.Test(t, func(t *testing.T) {
		const agents, few = 3, 4
		r := newWholeRig(t, agents, 0.01)
		var stops [agents]func()
		for i, a := range r.agents {
			a.cfg.Hooks = nil
			stops[i] = r.start(a)
		}
		seeds := upTo(8)
		var first taken
		begun := time.Now()
		for n := range *soakCampaigns {
			seeds[n%len(seeds)] += 8
			image := leavesOf(seeds...)
			r.cfg.Manifest, r.cfg.Images = signRelease(t, image, func(m *manifest.Manifest) { m.Sequence += uint64(n) })
			r.cfg.State = filepath.Join(t.TempDir(), "state")
			result, err := r.open().Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.wantVerdict(result, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
			for _, a := range r.agents {
				if got, err := os.ReadFile(filepath.Join(a.cfg.Dir, "current", "fw.bin")); err != nil || !bytes.Equal(got, image) {
					t.Fatalf("campaign %d: %s does not have the image: %v", n, a.cfg.Device, err)
				}
			}
			if i := n % agents; n%3 == 2 {
				stops[i]()
				stops[i] = r.start(r.agents[i])
			}
			r.events = nil
			time.Sleep(2 * time.Minute) // so that what lingers is over
			if n == few {
				first = take()
			}
		}
		last := take()
		t.Logf("%d campaigns in %v: %v after %d, %v in the end", *soakCampaigns, time.Since(begun).Round(time.Second), first, few+1, last)
		if last.goroutines > first.goroutines+2 || last.files > first.files+2 || last.heap > first.heap+merkle.MinLeafSize*16 {
			t.Errorf("after %d campaigns %v is in use, after all %v", few+1, first, last)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

// A taken is what this process takes; heap in bytes.
type taken struct{ goroutines, files, heap int }

func take() taken {
	synctest.Wait()
	files, _ := os.ReadDir("/proc/self/fd") // elsewhere there is none
	for range 3 {
		runtime.GC() // what finalizers and pools let go of is collected by the next ones
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return taken{runtime.NumGoroutine(), len(files), int(m.HeapAlloc)}
}

package upgrade

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

func TestImageIsReceivedVotedOnAndActivated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(1_000_000, 1), testImage(70_000, 2))
		s := newServer(t, rel, commit.Policy{}, "d1", "d2")
		rng := rand.New(rand.NewPCG(1, 2))
		s.net.Lose(func(_, _ netip.AddrPort, _ []byte) bool { return rng.Float64() < 0.05 })
		dirs := []string{t.TempDir(), t.TempDir()}
		var agents []running
		for i, device := range []string{"d1", "d2"} {
			w := new(watcher)
			agents = append(agents, run(t, s.config(dirs[i], device, w), w))
		}
		s.publish()
		s.sendTo(agents[0].watcher, agents[1].watcher)
		eventually(t, time.Minute, "decision", s.isDecided)
		for i, dir := range dirs {
			if b := readFile(t, dir, "current/fw0"); b != nil {
				t.Errorf("d%d: activated before the decision was told", i+1)
			}
		}
		s.tellDecision()
		for i, a := range agents {
			eventually(t, 5*time.Minute, "activation", a.has(EventActivated))
			for j, name := range []string{"current/fw0", "current/fw1"} {
				if !bytes.Equal(readFile(t, dirs[i], name), rel.images[j]) {
					t.Errorf("d%d: %s is not the image", i+1, name)
				}
			}
			want := []EventKind{EventListening, EventAnnounced, EventReceiving, EventStaged, EventReady, EventDecision, EventActivated}
			if got := a.kinds(); !slices.Equal(got, want) {
				t.Errorf("d%d: events %v, want %v", i+1, got, want)
			}
		}
		eventually(t, time.Minute, "outcomes", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.reports) == 2 })
		if n := len(s.fetches); n > 0 {
			t.Errorf("%v objects were fetched by HTTP, want none", s.fetches)
		}
		for _, a := range agents {
			a.stop()
		}
		s.stop()
	})
}

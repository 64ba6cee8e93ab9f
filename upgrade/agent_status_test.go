package upgrade

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// TestReportsOfProgressCostTheServerLittle: however often there is news, a device shows the latest once in 10 s at most.
func TestReportsOfProgressCostTheServerLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(100, 1)), commit.Policy{}, "d1")
		w := new(watcher)
		agent, err := NewAgent(s.config(t.TempDir(), "d1", w))
		if err != nil {
			t.Fatal(err)
		}
		a := start(t, agent, w)
		synctest.Wait()
		round := commit.Round{Campaign: commit.CampaignID(s.sess.Campaign)}
		say := func(reason commit.Reason) {
			agent.do(func(time.Time) { agent.sendStatus(round, commit.StateReceiving, reason) })
		}
		for range 1000 { // 100 s
			say(commit.ReasonNone)
			time.Sleep(100 * time.Millisecond)
		}
		say(commit.ReasonBusy)
		time.Sleep(2 * statusInterval)
		synctest.Wait()
		a.stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.statuses); n < 5 || n > 12 {
			t.Errorf("%d reports in 120 s, want one in 10 to 20 s", n)
		}
		if last := s.statuses[len(s.statuses)-1]; last.Reason != string(commit.ReasonBusy) {
			t.Errorf("the last report is %+v, which is not the latest", last)
		}
	})
}

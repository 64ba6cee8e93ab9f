package fleet

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestShares(t *testing.T) {
	a, b, c := commit.CampaignID{1}, commit.CampaignID{2}, commit.CampaignID{3}
	for name, tt := range map[string]struct {
		demands map[commit.CampaignID]demand
		limits  map[string]float64
		want    map[commit.CampaignID]float64
	}{
		"alone":               {map[commit.CampaignID]demand{a: {}}, nil, map[commit.CampaignID]float64{a: 12}},
		"no more than wanted": {map[commit.CampaignID]demand{a: {most: 2}, b: {}, c: {most: 20}}, nil, map[commit.CampaignID]float64{a: 2, b: 5, c: 5}},
		"a slow interface": {map[commit.CampaignID]demand{a: {iface: "wan"}, b: {iface: "wan"}, c: {iface: "lan"}}, map[string]float64{"wan": 3},
			map[commit.CampaignID]float64{a: 1.5, b: 1.5, c: 9}},
		"none": {nil, nil, map[commit.CampaignID]float64{}},
	} {
		if got := shares(tt.demands, 12, tt.limits); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestCauses(t *testing.T) {
	for want, tt := range map[string]struct {
		device  upgrade.DeviceState
		verdict string
	}{
		"never joined":                  {upgrade.DeviceState{}, ""},
		"joined, no data":               {upgrade.DeviceState{State: commit.StateReceiving}, ""},
		"losing 12 %":                   {upgrade.DeviceState{State: commit.StateReceiving, Heard: 88, Loss: 0.12}, ""},
		"receiving":                     {upgrade.DeviceState{State: commit.StateReceiving, Heard: 1000, Loss: 0.01, Overruns: 1}, ""},
		"socket overruns: 30 datagrams": {upgrade.DeviceState{State: commit.StateReceiving, Heard: 100, Loss: 0.3, Overruns: 30}, ""},
		"disk full":                     {upgrade.DeviceState{State: commit.StateRefused, Reason: commit.ReasonDiskFull}, ""},
		"signature refused":             {upgrade.DeviceState{State: commit.StateRefused, Reason: commit.ReasonSignature}, "COMMIT"},
		"other hardware":                {upgrade.DeviceState{State: commit.StateRefused, Reason: commit.ReasonHardware}, ""},
		"its key lives in two agents":   {upgrade.DeviceState{State: commit.StateReady, Duplicate: true}, ""},
		"READY, and has not said what became of it": {upgrade.DeviceState{State: commit.StateReady}, "COMMIT"},
		"": {upgrade.DeviceState{State: commit.StateReady}, ""},
		"multicast does not reach it; it fetches the rest": {upgrade.DeviceState{State: commit.StateReceiving, ByHTTP: true, Bytes: 5}, ""},
	} {
		if _, got := causeOf(tt.device, tt.verdict, false); got != want {
			t.Errorf("%+v after %q: %q, want %q", tt.device, tt.verdict, got, want)
		}
	}
}

// In the first seconds nobody has said anything, which is no reason to look for one.
func TestQuietTimes(t *testing.T) {
	for _, d := range []upgrade.DeviceState{{State: commit.StateAnnounced}, {State: commit.StateReceiving}} {
		if cause, _ := causeOf(d, "", true); cause != CauseReceiving {
			t.Errorf("%+v: %s", d, cause)
		}
	}
	if cause, _ := causeOf(upgrade.DeviceState{}, "", true); cause != CauseNeverJoined {
		t.Errorf("who is not there: %s", cause)
	}
}

// Whoever is slow holds so many events and each campaign once.
func TestSubscriptionsCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{}
		sub := s.Subscribe()
		other := s.Subscribe()
		other.Close()
		one, two := commit.CampaignID{1}, commit.CampaignID{2}
		for range maxEvents + 5 {
			s.hub.changed(Changes{Campaigns: []commit.CampaignID{two, one}, Events: []upgrade.Event{{}}})
		}
		c, err := sub.Next(t.Context())
		if err != nil || len(c.Campaigns) != 2 || c.Campaigns[0] != one || len(c.Events) != maxEvents || c.Lost != 5 || c.Devices {
			t.Errorf("%d campaigns, %d events, %d lost, %v", len(c.Campaigns), len(c.Events), c.Lost, err)
		}
		begun := time.Now()
		s.hub.changed(Changes{Devices: true})
		if c, err := sub.Next(t.Context()); err != nil || !c.Devices || len(c.Campaigns) != 0 || time.Since(begun) != restInterval {
			t.Errorf("%+v, %v after %v; want what came since, after a rest", c, err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := sub.Next(ctx); err == nil {
			t.Error("something was told that has not changed")
		}
		if len(other.held.Events) != 0 {
			t.Error("a closed subscription holds events")
		}
	})
}

// Of a large campaign the latest view is shown for half a second though devices vote, and then its readers are told to look again.
func TestViewOfManyIsNotTakenForEachDevice(t *testing.T) {
	for _, targets := range []int{manyViews - 1, manyViews} {
		synctest.Test(t, func(t *testing.T) {
			v := view{at: time.Now(), snap: Snapshot{Phase: store.PhaseRunning}, views: make([]View, targets)}
			changed := 0
			fresh := func() bool {
				_, _, ok := v.fresh(store.PhaseRunning, func() { changed++ })
				return ok
			}
			for range 3 {
				v.happened(upgrade.Event{Kind: upgrade.EventDevice})
				if many := targets == manyViews; fresh() != many {
					t.Fatalf("%d targets: fresh is %t after a vote, want %t", targets, !many, many)
				}
				v.at = time.Now()
			}
			time.Sleep(freshTime)
			synctest.Wait()
			if want := targets / manyViews; changed != want || fresh() {
				t.Errorf("%d targets: told %d times to look again, want %d", targets, changed, want)
			}
			v.at = time.Now()
			v.happened(upgrade.Event{Kind: upgrade.EventCampaign, State: upgrade.CampaignHeld})
			if fresh() {
				t.Errorf("%d targets: fresh after something happened to the campaign", targets)
			}
		})
	}
}

// While a campaign is being asked others wait for the same answer, not for one each; after something has happened to it they
// ask anew, and an answer from before is not shown to them.
func TestViewIsTakenOnceForAll(t *testing.T) {
	v := view{}
	first, start := v.take()
	if second, again := v.take(); !start || again || second != first {
		t.Error("two ask at once")
	}
	v.happened(upgrade.Event{Kind: upgrade.EventCampaign, State: upgrade.CampaignHeld})
	if third, start := v.take(); !start || third == first {
		t.Error("what was asked before something happened is waited for after it")
	}
}

// Of a busy campaign the last view is shown, but not once it is decided, held or the like since.
func TestLastViewIsShownUntilSomethingHappens(t *testing.T) {
	running := Snapshot{Campaign: commit.CampaignID{1}, Phase: store.PhaseRunning}
	v := view{}
	if seen, _, ok := v.last(running); !ok || seen.Phase != store.PhaseRunning || !v.late {
		t.Errorf("%+v, %t: want what is known, as nothing was seen yet", seen, ok)
	}
	v = view{at: time.Now(), snap: running, views: make([]View, manyViews)}
	v.happened(upgrade.Event{Kind: upgrade.EventDevice})
	if _, views, ok := v.last(running); !ok || len(views) != manyViews {
		t.Error("the last view is not shown though only devices have changed")
	}
	if _, _, ok := v.last(Snapshot{Campaign: running.Campaign, Phase: store.PhasePaused}); ok {
		t.Error("the view of another phase is shown")
	}
	v.happened(upgrade.Event{Kind: upgrade.EventDecision})
	if _, _, ok := v.last(running); ok {
		t.Error("a view from before the decision is shown after it")
	}
}

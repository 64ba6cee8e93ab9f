package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// Pages of a list in memory hold each item once, in each order, also those that are equal in it or have no name.
func TestParts(t *testing.T) {
	sites := []SiteView{{Site: "", Targets: 1, Lagging: 1}, {Site: "a", Targets: 4, Ready: 2, WorstLoss: 0.25}, {Site: "b", Targets: 2, Lagging: 1, Ready: 1},
		{Site: "c", Targets: 1, WorstLoss: 1e-9}, {Site: "d", Targets: 1, Lagging: 3}}
	for order, want := range map[string]string{"": ",a,b,c,d", "-id": "d,c,b,a,", "-lagging": "d,b,,c,a", "lagging": "a,c,,b,d", "-loss": "a,c,d,b,", "ready": ",c,d,a,b"} {
		for limit := range 6 {
			var got []string
			p := store.Page{Limit: limit, Order: order}
			for range len(sites) + 1 {
				l, err := part(sites, p, func(v SiteView) string { return v.Site }, siteOrders)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range l.Items {
					got = append(got, v.Site)
				}
				if p.After = l.Next; p.After == "" {
					break
				}
			}
			if strings.Join(got, ",") != want {
				t.Errorf("by %q, %d at once: %q, want %q", order, limit, got, want)
			}
		}
	}
	for _, p := range []store.Page{{Order: "colour"}, {Order: "-"}, {Order: "loss", After: "a x "}} {
		if _, err := part(sites, p, func(v SiteView) string { return v.Site }, siteOrders); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// A page is the same as that of a list that was sorted as a whole.
func TestPartsOfMany(t *testing.T) {
	var views []View
	for i := range 1000 {
		views = append(views, View{DeviceState: upgrade.DeviceState{Device: fmt.Sprintf("d%03d", i), Loss: float64(i * 7919 % 100)}})
	}
	l, err := part(views, store.Page{Order: "-loss", Limit: 30}, func(v View) string { return v.Device }, targetOrders)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(views, func(a, b View) int {
		return strings.Compare(fmt.Sprintf("%03.0f%s", b.Loss, b.Device), fmt.Sprintf("%03.0f%s", a.Loss, a.Device))
	})
	if !slices.EqualFunc(l.Items, views[:30], func(a, b View) bool { return a.Device == b.Device }) {
		t.Errorf("%v, want %v", l.Items, views[:30])
	}
}

// A plot always shows the whole campaign: however long it is, and whatever its counters do, its samples are bounded.
func TestSeries(t *testing.T) {
	var h history
	id := commit.CampaignID{1}
	now := time.Unix(1_000_000, 0)
	snap := Snapshot{Campaign: id, Loss: 0.01, WorstLoss: 0.2}
	for range 5000 {
		h.add(snap, now)
		now = now.Add(sampleInterval)
		snap.Sending.Nacks += 4
		snap.Sending.Bytes += 250_000
		snap.Sending.Repairs += 2
	}
	c := h.all[id]
	if n := len(c.samples); n < maxSamples/2 || n > maxSamples {
		t.Errorf("%d samples", n)
	}
	if first, last := c.samples[0].At, c.samples[len(c.samples)-1].At; first.Sub(time.Unix(1_000_000, 0)) > 40*time.Second || now.Sub(last) > 40*time.Second {
		t.Errorf("from %v to %v, which ends at %v", first, last, now)
	}
	for i, x := range c.samples {
		if x.Nacks != 2 || x.Rate != 1e6 || x.Repairs != 1 || x.Loss != 0.01 || x.WorstLoss != 0.2 {
			t.Fatalf("sample %d is %+v", i, x)
		}
	}
	snap.Sending = upgrade.Sending{Nacks: 1} // another process has taken over
	h.add(snap, now.Add(time.Hour))
	if x := c.samples[len(c.samples)-1]; x.Nacks != 0 || x.Rate != 0 {
		t.Errorf("after a takeover: %+v", x)
	}
	for i := range maxHistories {
		h.add(Snapshot{Campaign: commit.CampaignID{2, byte(i)}}, now.Add(2*time.Hour))
	}
	if len(h.all) != maxHistories || h.all[id] != nil {
		t.Errorf("%d campaigns are noted, the oldest is among them: %v", len(h.all), h.all[id] != nil)
	}
}

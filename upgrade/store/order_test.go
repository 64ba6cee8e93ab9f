package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// pages returns the names of a list, page by page.
func pages[T any](t testing.TB, order string, list func(store.Page) (store.List[T], error), name func(T) string) (names []string) {
	t.Helper()
	for p := (store.Page{Limit: 2, Order: order}); ; {
		l := must(list(p))(t)
		for _, item := range l.Items {
			names = append(names, name(item))
		}
		if l.Next == "" {
			return names
		}
		if len(l.Items) != 2 || len(names) > 100 {
			t.Fatalf("order %q: a page of %d, and another one comes: %v", order, len(l.Items), names)
		}
		p.After = l.Next
	}
}

// A list comes in the order that is asked for, page by page, each item once, also those that are equal in it.
func TestOrders(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		for i, d := range []struct{ id, product, site string }{
			{"a", "lamp", "rome"}, {"b", "desk", "berlin"}, {"c", "lamp", ""}, {"d", "desk", "berlin"}, {"e", "lamp", "berlin"},
		} {
			wantNil(t, s.SeeDevices(ctx, store.Sighting{Device: d.id, Product: d.product, Hardware: "h", At: start.Add(time.Duration(i*7%5) * time.Second)}))
			wantNil(t, s.PlaceDevice(ctx, d.id, 1, d.site, nil, alice))
		}
		devices := func(p store.Page) (store.List[store.Device], error) { return s.Devices(ctx, store.DeviceFilter{}, p) }
		for order, want := range map[string]string{
			"": "a b c d e", "id": "a b c d e", "-id": "e d c b a", "site": "c b d e a", "-site": "a e d b c", "product": "b d a c e", "-seen": "c e b d a",
		} {
			if got := strings.Join(pages(t, order, devices, func(d store.Device) string { return d.ID }), " "); got != want {
				t.Errorf("devices by %q: %s, want %s", order, got, want)
			}
		}
		events := func(p store.Page) (store.List[store.Event], error) {
			return s.Events(ctx, store.EventFilter{Action: "device.place"}, p)
		}
		if got := strings.Join(pages(t, "-id", events, func(e store.Event) string { return e.Subject }), " "); got != "e d c b a" {
			t.Errorf("events, newest first: %s", got)
		}
		for i := range 5 {
			at := alice
			at.At = start.Add(time.Duration(i*7%5) * time.Second)
			must2(s.CreateEnrolment(ctx, store.Enrolment{Device: fmt.Sprint("d", i), Expires: start.Add(time.Hour)}, at))(t)
		}
		enrolments := func(p store.Page) (store.List[store.Enrolment], error) { return s.Enrolments(ctx, p) }
		if got := strings.Join(pages(t, "-created", enrolments, func(e store.Enrolment) string { return e.Device }), " "); got != "d2 d4 d1 d3 d0" {
			t.Errorf("enrolments, newest first: %s", got)
		}
		for _, order := range []string{"colour", "-", "--id", "id desc", "last_seen"} {
			_, err := devices(store.Page{Order: order})
			wantErr(t, err, store.ErrInvalid)
		}
		for _, after := range []string{"x", "x y", " "} {
			_, err := devices(store.Page{Order: "seen", After: after})
			wantErr(t, err, store.ErrInvalid)
		}
		_, err := s.Events(ctx, store.EventFilter{}, store.Page{Order: "-id", After: "x"})
		wantErr(t, err, store.ErrInvalid)

		// Campaigns and releases have one more.
		c := running(t, s, 2)
		campaigns := func(p store.Page) (store.List[store.Campaign], error) {
			return s.Campaigns(ctx, store.CampaignFilter{}, p)
		}
		if got := pages(t, "-created", campaigns, func(c store.Campaign) string { return c.ID.String() }); !slices.Equal(got, []string{c.ID.String()}) {
			t.Errorf("campaigns, newest first: %s", got)
		}
		releases := func(p store.Page) (store.List[store.Release], error) { return s.Releases(ctx, "", p) }
		if got := pages(t, "-uploaded", releases, func(r store.Release) string { return r.ID.String() }); !slices.Equal(got, []string{c.Release.String()}) {
			t.Errorf("releases, newest first: %s", got)
		}
	})
}

// must2 is must for what makes two things.
func must2[T, U any](v T, _ U, err error) func(testing.TB) T { return must(v, err) }

func TestPrefix(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		for _, id := range []string{"lamp", "lamp-1", "lamp-12", "lamp-2", "lampz", "lamq", "lamo"} {
			wantNil(t, s.SeeDevices(t.Context(), store.Sighting{Device: id, Product: "lamp", Hardware: "h", At: start}))
		}
		f := store.DeviceFilter{Prefix: "lamp-1"}
		l := must(s.Devices(t.Context(), f, store.Page{}))(t)
		if len(l.Items) != 2 || l.Items[1].ID != "lamp-12" {
			t.Errorf("lamp-1…: %v", l.Items)
		}
		for most, want := range map[int]int{1: 1, 2: 2, 3: 2} {
			if n := must(s.CountDevicesUpTo(t.Context(), f, most))(t); n != want {
				t.Errorf("%d of up to %d, want %d", n, most, want)
			}
		}
		if n := must(s.CountDevicesUpTo(t.Context(), store.DeviceFilter{Prefix: "lamp"}, 100))(t); n != 5 {
			t.Errorf("lamp…: %d", n)
		}
	})
}

// An enrolment that was revoked lets nobody in, and one that was used stays.
func TestRevokeEnrolment(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		e, secret, err := s.CreateEnrolment(ctx, store.Enrolment{Device: "lamp", Expires: start.Add(time.Hour)}, alice)
		wantNil(t, err)
		wantNil(t, s.RevokeEnrolment(ctx, e.ID, bob))
		g := store.Sighting{Device: "lamp", Product: "lamp", Hardware: "h", At: start}
		wantErr(t, s.Enrol(ctx, secret, g, deviceKey(t), start), store.ErrDenied)
		wantErr(t, s.RevokeEnrolment(ctx, e.ID, bob), store.ErrNotFound)
		ev := must(s.NewestEvent(ctx, store.EventFilter{Action: "enrolment.revoke"}))(t)
		if ev.Actor != "bob" || ev.Subject != e.ID || !strings.Contains(string(ev.Detail), "lamp") {
			t.Errorf("event %+v", ev)
		}
		e, secret, err = s.CreateEnrolment(ctx, store.Enrolment{Expires: start.Add(time.Hour)}, alice)
		wantNil(t, err)
		wantNil(t, s.Enrol(ctx, secret, g, deviceKey(t), start))
		wantErr(t, s.RevokeEnrolment(ctx, e.ID, bob), store.ErrState)
	})
}

package store_test

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func see(t testing.TB, s *store.Store, devices ...string) {
	t.Helper()
	seen := make([]store.Sighting, len(devices))
	for i, d := range devices {
		seen[i] = store.Sighting{d, "lamp", "rev-b", "1.0", start}
	}
	wantNil(t, s.SeeDevices(t.Context(), seen...))
}

func device(t testing.TB, s *store.Store, id string) store.Device {
	t.Helper()
	return must(s.Device(t.Context(), id))(t)
}

func TestSightings(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		later := start.Add(time.Second)
		wantNil(t, s.SeeDevices(ctx, store.Sighting{"lamp-2", "lamp", "rev-b", "1.0", start}, store.Sighting{"lamp-1", "lamp", "rev-a", "1.0", start},
			store.Sighting{"lamp-2", "lamp", "rev-b", "1.1", later}))
		d := device(t, s, "lamp-2")
		if d.Version != "1.1" || !d.LastSeen.Equal(later) {
			t.Errorf("of two sightings the first counted: %+v", d)
		}
		if other := device(t, s, "lamp-1").Node; d.Node == other || d.Node < 1<<31 || other < 1<<31 {
			t.Errorf("nodes %#x and %#x", d.Node, other)
		}
		// What comes late changes nothing, and what comes again changes neither node nor the first time.
		wantNil(t, s.SeeDevices(ctx, store.Sighting{"lamp-2", "lamp", "rev-b", "0.9", start}, store.Sighting{"lamp-3", "lamp", "rev-b", "", start}))
		wantNil(t, s.SeeDevices(ctx, store.Sighting{"lamp-2", "lamp", "rev-c", "1.2", later.Add(1)}))
		got := device(t, s, "lamp-2")
		want := d
		want.Hardware, want.Version, want.LastSeen = "rev-c", "1.2", later.Add(1)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		_, err := s.Device(ctx, "lamp-9")
		wantErr(t, err, store.ErrNotFound)
	})
}

func TestKeysAreApprovedByPeople(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		see(t, s, "d")
		first, second := deviceKey(t), deviceKey(t)
		wantNil(t, s.ShowKey(ctx, "d", first, start))
		seenByAlice := device(t, s, "d")
		wantNil(t, s.ShowKey(ctx, "d", second, start)) // nobody has vouched for the first
		// What alice looked at is not what is there: the device, or who plays it, has shown another key since.
		wantErr(t, s.ApproveKey(ctx, "d", seenByAlice.Revision, alice), store.ErrConflict)
		d := device(t, s, "d")
		wantNil(t, s.ApproveKey(ctx, "d", d.Revision, alice))
		wantErr(t, s.ShowKey(ctx, "d", first, start), store.ErrExists)
		wantNil(t, s.ShowKey(ctx, "d", second, start))
		d = device(t, s, "d")
		if d.Key != second || d.KeyState != store.KeyApproved {
			t.Errorf("got %+v", d)
		}
		wantErr(t, s.ApproveKey(ctx, "d", d.Revision, alice), store.ErrState)
		wantNil(t, s.RevokeKey(ctx, "d", d.Revision, bob))
		d = device(t, s, "d")
		wantErr(t, s.ApproveKey(ctx, "d", d.Revision, alice), store.ErrState)
		wantErr(t, s.ShowKey(ctx, "d", first, start), store.ErrExists)
		wantNil(t, s.ReplaceKey(ctx, "d", d.Revision, alice))
		wantNil(t, s.ShowKey(ctx, "d", first, start))
		if d = device(t, s, "d"); d.Key != first || d.KeyState != store.KeyPending {
			t.Errorf("got %+v", d)
		}
		wantErr(t, s.ShowKey(ctx, "nobody", first, start), store.ErrNotFound)
		wantErr(t, s.RevokeKey(ctx, "nobody", 1, alice), store.ErrNotFound)
		wantErr(t, s.ShowKey(ctx, "d", must(manifest.GenerateKey(manifest.RoleServer, nil))(t).Public(), start), store.ErrInvalid)
		actions := []string{}
		for _, e := range must(s.Events(ctx, store.EventFilter{Subject: "d"}, store.Page{}))(t).Items {
			actions = append(actions, e.Actor+" "+e.Action)
		}
		want := []string{"d device.key", "d device.key", "alice device.key-approved", "bob device.key-revoked", "alice device.key-removed", "d device.key"}
		if !slices.Equal(actions, want) {
			t.Errorf("audit trail %q, want %q", actions, want)
		}
	})
}

func TestClonedDevicesAreDuplicates(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		see(t, s, "d", "clone", "other")
		key := deviceKey(t)
		wantNil(t, s.ShowKey(ctx, "d", key, start))
		wantNil(t, s.ShowKey(ctx, "other", deviceKey(t), start))
		wantNil(t, s.ApproveKey(ctx, "d", device(t, s, "d").Revision, alice))
		wantNil(t, s.ShowKey(ctx, "clone", key, start))
		for id, want := range map[string]bool{"d": true, "clone": true, "other": false} {
			if d := device(t, s, id); d.Duplicate != want {
				t.Errorf("%s: duplicate %v", id, d.Duplicate)
			}
		}
		wantErr(t, s.ApproveKey(ctx, "clone", device(t, s, "clone").Revision, alice), store.ErrState)
		if targets := must(s.SelectTargets(ctx, store.Selector{Products: []string{"lamp"}}, true))(t); len(targets) != 0 {
			t.Errorf("targets %v", targets)
		}
	})
}

func TestClonesThatComeTogetherAreDuplicates(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		var ids []string
		for i := range 10 {
			ids = append(ids, fmt.Sprint("clone-", i))
		}
		see(t, s, ids...)
		key := deviceKey(t)
		var all sync.WaitGroup
		for _, id := range ids {
			all.Go(func() {
				if err := s.ShowKey(t.Context(), id, key, start); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() { // and all are heard meanwhile
				for i := range ids {
					if err := s.SeeDevices(t.Context(), store.Sighting{ids[i], "lamp", "rev-b", "1.0", start}, store.Sighting{id, "lamp", "rev-b", "1.0", start}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for _, id := range ids {
			if d := device(t, s, id); !d.Duplicate || d.Key != key {
				t.Errorf("%+v", d)
			}
		}
	})
}

func TestEnrolmentIsForOneDeviceOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		e, secret, err := s.CreateEnrolment(ctx, store.Enrolment{Site: "hall", Tags: []string{"new"}, Expires: start.Add(time.Hour)}, alice)
		wantNil(t, err)
		const n = 8
		keys := make([]manifest.PublicKey, n)
		for i := range keys {
			keys[i] = deviceKey(t)
		}
		errs := make([]error, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				errs[i] = s.Enrol(ctx, secret, store.Sighting{Device: fmt.Sprint("d", i), Product: "lamp", Hardware: "rev-b"}, keys[i], start)
			})
		}
		all.Wait()
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("nobody was let in: %v", errs)
		}
		for i, err := range errs {
			if i != winner {
				wantErr(t, err, store.ErrDenied)
			}
		}
		l := must(s.Devices(ctx, store.DeviceFilter{}, store.Page{}))(t)
		if len(l.Items) != 1 || l.Items[0].KeyState != store.KeyApproved || l.Items[0].Key != keys[winner] || l.Items[0].Site != "hall" || !slices.Equal(l.Items[0].Tags, []string{"new"}) {
			t.Errorf("devices %+v", l.Items)
		}
		used := must(s.Enrolments(ctx, store.Page{}))(t).Items[0]
		if used.ID != e.ID || used.Used.Actor != l.Items[0].ID || !used.Used.At.Equal(start) {
			t.Errorf("enrolment %+v", used)
		}
		// Not after its time, and not for another device than it names.
		_, secret, err = s.CreateEnrolment(ctx, store.Enrolment{Device: "lamp", Expires: start.Add(time.Hour)}, alice)
		wantNil(t, err)
		g := store.Sighting{Device: "lamp", Product: "lamp", Hardware: "rev-b"}
		wantErr(t, s.Enrol(ctx, secret, g, keys[0], start.Add(time.Hour)), store.ErrDenied)
		wantErr(t, s.Enrol(ctx, secret, store.Sighting{Device: "desk", Product: "lamp", Hardware: "rev-b"}, keys[0], start), store.ErrDenied)
		wantErr(t, s.Enrol(ctx, secret+"x", g, keys[0], start), store.ErrDenied)
		wantNil(t, s.Enrol(ctx, secret, g, deviceKey(t), start))
		_, _, err = s.CreateEnrolment(ctx, store.Enrolment{Expires: alice.At}, alice)
		wantErr(t, err, store.ErrInvalid)
	})
}

func TestTwoAdministratorsOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		see(t, s, "d")
		revision := device(t, s, "d").Revision
		errs := make([]error, 8)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				errs[i] = s.PlaceDevice(ctx, "d", revision, fmt.Sprint("site-", i), nil, store.By{Actor: fmt.Sprint("admin-", i), At: start})
			})
		}
		all.Wait()
		winner := slices.Index(errs, nil)
		for i, err := range errs {
			if i != winner {
				wantErr(t, err, store.ErrConflict)
			}
		}
		if d := device(t, s, "d"); d.Site != fmt.Sprint("site-", winner) || d.Revision != revision+1 {
			t.Errorf("%d won: %+v", winner, d)
		}
		if l := must(s.Events(ctx, store.EventFilter{Action: "device.place"}, store.Page{}))(t); len(l.Items) != 1 || l.Items[0].Actor != fmt.Sprint("admin-", winner) {
			t.Errorf("audit trail %+v", l.Items)
		}
	})
}

func TestPagesAndFilters(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var ids []string
		for i := range 1203 {
			ids = append(ids, fmt.Sprintf("%c-%d", "Aa9Zz"[i%5], i))
		}
		see(t, s, ids...)
		slices.Sort(ids) // by bytes, whatever the locale of the database
		for _, limit := range []int{0, 7, 400, 1203, 5000} {
			var got []string
			pages := 0
			for p := (store.Page{Limit: limit}); ; pages++ {
				l := must(s.Devices(ctx, store.DeviceFilter{}, p))(t)
				for _, d := range l.Items {
					got = append(got, d.ID)
				}
				if l.Next == "" {
					break
				}
				p.After = l.Next
			}
			if !slices.Equal(got, ids) {
				t.Errorf("pages of %d: %d devices, want %d, in order", limit, len(got), len(ids))
			}
		}
		for i, id := range ids[:6] {
			wantNil(t, s.PlaceDevice(ctx, id, 1, []string{"hall", "yard"}[i%2], []string{"t" + fmt.Sprint(i%3), "all"}, alice))
		}
		pending := store.KeyPending
		wantNil(t, s.ShowKey(ctx, ids[0], deviceKey(t), start))
		for name, tt := range map[string]struct {
			f    store.DeviceFilter
			want []string
		}{
			"site":         {store.DeviceFilter{Sites: []string{"hall"}}, []string{ids[0], ids[2], ids[4]}},
			"sites":        {store.DeviceFilter{Sites: []string{"hall", "yard"}}, ids[:6]},
			"tags":         {store.DeviceFilter{Tags: []string{"t0", "t1"}}, []string{ids[0], ids[1], ids[3], ids[4]}},
			"tag and site": {store.DeviceFilter{Tags: []string{"all"}, Sites: []string{"yard"}}, []string{ids[1], ids[3], ids[5]}},
			"key":          {store.DeviceFilter{KeyState: &pending}, ids[:1]},
			"product":      {store.DeviceFilter{Products: []string{"phone"}}, nil},
			"since":        {store.DeviceFilter{SeenSince: start.Add(1)}, nil},
			"duplicates":   {store.DeviceFilter{Duplicate: true}, nil},
		} {
			var got []string
			for _, d := range must(s.Devices(ctx, tt.f, store.Page{}))(t).Items {
				got = append(got, d.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, want %q", name, got, tt.want)
			}
		}
		if n := must(s.CountDevices(ctx, store.DeviceFilter{Products: []string{"lamp"}}))(t); n[store.KeyNone] != 1202 || n[store.KeyPending] != 1 {
			t.Errorf("counts %v", n)
		}
		_, err := s.Devices(ctx, store.DeviceFilter{Sites: make([]string, 201)}, store.Page{})
		wantErr(t, err, store.ErrInvalid)
		_, err = s.Devices(ctx, store.DeviceFilter{}, store.Page{After: "a\x00"})
		wantErr(t, err, store.ErrInvalid)
		_, err = s.Events(ctx, store.EventFilter{}, store.Page{After: "1; DROP TABLE events"})
		wantErr(t, err, store.ErrInvalid)
	})
}

func TestTargetsOfASelector(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		see(t, s, "a", "b", "c", "keyless")
		keys := map[string]manifest.PublicKey{}
		for _, id := range []string{"a", "b", "c"} {
			keys[id] = deviceKey(t)
			wantNil(t, s.ShowKey(ctx, id, keys[id], start))
		}
		for _, id := range []string{"a", "b"} { // c stays pending
			wantNil(t, s.ApproveKey(ctx, id, device(t, s, id).Revision, alice))
		}
		wantNil(t, s.PlaceDevice(ctx, "a", device(t, s, "a").Revision, "hall", []string{"beta"}, alice))
		a, b := commit.Target{Device: "a", Site: "hall", Key: keys["a"]}, commit.Target{Device: "b", Key: keys["b"]}
		many := []string{"b", "a", "a"}
		for i := range 2000 {
			many = append(many, fmt.Sprint("x", i))
		}
		for name, tt := range map[string]struct {
			sel      store.Selector
			unsigned bool
			want     []commit.Target
		}{
			"product":          {store.Selector{Products: []string{"lamp"}}, false, []commit.Target{a, b}},
			"unsigned":         {store.Selector{Products: []string{"lamp"}}, true, []commit.Target{a, b, {Device: "keyless"}}},
			"site":             {store.Selector{Sites: []string{"hall"}}, false, []commit.Target{a}},
			"tag":              {store.Selector{Tags: []string{"beta"}}, false, []commit.Target{a}},
			"list":             {store.Selector{Devices: many}, false, []commit.Target{a, b}},
			"list and site":    {store.Selector{Devices: many, Sites: []string{"hall"}}, false, []commit.Target{a}},
			"list and product": {store.Selector{Devices: many, Products: []string{"phone"}}, false, nil},
		} {
			if got := must(s.SelectTargets(ctx, tt.sel, tt.unsigned))(t); !slices.Equal(got, tt.want) {
				t.Errorf("%s: %v, want %v", name, got, tt.want)
			}
		}
		_, err := s.SelectTargets(ctx, store.Selector{}, false)
		wantErr(t, err, store.ErrInvalid)
	})
}

package web_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/multicast-upgrade/tool/upgrade/web"
)

// BenchmarkPages asks for pages of a fleet of 100,000 devices at 500 sites, all targets of a campaign that runs, with an audit
// trail of 200,000 entries.
func BenchmarkPages(b *testing.B) {
	const devices = 100_000
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	file := filepath.Join(b.TempDir(), "fleet.db")
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	st, err := store.Open(ctx, "sqlite:"+file)
	must(err)
	defer st.Close()
	server, err := fleet.Open(ctx, fleettest.Config(st, new(fleettest.Network)))
	must(err)
	site, err := web.New(web.Config{Fleet: server})
	must(err)

	// The registry and the audit trail, as they are after a while.
	now := time.Now()
	seen := make([]store.Sighting, devices)
	events := make([]store.Event, 2*devices)
	for i := range seen {
		seen[i] = store.Sighting{Device: fmt.Sprintf("d-%06d", i), Product: "phone", Hardware: "rev-a", Version: "1.0", At: now.Add(time.Duration(i) * time.Millisecond)}
		events[2*i] = store.Event{At: now, Actor: seen[i].Device, Action: "device.key", Subject: seen[i].Device}
		events[2*i+1] = store.Event{At: now, Actor: "anna", Action: "device.place", Subject: seen[i].Device}
	}
	must(st.SeeDevices(ctx, seen...))
	must(st.AddEvents(ctx, events...))
	db, err := sql.Open("sqlite", file)
	must(err)
	_, err = db.ExecContext(ctx, `UPDATE devices SET site = 'site-' || (node % 500), key_state = CASE node % 1000 WHEN 0 THEN 'pending' ELSE '' END`)
	must(err)
	must(db.Close())

	image := make([]byte, 100_000)
	rel, err := server.AddRelease(ctx, fleettest.Release(b, fleettest.ReleaseKey, "fw.bin", image, nil), "anna")
	must(err)
	must(server.AddImage(ctx, rel.ID, "fw.bin", bytes.NewReader(image), "anna"))
	c, err := server.Create(ctx, "spring", rel.ID, store.CampaignSettings{Targets: store.Selector{Products: []string{"phone"}}, Transport: store.Transport{Rate: 1e6},
		Policy: store.Policy{AllowUnsigned: true, Waves: []store.Wave{{Ask: true}}}}, "anna")
	must(err)
	_, err = server.Start(ctx, c.ID, c.Revision, "anna")
	must(err)
	var work sync.WaitGroup
	work.Go(func() { server.Run(ctx) })
	defer work.Wait()
	defer cancel()
	for {
		if snap, err := server.Snapshot(ctx, c.ID); err == nil && snap.Sending.Begun {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}

	_, secret, err := st.CreateToken(ctx, "otto", store.RoleOperator, store.By{Actor: "setup", At: now})
	must(err)
	var cookie string
	do := func(method, path string, form url.Values) (status int, size int64) {
		r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		r.Header.Set("Cookie", cookie)
		if method == "POST" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		if c := w.Header().Get("Set-Cookie"); c != "" {
			cookie, _, _ = strings.Cut(c, ";")
		}
		size, _ = io.Copy(io.Discard, w.Body)
		return w.Code, size
	}
	do("POST", "/login", url.Values{"token": {secret}})

	page := "/campaigns/" + c.ID.String()
	for _, q := range []struct{ name, path string }{
		{"overview", "/"}, {"devices", "/devices"}, {"devices-seen", "/devices?order=seen"}, {"devices-by-site", "/devices?order=-site&after=d-050000+site-250"},
		{"devices-prefix", "/devices?find=d-0123"}, {"devices-pending", "/devices?state=pending"}, {"devices-of-site", "/devices?site=site-7"}, {"devices-no-tag", "/devices?tag=none"},
		{"devices-nobody", "/devices?product=phone&site=nowhere"}, {"device", "/devices/d-012345"}, {"audit", "/audit"}, {"audit-subject", "/audit?subject=d-012345"},
		{"audit-nothing", "/audit?action=campaign.abort"}, {"campaigns", "/campaigns"}, {"campaign", page}, {"targets", page + "/devices"},
		{"targets-loss", page + "/devices?order=-loss"}, {"sites", page + "/sites"}, {"preview", ""},
	} {
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				status, size := 0, int64(0)
				if q.name == "preview" {
					status, size = do("POST", "/campaigns/preview", url.Values{"release": {rel.ID.String()}, "sites": {"site-1 site-2"}, "allow_unsigned": {"on"}})
				} else {
					status, size = do("GET", q.path, nil)
				}
				if status != http.StatusOK {
					b.Fatalf("%s: %d", q.path, status)
				}
				b.ReportMetric(float64(size), "bytes")
			}
		})
	}
}

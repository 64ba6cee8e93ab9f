package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// benchBoth runs f on an empty database of each kind.
func benchBoth(b *testing.B, f func(b *testing.B, s *store.Store)) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) { f(b, open(b, databases[name](b))) })
	}
}

// BenchmarkReports upserts reports of 10,000 devices, as they come together in a second.
func BenchmarkReports(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		c := running(b, s, 1)
		reports := make([]store.Report, 10_000)
		for i := range reports {
			reports[i] = store.Report{Device: fmt.Sprintf("lamp-%06d", i), State: commit.StateReceiving, Total: 1 << 30, At: start}
		}
		n := 0
		for b.Loop() {
			for i := range reports {
				reports[i].Bytes++
				reports[i].At = reports[i].At.Add(time.Second)
			}
			wantNil(b, s.ReportDevices(b.Context(), c.ID, reports...))
			n += len(reports)
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "reports/s")
	})
}

// BenchmarkSightings notes that 10,000 known devices were seen.
func BenchmarkSightings(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		seen := make([]store.Sighting, 10_000)
		n := 0
		for b.Loop() {
			for i := range seen {
				seen[i] = store.Sighting{Device: fmt.Sprintf("lamp-%06d", i), Product: "lamp", Hardware: "rev-b", At: start.Add(time.Duration(n))}
			}
			wantNil(b, s.SeeDevices(b.Context(), seen...))
			n += len(seen)
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "sightings/s")
	})
}

// BenchmarkAppend appends records of a vote's size, durably, so many at once.
func BenchmarkAppend(b *testing.B) {
	for _, batch := range []int{1, 32, 1024} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			benchBoth(b, func(b *testing.B, s *store.Store) {
				log, _ := openLog(b, s, take(b, s, running(b, s, 1), "a", start))
				recs := make([][]byte, batch)
				for i := range recs {
					recs[i] = record(fmt.Sprintf("%0350d", i))
				}
				n := 0
				for b.Loop() {
					wantNil(b, log.Append(recs...))
					n += batch
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
			})
		})
	}
}

// BenchmarkPages lists pages of 100 devices, of 100,000.
func BenchmarkPages(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		seen := make([]store.Sighting, 100_000)
		for i := range seen {
			seen[i] = store.Sighting{Device: fmt.Sprintf("lamp-%06d", i), Product: "lamp", Hardware: "rev-b", Version: "1.0", At: start}
		}
		wantNil(b, s.SeeDevices(b.Context(), seen...))
		for name, f := range map[string]store.DeviceFilter{"all": {}, "product": {Products: []string{"lamp"}}} {
			b.Run(name, func(b *testing.B) {
				p := store.Page{}
				n := 0
				for b.Loop() {
					l := must(s.Devices(b.Context(), f, p))(b)
					p.After = l.Next
					n++
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pages/s")
			})
		}
	})
}

package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestOneServerTakesTheLead(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		c := running(t, s, 1)
		var mu sync.Mutex
		var winners []store.Lease
		var all sync.WaitGroup
		for _, owner := range []store.Owner{"a", "b", "c", "d", "e", "f"} {
			all.Go(func() {
				l, err := s.TakeLease(t.Context(), c.ID, owner, start, time.Minute)
				if err != nil {
					if !errors.Is(err, store.ErrLeased) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				defer mu.Unlock()
				winners = append(winners, l)
			})
		}
		all.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d leaders: %+v", len(winners), winners)
		}
		if got := must(s.Campaign(t.Context(), c.ID))(t).Lease; got != winners[0] {
			t.Errorf("lease %+v, want %+v", got, winners[0])
		}
	})
}

func TestLeaseIsTakenAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := running(t, s, 1)
		first := take(t, s, c, "a", start)
		again := take(t, s, c, "a", start) // the server was restarted
		if again.Epoch != first.Epoch+1 {
			t.Errorf("epochs %d and %d", first.Epoch, again.Epoch)
		}
		_, err := s.RenewLease(ctx, first, start, time.Minute)
		wantErr(t, err, store.ErrFenced)
		renewed := must(s.RenewLease(ctx, again, start.Add(30*time.Second), time.Minute))(t)
		_, err = s.TakeLease(ctx, c.ID, "b", start.Add(80*time.Second), time.Minute)
		wantErr(t, err, store.ErrLeased)
		wantNil(t, s.DropLease(ctx, renewed))
		take(t, s, c, "b", start)
		_, err = s.TakeLease(ctx, campaignID(9), "b", start, time.Minute)
		wantErr(t, err, store.ErrNotFound)
		_, err = s.TakeLease(ctx, c.ID, "", start, time.Minute)
		wantErr(t, err, store.ErrInvalid)
		closed := running(t, s, 2)
		closed = must(s.MoveCampaign(ctx, closed.ID, closed.Revision, store.PhaseClosed, alice))(t)
		_, err = s.TakeLease(ctx, closed.ID, "b", start, time.Minute)
		wantErr(t, err, store.ErrState)
		if l := must(s.Campaign(ctx, closed.ID))(t).Lease; l.Owner != "" {
			t.Errorf("a refused lease was taken: %+v", l)
		}
	})
}

func TestLeaseIsKeptUntilItIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), newSQLite(t))
		wantNil(t, err)
		defer s.Close()
		c := running(t, s, 1)
		lead := func() (context.Context, func() error) {
			l := must(s.TakeLease(t.Context(), c.ID, "a", time.Now(), time.Minute))(t)
			return s.KeepLease(t.Context(), l, time.Minute)
		}
		held, release := lead()
		time.Sleep(time.Hour)
		_, err = s.TakeLease(t.Context(), c.ID, "b", time.Now(), time.Minute)
		wantErr(t, err, store.ErrLeased)
		wantNil(t, held.Err())
		wantNil(t, release())
		wantErr(t, context.Cause(held), context.Canceled)

		held, release = lead()
		must(s.DB().ExecContext(t.Context(), `UPDATE leases SET owner = 'b', epoch = epoch + 1`))(t) // b, whose clock is ahead
		time.Sleep(time.Minute)
		wantErr(t, context.Cause(held), store.ErrFenced)
		wantErr(t, release(), store.ErrFenced)

		must(s.DB().ExecContext(t.Context(), `UPDATE leases SET until = 0`))(t)
		held, release = lead()
		must(s.DB().ExecContext(t.Context(), `ALTER TABLE leases RENAME TO gone`))(t) // the database fails
		time.Sleep(40 * time.Second)
		wantNil(t, held.Err())
		time.Sleep(40 * time.Second)
		wantErr(t, context.Cause(held), store.ErrFenced)
		release()
	})
}

func TestReports(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := must(s.AddCampaign(ctx, draft(1, addRelease(t, s, "fw.bin", image(100))), alice))(t)
		report := func(device string, state commit.State, reason commit.Reason, bytes int64, at time.Duration) store.Report {
			return store.Report{Device: device, State: state, Reason: reason, Bytes: bytes, Total: 100, Lost: 3, Overruns: 4, At: start.Add(at)}
		}
		wantNil(t, s.ReportDevices(ctx, c.ID))
		wantNil(t, s.ReportDevices(ctx, c.ID, report("b", commit.StateReceiving, "", 10, 1), report("a", commit.StateReceiving, "", 10, 1), report("b", commit.StateReady, "", 100, 2)))
		wantNil(t, s.ReportDevices(ctx, c.ID, report("a", commit.StateRefused, commit.ReasonUnsigned, 20, 3), report("b", commit.StateReceiving, "", 20, 1), report("c", commit.StateReady, "", 100, 1)))
		want := []store.Report{report("a", commit.StateRefused, commit.ReasonUnsigned, 20, 3), report("b", commit.StateReady, "", 100, 2), report("c", commit.StateReady, "", 100, 1)}
		got := must(s.Reports(ctx, c.ID, store.ReportFilter{}, store.Page{Limit: 2}))(t)
		if len(got.Items) != 2 || got.Items[0] != want[0] || got.Items[1] != want[1] || got.Next != "b" {
			t.Errorf("got %+v, want %+v", got, want)
		}
		got = must(s.Reports(ctx, c.ID, store.ReportFilter{States: []commit.State{commit.StateReady}, Reasons: []commit.Reason{""}}, store.Page{After: "b"}))(t)
		if len(got.Items) != 1 || got.Items[0] != want[2] {
			t.Errorf("got %+v", got)
		}
		if n := must(s.Tallies(ctx, c.ID))(t); len(n) != 2 || n[0] != (store.Tally{State: commit.StateReady, N: 2}) || n[1] != (store.Tally{State: commit.StateRefused, Reason: commit.ReasonUnsigned, N: 1}) {
			t.Errorf("tallies %+v", n)
		}
		for _, bad := range []store.Report{report("", commit.StateReady, "", 1, 1), report("a", commit.StateReady, "", 101, 1), report("a", commit.StateReady, "", -1, 1)} {
			wantErr(t, s.ReportDevices(ctx, c.ID, bad), store.ErrInvalid)
		}
	})
}

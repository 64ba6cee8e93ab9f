package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fleet.db")
	for name, url := range map[string]func(testing.TB) string{"sqlite": func(testing.TB) string { return "sqlite:" + file }, "postgres": pgtest.New} {
		t.Run(name, func(t *testing.T) {
			s := open(t, url(t))
			ctx := t.Context()
			made, secret, err := s.CreateToken(ctx, "carol", store.RoleOperator, alice)
			wantNil(t, err)
			now := start.Add(time.Hour)
			if got := must(s.Authenticate(ctx, secret, now))(t); got.ID != made.ID || got.Role != store.RoleOperator || got.Created != alice || !got.Revoked.IsZero() {
				t.Errorf("got %+v", got)
			}
			must(s.Authenticate(ctx, secret, now.Add(59*time.Second)))(t)
			if l := must(s.Tokens(ctx, "carol", store.Page{}))(t); len(l.Items) != 1 || !l.Items[0].LastUsed.Equal(now) {
				t.Errorf("tokens %+v, last used should be %v", l, now)
			}
			for _, wrong := range []string{"", "x", secret + "x", secret[1:], made.ID, "' OR ''='"} {
				_, err := s.Authenticate(ctx, wrong, now)
				wantErr(t, err, store.ErrDenied)
			}
			wantNil(t, s.RevokeToken(ctx, made.ID, bob))
			_, err = s.Authenticate(ctx, secret, now)
			wantErr(t, err, store.ErrDenied)
			wantErr(t, s.RevokeToken(ctx, made.ID, bob), store.ErrNotFound)
			if name == "sqlite" {
				for _, suffix := range []string{"", "-wal"} {
					if bytes.Contains(must(os.ReadFile(file+suffix))(t), []byte(secret)) {
						t.Errorf("the secret is in %s", file+suffix)
					}
				}
			}
		})
	}
}

func TestAuditTrailHasAllThatWasDone(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if err := s.AddEvents(ctx, store.Event{At: start, Actor: "a", Action: "x", Detail: []byte(`{"n":1}`)}, store.Event{At: start.Add(time.Duration(i) * time.Hour), Actor: "b", Action: "y"}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		l := must(s.Events(ctx, store.EventFilter{}, store.Page{Limit: 15}))(t)
		for i, e := range l.Items {
			if e.ID != int64(i+1) || e.Action != []string{"x", "y"}[i%2] || (string(e.Detail) == `{"n":1}`) != (i%2 == 0) {
				t.Errorf("event %d is %+v", i, e)
			}
		}
		rest := must(s.Events(ctx, store.EventFilter{}, store.Page{After: l.Next}))(t)
		if len(l.Items) != 15 || len(rest.Items) != 5 || rest.Items[0].ID != 16 || must(s.LastEvent(ctx))(t) != 20 {
			t.Errorf("pages of %d and %d", len(l.Items), len(rest.Items))
		}
		if some := must(s.Events(ctx, store.EventFilter{Action: "y", Since: start.Add(8 * time.Hour)}, store.Page{}))(t); len(some.Items) != 2 {
			t.Errorf("%d events since then, want 2", len(some.Items))
		}
		// All or none.
		for _, bad := range []store.Event{{}, {At: start, Actor: "a"}, {At: start, Action: "x"}, {At: start, Actor: "a", Action: "x", Detail: []byte("{")}, {Actor: "a", Action: "x"}} {
			wantErr(t, s.AddEvents(ctx, store.Event{At: start, Actor: "a", Action: "x"}, bad), store.ErrInvalid)
		}
		if n := must(s.LastEvent(ctx))(t); n != 20 {
			t.Errorf("the last event is %d", n)
		}
	})
}

func TestSettings(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		none := must(s.Setting(ctx, "rate"))(t)
		v := must(s.PutSetting(ctx, store.Setting{Name: "rate", Value: "10M"}, alice))(t)
		_, err := s.PutSetting(ctx, store.Setting{Name: "rate", Value: "20M", Revision: none.Revision}, bob)
		wantErr(t, err, store.ErrConflict)
		v.Value = "30M"
		v = must(s.PutSetting(ctx, v, bob))(t)
		_, err = s.PutSetting(ctx, store.Setting{Name: "rate", Value: "40M", Revision: 1}, alice)
		wantErr(t, err, store.ErrConflict)
		if got := must(s.Setting(ctx, "rate"))(t); got != v || got.Revision != 2 || got.Value != "30M" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestRequestIsAnsweredOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		claim := func(request string, at time.Duration) (store.Claim, *store.Answer, error) {
			return s.ClaimRequest(ctx, "alice", "key", []byte(request), start.Add(at), time.Minute)
		}
		var mu sync.Mutex
		var claims []store.Claim
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				c, a, err := claim("make it", 0)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && a == nil {
					claims = append(claims, c)
				} else if wantErr(t, err, store.ErrBusy); a != nil {
					t.Errorf("answered %+v", a)
				}
			})
		}
		all.Wait()
		if len(claims) != 1 {
			t.Fatalf("%d claims", len(claims))
		}
		_, _, err := claim("make another", 0)
		wantErr(t, err, store.ErrReused)
		// The server dies; a minute later the request is made again, and then the first server turns up.
		fresh, _, err := claim("make it", time.Minute)
		wantNil(t, err)
		wantErr(t, s.AnswerRequest(ctx, claims[0], store.Answer{Status: 500}, start.Add(time.Hour)), store.ErrConflict)
		wantNil(t, s.DropRequest(ctx, claims[0]))
		wantNil(t, s.AnswerRequest(ctx, fresh, store.Answer{Status: 201, Body: []byte("made")}, start.Add(time.Hour)))
		_, a, err := claim("make it", 2*time.Minute)
		if err != nil || a == nil || a.Status != 201 || string(a.Body) != "made" {
			t.Errorf("answer %+v, %v", a, err)
		}
		_, a, err = s.ClaimRequest(ctx, "bob", "key", []byte("make it"), start, time.Minute)
		if err != nil || a != nil {
			t.Errorf("bob got %+v, %v", a, err)
		}
		again, a, err := claim("make another", time.Hour)
		if err != nil || a != nil {
			t.Errorf("after its time the key has %+v, %v", a, err)
		}
		wantNil(t, s.DropRequest(ctx, again))
		_, a, err = claim("make a third", time.Hour)
		if err != nil || a != nil {
			t.Errorf("a dropped request has %+v, %v", a, err)
		}
	})
}

func TestWhatIsOldIsPruned(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		opened, closed := running(t, s, 1), running(t, s, 2)
		for _, c := range []store.Campaign{opened, closed} {
			wantNil(t, s.ReportDevices(ctx, c.ID, store.Report{Device: "a", At: start}))
		}
		log, _ := openLog(t, s, take(t, s, closed, "a", start))
		wantNil(t, log.Append(decided(0)))
		must(s.MoveCampaign(ctx, closed.ID, closed.Revision, store.PhaseClosed, store.By{Actor: "alice", At: start.Add(time.Hour)}))(t)
		token, _, err := s.CreateToken(ctx, "x", store.RoleViewer, alice)
		wantNil(t, err)
		_, _, err = s.CreateToken(ctx, "y", store.RoleViewer, alice)
		wantNil(t, err)
		wantNil(t, s.RevokeToken(ctx, token.ID, alice))
		_, _, err = s.CreateEnrolment(ctx, store.Enrolment{Expires: start.Add(1)}, alice)
		wantNil(t, err)
		claim, _, err := s.ClaimRequest(ctx, "a", "k", nil, start, time.Minute)
		wantNil(t, err)
		wantNil(t, s.AnswerRequest(ctx, claim, store.Answer{Status: 200}, start.Add(time.Hour)))
		count := func() (n []int) {
			for _, table := range []string{"events", "reports", "tokens", "enrolments", "idempotency"} {
				var rows int
				wantNil(t, s.DB().QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&rows))
				n = append(n, rows)
			}
			return n
		}
		before := count()
		keep := store.Retention{Events: time.Hour, Reports: time.Hour, Tokens: time.Hour}
		wantNil(t, s.Prune(ctx, start.Add(59*time.Minute), keep))
		if n := count(); !slices.Equal(n, before) {
			t.Errorf("too early: %v rows of %v", n, before)
		}
		wantNil(t, s.Prune(ctx, start.Add(1000*time.Hour), store.Retention{}))
		if n := count(); !slices.Equal(n, []int{before[0], 2, 2, 1, 0}) {
			t.Errorf("without retention: %v rows of %v", n, before)
		}
		wantNil(t, s.Prune(ctx, start.Add(2*time.Hour), keep))
		if n := count(); !slices.Equal(n, []int{0, 1, 1, 0, 0}) {
			t.Errorf("%v rows of %v", n, before)
		}
		if d := must(s.Decisions(ctx, closed.ID))(t); len(d) != 1 {
			t.Errorf("decisions %v", d)
		}
		wantNil(t, s.AddEvents(ctx, store.Event{At: start, Actor: "a", Action: "b"}))
		if n := must(s.LastEvent(ctx))(t); n != int64(before[0]+1) {
			t.Errorf("the event after pruning has number %d, of %d before", n, before[0])
		}
	})
}

func TestRestoredCampaignsWaitForAnOperator(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	s := open(t, "sqlite:"+filepath.Join(dir, "fleet.db"))
	c, other := running(t, s, 1), running(t, s, 2)
	old := take(t, s, c, "server", start)
	log, _ := openLog(t, s, old)
	wantNil(t, log.Append(record("before")))
	_, secret, err := s.CreateEnrolment(ctx, store.Enrolment{Expires: start.Add(time.Hour)}, alice)
	wantNil(t, err)
	copied := filepath.Join(dir, "it's a copy.db")
	wantNil(t, s.Backup(ctx, copied))
	wantErr(t, s.Backup(ctx, copied), store.ErrExists)
	wantNil(t, log.Append(decided(0))) // what the copy does not know
	wantErr(t, store.Restore(ctx, copied, filepath.Join(dir, "fleet.db"), alice), store.ErrExists)

	file := filepath.Join(dir, "restored.db")
	wantNil(t, store.Restore(ctx, copied, file, bob))
	r := open(t, "sqlite:"+file)
	for _, f := range []string{copied, file} {
		if info := must(os.Stat(f))(t); info.Mode().Perm()&0o077 != 0 && filepath.Separator == '/' {
			t.Errorf("%s has mode %v", f, info.Mode())
		}
	}
	if left := must(filepath.Glob(file + ".restoring*"))(t); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	_, err = r.TakeLease(ctx, c.ID, "server", start.Add(time.Hour), time.Minute)
	wantErr(t, err, store.ErrUnresolved)
	// A leader from before, that is brought to the restored database, is fenced off, whatever is done there.
	got := must(r.Campaign(ctx, c.ID))(t)
	if got.Restored != store.Unresolved {
		t.Errorf("campaign %+v", got)
	}
	_, err = r.ResolveRestored(ctx, c.ID, got.Revision, store.Unresolved, bob)
	wantErr(t, err, store.ErrInvalid)
	got = must(r.ResolveRestored(ctx, c.ID, got.Revision, store.Adopting, bob))(t)
	if got.Restored != store.Adopting {
		t.Errorf("campaign %+v", got)
	}
	_, err = r.ResolveRestored(ctx, c.ID, got.Revision, store.NotRestored, bob)
	wantErr(t, err, store.ErrState)
	fresh := take(t, r, c, "server", start)
	if fresh.Epoch <= old.Epoch+1 {
		t.Errorf("epoch %d after %d", fresh.Epoch, old.Epoch)
	}
	_, err = r.RenewLease(ctx, old, start, time.Minute)
	wantErr(t, err, store.ErrFenced)
	if _, recs := openLog(t, r, fresh); !slices.Equal(recs, []string{string(record("before"))}) {
		t.Errorf("log %q", recs)
	}
	vouched := must(r.ResolveRestored(ctx, other.ID, must(r.Campaign(ctx, other.ID))(t).Revision, store.NotRestored, bob))(t)
	if vouched.Restored != store.NotRestored {
		t.Errorf("campaign %+v", vouched)
	}
	take(t, r, vouched, "server", start)
	wantErr(t, r.Enrol(ctx, secret, store.Sighting{Device: "d", Product: "lamp", Hardware: "h"}, deviceKey(t), bob.At), store.ErrDenied)
	if l := must(r.Events(ctx, store.EventFilter{Actor: "bob"}, store.Page{}))(t); len(l.Items) != 3 || l.Items[0].Action != "database.restored" {
		t.Errorf("audit trail %+v", l.Items)
	}

	wantNil(t, os.WriteFile(copied, []byte("no database"), 0o600))
	if err := store.Restore(ctx, copied, filepath.Join(dir, "third.db"), alice); err == nil {
		t.Error("what is no database was restored")
	}
	if left := must(filepath.Glob(filepath.Join(dir, "third*")))(t); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

func TestPostgresIsBackedUpByItsOwnTools(t *testing.T) {
	s := open(t, pgtest.New(t))
	if err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("error %v", err)
	}
	c := running(t, s, 1)
	if n := must(s.MarkRestored(t.Context(), alice))(t); n != 1 {
		t.Errorf("%d campaigns were marked", n)
	}
	_, err := s.TakeLease(t.Context(), c.ID, "a", start, time.Minute)
	wantErr(t, err, store.ErrUnresolved)
}

func TestNewestEvent(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		for i, who := range []string{"anna", "otto", "vera"} {
			wantNil(t, s.AddEvents(t.Context(), store.Event{At: start.Add(time.Duration(i)), Actor: who, Action: "look", Subject: []string{"a", "b", "a"}[i]}))
		}
		if e := must(s.NewestEvent(t.Context(), store.EventFilter{Subject: "a"}))(t); e.Actor != "vera" {
			t.Errorf("the newest about a is by %s", e.Actor)
		}
		if e := must(s.NewestEvent(t.Context(), store.EventFilter{Subject: "b"}))(t); e.Actor != "otto" {
			t.Errorf("the newest about b is by %s", e.Actor)
		}
		if _, err := s.NewestEvent(t.Context(), store.EventFilter{Subject: "c"}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("about nothing: %v", err)
		}
	})
}

func TestTokenIsGood(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		token, _, err := s.CreateToken(t.Context(), "anna", store.RoleViewer, store.By{Actor: "console", At: start})
		wantNil(t, err)
		if !must(s.TokenIsGood(t.Context(), token.ID))(t) || must(s.TokenIsGood(t.Context(), "none"))(t) {
			t.Error("good is who is there")
		}
		wantNil(t, s.RevokeToken(t.Context(), token.ID, store.By{Actor: "console", At: start}))
		if must(s.TokenIsGood(t.Context(), token.ID))(t) {
			t.Error("a revoked token is good")
		}
	})
}

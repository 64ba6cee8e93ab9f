package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestOwner(t *testing.T) {
	o := store.NewOwner("one", "https://192.0.2.1:8443")
	if o.Name() != "one" || o.URL() != "https://192.0.2.1:8443" || o.Actor() != "one https://192.0.2.1:8443" || o == store.NewOwner("one", o.URL()) {
		t.Errorf("%q: %q, %q, %q", o, o.Name(), o.URL(), o.Actor())
	}
	if o := store.NewOwner("one", ""); o.Name() != "one" || o.URL() != "" || o.Actor() != "one" {
		t.Errorf("%q: %q, %q, %q", o, o.Name(), o.URL(), o.Actor())
	}
	if o := store.Owner("one K3J2AAAA"); o.Name() != "one" || o.URL() != "" || o.Actor() != "one" { // of an older version
		t.Errorf("%q: %q, %q, %q", o, o.Name(), o.URL(), o.Actor())
	}
}

// What tells processes apart is in nobody's way: the audit trail has the server's name and URL.
func TestAuditNamesTheServer(t *testing.T) {
	s := open(t, newSQLite(t))
	c := running(t, s, 1)
	take(t, s, c, store.NewOwner("one", "https://192.0.2.1:8443"), start)
	l := must(s.Events(t.Context(), store.EventFilter{Action: "campaign.lead"}, store.Page{}))(t)
	if len(l.Items) != 1 || l.Items[0].Actor != "one https://192.0.2.1:8443" {
		t.Errorf("%+v", l.Items)
	}
}

func TestNotices(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := running(t, s, 1)
		if got := must(s.Notices(ctx, c.ID))(t); len(got) != 0 {
			t.Errorf("notices %v", got)
		}
		old := take(t, s, c, "a", start)
		for n, text := range []string{"first", "second"} {
			wantNil(t, s.SaveNotice(ctx, old, 0, []byte(text)))
			if got := must(s.Notices(ctx, c.ID))(t); len(got) != 1 || string(got[0]) != text {
				t.Errorf("notices %v, want %q", got, text)
			}
			if serials := must(s.NoticeSerials(ctx))(t); len(serials) != 1 || serials[c.ID] != int64(n+1) {
				t.Errorf("serials %v", serials)
			}
		}
		wantNil(t, s.SaveNotice(ctx, old, 1, []byte("of the second wave")))
		take(t, s, c, "b", start.Add(time.Hour))
		wantErr(t, s.SaveNotice(ctx, old, 0, []byte("late")), store.ErrFenced)
		if got := must(s.Notices(ctx, c.ID))(t); len(got) != 2 || string(got[0]) != "second" || string(got[1]) != "of the second wave" {
			t.Errorf("after a leader was fenced off the notices are %v", got)
		}
		if serials := must(s.NoticeSerials(ctx))(t); serials[c.ID] != 3 {
			t.Errorf("serials %v", serials)
		}
		c = must(s.Campaign(ctx, c.ID))(t)
		must(s.EndCampaign(ctx, c.ID, c.Revision, alice))(t)
		if serials := must(s.NoticeSerials(ctx))(t); len(serials) != 0 {
			t.Errorf("notices of a closed campaign: %v", serials)
		}
		if got := must(s.FirstNotice(ctx, c.ID))(t); string(got) != "second" || len(must(s.Notices(ctx, c.ID))(t)) != 1 {
			t.Errorf("what is kept of a closed campaign is %q", got)
		}
	})
}

func TestWaitingIsCountedOverServers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		c := running(t, s, 1)
		count := func(owner store.Owner, devices int, at time.Duration) int {
			return must(s.CountWaiting(t.Context(), c.ID, owner, devices, start.Add(at), 15*time.Second))(t)
		}
		for _, step := range []struct {
			owner   store.Owner
			devices int
			at      time.Duration
			want    int
			why     string
		}{
			{"a", 3, 0, 3, "alone"},
			{"b", 4, time.Second, 7, "both"},
			{"a", 2, 2 * time.Second, 6, "a has less"},
			{"a", 2, 16 * time.Second, 2, "b says nothing any more"},
		} {
			if got := count(step.owner, step.devices, step.at); got != step.want {
				t.Errorf("%s: %d, want %d", step.why, got, step.want)
			}
		}
	})
}

func TestSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		terms := store.Terms{Life: 12 * time.Hour, Idle: 2 * time.Hour, Most: 3}
		find := func(secret string, at time.Duration) (string, error) {
			return s.Session(ctx, secret, start.Add(at), terms.Idle)
		}
		secret := must(s.OpenSession(ctx, "t1", start, terms))(t)
		for at := time.Duration(0); at < terms.Life; at += time.Hour {
			if token := must(find(secret, at))(t); token != "t1" {
				t.Fatalf("after %v the session is of token %q", at, token)
			}
		}
		_, err := find(secret, terms.Life)
		wantErr(t, err, store.ErrDenied)
		_, err = find("guess", 0)
		wantErr(t, err, store.ErrDenied)

		idle := must(s.OpenSession(ctx, "t2", start, terms))(t)
		_, err = find(idle, terms.Idle)
		wantErr(t, err, store.ErrDenied)

		wantNil(t, s.SayInSession(ctx, idle, "It was approved."))
		for _, want := range []string{"It was approved.", ""} {
			if got := must(s.HearInSession(ctx, idle))(t); got != want {
				t.Errorf("the session says %q, want %q", got, want)
			}
		}
		wantNil(t, s.EndSession(ctx, idle))
		_, err = find(idle, 0)
		wantErr(t, err, store.ErrDenied)

		// There is room for three: of the others the one that was used last longest ago ends.
		var secrets []string
		for i := range 4 {
			secrets = append(secrets, must(s.OpenSession(ctx, fmt.Sprint("t", i), start.Add(24*time.Hour+time.Duration(i)*time.Minute), terms))(t))
		}
		for i, secret := range secrets {
			if _, err := find(secret, 24*time.Hour+4*time.Minute); (err == nil) != (i > 0) {
				t.Errorf("session %d: %v", i, err)
			}
		}
	})
}

// A server hears of what another does, and hears again when its connection was cut.
func TestListen(t *testing.T) {
	url := pgtest.New(t)
	s, other := open(t, url), open(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan struct{}, 100), make(chan error)
	go func() { ended <- s.Listen(ctx, func() { heard <- struct{}{} }) }()
	<-heard // it listens
	c := running(t, other, 1)
	<-heard
	lease := take(t, other, c, "a", start)
	for len(heard) > 0 {
		<-heard
	}
	wantNil(t, other.SaveNotice(ctx, lease, 0, []byte("notice")))
	<-heard
	must(other.DB().ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()`))(t)
	<-heard // of the new connection
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	alone := open(t, newSQLite(t))
	wantErr(t, alone.Listen(ctx, func() { t.Error("somebody tells a server that is alone") }), context.Canceled)
}

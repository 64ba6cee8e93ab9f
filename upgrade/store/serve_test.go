package store_test

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A server that is started again on SQLite does not wait for the lease of who it was before, whose writes are refused from
// then on; a second server at the same time is.
func TestServeTakesSQLite(t *testing.T) {
	url := newSQLite(t)
	s := open(t, url)
	release := must(s.Serve(t.Context()))(t)
	c := running(t, s, 1)
	dead := take(t, s, c, store.NewOwner("one", ""), time.Now())
	other := open(t, url) // as normsend token and normsend audit have it
	_, err := other.Serve(t.Context())
	wantErr(t, err, store.ErrServed)
	if l := must(s.Campaign(t.Context(), c.ID))(t).Lease; l.Owner != dead.Owner {
		t.Errorf("who was refused has taken the lease of %s away: %+v", dead.Owner, l)
	}
	wantNil(t, release())
	release = must(other.Serve(t.Context()))(t)
	take(t, other, c, store.NewOwner("one", ""), time.Now())
	_, err = s.RenewLease(t.Context(), dead, time.Now(), time.Minute)
	wantErr(t, err, store.ErrFenced)
	wantNil(t, release())
}

// On PostgreSQL others may well be alive.
func TestServeLeavesLeases(t *testing.T) {
	s := open(t, pgtest.New(t))
	c := running(t, s, 1)
	l := take(t, s, c, "one", time.Now())
	for range 2 {
		must(s.Serve(t.Context()))(t)
	}
	if got := must(s.Campaign(t.Context(), c.ID))(t).Lease; got.Owner != l.Owner {
		t.Errorf("lease %+v", got)
	}
}

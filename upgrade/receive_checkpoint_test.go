package upgrade

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
)

// receiving returns a reception of two images, of which the first is verified and not yet durable.
func receiving(t *testing.T, d *diskfault.Disk) *reception {
	t.Helper()
	f, err := makeFixture(0, 5, 2, false, 1)
	if err != nil {
		t.Fatal(err)
	}
	st, err := openStage(d, f.release, f.signed, f.signedSession, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.close() })
	a := &Agent{fs: d, calls: make(chan func(time.Time), 8), ctx: t.Context()}
	r := &reception{a: a, c: &campaign{round: f.round(0), release: f.release}, s: f.session, stage: st, rejected: map[part]int{}}
	if _, err := st.hashes.WriteAt(f.hashes, 0); err != nil {
		t.Fatal(err)
	}
	for piece, hashes := range st.hashes.known() {
		r.expect(t.Context(), piece, hashes)
	}
	if _, err := st.images[0].put(f.images[0], 0); err != nil || !st.images[0].done() {
		t.Fatalf("the first image is not verified: %v", err)
	}
	return r
}

// TestVerifiedIsDurableEachSecond cuts the power after a second: what was verified before is not fetched again.
func TestVerifiedIsDurableEachSecond(t *testing.T) {
	for seed := range uint64(30) {
		d := diskfault.New(seed)
		r := receiving(t, d)
		before := d.Seen()
		r.tick(t.Context(), time.Now())
		if err := r.saved.end(); err != nil || r.fatal != nil {
			t.Fatal(err, r.fatal)
		}
		ops := d.Seen()
		r.tick(context.Background(), time.Now()) // nothing has come since
		r.saved.end()
		if ops == before || d.Seen() != ops {
			t.Fatalf("%d operations to save it, and %d more", ops-before, d.Seen()-ops)
		}
		d.Restart()
		f, err := makeFixture(0, 5, 2, false, 1)
		if err != nil {
			t.Fatal(err)
		}
		st, err := openStage(d, f.release, f.signed, f.signedSession, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !st.images[0].done() || st.images[1].done() {
			t.Errorf("seed %d: after the power cut %v and %v are verified", seed, st.images[0].done(), st.images[1].done())
		}
		st.close()
	}
}

// TestFailedCheckpointEndsTheReception: syncing once more would prove nothing.
func TestFailedCheckpointEndsTheReception(t *testing.T) {
	d := diskfault.New(1)
	r := receiving(t, d)
	d.Inject(func(op diskfault.Op) diskfault.Fault {
		if op.Kind == diskfault.Sync {
			return diskfault.Failed
		}
		return diskfault.None
	})
	r.tick(t.Context(), time.Now())
	if err := r.saved.end(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("saved: %v, want EIO", err)
	}
	d.Inject(nil)
	r.tick(t.Context(), time.Now())
	if !errors.Is(r.fatal, syscall.EIO) {
		t.Errorf("the reception goes on: %v", r.fatal)
	}
}

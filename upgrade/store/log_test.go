package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var _ upgrade.State = (*store.CampaignState)(nil)

// encode writes a record as package commit does.
func encode(rec map[int]any) []byte {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	b, err := mode.Marshal(rec)
	if err != nil {
		panic(err)
	}
	return b
}

// record returns a record of a coordinator's log that says text: that a device of that name is a duplicate.
func record(text string) []byte {
	return encode(map[int]any{1: 1, 8: map[int]any{1: []string{text}}})
}

// decided returns a record that decides a wave.
func decided(wave uint32) []byte {
	d := commit.Decision{Round: commit.Round{Campaign: campaignID(1), Wave: wave}, Verdict: commit.Commit}
	return encode(map[int]any{1: 1, 5: map[int]any{1: d.Encode()}})
}

func take(t testing.TB, s *store.Store, c store.Campaign, owner store.Owner, now time.Time) store.Lease {
	t.Helper()
	return must(s.TakeLease(t.Context(), c.ID, owner, now, time.Minute))(t)
}

// openLog opens the log under a lease, and returns what is in it.
func openLog(t testing.TB, s *store.Store, l store.Lease) (log commit.Log, recs []string) {
	t.Helper()
	log, err := s.CampaignState(t.Context(), l).OpenLog(func(rec []byte) error { recs = append(recs, string(rec)); return nil })
	wantNil(t, err)
	return log, recs
}

func TestPausedLeaderCannotWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := running(t, s, 1)
		old := take(t, s, c, "old", start)
		oldState := s.CampaignState(ctx, old)
		oldLog, _ := openLog(t, s, old)
		wantNil(t, oldState.Create([]byte("frozen")))
		wantNil(t, oldLog.Append(record("a"), record("b")))
		// It is paused; its lease runs out, and another takes over.
		_, err := s.TakeLease(ctx, c.ID, "new", start.Add(59*time.Second), time.Minute)
		wantErr(t, err, store.ErrLeased)
		fresh := take(t, s, c, "new", start.Add(time.Minute))
		if fresh.Epoch <= old.Epoch {
			t.Errorf("epochs %d and %d", old.Epoch, fresh.Epoch)
		}
		// It wakes up, before the new one has written anything.
		wantErr(t, oldLog.Append(record("c")), store.ErrFenced)
		otherLog, _ := openLog(t, s, fresh)
		wantErr(t, oldLog.Append(decided(0)), store.ErrFenced)
		wantErr(t, oldState.Save([]byte("issue")), store.ErrFenced)
		wantErr(t, oldState.Create([]byte("other")), store.ErrFenced)
		wantErr(t, oldState.DiscardLog(), store.ErrFenced)
		_, err = oldState.OpenLog(func([]byte) error { return nil })
		wantErr(t, err, store.ErrFenced)
		_, err = s.RenewLease(ctx, old, start.Add(61*time.Second), time.Hour)
		wantErr(t, err, store.ErrFenced)
		wantErr(t, s.DropLease(ctx, old), store.ErrFenced)
		if d := must(s.Decisions(ctx, c.ID))(t); len(d) != 0 {
			t.Errorf("decisions %v", d)
		}
		wantNil(t, otherLog.Append(record("d"), decided(0)))
		_, recs := openLog(t, s, fresh)
		if want := []string{string(record("a")), string(record("b")), string(record("d")), string(decided(0))}; !slices.Equal(recs, want) {
			t.Errorf("log %q, want %q", recs, want)
		}
		if d := must(s.Decisions(ctx, c.ID))(t); !slices.Equal(d, []store.WaveDecision{{Wave: 0, Verdict: "COMMIT", Record: 3}}) {
			t.Errorf("decisions %v", d)
		}
	})
}

// The phase of a campaign is what its log says, whoever leads it, and what has paused it by itself is in the audit trail.
func TestPhaseFollowsTheLog(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := running(t, s, 1)
		key := must(manifest.GenerateKey(manifest.RoleServer, nil))(t)
		lead := func(name string) *commit.Coordinator {
			return must(commit.OpenCoordinator(commit.CoordinatorConfig{Key: key, Public: key.Public(),
				Open: s.CampaignState(ctx, take(t, s, c, store.Owner(name), start)).OpenLog}))(t)
		}
		one := lead("a")
		wantNil(t, one.Start(commit.Plan{
			Campaign: c.ID, Manifest: c.Release, Roots: []commit.Digest{{1}}, AllowUnsigned: true, MaxFailures: 1,
			Targets: []commit.Target{{Device: "d1"}, {Device: "d2", Wave: 1}},
			Waves:   []commit.Policy{{Deadline: start.Add(time.Hour)}, {ReadyTimeout: time.Hour}},
		}))
		phase := func(want store.CampaignPhase) {
			t.Helper()
			if got := must(s.Campaign(ctx, c.ID))(t).Phase; got != want {
				t.Errorf("the campaign is %s, want %s", got, want)
			}
		}
		wantNil(t, one.Hold(start))
		phase(store.PhaseRunning)
		wantNil(t, one.Pause(start))
		wantNil(t, one.Pause(start))
		phase(store.PhasePaused)
		wantErr(t, one.Approve(start, 0), commit.ErrPaused)
		wantNil(t, s.DropLease(ctx, must(s.Campaign(ctx, c.ID))(t).Lease))
		two := lead("b") // another takes over what is paused
		wantErr(t, one.Resume(start), store.ErrFenced)
		wantNil(t, two.Resume(start))
		phase(store.PhaseRunning)

		r := commit.Round{Campaign: c.ID, Manifest: c.Release}
		for _, m := range []commit.Message{
			{Kind: commit.VoteMessage, Bytes: commit.Vote{Round: r, Roots: []commit.Digest{{1}}, Device: "d1", Ready: true, Counter: 1}.Encode()},
			{Kind: commit.ReportMessage, Bytes: commit.Report{Round: r, Device: "d1", Outcome: commit.StateFailed, Counter: 2}.Encode()},
		} {
			m.Device, m.Unsigned = "d1", true
			wantNil(t, must(two.Receive(start, m))(t)[0])
		}
		phase(store.PhasePaused)
		e := must(s.NewestEvent(ctx, store.EventFilter{Campaign: c.ID.String(), Action: "campaign.paused"}))(t)
		if e.Actor != "b" || string(e.Detail) != `{"reason":"max-failures"}` || !e.At.Equal(start) {
			t.Errorf("event %+v", e)
		}
		if n := len(must(s.Events(ctx, store.EventFilter{Action: "campaign.paused"}, store.Page{}))(t).Items); n != 1 {
			t.Errorf("%d events, want that of what nobody did", n)
		}
		wantNil(t, two.Abort(start, 1))
		phase(store.PhaseRunning) // there is nothing left to pause
	})
}

// Two logs under one lease, as two goroutines of a broken server would have.
func TestLogHasOneEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		l := take(t, s, running(t, s, 1), "a", start)
		one, _ := openLog(t, s, l)
		two, _ := openLog(t, s, l)
		wantNil(t, one.Append(record("a")))
		wantErr(t, two.Append(record("b")), store.ErrFenced)
		wantErr(t, two.Append(record("c")), store.ErrFenced) // and stays so, whatever happens
		wantNil(t, one.Append())
		wantNil(t, one.Append(record("d")))
		if _, recs := openLog(t, s, l); len(recs) != 2 {
			t.Errorf("log %q", recs)
		}
	})
}

func TestWaveIsDecidedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		l := take(t, s, running(t, s, 1), "a", start)
		log, _ := openLog(t, s, l)
		wantNil(t, log.Append(decided(0), decided(1)))
		wantErr(t, log.Append(record("with it"), decided(1)), commit.ErrDecided)
		wantErr(t, log.Append(record("after it")), commit.ErrDecided)
		log, recs := openLog(t, s, l)
		if len(recs) != 2 {
			t.Errorf("log %q", recs)
		}
		if err := log.Append([]byte("no record")); !errors.Is(err, commit.ErrRecord) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLogThatLostRecordsIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"middle": `DELETE FROM campaign_log WHERE n = 1`,
		"end":    `DELETE FROM campaign_log WHERE n = 2`,
		"all":    `DELETE FROM campaign_log`,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, newSQLite(t))
			l := take(t, s, running(t, s, 1), "a", start)
			log, _ := openLog(t, s, l)
			wantNil(t, log.Append(record("a"), record("b"), record("c")))
			must(s.DB().ExecContext(t.Context(), text))(t)
			if _, err := s.CampaignState(t.Context(), l).OpenLog(func([]byte) error { return nil }); err == nil {
				t.Error("it was opened")
			}
		})
	}
}

// Servers take over from each other at random, and go on writing with what they believe to hold: the log is what those
// wrote that were told so, in that order.
func TestLogIsWhatLeadersWereTold(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		type leader struct {
			lease store.Lease
			log   commit.Log
		}
		for seed := range uint64(3) {
			rng := rand.New(rand.NewPCG(seed, 1))
			c := running(t, s, byte(10+seed))
			now := start
			var leaders []leader
			var want []string
			fenced := 0
			for step := range 80 {
				switch {
				case len(leaders) == 0 || rng.IntN(8) == 0:
					now = now.Add(time.Minute)
					l := leader{lease: take(t, s, c, store.Owner(fmt.Sprint("server-", rng.IntN(3))), now)}
					var recs []string
					l.log, recs = openLog(t, s, l.lease)
					if !slices.Equal(recs, want) {
						t.Fatalf("seed %d, step %d: %d records, want %d", seed, step, len(recs), len(want))
					}
					leaders = append(leaders, l)
				default:
					l := leaders[max(0, len(leaders)-1-rng.IntN(3)*rng.IntN(2))]
					var recs [][]byte
					for i := range 1 + rng.IntN(4) {
						recs = append(recs, record(fmt.Sprint(step, ".", i)))
					}
					err := l.log.Append(recs...)
					if last := leaders[len(leaders)-1]; l == last {
						wantNil(t, err)
						for _, rec := range recs {
							want = append(want, string(rec))
						}
					} else if wantErr(t, err, store.ErrFenced); err != nil {
						fenced++
					}
				}
			}
			if fenced == 0 || len(want) == 0 {
				t.Errorf("seed %d: %d fenced, %d records", seed, fenced, len(want))
			}
		}
	})
}

func TestLongAppendIsOne(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		l := take(t, s, running(t, s, 1), "a", start)
		log, _ := openLog(t, s, l)
		var recs [][]byte
		var want []string
		for i := range 1234 {
			recs, want = append(recs, record(fmt.Sprint(i))), append(want, string(record(fmt.Sprint(i))))
		}
		wantNil(t, log.Append(recs...))
		if _, got := openLog(t, s, l); !slices.Equal(got, want) {
			t.Errorf("%d records came back, want %d", len(got), len(want))
		}
	})
}

// A coordinator of package commit decides by this log, dies, and its successor says the same.
func TestCoordinatorGoesOnElsewhere(t *testing.T) {
	key := must(manifest.GenerateKey(manifest.RoleServer, nil))(t)
	onBoth(t, func(t *testing.T, s *store.Store) {
		c := running(t, s, 1)
		coordinator := func(l store.Lease) *commit.Coordinator {
			return must(commit.OpenCoordinator(commit.CoordinatorConfig{Key: key, Public: key.Public(), Open: s.CampaignState(t.Context(), l).OpenLog}))(t)
		}
		plan := commit.Plan{Campaign: c.ID, Manifest: c.Release, Roots: []commit.Digest{{1}}, Targets: []commit.Target{{Device: "a"}, {Device: "b"}},
			Waves: []commit.Policy{{Deadline: start.Add(time.Hour)}}, AllowUnsigned: true}
		vote := func(device string) commit.Message {
			v := commit.Vote{Round: commit.Round{Campaign: c.ID, Manifest: c.Release}, Roots: plan.Roots, Device: device, Ready: true, Counter: 1}
			return commit.Message{Kind: commit.VoteMessage, Device: device, Unsigned: true, Bytes: v.Encode()}
		}
		old := coordinator(take(t, s, c, "old", start))
		wantNil(t, old.Start(plan))
		must(old.Receive(start, vote("a")))(t)
		fresh := coordinator(take(t, s, c, "new", start.Add(time.Minute)))
		// Each of them would have all votes with the next one. Only the one that leads decides.
		if _, err := old.Receive(start, vote("b")); !errors.Is(err, store.ErrFenced) || !errors.Is(err, commit.ErrLog) {
			t.Errorf("the old leader took a vote: %v", err)
		}
		if a, err := old.Answer(start, c.ID, 0); err == nil && len(a.Signed) > 0 {
			t.Error("the old leader signed a decision")
		}
		must(fresh.Receive(start, vote("b")))(t)
		told := must(fresh.Answer(start, c.ID, 0))(t)
		if len(told.Signed) == 0 {
			t.Fatal("no decision")
		}
		third := coordinator(take(t, s, c, "third", start.Add(2*time.Minute)))
		if again := must(third.Answer(start, c.ID, 0))(t); !reflect.DeepEqual(again, told) {
			t.Errorf("%+v was told, then %+v", told, again)
		}
		if d := must(s.Decisions(t.Context(), c.ID))(t); len(d) != 1 || d[0].Verdict != "COMMIT" {
			t.Errorf("decisions %v", d)
		}
	})
}

func TestStateIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		c := running(t, s, 1)
		st := s.CampaignState(t.Context(), take(t, s, c, "a", start))
		load := func(wantFrozen, wantIssue string) {
			t.Helper()
			frozen, issue, err := st.Load()
			wantNil(t, err)
			if string(frozen) != wantFrozen || (frozen == nil) != (wantFrozen == "") || string(issue) != wantIssue || (issue == nil) != (wantIssue == "") {
				t.Errorf("got %q and %q, want %q and %q", frozen, issue, wantFrozen, wantIssue)
			}
		}
		load("", "")
		wantErr(t, st.Save([]byte("too early")), store.ErrNotFound)
		log := must(st.OpenLog(func([]byte) error { return nil }))(t)
		wantNil(t, log.Append(record("of a start that failed")))
		wantNil(t, st.DiscardLog())
		must(st.OpenLog(func(rec []byte) error { return fmt.Errorf("%q is left", rec) }))(t)
		wantNil(t, st.Create([]byte("frozen")))
		load("frozen", "")
		wantNil(t, st.Save([]byte("first")))
		wantNil(t, st.Save([]byte("second")))
		load("frozen", "second")
		if err := st.Create([]byte("again")); err == nil {
			t.Error("it was made twice")
		}
		wantErr(t, st.DiscardLog(), store.ErrState)
		load("frozen", "second")
	})
}

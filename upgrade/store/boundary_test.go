//go:build !mips && !mipsle && !mips64 && !mips64le

package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A decidingLeader leads a campaign from its start to its end, as often as it takes, and notes what has left the server.
type decidingLeader struct {
	t      testing.TB
	key    *manifest.PrivateKey
	c      store.Campaign
	now    time.Time
	signed []byte          // the decision
	acked  map[string]bool // votes and reports that their device need not tell again
	epoch  int64
}

// Sign signs for the server, and holds that there is one decision.
func (l *decidingLeader) Sign(context string, payload []byte) ([]byte, error) {
	signed, err := l.key.Sign(context, payload)
	if d, err := commit.OpenDecision(signed, l.key.Public()); err == nil {
		if l.signed != nil && !bytes.Equal(l.signed, signed) {
			l.t.Fatalf("two decisions are signed, one of them %s", d.Verdict)
		}
		l.signed = signed
	}
	return signed, err
}

var deviceNames = []string{"d1", "d2", "d3"}

func (l *decidingLeader) plan() commit.Plan {
	p := commit.Plan{Campaign: l.c.ID, Manifest: commit.Digest{1}, Roots: []commit.Digest{{2}}, AllowUnsigned: true,
		Waves: []commit.Policy{{Deadline: start.Add(100 * time.Hour)}}}
	for _, name := range deviceNames {
		p.Targets = append(p.Targets, commit.Target{Device: name})
	}
	return p
}

// life goes on where the one before has ended, and ends with an error where it dies.
func (l *decidingLeader) life(s *store.Store) error {
	l.now = l.now.Add(2 * time.Hour) // the lease of the life before is over
	ctx := l.t.Context()
	lease, err := s.TakeLease(ctx, l.c.ID, store.Owner(fmt.Sprint("server-", l.now.Unix())), l.now, time.Hour)
	if errors.Is(err, store.ErrState) {
		return nil // it had come to its end
	}
	if err != nil {
		return err
	}
	if lease.Epoch <= l.epoch {
		l.t.Fatalf("epoch %d after %d", lease.Epoch, l.epoch)
	}
	l.epoch = lease.Epoch
	state := s.CampaignState(ctx, lease)
	frozen, _, err := state.Load()
	if err != nil {
		return err
	}
	if frozen == nil { // as upgrade.OpenCampaign: a log without it is of a campaign that never came to be
		if err := state.DiscardLog(); err != nil {
			return err
		}
	}
	c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: l, Public: l.key.Public(), Open: state.OpenLog})
	if err != nil {
		return err
	}
	if _, started := c.Plan(); !started {
		if len(l.acked) > 0 {
			l.t.Fatal("votes were acknowledged, and the campaign is not started")
		}
		if err := c.Start(l.plan()); err != nil {
			return err
		}
	}
	if frozen == nil {
		if err := state.Create([]byte("frozen")); err != nil {
			return err
		}
	}
	if err := state.Save([]byte("announced")); err != nil {
		return err
	}
	for name := range l.acked {
		if d, _ := c.Device(name); d.State == commit.StateNone {
			l.t.Fatalf("the vote of %s was acknowledged, and is forgotten", name)
		}
	}
	round := commit.Round{Campaign: l.c.ID, Manifest: commit.Digest{1}}
	for _, name := range deviceNames {
		v := commit.Vote{Round: round, Roots: []commit.Digest{{2}}, Device: name, Ready: true, Counter: 1}
		if err := l.receive(c, commit.Message{Kind: commit.VoteMessage, Device: name, Unsigned: true, Bytes: v.Encode()}); err != nil {
			return err
		}
	}
	a, err := c.Answer(l.now, l.c.ID, 0)
	if err != nil {
		return err
	}
	if a.Verdict == commit.Undecided || !bytes.Equal(a.Signed, l.signed) {
		l.t.Fatalf("devices are told %s, which is not what was signed first", a.Verdict)
	}
	for _, name := range deviceNames {
		if a.Verdict == commit.Abort {
			break
		}
		r := commit.Report{Round: round, Device: name, Outcome: commit.StateCommitted, Counter: 2}
		if err := l.receive(c, commit.Message{Kind: commit.ReportMessage, Device: name, Unsigned: true, Bytes: r.Encode()}); err != nil {
			return err
		}
	}
	if err := c.Close(l.now); err != nil {
		return err
	}
	now, err := s.Campaign(ctx, l.c.ID)
	if err != nil {
		return err
	}
	if _, err := s.EndCampaign(ctx, l.c.ID, now.Revision, alice); err != nil {
		return err
	}
	return s.DropLease(ctx, lease)
}

func (l *decidingLeader) receive(c *commit.Coordinator, m commit.Message) error {
	refused, err := c.Receive(l.now, m)
	if err != nil {
		return err
	}
	if refused[0] != nil && !errors.Is(refused[0], commit.ErrReplay) {
		l.t.Fatalf("%s of %s: %v", m.Kind, m.Device, refused[0])
	}
	l.acked[m.Device] = true
	return nil
}

// TestLeaderDiesAtEachTransaction counts the transactions of a campaign, and then has its leader die before and after each of
// them, at some the next one again: the campaign ends as it would have. If the next leader comes only when the votes are over, it
// ends so if that was decided, and otherwise by ABORT.
func TestLeaderDiesAtEachTransaction(t *testing.T) {
	url := newSQLite(t)
	s := open(t, url)
	template := running(t, s, 1)
	key := must(manifest.GenerateKey(manifest.RoleServer, nil))(t)
	// end leads a campaign whose leader dies at boundaries, counted from 1, and returns how many there were in the last life, and
	// how it ended.
	end := func(t *testing.T, late time.Duration, at ...int) (boundaries int, verdict string) {
		file := filepath.Join(t.TempDir(), "fleet.db")
		wantNil(t, s.Backup(t.Context(), file))
		l := &decidingLeader{t: t, key: key, c: template, now: start, acked: map[string]bool{}}
		for life := 0; ; life++ {
			s := open(t, "sqlite:"+file)
			n := 0
			wantNil(t, s.Die(file, func(bool) bool { n++; return life < len(at) && n == at[life] }))
			err := l.life(s)
			if life < len(at) && n >= at[life] {
				if err == nil {
					t.Fatalf("life %d did not end", life)
				}
				l.now = l.now.Add(late)
				continue
			}
			wantNil(t, err)
			got := must(s.Campaign(t.Context(), template.ID))(t)
			decisions := must(s.Decisions(t.Context(), template.ID))(t)
			d, err := commit.OpenDecision(l.signed, key.Public())
			if err != nil || got.Phase != store.PhaseClosed || len(decisions) != 1 || decisions[0].Verdict != d.Verdict.String() {
				t.Fatalf("it ended as %s, with the decisions %v; signed is %s, %v", got.Phase, decisions, d.Verdict, err)
			}
			return n, decisions[0].Verdict
		}
	}
	total, verdict := end(t, 0)
	if total < 20 || verdict != "COMMIT" {
		t.Fatalf("%d boundaries, %s", total, verdict)
	}
	seen := map[string]int{}
	for n := 1; n <= total; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			if n%3 == 0 || n == total {
				if _, verdict := end(t, 0, n, n/2+1); verdict != "COMMIT" {
					t.Errorf("it ended by %s", verdict)
				}
			}
			_, verdict := end(t, 200*time.Hour, n)
			seen[verdict]++
		})
	}
	if seen["COMMIT"] < 5 || seen["ABORT"] < 5 {
		t.Errorf("late leaders ended by %v", seen)
	}
}

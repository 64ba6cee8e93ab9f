package upgrade_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
)

// hearDecision listens to the group and nothing else, until the decision object is complete.
func hearDecision(ctx context.Context, l *lan, id norm.TransportID) ([]byte, error) {
	conn, err := l.open()
	if err != nil {
		return nil, err
	}
	sinks := map[norm.Handle]memory{}
	rx, err := session.Open(session.Config{Conn: conn, Receive: &norm.ReceiverConfig{Node: 99, Group: campaignGroup, Join: norm.JoinAll, Seed: 99},
		Offer: func(h norm.Handle, o norm.ReceivedObject) session.Sink {
			if o.ID != id {
				return nil
			}
			sinks[h] = make(memory, o.Size)
			return sinks[h]
		}})
	if err != nil {
		return nil, err
	}
	defer rx.Close()
	for {
		e, err := rx.Next(ctx)
		if err != nil {
			return nil, err
		}
		if e.Kind == norm.ObjectComplete {
			return sinks[e.Object], nil
		}
	}
}

func TestDecisionIsToldToTheGroup(t *testing.T) {
	for _, tt := range []struct {
		verdict commit.Verdict
		when    time.Duration // of ABORT
	}{
		{commit.Commit, 0},
		{commit.Abort, 500 * time.Millisecond},  // before sending
		{commit.Abort, 2500 * time.Millisecond}, // in the middle of it
		{commit.Abort, time.Minute},             // when everybody is READY
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newCampaignRig(t, 2, 0.2)
			r.cfg.Rate = 2e6
			devices := r.devices
			if tt.verdict == commit.Abort {
				r.cfg.Commit = upgrade.CommitAsk
			} else {
				// The campaign stays for a device that may come yet, so the group has the time to ask for what it lost.
				r.cfg.Quorum, devices = 50, devices[:1]
			}
			c := r.open()
			if tt.verdict == commit.Abort {
				time.AfterFunc(tt.when, func() {
					if err := c.Abort(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			defer r.start(devices...)()
			var heard []byte
			var wg sync.WaitGroup
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				var err error
				if heard, err = hearDecision(ctx, r.lan, 2); err != nil {
					t.Error(err)
				}
			})
			got, err := c.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			d, err := commit.OpenDecision(heard, serverKey.Public())
			if err != nil || d.Verdict != tt.verdict || got.Verdict != tt.verdict || d.Campaign != c.ID() {
				t.Errorf("the group heard %s, the campaign ended with %s; want %s: %v", d.Verdict, got.Verdict, tt.verdict, err)
			}
		})
	}
}

// When the sender's socket dies, devices get the rest from the rendezvous.
func TestCampaignOutlivesItsSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0.05)
		r.cfg.Rate = 2e6
		conn, err := r.lan.open()
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.Conn = func() (session.Conn, error) { return conn, nil }
		var wg sync.WaitGroup
		for _, d := range r.devices {
			a := newAgentRig(t, r, d.name)
			wg.Go(func() {
				if err := a.run(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		time.AfterFunc(2500*time.Millisecond, func() { conn.Close() })
		got, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		if !r.saw(upgrade.EventTrouble, "", "") {
			t.Error("nobody was told that multicast has failed")
		}
		wg.Wait()
	})
}

func TestImageThatCannotBeReadIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		r.cfg.ReadyTimeout = 5 * time.Minute
		c := r.open()
		if err := os.Truncate(r.cfg.Images[0], 1000); err != nil {
			t.Fatal(err)
		}
		got, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Abort, commit.ReasonDeadline, upgrade.ExitTimedOut)
		if !r.saw(upgrade.EventTrouble, "", "") {
			t.Error("nobody was told")
		}
	})
}

// A server whose state was restored from a copy made before the decision adopts what a device shows, and decides
// nothing itself.
func TestRestoredServerAdoptsTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		first := r.open()
		if err := os.CopyFS(r.cfg.State+".copy", os.DirFS(r.cfg.State)); err != nil {
			t.Fatal(err)
		}
		first.Close()
		r.devices[1].pause = func(p *commit.Participant) bool { return p.Status().Committed } // it heard COMMIT and did nothing yet
		got := r.run()
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitLaggards)

		r.cfg.State += ".copy"
		r.cfg.Restored, r.cfg.ReadyTimeout = true, 0
		c := r.open()
		defer r.background(c)()
		client := r.devices[0].client
		time.Sleep(2 * time.Hour) // past the deadline
		if _, err := client.Decision(t.Context(), c.ID().String(), 0); err == nil {
			t.Error("a restored server decided")
		}
		log := r.devices[1]
		p, err := commit.OpenParticipant(time.Now(), commit.ParticipantConfig{Device: "d1", Key: log.key, Server: log.server, Boot: "9", Open: log.openLog})
		if err != nil {
			t.Fatal(err)
		}
		shown, ok := p.Decision(p.Status().Current.Round)
		if !ok {
			t.Fatal("the device has no decision")
		}
		if err := client.Adopt(t.Context(), c.ID().String(), 0, append(bytes.Clone(shown), 0)); err == nil {
			t.Error("a forged decision was adopted")
		}
		if err := client.Adopt(t.Context(), c.ID().String(), 0, shown); err != nil {
			t.Fatal(err)
		}
		if again, err := client.Decision(t.Context(), c.ID().String(), 0); err != nil || !bytes.Equal(again, shown) {
			t.Errorf("after that it tells another decision, or none: %v", err)
		}
	})
}

func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		r.cfg.Interface = "lo"
		c := r.open()
		defer c.Close()
		for _, want := range []string{c.ID().String(), "239.255.7.7:6003", "interface lo", "TTL 1", "50 Mbit/s", "http://127.0.0.1:8443", r.cfg.State} {
			if s := c.Describe(); !strings.Contains(s, want) || strings.Contains(s, "\n") {
				t.Errorf("%q is not one line with %q", s, want)
			}
		}
	})
}

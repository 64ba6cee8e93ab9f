package upgrade_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
)

// An agentRig is a real agent on the network of a campaignRig.
type agentRig struct {
	cfg upgrade.AgentConfig

	mu     sync.Mutex // guards all below
	events []upgrade.Event
}

func newAgentRig(t *testing.T, r *campaignRig, name string) *agentRig {
	a := &agentRig{}
	a.cfg = upgrade.AgentConfig{
		Server: serverURL, Transport: &http.Transport{DialContext: r.lan.dial, DisableKeepAlives: true},
		Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}, TrustServer: serverKey.Public(),
		Product: "phone", Hardware: "rev-a", Device: name, Key: testKey(manifest.RoleDevice, name),
		Dir: filepath.Join(t.TempDir(), name), Boot: "boot-1", Once: true,
		Conn:  func(*manifest.Session) (session.Conn, error) { return r.lan.open() },
		Event: func(e upgrade.Event) { a.mu.Lock(); defer a.mu.Unlock(); a.events = append(a.events, e) },
	}
	return a
}

func (a *agentRig) run(ctx context.Context) error {
	agent, err := upgrade.NewAgent(a.cfg)
	if err != nil {
		return err
	}
	return agent.Run(ctx)
}

// kinds returns what the agent told, less its progress.
func (a *agentRig) kinds() (kinds []upgrade.EventKind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Kind != upgrade.EventProgress && e.Kind != upgrade.EventTrouble {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func TestAgentsBringTheReleaseToCurrent(t *testing.T) {
	for _, expect := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newCampaignRig(t, 3, 0.05)
			if expect {
				r.cfg.Targets, r.cfg.Expect = nil, 3
			}
			var agents []*agentRig
			var wg sync.WaitGroup
			for _, d := range r.devices {
				a := newAgentRig(t, r, d.name)
				agents = append(agents, a)
				wg.Go(func() {
					if err := a.run(t.Context()); err != nil {
						t.Errorf("%s: %v", d.name, err)
					}
				})
			}
			got, err := r.open().Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
			wg.Wait()
			want, err := os.ReadFile(r.cfg.Images[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range agents {
				b, err := os.ReadFile(filepath.Join(a.cfg.Dir, "current", "fw.bin"))
				if err != nil || sha256.Sum256(b) != sha256.Sum256(want) {
					t.Errorf("%s: current is another image, or none: %v", a.cfg.Device, err)
				}
				kinds := a.kinds()
				for _, kind := range []upgrade.EventKind{upgrade.EventAnnounced, upgrade.EventStaged, upgrade.EventReady, upgrade.EventActivated} {
					if !slices.Contains(kinds, kind) {
						t.Errorf("%s told %v, without %s", a.cfg.Device, kinds, kind)
					}
				}
			}
		})
	}
}

func TestAgentOfAnotherProductIsRefusedWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.Quorum = 50
		var wg sync.WaitGroup
		for i, d := range r.devices {
			a := newAgentRig(t, r, d.name)
			if i == 1 {
				a.cfg.Hardware = "rev-b"
			}
			wg.Go(func() {
				err := a.run(t.Context())
				no, ok := errors.AsType[*upgrade.NotInstalledError](err)
				if refused := ok && no.Reason == commit.ReasonHardware; refused != (i == 1) {
					t.Errorf("%s: %v", d.name, err)
				}
			})
		}
		got, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitLaggards)
		if len(got.Laggards) != 1 || got.Laggards[0].State != commit.StateRefused || got.Laggards[0].Reason != commit.ReasonHardware {
			t.Errorf("laggards %+v, want d1 for its hardware", got.Laggards)
		}
		wg.Wait()
	})
}

// Everybody fails once: the server while the agents receive, and each agent when it has voted.
func TestAgentsAndServerRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 3, 0.05)
		r.cfg.Rate, r.cfg.Commit = 2e6, upgrade.CommitAsk
		var wg sync.WaitGroup
		for _, d := range r.devices {
			a := newAgentRig(t, r, d.name)
			life, kill := context.WithCancel(t.Context())
			defer kill()
			event := a.cfg.Event
			a.cfg.Event = func(e upgrade.Event) {
				event(e)
				if e.Kind == upgrade.EventReady {
					time.AfterFunc(2*time.Second, kill)
				}
			}
			wg.Go(func() {
				if err := a.run(life); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: first life: %v", d.name, err)
				}
				a.cfg.Event = event
				if err := a.run(t.Context()); err != nil {
					t.Errorf("%s: %v", d.name, err)
				}
			})
		}
		ctx, kill := context.WithTimeout(t.Context(), 2800*time.Millisecond)
		defer kill()
		if _, err := r.open().Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("first life of the server: %v", err)
		}
		c := r.open()
		time.AfterFunc(2*time.Minute, func() {
			if err := c.Approve(t.Context()); err != nil {
				t.Error(err)
			}
		})
		got, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		wg.Wait()
	})
}

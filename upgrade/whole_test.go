package upgrade_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// An wholeRig is a campaign with real agents on a network in memory.
type wholeRig struct {
	*campaignRig
	agents []*testAgent
}

// A testAgent is an agent with its directory, over several lives.
type testAgent struct {
	cfg upgrade.AgentConfig

	mu    sync.Mutex
	steps []upgrade.Step // hooks called
	fail  map[upgrade.Step]error
	kinds []upgrade.EventKind

	fetched int64 // bytes that came

	ready   chan struct{} // closed when the agent has voted READY
	patient func()        // if set, called before each hook
}

func (a *testAgent) Has(upgrade.Step) bool { return true }

func (a *testAgent) Run(_ context.Context, step upgrade.Step, c upgrade.HookContext) error {
	if a.patient != nil {
		a.patient()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps = append(a.steps, step)
	return a.fail[step]
}

func (a *testAgent) event(e upgrade.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kinds = append(a.kinds, e.Kind)
	a.fetched = max(a.fetched, e.Fetched)
	if e.Kind == upgrade.EventReady && !isClosed(a.ready) {
		close(a.ready)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (a *testAgent) saw(kind upgrade.EventKind) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.kinds, kind)
}

func newWholeRig(t *testing.T, agents int, loss float64) *wholeRig {
	r := &wholeRig{campaignRig: newCampaignRig(t, 0, loss)}
	r.cfg.Auth = "" // on, as all agents have keys
	for i := range agents {
		name := fmt.Sprint("d", i)
		a := &testAgent{fail: map[upgrade.Step]error{}, ready: make(chan struct{})}
		a.cfg = upgrade.AgentConfig{
			Server: serverURL, Transport: &http.Transport{DialContext: r.lan.dial, DisableKeepAlives: true},
			Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}, TrustServer: serverKey.Public(),
			Product: "phone", Hardware: "rev-a", Device: name, Key: testKey(manifest.RoleDevice, name),
			Dir: t.TempDir(), Boot: "1", Hooks: a, Event: a.event,
			Conn: func(*manifest.Session) (session.Conn, error) { return r.lan.open() },
		}
		r.agents = append(r.agents, a)
		r.cfg.Targets = append(r.cfg.Targets, commit.Target{Device: name, Key: a.cfg.Key.Public()})
	}
	return r
}

// start lets an agent run until stop is called.
func (r *wholeRig) start(a *testAgent) (stop func()) {
	r.t.Helper()
	agent, err := upgrade.NewAgent(a.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := agent.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			r.t.Errorf("%s: %v", a.cfg.Device, err)
		}
	}()
	return func() { cancel(); <-done }
}

// all runs the campaign with all agents.
func (r *wholeRig) all() upgrade.Result {
	r.t.Helper()
	for _, a := range r.agents {
		defer r.start(a)()
	}
	got, err := r.open().Run(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *wholeRig) wantSteps(want ...[]upgrade.Step) {
	r.t.Helper()
	for i, a := range r.agents {
		if !slices.Equal(a.steps, want[i]) {
			r.t.Errorf("%s: hooks %v, want %v", a.cfg.Device, a.steps, want[i])
		}
	}
}

var wholeWay = []upgrade.Step{upgrade.StepVerify, upgrade.StepActivate, upgrade.StepHealth}

func TestWholeUpgradeAtFivePercentLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWholeRig(t, 4, 0.05)
		r.wantVerdict(r.all(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantSteps(wholeWay, wholeWay, wholeWay, wholeWay)
	})
}

func TestOneFailingVerifyHookAbortsUnderPolicyAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWholeRig(t, 4, 0.05)
		r.agents[2].fail[upgrade.StepVerify] = errors.New("not here")
		r.agents[2].patient = func() { // its NO ends the campaign: not before the others have everything
			for _, i := range []int{0, 1, 3} {
				<-r.agents[i].ready
			}
		}
		r.wantVerdict(r.all(), commit.Abort, commit.ReasonQuorum, upgrade.ExitFailed)
		only := []upgrade.Step{upgrade.StepVerify}
		r.wantSteps(only, only, only, only)

		// The next try needs nothing of the image from the network: the leaves are there.
		r.agents[2].fail, r.agents[2].patient = nil, nil
		for _, a := range r.agents {
			a.steps, a.kinds = nil, nil
		}
		r.cfg.State = filepath.Join(t.TempDir(), "state")
		r.lan.setLoss(1)
		r.wantVerdict(r.all(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantSteps(wholeWay, wholeWay, wholeWay, wholeWay)
		for _, a := range r.agents {
			if a.saw(upgrade.EventFallback) {
				t.Errorf("%s fetched by HTTP what it had", a.cfg.Device)
			}
		}
	})
}

func TestQuorumActivatesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWholeRig(t, 4, 0.05)
		r.cfg.Quorum = 75
		r.agents[1].fail[upgrade.StepVerify] = errors.New("not here")
		r.wantVerdict(r.all(), commit.Commit, commit.ReasonNone, upgrade.ExitLaggards)
		r.wantSteps(wholeWay, []upgrade.Step{upgrade.StepVerify}, wholeWay, wholeWay)
	})
}

func TestAgentAndServerMayStopAnywhere(t *testing.T) {
	for ms := 0; ms < 5000; ms += 250 {
		synctest.Test(t, func(t *testing.T) {
			r := newWholeRig(t, 2, 0.05)
			for _, a := range r.agents {
				a.cfg.Hooks = nil
			}
			stops := []func(){r.start(r.agents[0]), r.start(r.agents[1])}
			c := r.open()
			stop := r.background(c)
			time.Sleep(time.Duration(ms) * time.Millisecond)
			stop()
			stops[0]()
			time.Sleep(time.Second)
			stops[0] = r.start(r.agents[0])
			got, err := r.open().Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
			for i, a := range r.agents {
				stops[i]()
				image, err := os.ReadFile(filepath.Join(a.cfg.Dir, "current", "fw.bin"))
				if want, _ := os.ReadFile(r.cfg.Images[0]); err != nil || !bytes.Equal(image, want) {
					t.Errorf("stopped after %d ms: %s does not have the image: %v", ms, a.cfg.Device, err)
				}
			}
		})
	}
}

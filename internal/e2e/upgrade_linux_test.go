package e2e

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
)

const fleetImage = 8 << 20

func TestUpgradeReachesAllDevices(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 4, imageSize)
	f.join()
	server := f.serve()
	server.wantExit(0)
	for _, d := range f.devices {
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
		if _, n := d.calls(); n != 1 {
			t.Errorf("%s: %d activation ids, want 1", d.name, n)
		}
		if s := d.status(); s["state"] != "committed" || s["version"] != "2.1" {
			t.Errorf("%s: %v", d.name, s)
		}
		if d.host.Lost() < imageSize/1400/50 {
			t.Errorf("%s lost %d datagrams only", d.name, d.host.Lost())
		}
	}
	if n := len(server.all("decision")); n != 1 {
		t.Errorf("%d decisions, want 1", n)
	}
}

// Devices behind a router hear a server that sends far enough, and have losses repaired by asking it, not the group.
func TestUpgradeBehindARouter(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	near, far := netns.Routed(t, 1, 3, fleetGroup.Addr())
	f := newFleetOn(t, near.Host(0), far.Hosts(), fleetImage)
	for _, d := range f.devices {
		d.args = append(d.args, "--unicast-feedback")
	}
	f.join()
	server := f.serve("--ttl", "4")
	server.wantExit(0)
	for _, d := range f.devices {
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
		if n := len(d.all("fallback")); n != 0 {
			t.Errorf("%s fetched by HTTP what could be repaired", d.name)
		}
	}
}

// One verify hook says no where all are asked: nobody activates, and what is staged serves the next try only.
func TestUpgradeAbortsWhenOneDeviceRefuses(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 4, fleetImage)
	f.devices[2].failLast("verify")
	f.join()
	f.serve().wantExit(1)
	for i, d := range f.devices {
		d.wantExit(1)
		d.wantCalls("verify")
		d.awaitEvent([]string{"aborted", "aborted", "refused", "aborted"}[i])
	}
	// Agents that are started again have nothing to activate.
	f.devices[2].fail("verify", false)
	f.sign()
	f.state = f.path("second")
	f.join()
	server := f.serve()
	for _, d := range f.devices {
		server.await(d.name+" staged", deviceIn(d.name, "staged"))
	}
	if events := server.all("campaign"); events[len(events)-1]["state"] == "sent" {
		t.Error("devices waited for the image to be sent, all leaves of which they had")
	}
	server.wantExit(0)
	for _, d := range f.devices {
		d.wantExit(0)
		d.wantCalls("verify", "verify", "activate", "health")
	}
}

func TestUpgradeCommitsOnTheQuorum(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 4, fleetImage)
	f.devices[0].fail("verify", true)
	f.join()
	server := f.serve("--quorum", "75")
	server.wantExit(4)
	for i, d := range f.devices {
		if i == 0 {
			d.wantExit(1)
			d.wantCalls("verify")
			continue
		}
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
	}
}

// HOLD comes between COMMIT and the time at which devices may activate, and lasts beyond it.
func TestUpgradeOnHoldWaits(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 4, fleetImage)
	f.join()
	server := f.serve("--commit", "ask")
	for _, d := range f.devices {
		server.await(d.name+" ready", deviceIn(d.name, "ready"))
	}
	f.normsend("hold", "--state", f.state)
	f.normsend("commit", "--state", f.state)
	for _, d := range f.devices {
		d.awaitEvent("held")
		d.wantCalls("verify")
	}
	f.normsend("resume", "--state", f.state)
	server.wantExit(0)
	for _, d := range f.devices {
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
	}
}

func TestDeviceCutOffAfterReadyGetsTheDecision(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 4, fleetImage)
	f.join()
	server := f.serve("--commit", "ask")
	for _, d := range f.devices {
		server.await(d.name+" ready", deviceIn(d.name, "ready"))
	}
	lost := f.devices[3]
	lost.host.Disconnect()
	f.normsend("commit", "--state", f.state)
	for _, d := range f.devices[:3] {
		server.await(d.name+" committed", deviceIn(d.name, "committed"))
	}
	lost.awaitEvent("trouble") // it has noticed
	lost.wantCalls("verify")
	if s := lost.status(); s["state"] != "ready" {
		t.Errorf("cut off: %v, want ready", s)
	}
	lost.host.Connect()
	server.wantExit(0)
	for _, d := range f.devices {
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
	}
}

// The server loses all it knew of a campaign. Its device waits: it is not told ABORT by anyone who does not know.
func TestDeviceOfALostCampaignWaits(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, fleetImage)
	d := f.devices[0]
	f.join()
	server := f.serve("--commit", "ask")
	for _, d := range f.devices {
		server.await(d.name+" ready", deviceIn(d.name, "ready"))
	}
	f.devices[1].kill()
	server.kill()
	if err := os.RemoveAll(f.state); err != nil {
		t.Fatal(err)
	}
	// The campaign that is there now is for another device.
	f.sign()
	list, err := os.ReadFile(f.path("keys/devices"))
	if err != nil {
		t.Fatal(err)
	}
	others := slices.DeleteFunc(strings.SplitAfter(string(list), "\n"), func(line string) bool { return strings.HasPrefix(line, d.name+" ") })
	if err := os.WriteFile(f.path("keys/devices"), []byte(strings.Join(others, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	next := f.serve()
	f.devices[1].join()
	next.wantExit(0)
	f.devices[1].wantExit(0)
	if s := d.status(); s["state"] != "ready" || s["running"] != true {
		t.Errorf("%v, want ready and running", s)
	}
	d.wantCalls("verify")
	if n := len(d.all("decision")); n != 0 {
		t.Errorf("it was told %d decisions", n)
	}
}

// An agent is killed at ten moments of a campaign; then so is the server of another one. Both end as if nothing had been.
func TestKilledAgentAndServerEndTheSame(t *testing.T) {
	t.Parallel()
	t.Run("agent", func(t *testing.T) {
		f := newFleet(t, 3, fleetImage)
		f.join()
		server := f.serve("--commit", "ask")
		d := f.devices[0]
		killEachAfter(10, func() *process { return d.process }, d.join)
		for _, d := range f.devices {
			server.await(d.name+" ready", deviceIn(d.name, "ready"))
		}
		f.normsend("commit", "--state", f.state)
		killEachAfter(3, func() *process { return d.process }, d.join)
		server.wantExit(0)
		f.wantOneActivationEach()
	})
	t.Run("server", func(t *testing.T) {
		f := newFleet(t, 3, fleetImage)
		f.join()
		server := f.serve()
		server.awaitEvent("campaign")
		killEachAfter(10, func() *process { return server }, func() { server = f.resume() })
		server.wantExit(0)
		f.wantOneActivationEach()
	})
}

// killEachAfter kills a process n times, each time after having let it live a little longer, unless it ends by itself.
func killEachAfter(n int, p func() *process, again func()) {
	for life := range n {
		select {
		case <-p().done:
			return
		case <-time.After(time.Duration(50+rand.IntN(100*(life+1))) * time.Millisecond):
		}
		p().kill()
		again()
	}
}

func (f *fleet) wantOneActivationEach() {
	f.t.Helper()
	for _, d := range f.devices {
		d.wantExit(0)
		if s := d.status(); s["state"] != "committed" {
			f.t.Errorf("%s: %v", d.name, s)
		}
		steps, activations := d.calls()
		if activations != 1 || !slices.Contains(steps, "activate") || slices.Contains(steps, "rollback") {
			f.t.Errorf("%s: %d activations, hooks %v", d.name, activations, steps)
		}
	}
}

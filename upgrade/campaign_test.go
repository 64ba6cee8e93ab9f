package upgrade_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

func testKey(role manifest.Role, name string) *manifest.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	k, err := manifest.GenerateKey(role, bytes.NewReader(seed[:]))
	if err != nil {
		panic(err)
	}
	return k
}

var (
	serverKey     = testKey(manifest.RoleServer, "server")
	releaseKey    = testKey(manifest.RoleRelease, "release")
	campaignGroup = netip.MustParseAddrPort("239.255.7.7:6003")
)

// A campaignRig is a campaign and its devices on a network in memory. It has to be made in a synctest bubble.
type campaignRig struct {
	t       *testing.T
	lan     *lan
	cfg     upgrade.CampaignConfig
	devices []*fakeDevice
	deaths  int // power cuts of the server

	mu     sync.Mutex // guards all below
	events []upgrade.Event
}

// newCampaignRig makes devices named d0, d1 … with keys of their own, all of them targets, and an image.
func newCampaignRig(t *testing.T, devices int, loss float64) *campaignRig {
	t.Helper()
	r := &campaignRig{t: t, lan: newLAN(uint64(devices), loss)}
	image := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{1}).Read(image)
	r.cfg = upgrade.CampaignConfig{
		Key: serverKey, State: filepath.Join(t.TempDir(), "state"), Group: campaignGroup, Commit: upgrade.CommitAuto,
		Listen: "127.0.0.1:8443", Rate: 50e6, GRTT: 20 * time.Millisecond, GroupSize: 10,
		Conn: r.lan.open, Bind: r.lan.bind, Auth: upgrade.AuthOff, // as fake devices have no group key
		Event: func(e upgrade.Event) { r.mu.Lock(); defer r.mu.Unlock(); r.events = append(r.events, e) },
	}
	r.cfg.Manifest, r.cfg.Images = signRelease(t, image, nil)
	for i := range devices {
		d := newFakeDevice(t, r.lan, "d"+string(rune('0'+i)), true)
		r.devices = append(r.devices, d)
		r.cfg.Targets = append(r.cfg.Targets, d.target())
	}
	return r
}

// signRelease writes an image and signs its manifest.
func signRelease(t testing.TB, image []byte, change func(*manifest.Manifest)) (signed []byte, paths []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fw.bin")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	im, _, err := manifest.NewImage("fw.bin", bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	m := &manifest.Manifest{Product: "phone", Hardware: []string{"rev-a"}, Version: "2.0", Sequence: 2, Created: now,
		Expires: now.AddDate(0, 1, 0), Images: []manifest.Image{im}}
	if change != nil {
		change(m)
	}
	if signed, err = m.Sign(releaseKey); err != nil {
		t.Fatal(err)
	}
	return signed, []string{path}
}

// start lets the devices run until the test ends or stop is called.
func (r *campaignRig) start(devices ...*fakeDevice) (stop func()) {
	return r.startAfter(0, devices...)
}

func (r *campaignRig) startAfter(delay time.Duration, devices ...*fakeDevice) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	for _, d := range devices {
		wg.Go(func() {
			select {
			case <-time.After(delay):
				d.run(ctx)
			case <-ctx.Done():
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func (r *campaignRig) open() *upgrade.Campaign {
	r.t.Helper()
	c, err := upgrade.OpenCampaign(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// run runs the campaign with all devices to its end.
func (r *campaignRig) run() upgrade.Result {
	r.t.Helper()
	result := r.runs(r.open())
	r.check()
	return result
}

// runs runs a campaign that is open, with all devices, to its end.
func (r *campaignRig) runs(c *upgrade.Campaign) upgrade.Result {
	r.t.Helper()
	defer r.start(r.devices...)()
	result, err := c.Run(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// background runs a campaign until stop is called.
func (r *campaignRig) background(c *upgrade.Campaign) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

// check reports what devices complain of.
func (r *campaignRig) check() {
	r.t.Helper()
	for _, d := range r.devices {
		for _, err := range d.troubles() {
			r.t.Errorf("%s: %v", d.name, err)
		}
	}
}

// saw reports whether there was an event of the kind and state.
func (r *campaignRig) saw(kind upgrade.EventKind, state commit.State, reason commit.Reason) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind && e.State == state && e.Reason == reason {
			return true
		}
	}
	return false
}

func (r *campaignRig) wantVerdict(got upgrade.Result, verdict commit.Verdict, reason commit.Reason, exit int) {
	r.t.Helper()
	if got.Verdict != verdict || got.Reason != reason || got.ExitStatus() != exit {
		r.t.Errorf("ended with %s %q, exit status %d; want %s %q, %d\n%+v", got.Verdict, got.Reason, got.ExitStatus(), verdict, reason, exit, got.Devices)
	}
}

// wantActivations checks how often each device ran its activate hook.
func (r *campaignRig) wantActivations(want ...int) {
	r.t.Helper()
	for i, d := range r.devices {
		d.mu.Lock()
		if n := len(d.activations); n != want[i] {
			r.t.Errorf("%s was activated %d times, want %d", d.name, n, want[i])
		}
		d.mu.Unlock()
	}
}

func TestCampaignCommitsWhenAllAreReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 3, 0.05)
		got := r.run()
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantActivations(1, 1, 1)
		for _, d := range r.devices {
			if !r.saw(upgrade.EventDevice, commit.StateCommitted, commit.ReasonNone) || !slices.Contains(d.verdicts(), commit.Commit) {
				t.Errorf("%s saw %v", d.name, d.verdicts())
			}
		}
	})
}

package upgrade_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/seal"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A sealedRig is a campaign of a sealed release, whose agents know what to do with one.
type sealedRig struct {
	*wholeRig
	plain []byte
	group *manifest.Identity
}

func newIdentity(t *testing.T) *manifest.Identity {
	k, err := manifest.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newSealedRig makes agents of which none has a key.
func newSealedRig(t *testing.T, agents int, loss float64) *sealedRig {
	r := &sealedRig{wholeRig: newWholeRig(t, agents, loss), group: newIdentity(t)}
	var err error
	if r.plain, err = os.ReadFile(r.cfg.Images[0]); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	key, sealed, err := seal.Encrypt(&b, bytes.NewReader(r.plain))
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.FileKeys = []manifest.FileKey{key}
	r.cfg.Manifest, r.cfg.Images = signRelease(t, b.Bytes(), func(m *manifest.Manifest) { m.Images[0].Sealed = sealed })
	for _, a := range r.agents {
		a.cfg.Unsealer, a.cfg.Hooks = seal.Unsealer{}, nil
	}
	return r
}

// wantImage checks who has the plaintext in DIR/current.
func (r *sealedRig) wantImage(agents ...*testAgent) {
	r.t.Helper()
	for _, a := range r.agents {
		image, _ := os.ReadFile(filepath.Join(a.cfg.Dir, "current", "fw.bin"))
		if has := bytes.Equal(image, r.plain); has != slices.Contains(agents, a) {
			r.t.Errorf("%s: %d bytes in current; the image: %v", a.cfg.Device, len(image), has)
		}
	}
}

// TestSealedCampaign: devices of two groups and one that is given its own key commit, at losses; one without refuses, at once
// and as the server is told.
func TestSealedCampaign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSealedRig(t, 4, 0.05)
		second := newIdentity(t)
		r.cfg.SealTo = []manifest.Recipient{r.group.Recipient(), second.Recipient()}
		r.cfg.Quorum = 75
		for i, k := range []*manifest.Identity{r.group, r.group, second, newIdentity(t)} {
			r.agents[i].cfg.SealKeys = []*manifest.Identity{k}
		}
		r.wantVerdict(r.all(), commit.Commit, commit.ReasonNone, upgrade.ExitLaggards)
		r.wantImage(r.agents[:3]...)
		if a := r.agents[3]; !a.saw(upgrade.EventRefused) || a.saw(upgrade.EventReceiving) {
			t.Error("the device without a key has received something, or has not refused")
		}
		if !slices.ContainsFunc(r.events, func(e upgrade.Event) bool { return e.Device == "d3" && e.Reason == commit.ReasonNoKey }) {
			t.Error("the server was not told why")
		}
	})
}

// TestSealedForEachDevice: devices that prove their keys are given what they need, and the campaign continues after the server
// and a device have stopped.
func TestSealedForEachDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSealedRig(t, 3, 0.05)
		r.cfg.SealDevices = true
		for _, a := range r.agents {
			defer r.start(a)()
		}
		c := r.open()
		stop := r.background(c)
		time.Sleep(time.Second)
		stop()
		r.cfg.FileKeys, r.cfg.SealDevices = nil, false // as it is frozen
		got, err := r.open().Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantImage(r.agents...)
	})
}

// TestFileKeysAreGivenToTargetsOnly: to who proves the device key, and for the recipient that the proof names.
func TestFileKeysAreGivenToTargetsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSealedRig(t, 2, 0)
		r.cfg.SealDevices = true
		c := r.open()
		defer r.background(c)()
		client, err := discovery.NewClient(serverURL, &http.Transport{DialContext: r.lan.dial, DisableKeepAlives: true})
		if err != nil {
			t.Fatal(err)
		}
		k, other := newIdentity(t), newIdentity(t)
		m, _, err := manifest.OpenUnverified(r.cfg.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		id := c.ID().String()
		for name, tt := range map[string]struct {
			device, signer, campaign string
			change                   func(q *discovery.FileKeyRequest)
			reason                   string // "": unknown
		}{
			"a target":              {"d0", "d0", id, func(*discovery.FileKeyRequest) {}, "ok"},
			"another's proof":       {"d0", "d1", id, func(*discovery.FileKeyRequest) {}, "signature"},
			"no proof":              {"d0", "d0", id, func(q *discovery.FileKeyRequest) { q.Proof = nil }, "signature"},
			"not a target":          {"x", "x", id, func(*discovery.FileKeyRequest) {}, "not-a-target"},
			"another campaign":      {"d0", "d0", strings.Repeat("0", 32), func(*discovery.FileKeyRequest) {}, ""},
			"recipient put in":      {"d0", "d0", id, func(q *discovery.FileKeyRequest) { q.Recipient = other.Recipient().Bytes() }, "signature"},
			"proof of a device put": {"d1", "d0", id, func(*discovery.FileKeyRequest) {}, "signature"},
		} {
			q := discovery.FileKeyRequest{Device: tt.device, Campaign: tt.campaign, Recipient: k.Recipient().Bytes()}
			if err := q.Sign(testKey(manifest.RoleDevice, tt.signer)); err != nil {
				t.Fatal(err)
			}
			tt.change(&q)
			wrap, err := client.FileKeys(t.Context(), q)
			if tt.reason != "ok" {
				wantNoSecret(t, name, wrap, err, tt.reason)
				continue
			}
			keys, err := k.Unwrap(manifest.CampaignID(c.ID()), m.Digest(), wrap)
			if err != nil || !slices.Equal(keys, r.cfg.FileKeys) {
				t.Errorf("%s: %v", name, err)
			}
			if bytes.Contains(wrap, r.cfg.FileKeys[0][:]) {
				t.Error("the answer has the file key in it as it is")
			}
		}
	})
}

// TestSealedCampaignHasToSayWhoOpensIt goes through what is refused before anything is announced, and holds that the file keys
// are kept only where devices may ask for them.
func TestSealedCampaignHasToSayWhoOpensIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			change func(r *sealedRig)
			want   string // an error
			keys   bool
		}{
			"to a group":   {func(r *sealedRig) { r.cfg.SealTo = []manifest.Recipient{r.group.Recipient()} }, "", false},
			"to devices":   {func(r *sealedRig) { r.cfg.SealDevices = true }, "", true},
			"to nobody":    {func(r *sealedRig) {}, "--seal-to is required", false},
			"without keys": {func(r *sealedRig) { r.cfg.FileKeys, r.cfg.SealDevices = nil, true }, "--seal: the release is sealed", false},
			"too many keys": {func(r *sealedRig) { r.cfg.FileKeys, r.cfg.SealDevices = make([]manifest.FileKey, 2), true },
				"2 file keys for 1 sealed images", false},
			"one group twice": {func(r *sealedRig) { r.cfg.SealTo = []manifest.Recipient{r.group.Recipient(), r.group.Recipient()} }, "there twice", false},
			"65 groups":       {func(r *sealedRig) { r.cfg.SealTo = make([]manifest.Recipient, 65) }, "65 groups, limit 64", false},
			"unknown devices": {func(r *sealedRig) { r.cfg.SealDevices, r.cfg.Targets, r.cfg.Expect = true, nil, 2 }, "--seal-to devices", false},
			"not sealed": {func(r *sealedRig) {
				r.cfg.Manifest, r.cfg.Images = signRelease(t, r.plain, nil)
			}, "are not sealed", false},
		} {
			r := newSealedRig(t, 2, 0)
			tt.change(r)
			c := openUnlessRefused(t, name, r.cfg, tt.want)
			if c == nil {
				continue
			}
			b, err := os.ReadFile(filepath.Join(c.Dir(), "campaign.json"))
			var state struct{ FileKeys []byte }
			if err == nil {
				err = json.Unmarshal(b, &state)
			}
			if err != nil || len(state.FileKeys) > 0 != tt.keys {
				t.Errorf("%s: the state keeps %d bytes of file keys, %v", name, len(state.FileKeys), err)
			}
			c.Close()
		}
	})
}

// TestAttackSessionTellsNoKey: who asks the rendezvous is told wraps, which open for nobody else.
func TestAttackSessionTellsNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSealedRig(t, 1, 0)
		r.cfg.SealTo = []manifest.Recipient{r.group.Recipient()}
		c := r.open()
		defer r.background(c)()
		client, err := discovery.NewClient(serverURL, &http.Transport{DialContext: r.lan.dial, DisableKeepAlives: true})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		n, _, err := client.Poll(t.Context(), "")
		if err != nil || n == nil {
			t.Fatalf("notice: %v, %v", n, err)
		}
		s, err := manifest.OpenSession(n.Session, serverKey.Public(), nil, time.Now())
		if err != nil || len(s.Wraps) != 1 {
			t.Fatalf("%v, %d wraps", err, len(s.Wraps))
		}
		if bytes.Contains(n.Session, r.cfg.FileKeys[0][:]) || strings.Contains(s.Describe(), string(r.cfg.FileKeys[0][:])) {
			t.Error("the session description tells the file key")
		}
		if _, err := newIdentity(t).Unwrap(s.Campaign, s.Manifest, s.Wraps[0].Keys); !errors.Is(err, manifest.ErrNoKey) {
			t.Errorf("another key opens the wrap: %v", err)
		}
		if keys, err := r.group.Unwrap(s.Campaign, s.Manifest, s.Wraps[0].Keys); err != nil || !slices.Equal(keys, r.cfg.FileKeys) {
			t.Errorf("the group's own does not: %v", err)
		}
	})
}

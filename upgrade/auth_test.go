package upgrade_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/norm/wire"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A forger hears all packets on the network, and says after the first NORM_DATA of each of the first hundred that the sender
// ends, that nothing is repaired any more, and what else the bytes might be.
type forger struct {
	forged, sealed, bare atomic.Int64 // bare: genuine packets of the sender without EXT_AUTH
}

func (f *forger) run(r *wholeRig) (stop func()) {
	port, err := r.lan.open()
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		msgs := make([]udp.Message, 1)
		for {
			if n, err := port.ReadBatch(msgs); err != nil || n == 0 {
				return
			}
			f.hear(msgs[0], func(b []byte) { port.WriteBatch([]udp.Message{{To: msgs[0].To, B: b}}) })
		}
	}()
	return func() { port.Close(); <-done }
}

func (f *forger) hear(msg udp.Message, say func([]byte)) {
	h, sh, err := wire.PeekSender(msg.B)
	if err != nil {
		return
	}
	ext, _, _ := wire.PeekExtensions(msg.B)
	sealed := false
	for range ext.Auth() {
		sealed = true
	}
	if sealed {
		f.sealed.Add(1)
	} else {
		f.bare.Add(1)
	}
	var d wire.Data
	if d.Parse(msg.B) != nil || f.forged.Load() >= 100 {
		return
	}
	f.forged.Add(1)
	changed := bytes.Clone(msg.B)
	changed[len(changed)-1] ^= 1
	say(changed)
	eot := wire.EOT{Header: wire.Header{Source: h.Source, Sequence: h.Sequence + 1}, SenderHeader: sh}
	b, _ := eot.AppendBinary(nil)
	say(b)
	say(msg.B) // a replay
}

// TestAttackForgersInACampaign: an authenticated campaign does not notice them, at losses. One without authentication
// believes what speaks for itself (norm.EvidencePolicy); without that the first forged NORM_CMD(EOT) throws it back to HTTP.
func TestAttackForgersInACampaign(t *testing.T) {
	for _, mode := range []string{"", upgrade.AuthOff} {
		synctest.Test(t, func(t *testing.T) {
			r := newWholeRig(t, 3, 0.05)
			r.cfg.Auth = mode
			f := &forger{}
			defer f.run(r)()
			r.wantVerdict(r.all(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
			r.wantSteps(wholeWay, wholeWay, wholeWay)
			for _, a := range r.agents {
				if a.saw(upgrade.EventFallback) {
					t.Errorf("authentication %q: %s fell back to HTTP", mode, a.cfg.Device)
				}
			}
			if f.forged.Load() < 50 || mode == "" && (f.bare.Load() > 0 || f.sealed.Load() == 0) || mode != "" && f.sealed.Load() > 0 {
				t.Errorf("authentication %q: %d forged, %d packets sealed, %d bare", mode, f.forged.Load(), f.sealed.Load(), f.bare.Load())
			}
		})
	}
}

// groupKeyOf reads the group key of a campaign where nobody else may.
func groupKeyOf(t *testing.T, dir string) []byte {
	t.Helper()
	path := filepath.Join(dir, "campaign.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%s: mode %v, %v; want 0600", path, info.Mode(), err)
	}
	var state struct{ GroupKey []byte }
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	return state.GroupKey
}

// TestGroupKeyIsGivenToTargetsOnly: "MUST communicate the group key to the receivers, confidentially, before starting the
// session" (RFC 6584, Section 5.2). The rendezvous is TLS or stays on the host (see TestOnlyTheServerKeyIsTrusted); here it
// is who gets it. The signed session description says which scheme it is for. A-1.2-01, A-7.3-01
func TestGroupKeyIsGivenToTargetsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWholeRig(t, 2, 0)
		c := r.open()
		stop := r.background(c)
		client, err := discovery.NewClient(serverURL, &http.Transport{DialContext: r.lan.dial, DisableKeepAlives: true})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		key := groupKeyOf(t, c.Dir())
		ask := func(device, signer, campaign string, nonce byte) ([]byte, error) {
			q := discovery.KeyRequest{Device: device, Campaign: campaign, Nonce: [16]byte{nonce}}
			if err := q.Sign(testKey(manifest.RoleDevice, signer)); err != nil {
				t.Fatal(err)
			}
			return client.GroupKey(t.Context(), q)
		}
		id := c.ID().String()
		if got, err := ask("d0", "d0", id, 5); err != nil || len(key) != 32 || !bytes.Equal(got, key) {
			t.Errorf("a target: %d bytes, %v, want the key of %d bytes", len(got), err, len(key))
		}
		for name, want := range map[string]struct {
			device, signer, campaign string
			nonce                    byte
			reason                   string
		}{
			"replayed":         {"d0", "d0", id, 5, "replay"},
			"another's proof":  {"d0", "d1", id, 9, "signature"},
			"not a target":     {"x", "x", id, 9, "not-a-target"},
			"another campaign": {"d0", "d0", strings.Repeat("0", 32), 9, ""},
		} {
			got, err := ask(want.device, want.signer, want.campaign, want.nonce)
			wantNoSecret(t, name, got, err, want.reason)
		}
		n, _, err := client.Poll(t.Context(), "")
		if err != nil || n == nil {
			t.Fatalf("notice: %v, %v", n, err)
		}
		s, err := manifest.OpenSession(n.Session, serverKey.Public(), nil, time.Now())
		if err != nil || s.Auth != manifest.AuthGroupMAC {
			t.Errorf("the session description says %q, %v", s.Auth, err)
		}
		if bytes.Contains(n.Session, key) || strings.Contains(s.Describe(), string(key)) || !strings.Contains(s.Describe(), "hmac-sha256-128") {
			t.Error("the session description tells the key, or not the scheme")
		}
		stop()
		c = r.open() // the key survives the server
		if again := groupKeyOf(t, c.Dir()); !bytes.Equal(again, key) {
			t.Error("the campaign has another key after a restart")
		}
		c.Close()
	})
}

// TestAuthNeedsEnrolledDevices: who cannot be told from another is not given a key.
func TestAuthNeedsEnrolledDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := []byte(nil)
		for name, tt := range map[string]struct {
			change func(c *upgrade.CampaignConfig)
			want   string // an error
			key    bool
		}{
			"all have keys": {func(c *upgrade.CampaignConfig) {}, "", true},
			"all, on":       {func(c *upgrade.CampaignConfig) { c.Auth = upgrade.AuthOn }, "", true},
			"off":           {func(c *upgrade.CampaignConfig) { c.Auth = upgrade.AuthOff }, "", false},
			"one without":   {func(c *upgrade.CampaignConfig) { c.Targets[1].Key, c.AllowUnsigned = manifest.PublicKey{}, true }, "", false},
			"one without, on": {func(c *upgrade.CampaignConfig) {
				c.Targets[1].Key, c.AllowUnsigned, c.Auth = manifest.PublicKey{}, true, upgrade.AuthOn
			}, "device d1 has no key", false},
			"expect":     {func(c *upgrade.CampaignConfig) { c.Targets, c.Expect = nil, 2 }, "", false},
			"expect, on": {func(c *upgrade.CampaignConfig) { c.Targets, c.Expect, c.Auth = nil, 2, upgrade.AuthOn }, "--devices FILE", false},
			"nonsense":   {func(c *upgrade.CampaignConfig) { c.Auth = "maybe" }, `--auth "maybe"`, false},
		} {
			r := newWholeRig(t, 2, 0)
			tt.change(&r.cfg)
			c := openUnlessRefused(t, name, r.cfg, tt.want)
			if c == nil {
				continue
			}
			key := groupKeyOf(t, c.Dir())
			if got := key != nil; got != tt.key {
				t.Errorf("%s: a group key: %v, want %v", name, got, tt.key)
			}
			if first != nil && bytes.Equal(first, key) { // A-7.2.2-02
				t.Errorf("%s: two campaigns have one key", name)
			}
			if key != nil {
				first = key
			}
			c.Close()
		}
	})
}

// openUnlessRefused opens a campaign that is not to be refused; nil if it was, or should have been, for what the error has to say.
func openUnlessRefused(t testing.TB, name string, cfg upgrade.CampaignConfig, want string) *upgrade.Campaign {
	t.Helper()
	c, err := upgrade.OpenCampaign(cfg)
	switch {
	case want == "" && err == nil:
		return c
	case want == "" || err == nil || !strings.Contains(err.Error(), want):
		t.Errorf("%s: %v, want %q", name, err, want)
	}
	if c != nil {
		c.Close()
	}
	return nil
}

// wantNoSecret holds that a request for a secret is refused for a reason; empty: because the campaign has none of the kind.
func wantNoSecret(t testing.TB, name string, secret []byte, err error, reason string) {
	t.Helper()
	refusal, _ := errors.AsType[*discovery.Refusal](err)
	if len(secret) > 0 || reason == "" && !errors.Is(err, discovery.ErrUnknown) || reason != "" && (refusal == nil || refusal.Reason != reason) {
		t.Errorf("%s: %d bytes, %v; want %q", name, len(secret), err, reason)
	}
}

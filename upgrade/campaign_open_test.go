package upgrade_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
)

func TestOpenCampaignSaysWhatIsWrong(t *testing.T) {
	write := func(t *testing.T, name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tt := range map[string]struct {
		change func(t *testing.T, cfg *upgrade.CampaignConfig)
		want   string
	}{
		"no key":           {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Key = nil }, "a server key"},
		"wrong key":        {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Key = releaseKey }, "a server key"},
		"no manifest":      {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Manifest = nil }, "--manifest is required"},
		"garbage manifest": {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Manifest = []byte("x") }, "--manifest: "},
		"no group":         {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Group = netip.AddrPort{} }, "--group is required"},
		"no targets":       {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Targets = nil }, "either --devices FILE or --expect N"},
		"both":             {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Expect = 3 }, "either --devices FILE or --expect N"},
		"commit":           {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Commit = "later" }, `--commit "later"`},
		"quorum":           {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Quorum = 101 }, "--quorum 101"},
		"must":             {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Must = []string{"nobody"} }, "nobody must be ready but is no target"},
		"code": {func(_ *testing.T, c *upgrade.CampaignConfig) {
			c.FEC = fec.Params{ID: 5, MaxBlockLen: 200, MaxParity: 100}
		}, "--fec: "},
		"code beyond the description": {func(_ *testing.T, c *upgrade.CampaignConfig) {
			c.FEC = fec.Params{ID: 129, MaxBlockLen: 64, MaxParity: 32, Dialect: fec.MDP}
		}, "--fec: a session description cannot carry rs8-129:64,32 in dialect mdp"},
		"missing image":   {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Images = []string{"/nonexistent/fw.bin"} }, "no such file"},
		"no image":        {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Images = nil }, "images of the manifest are required"},
		"too many images": {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Images = append(c.Images, c.Images[0]) }, "of 1 images, not of 2"},
		"empty image":     {func(t *testing.T, c *upgrade.CampaignConfig) { c.Images = []string{write(t, "fw.bin", nil)} }, "the image is empty"},
		"image of that size": {func(t *testing.T, c *upgrade.CampaignConfig) {
			c.Images = []string{write(t, "fw.bin", make([]byte, 300_000))}
		}, "not the image that was signed"},
		"shorter image": {func(t *testing.T, c *upgrade.CampaignConfig) {
			c.Images = []string{write(t, "fw.bin", make([]byte, 3))}
		}, "not the image that was signed"},
		"image is directory": {func(t *testing.T, c *upgrade.CampaignConfig) { c.Images = []string{t.TempDir()} }, "not a regular file"},
		"expired manifest":   {func(t *testing.T, c *upgrade.CampaignConfig) { time.Sleep(32 * 24 * time.Hour) }, "expired"},
		"approvers that the root does not name": {func(t *testing.T, c *upgrade.CampaignConfig) {
			c.Manifest, c.Images = signRelease(t, []byte("image"), func(m *manifest.Manifest) {
				m.Approvers, m.Approvals = []manifest.PublicKey{testKey(manifest.RoleApprover, "a").Public()}, 1
			})
			now := time.Now().UTC().Truncate(time.Second)
			root := manifest.Root{Version: 1, Issued: now, Expires: now.AddDate(1, 0, 0), Servers: []manifest.PublicKey{serverKey.Public()},
				Release:   manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1},
				Approvers: []manifest.PublicKey{testKey(manifest.RoleApprover, "b").Public()}, Approvals: 1}
			signed, err := root.Sign(releaseKey)
			if err == nil {
				c.Roots, err = manifest.OpenRootChain(signed)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "the release asks for 1 approvals, and the root names 0 of its approvers"},
		"spread below the release's": {func(t *testing.T, c *upgrade.CampaignConfig) {
			c.Manifest, c.Images = signRelease(t, []byte("image"), func(m *manifest.Manifest) { m.Activation.MinSpread = time.Hour })
			c.Spread = time.Minute
		}, "the release does not allow that"},
		"listen":               {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Listen = "8443" }, "--listen 8443: want ADDRESS:PORT"},
		"listen nowhere":       {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Listen = "0.0.0.0:8443" }, "--advertise URL is required"},
		"advertise":            {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Advertise = "updates:8443" }, `--advertise "updates:8443"`},
		"advertise plain http": {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Advertise = "http://updates.example.net" }, "need https"},
		"port in use": {func(t *testing.T, c *upgrade.CampaignConfig) {
			l, err := c.Bind("tcp", c.Listen)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "address already in use"},
		"no such interface": {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Conn, c.Interface = nil, "nonexistent0" }, "nonexistent0"},
		"no such interface to be reached on": {func(_ *testing.T, c *upgrade.CampaignConfig) {
			c.Listen, c.Interface = "0.0.0.0:8443", "nonexistent0"
		}, "nonexistent0"},
		"restored, but new": {func(_ *testing.T, c *upgrade.CampaignConfig) { c.Restored = true }, "there is no campaign in"},
		"state is a file":   {func(t *testing.T, c *upgrade.CampaignConfig) { c.State = write(t, "state", nil) }, "--state"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCampaignRig(t, 1, 0)
				tt.change(t, &r.cfg)
				c, err := upgrade.OpenCampaign(r.cfg)
				if err == nil {
					c.Close()
					t.Fatal("it was opened")
				}
				if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v; want one line with %q", err, tt.want)
				}
			})
		})
	}
}

func TestMistakesLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		right := r.cfg.Listen
		r.cfg.State = filepath.Join(t.TempDir(), "campaign")
		r.cfg.Listen = "0.0.0.0:8443" // found late
		if _, err := upgrade.OpenCampaign(r.cfg); err == nil {
			t.Fatal("it was opened")
		}
		if _, err := os.Stat(r.cfg.State); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the state directory of a campaign that never was: %v", err)
		}
		r.cfg.Listen = right
		r.wantVerdict(r.run(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
	})
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		c := r.open()
		defer c.Close()
		if _, err := upgrade.OpenCampaign(r.cfg); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a second campaign in one directory: %v", err)
		}
	})
}

func TestSettingsAreFrozen(t *testing.T) {
	for flag, change := range map[string]func(t *testing.T, cfg *upgrade.CampaignConfig){
		"--quorum":               func(_ *testing.T, c *upgrade.CampaignConfig) { c.Quorum = 50 },
		"--commit":               func(_ *testing.T, c *upgrade.CampaignConfig) { c.Commit = upgrade.CommitAsk },
		"--ready-timeout":        func(_ *testing.T, c *upgrade.CampaignConfig) { c.ReadyTimeout = 2 * time.Hour },
		"--devices":              func(_ *testing.T, c *upgrade.CampaignConfig) { c.Targets = c.Targets[:1] },
		"--expect":               func(_ *testing.T, c *upgrade.CampaignConfig) { c.Expect = 2 },
		"--must":                 func(_ *testing.T, c *upgrade.CampaignConfig) { c.Must = []string{"d0"} },
		"--allow-unsigned-votes": func(_ *testing.T, c *upgrade.CampaignConfig) { c.AllowUnsigned = true },
		"--rate":                 func(_ *testing.T, c *upgrade.CampaignConfig) { c.Rate = 1e6 },
		"--group":                func(_ *testing.T, c *upgrade.CampaignConfig) { c.Group = netip.MustParseAddrPort("239.1.1.1:6003") },
		"--fec":                  func(_ *testing.T, c *upgrade.CampaignConfig) { c.FEC = fec.Params{ID: fec.NoCode, MaxBlockLen: 64} },
		"--manifest":             func(t *testing.T, c *upgrade.CampaignConfig) { c.Manifest, _ = signRelease(t, []byte("x"), nil) },
		"IMAGE":                  func(t *testing.T, c *upgrade.CampaignConfig) { _, c.Images = signRelease(t, []byte("x"), nil) },
		"--key":                  func(_ *testing.T, c *upgrade.CampaignConfig) { c.Key = testKey(manifest.RoleServer, "another") },
	} {
		t.Run(flag, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCampaignRig(t, 2, 0)
				first := r.open()
				id, url := first.ID(), first.URL()
				first.Close()
				other := r.cfg
				change(t, &other)
				c, err := upgrade.OpenCampaign(other)
				if err == nil {
					c.Close()
				}
				if err == nil || !strings.HasPrefix(err.Error(), flag+": ") {
					t.Errorf("continued with another %s: %v", flag, err)
				}
				// With the same flags, and with none but the key, it goes on.
				for _, cfg := range []upgrade.CampaignConfig{r.cfg, {Key: serverKey, State: r.cfg.State, Conn: r.lan.open, Bind: r.lan.bind}} {
					c, err := upgrade.OpenCampaign(cfg)
					if err != nil {
						t.Fatal(err)
					}
					if c.ID() != id || c.URL() != url {
						t.Errorf("campaign %s at %s, want %s at %s", c.ID(), c.URL(), id, url)
					}
					c.Close()
				}
			})
		})
	}
}

// Where the server is may change, and stays so when nothing else is said.
func TestServerMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		c := r.open()
		id := c.ID()
		stop := r.background(c)
		time.Sleep(time.Second)
		stop()
		moved := r.cfg
		moved.Listen, moved.Advertise, moved.Source = "127.0.0.1:9000", "https://updates.test:8443", netip.MustParseAddr("10.0.0.9")
		for _, cfg := range []upgrade.CampaignConfig{moved, {Key: serverKey, State: r.cfg.State, Conn: r.lan.open, Bind: r.lan.bind}} {
			c, err := upgrade.OpenCampaign(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if c.ID() != id || c.URL() != moved.Advertise {
				t.Errorf("campaign %s at %s, want %s at %s", c.ID(), c.URL(), id, moved.Advertise)
			}
			if _, err := r.lan.bind("tcp", moved.Listen); err == nil {
				t.Errorf("it does not listen at %s", moved.Listen)
			}
			stop := r.background(c)
			time.Sleep(time.Second) // it is announced, and with it where the server is
			stop()
		}
	})
}

func TestChosenPortIsKept(t *testing.T) {
	r := campaignRig{t: t, lan: newLAN(1, 0)}
	r.cfg = upgrade.CampaignConfig{Key: serverKey, State: filepath.Join(t.TempDir(), "state"), Group: campaignGroup, Expect: 1,
		Listen: "127.0.0.1:0", Conn: func() (session.Conn, error) { return r.lan.open() }}
	r.cfg.Manifest, r.cfg.Images = signRelease(t, []byte("image"), nil)
	c := r.open()
	url := c.URL()
	c.Close()
	if _, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://")); err != nil || port == "0" {
		t.Fatalf("URL %s", url)
	}
	c = r.open()
	defer c.Close()
	if c.URL() != url {
		t.Errorf("devices were told %s, and now it is %s", url, c.URL())
	}
}

func TestImageThatWasReplacedIsNotSentOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		r.open().Close()
		if err := os.WriteFile(r.cfg.Images[0], make([]byte, 300_000), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := upgrade.OpenCampaign(r.cfg); !errors.Is(err, manifest.ErrImage) {
			t.Errorf("continued with another image: %v, want ErrImage", err)
		}
	})
}

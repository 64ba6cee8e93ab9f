package upgrade_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
)

func openControl(t *testing.T, dir string) *upgrade.Control {
	t.Helper()
	c, err := upgrade.OpenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestControlDecidesFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 2, 0)
		r.cfg.Commit = upgrade.CommitAsk
		c := r.open()
		go func() {
			time.Sleep(time.Second)
			control := openControl(t, r.cfg.State)
			control.DialWith(r.lan.dial)
			if err := control.Commit(t.Context()); !errors.Is(err, commit.ErrNotReady) {
				t.Errorf("commit before anybody is READY: %v, want ErrNotReady", err)
			}
			time.Sleep(time.Minute)
			s, err := control.Status(t.Context())
			if err != nil || !s.Running || !s.Asking || s.Ready != 2 || len(s.Devices) != 2 || s.Devices[0].State != commit.StateReady {
				t.Errorf("status %+v, %v", s, err)
			}
			if err := errors.Join(control.Hold(t.Context()), control.Commit(t.Context())); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			r.wantActivations(0, 0)
			if s, err := control.Status(t.Context()); err != nil || !s.Held || s.Verdict != "COMMIT" {
				t.Errorf("on hold: %+v, %v", s, err)
			}
			if err := control.Abort(t.Context()); !errors.Is(err, commit.ErrDecided) {
				t.Errorf("abort after COMMIT: %v, want ErrDecided", err)
			}
			if err := control.Resume(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		got := r.runs(c)
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		r.wantActivations(1, 1)
		if s, err := openControl(t, r.cfg.State).Status(t.Context()); err != nil || s.Running || !s.Closed || s.Verdict != "COMMIT" {
			t.Errorf("after the end: %+v, %v", s, err)
		}
	})
}

func TestControlAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		c := r.open()
		time.AfterFunc(time.Second, func() {
			control := openControl(t, r.cfg.State)
			control.DialWith(r.lan.dial)
			if err := control.Abort(t.Context()); err != nil {
				t.Error(err)
			}
		})
		got := r.runs(c)
		r.wantVerdict(got, commit.Abort, commit.ReasonOperator, upgrade.ExitFailed)
	})
}

func TestControlNeedsItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		defer r.background(r.open())()
		synctest.Wait()
		path := filepath.Join(r.cfg.State, "control.json")
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Fatalf("control file: %v, %v; want mode 0600", info.Mode(), err)
		}
		var file struct{ Address, Token string }
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &file)
		}
		if err != nil || !strings.HasPrefix(file.Address, "127.0.0.1:") || len(file.Token) != 64 {
			t.Fatalf("control file %s, %v", b, err)
		}
		client := &http.Client{Transport: &http.Transport{DialContext: r.lan.dial, DisableKeepAlives: true}}
		for token, want := range map[string]int{"": 401, "Bearer ": 401, "Bearer " + file.Token[1:]: 401, file.Token: 401, "Bearer " + file.Token: 409} {
			q, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+file.Address+"/commit", nil)
			q.Header.Set("Authorization", token)
			resp, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("token %.12q: %d, want %d", token, resp.StatusCode, want)
			}
		}
	})
}

func TestControlOfNothing(t *testing.T) {
	dir := t.TempDir()
	for _, dir := range []string{filepath.Join(dir, "none"), dir} {
		if c, err := upgrade.OpenControl(dir); err == nil {
			c.Close()
			t.Errorf("OpenControl(%s): want an error", dir)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a look made a directory")
	}
}

// TestCampaignProcess is not a test: it is the process that TestControlOfAKilledProcess kills.
func TestCampaignProcess(t *testing.T) {
	state := os.Getenv("UPGRADE_TEST_STATE")
	if state == "" {
		t.Skip("started by TestControlOfAKilledProcess only")
	}
	signed, err := os.ReadFile(os.Getenv("UPGRADE_TEST_MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := upgrade.OpenCampaign(upgrade.CampaignConfig{
		Key: serverKey, Manifest: signed, Images: []string{os.Getenv("UPGRADE_TEST_IMAGE")}, State: state, Group: campaignGroup,
		Expect: 1, Listen: "127.0.0.1:0", Conn: func() (session.Conn, error) { return newLAN(1, 0).open() },
	})
	if err != nil {
		t.Fatal(err)
	}
	go c.Run(t.Context())
	if _, err := c.Status(t.Context()); err != nil { // it runs
		t.Fatal(err)
	}
	fmt.Println("running")
	select {}
}

func TestControlOfAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	signed, images := signRelease(t, []byte("image"), nil)
	if err := os.WriteFile(filepath.Join(dir, "manifest"), signed, 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	process := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCampaignProcess$", "-test.v")
	process.Env = append(os.Environ(), "UPGRADE_TEST_STATE="+state, "UPGRADE_TEST_MANIFEST="+filepath.Join(dir, "manifest"), "UPGRADE_TEST_IMAGE="+images[0])
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(out); said != "running" && lines.Scan(); {
		said = lines.Text()
	}
	if said != "running" {
		t.Fatalf("the process ended: %s", said)
	}
	control := openControl(t, state)
	s, err := control.Status(t.Context())
	if err != nil || !s.Running || s.Targets != 1 || s.Verdict != "undecided" {
		t.Errorf("status of a running campaign: %+v, %v", s, err)
	}
	id := s.Campaign
	process.Process.Kill()
	process.Wait()
	if _, err := os.Stat(filepath.Join(state, "control.json")); err != nil {
		t.Fatal("the process was not killed but ended")
	}
	s, err = control.Status(t.Context())
	if err != nil || s.Running || s.Campaign != id || s.Version != "2.0" {
		t.Errorf("status of a killed campaign: %+v, %v", s, err)
	}
	for name, act := range map[string]error{
		"commit": control.Commit(t.Context()), "abort": control.Abort(t.Context()),
		"hold": control.Hold(t.Context()), "resume": control.Resume(t.Context()),
	} {
		if !errors.Is(act, upgrade.ErrNotRunning) || !strings.Contains(act.Error(), "normsend upgrade --state "+state) {
			t.Errorf("%s: %v; want ErrNotRunning and how to continue", name, act)
		}
	}
	// And it can be continued.
	c, err := upgrade.OpenCampaign(upgrade.CampaignConfig{Key: serverKey, State: state, Conn: func() (session.Conn, error) { return newLAN(1, 0).open() }, Bind: net.Listen})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.ID() != id {
		t.Errorf("another campaign: %s, want %s", c.ID(), id)
	}
}

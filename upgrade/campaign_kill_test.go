package upgrade_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/upgrade"
)

var killGroup = netip.MustParseAddrPort("239.255.93.7:6193")

func killTargets() (targets []commit.Target) {
	for i := range 3 {
		name := fmt.Sprint("d", i)
		targets = append(targets, commit.Target{Device: name, Key: testKey(manifest.RoleDevice, name).Public()})
	}
	return targets
}

// TestServerProcess is not a test: it is the process that TestServerKilledAgainAndAgain kills.
func TestServerProcess(t *testing.T) {
	dir := os.Getenv("UPGRADE_TEST_SERVER")
	if dir == "" {
		t.Skip("started by TestServerKilledAgainAndAgain only")
	}
	signed, err := os.ReadFile(filepath.Join(dir, "fw.manifest"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := upgrade.OpenCampaign(upgrade.CampaignConfig{
		Key: serverKey, Manifest: signed, Images: []string{os.Getenv("UPGRADE_TEST_IMAGE")}, State: filepath.Join(dir, "state"),
		Targets: killTargets(), Group: killGroup, Interface: "127.0.0.1", TTL: -1, Listen: os.Getenv("UPGRADE_TEST_LISTEN"),
		Commit: upgrade.CommitAuto, Rate: 16e6, GRTT: 20 * time.Millisecond, GroupSize: 10, Lead: 500 * time.Millisecond,
		Event: func(e upgrade.Event) { fmt.Println(string(e.JSON())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Run(t.Context())
	if err != nil || result.ExitStatus() != upgrade.ExitCommitted {
		t.Fatalf("%+v, %v", result, err)
	}
}

// One campaign whose server is killed ten times, by real processes over real multicast.
func TestServerKilledAgainAndAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	conn, err := udp.Open(udp.Config{Group: killGroup, Interface: "127.0.0.1", TTL: -1})
	if err != nil {
		t.Skipf("no multicast on loopback here: %v", err)
	}
	conn.Close()
	dir, image := t.TempDir(), make([]byte, 4<<20)
	signed, images := signRelease(t, image, nil)
	if err := os.WriteFile(filepath.Join(dir, "fw.manifest"), signed, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const listen = "127.0.0.1:18493"
	var agents sync.WaitGroup
	for _, target := range killTargets() {
		agent, err := upgrade.NewAgent(upgrade.AgentConfig{
			Server: "http://" + listen, TrustServer: serverKey.Public(), Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1},
			Product: "phone", Hardware: "rev-a", Device: target.Device, Key: testKey(manifest.RoleDevice, target.Device),
			Dir: filepath.Join(dir, target.Device), Boot: "1", Once: true,
			Conn: func(s *manifest.Session) (session.Conn, error) {
				return udp.Open(udp.Config{Group: s.Group, Interface: "127.0.0.1", TTL: -1})
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		agents.Go(func() {
			if err := agent.Run(ctx); err != nil {
				t.Errorf("%s: %v", target.Device, err)
			}
		})
	}
	serve := func(life time.Duration) (out []byte, err error) {
		process, kill := context.WithTimeout(ctx, life)
		defer kill()
		cmd := exec.CommandContext(process, os.Args[0], "-test.run=^TestServerProcess$", "-test.v")
		cmd.Env = append(os.Environ(), "UPGRADE_TEST_SERVER="+dir, "UPGRADE_TEST_IMAGE="+images[0], "UPGRADE_TEST_LISTEN="+listen)
		return cmd.CombinedOutput() // SIGKILL at the end of its life
	}
	kills := 0
	for life := range 10 {
		out, err := serve(time.Duration(100+150*life) * time.Millisecond)
		if err == nil {
			break
		}
		if strings.Contains(string(out), "FAIL") {
			t.Fatalf("life %d: %s", life, out)
		}
		kills++
	}
	if kills < 5 {
		t.Errorf("killed %d times only", kills)
	}
	if _, err := os.Stat(filepath.Join(dir, "state", "campaign.json")); err != nil {
		t.Errorf("it was always killed before it began: %v", err)
	}
	if out, err := serve(time.Minute); err != nil {
		t.Errorf("the last life: %v\n%s", err, out)
	}
	agents.Wait()
}

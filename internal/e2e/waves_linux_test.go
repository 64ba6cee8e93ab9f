package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A fleet server is killed in the middle of the transfer, with devices of both waves, and again when the second wave is decided and
// none of its devices was told. Each wave has one outcome, no device is lost, nothing waits for the lease of a server that is
// dead, and who trusts none of all this can prove it.
func TestWavesSurviveKills(t *testing.T) {
	const size = 3_000_000
	h := newHall(t, "sqlite:fleet.db", size)
	h.run("keygen", "--role", "approver", "--out", "bert")
	h.run("sign", "--key", "keys/release.key", "--product", "lamp", "--version", "2.2", "--compatible", "rev-b", "--approver", "bert.pub", "--approvals", "1",
		"--out", "agreed.manifest", "fw.bin")
	listen := fmt.Sprint("127.0.0.1:", freePort(t))
	s := h.serve("one", listen)
	sites := map[string]string{"device-1": "east", "device-2": "east", "device-3": "west", "device-4": "west"}
	devices := map[string]*process{}
	for name, site := range sites {
		s.ask("device", "enrol", "--device", name, "--site", site, "--out", name+".token")
		devices[name] = s.agent(name, "", "--enrol-token-file", h.path(name+".token"))
	}
	release := s.ask("release", "upload", "--manifest", "agreed.manifest", "fw.bin")
	id := s.ask("campaign", "create", "--name", "spring", "--release", release, "--product", "lamp", "--rate", "10M", "--commit", "auto", "--wave", "site=east", "--segment-hashes")
	s.untilApproved(len(sites))
	s.ask("campaign", "start", id)

	some := func(e event) bool {
		b, _ := e["bytes"].(float64)
		return e.kind() == "progress" && b > size/4 && b < size
	}
	for _, p := range devices {
		p.await("some of the image", some)
	}
	s.kill()
	for _, name := range []string{"device-1", "device-3"} {
		devices[name].kill()
	}
	began := time.Now()
	s = h.serve("one", listen)
	for leader := ""; leader != "one"; leader = s.status(id).Leader {
		if time.Since(began) > 5*time.Second { // a lease has 15
			t.Fatal("the server that was started again does not lead its campaign")
		}
	}
	for _, name := range []string{"device-1", "device-3"} {
		devices[name] = s.agent(name, "")
	}
	for _, p := range devices {
		p.awaitEvent("ready")
	}

	approve := func(wave int) {
		s.ask("campaign", "approve", id, "--key", "bert.key", "--trust", "keys/release.pub", "--wave", fmt.Sprint(wave))
	}
	approve(1)
	for name, site := range sites {
		if site == "east" {
			devices[name].wantExit(0)
		}
	}
	s.awaitWave(id, 2, "voting")
	for name, site := range sites {
		if site == "west" {
			if devices[name].kill(); len(devices[name].all("decision")) > 0 {
				t.Fatalf("%s was told of a decision before there was one", name)
			}
		}
	}
	approve(2) // the decision is in the log, and there is nobody to tell
	s.kill()
	s = h.serve("one", listen)
	for name, site := range sites {
		if site == "west" {
			devices[name] = s.agent(name, "")
		}
	}
	want, err := os.ReadFile(h.path("fw.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range sites {
		devices[name].wantExit(0)
		if got, err := os.ReadFile(filepath.Join(h.path("dir-"+name), "current", "fw.bin")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes of the new image, %v", name, len(got), err)
		}
	}
	s.ask("campaign", "evidence", id, "--out", "spring.evidence")
	proof := h.run("audit", "--evidence", "spring.evidence", "--trust", "keys/release.pub", "--trust-server", "keys/server.pub")
	for wave := 1; wave <= 2; wave++ {
		if want := fmt.Sprintf(`wave %d +COMMIT +decision verified +approvals verified`, wave); !regexp.MustCompile(want).MatchString(proof) {
			t.Errorf("want %q in what is proved", want)
		}
	}
	if n := len(regexp.MustCompile(`committed +vote verified +result verified`).FindAllString(proof, -1)); n != len(sites) || strings.Contains(proof, "WRONG") {
		t.Errorf("%d devices are proved to have committed:\n%s", n, proof)
	}
}

// awaitWave waits until a wave of a campaign, counted from 1, is at a step.
func (s *served) awaitWave(campaign string, wave int, step string) {
	s.Helper()
	line := regexp.MustCompile(fmt.Sprintf(`(?m)^wave %d +%s`, wave, step))
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		shown := s.ask("campaign", "show", campaign)
		if line.MatchString(shown) {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("wave %d is not %s:\n%s", wave, step, shown)
		}
	}
}

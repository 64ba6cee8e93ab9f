package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/filestore"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A person proves a campaign with the keys in files, by what the server has or has given, and is told by the exit status what
// does not hold.
func TestAuditOfADirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	key := func(role manifest.Role, name string) *manifest.PrivateKey {
		k, err := manifest.GenerateKey(role, nil)
		if err == nil {
			err = k.WriteKeyPair(name)
		}
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	release, server := key(manifest.RoleRelease, "release"), key(manifest.RoleServer, "server")
	key(manifest.RoleServer, "other")
	key(manifest.RoleRelease, "stranger")
	devices := map[string]*manifest.PrivateKey{"d1": key(manifest.RoleDevice, "d1"), "d2": key(manifest.RoleDevice, "d2")}
	now := time.Now().UTC().Truncate(time.Second)
	im, _, err := manifest.NewImage("fw", strings.NewReader("image"), 5)
	if err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{Product: "p", Hardware: []string{"any"}, Version: "1", Sequence: 1, Created: now, Expires: now.Add(time.Hour), Images: []manifest.Image{im}}
	signed, err := m.Sign(release)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := json.Marshal(map[string]any{"Manifest": signed})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("state", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("state", "campaign.json"), frozen, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open("state")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var log *filestore.Log
	c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: server, Public: server.Public(), Open: func(replay func([]byte) error) (commit.Log, error) {
		log, err = filestore.Open(d, "log", replay)
		return log, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	round := commit.Round{Campaign: commit.CampaignID{1}, Manifest: commit.Digest(m.Digest())}
	plan := commit.Plan{Campaign: round.Campaign, Manifest: round.Manifest, Roots: []commit.Digest{commit.Digest(im.Root)}, Waves: []commit.Policy{{Deadline: now.Add(time.Hour)}}}
	for _, name := range []string{"d1", "d2"} {
		plan.Targets = append(plan.Targets, commit.Target{Device: name, Key: devices[name].Public()})
	}
	writeTargets(&list, plan.Targets)
	if err := c.Start(plan); err != nil {
		t.Fatal(err)
	}
	for name, k := range devices {
		vote, err := commit.Vote{Round: round, Roots: plan.Roots, Device: name, Ready: true, Counter: 1}.Sign(k)
		if err != nil {
			t.Fatal(err)
		}
		if refused, err := c.Receive(now, commit.Message{Kind: commit.VoteMessage, Device: name, Bytes: vote}); err != nil || refused[0] != nil {
			t.Fatal(refused, err)
		}
	}
	log.Close()
	var evidence strings.Builder
	if err := upgrade.WriteEvidence(&evidence, signed, nil, func(f func([]byte) error) error { return filestore.Read(d, "log", f) }); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{"spring.evidence": evidence.String(), "cut.evidence": evidence.String()[:evidence.Len()-1], "devices": list.String(), "fewer": strings.SplitAfterN(list.String(), "\n", 3)[1],
		"exchanged": strings.ReplaceAll(list.String(), devices["d2"].Public().String(), key(manifest.RoleDevice, "d3").Public().String())} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args   string
		status int
		out    string // a regular expression on stdout
		err    string // and on stderr
	}{
		{"--state state --trust release.pub --trust-server server.pub --devices devices", 0,
			`(?s)release +verified by the keys.*wave 1 +COMMIT +decision verified +approvals none.*d1 +ready +vote verified +result none.*d2 +ready +vote verified`, `^$`},
		{"--state state --trust release.pub --trust-server other.pub", 1, `decision WRONG`, `not all of it holds`},
		{"--state state --trust release.pub --trust-server server.pub --devices fewer", 1, `decision verified`, `device d2 was in the campaign, and is not listed`},
		{"--state state --trust release.pub --trust-server server.pub --devices exchanged", 1, `decision verified`, `device d2 had another key in the campaign`},
		{"--evidence spring.evidence --trust release.pub --trust-server server.pub --devices devices", 0, `decision verified.*\n.*d1 +ready +vote verified`, `^$`},
		{"--evidence cut.evidence --trust release.pub --trust-server server.pub", 1, `^$`, `not all of it can be read: .*its end is missing`},
		{"--evidence devices --trust release.pub --trust-server server.pub", 2, `^$`, `devices: not the evidence of a campaign`},
		{"--state state --trust stranger.pub --trust-server server.pub", 1, `^$`, `the release: signature does not hold`},
		{"--state state --root root --trust-threshold 1", 2, `^$`, `want --root, or else --trust and --trust-server`},
		{"--state state --trust release.pub", 2, `^$`, `want --root, or else --trust and --trust-server`},
		{"--trust release.pub --trust-server server.pub", 2, `^$`, `want --state, or --evidence, or else --db and --campaign`},
		{"--db sqlite:none.db --campaign 01000000000000000000000000000000 --trust release.pub --trust-server server.pub", 2, `^$`, `--db: stat none.db`},
	} {
		var out, said bytes.Buffer
		status := run(append([]string{"audit"}, strings.Fields(tt.args)...), cli.World{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said, Getenv: func(string) string { return "" }})
		if status != tt.status || !regexp.MustCompile(tt.out).MatchString(out.String()) || !regexp.MustCompile(tt.err).MatchString(said.String()) {
			t.Errorf("audit %s: status %d, want %d\n%s%s", tt.args, status, tt.status, out.String(), said.String())
		}
	}

	// Who has to agree to it reads the same file, and is shown by it what there is to sign.
	bert := key(manifest.RoleApprover, "bert")
	for _, tt := range []struct {
		args   string
		status int
		said   string // a regular expression on both
	}{
		{"--key bert.key --evidence spring.evidence --trust release.pub --devices devices --out bert.approval", 0, `bert.approval  COMMIT of manifest .* wave 1\n`},
		{"--key bert.key --evidence spring.evidence --out x", 2, `--trust or --manifest is required`},
		{"--key bert.key --evidence spring.evidence --trust server.pub --out x", 2, `release`},
		{"--key server.key --evidence spring.evidence --trust release.pub --out x", 2, `approver`},
		{"--key bert.key --evidence spring.evidence --trust release.pub --devices exchanged --out x", 2, `device d2 had another key`},
		{"--key bert.key --evidence spring.evidence --trust release.pub --wave 2 --out x", 2, `--wave 2: want 1 to 1`},
		{"--key bert.key --evidence cut.evidence --trust release.pub --out x", 2, `its end is missing`},
		{"--key bert.key --evidence spring.evidence --trust release.pub --targets " + strings.Repeat("0", 64) + " --out x", 2, `leave out --campaign and --targets`},
		{"--key bert.key --manifest fw.manifest --out x", 2, `want --manifest and --campaign, or else --evidence`},
	} {
		var said bytes.Buffer
		status := run(append([]string{"approve"}, strings.Fields(tt.args)...), cli.World{Stdin: strings.NewReader(""), Stdout: &said, Stderr: &said, Getenv: func(string) string { return "" }})
		if status != tt.status || !regexp.MustCompile(tt.said).MatchString(said.String()) {
			t.Errorf("approve %s: status %d, want %d\n%s", tt.args, status, tt.status, said.String())
		}
	}
	b, err := os.ReadFile("bert.approval")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := commit.OpenApproval(b, bert.Public()); err != nil || got != (commit.Approval{Round: round, Targets: commit.TargetsDigest(plan.Targets)}) {
		t.Errorf("bert has signed %+v, %v", got, err)
	}
}

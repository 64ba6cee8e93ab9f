package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/internal/cli/clitest"
)

// The examples of docs/api.md do what it says.
func TestDocumentedRequests(t *testing.T) {
	for _, tool := range []string{"curl", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.start()
	if err := os.WriteFile(b.path("auth"), []byte("Authorization: Bearer "+b.token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "SERVER="+b.url)
	digest := regexp.MustCompile(`"id":"([0-9a-f]{64})"`)
	campaign := regexp.MustCompile(`"id":"([0-9a-f]{32})"`)
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, line := range strings.Split(strings.TrimSpace(block[1]), "\ncurl ") {
			line = "curl " + strings.TrimPrefix(line, "curl ")
			c := exec.CommandContext(t.Context(), "sh", "-euc", line)
			c.Dir, c.Env = b.dir, env
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			if m := digest.FindSubmatch(out); m != nil {
				env = append(env, "RELEASE="+string(m[1]))
			}
			if m := campaign.FindSubmatch(out); m != nil {
				env = append(env, "CAMPAIGN="+string(m[1]))
			}
			if strings.Contains(line, "/start") && !strings.Contains(string(text), strings.TrimSpace(string(out))) {
				t.Errorf("the refusal is not as it is documented: %s", out)
			}
			if strings.Contains(line, "/events/stream") && !strings.Contains(string(out), "event: campaign\ndata: {") {
				t.Errorf("the stream: %s", out)
			}
			ran++
		}
	}
	if ran < 10 {
		t.Errorf("%d examples were found", ran)
	}
}

// Each command line in README.md and docs is one that there is.
func TestDocumentedCommandLines(t *testing.T) {
	if n := clitest.CheckDocuments(t, root(cli.World{})); n < 20 {
		t.Errorf("%d command lines were found", n)
	}
}

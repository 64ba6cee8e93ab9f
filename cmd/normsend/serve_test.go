package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
)

// A bench is a directory with keys, a release and a database, and a server in a process of its own.
type bench struct {
	*testing.T
	dir, url, token string
	server          *exec.Cmd
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, dir: t.TempDir()}
	b.run("init", "keys")
	if err := os.WriteFile(b.path("fw.bin"), bytes.Repeat([]byte("firmware"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	b.run("sign", "--key", "keys/release.key", "--product", "demo", "--version", "1.0", "--compatible", "any", "--out", "fw.manifest", "fw.bin")
	b.run("token", "create", "--db", "sqlite:fleet.db", "--role", "admin", "--name", "anna", "--out", "anna.token")
	secret, err := os.ReadFile(b.path("anna.token"))
	if err != nil {
		t.Fatal(err)
	}
	b.token = strings.TrimSpace(string(secret))
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// command is normsend, in the directory.
func (b *bench) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(b.Context(), "normsend", args...)
	c.Dir = b.dir
	c.Env = append(os.Environ(), "NORMSEND_TOKEN_FILE=anna.token")
	if b.url != "" {
		c.Env = append(c.Env, "NORMSEND_SERVER="+b.url)
	}
	return c
}

// run runs normsend, which has to end well, and returns what it printed.
func (b *bench) run(args ...string) string {
	b.Helper()
	c := b.command(args...)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		b.Fatalf("normsend %s: %v\n%s", strings.Join(args, " "), err, said.String())
	}
	return string(out)
}

// refused runs normsend, which has to fail, and returns what it says.
func (b *bench) refused(args ...string) string {
	b.Helper()
	out, err := b.command(args...).CombinedOutput()
	if err == nil {
		b.Fatalf("normsend %s ended well:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

var servingURL = regexp.MustCompile(`msg=serving url=http://(\S+)`)

// start runs the server, at the port that it had before, and returns when it serves.
func (b *bench) start() {
	b.Helper()
	listen := "127.0.0.1:0"
	if b.url != "" {
		listen = strings.TrimPrefix(b.url, "http://")
	}
	b.server = b.command("serve", "--listen", listen, "--key", "keys/server.key", "--trust", "keys/release.pub")
	said, err := b.server.StderrPipe()
	if err == nil {
		err = b.server.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	server := b.server
	b.Cleanup(func() { server.Process.Kill(); server.Wait() })
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if m := servingURL.FindStringSubmatch(lines.Text()); m != nil {
			b.url = "http://" + m[1]
			go io.Copy(io.Discard, said)
			return
		}
	}
	b.Fatal("the server ended before it served")
}

// A server that is killed in the middle of requests has lost nothing that it has acknowledged.
func TestKilledServerLosesNothing(t *testing.T) {
	b := newBench(t)
	b.start()
	release := strings.TrimSpace(b.run("release", "upload", "--manifest", "fw.manifest", "fw.bin"))
	var mu sync.Mutex
	acknowledged := map[string]string{} // ids of campaigns, by name
	rng := rand.New(rand.NewPCG(1, 2))
	lives := 6
	if testing.Short() {
		lives = 2
	}
	for life := range lives {
		left := 5 + rng.IntN(40)
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for n := 0; ; n++ {
					name := fmt.Sprint("campaign ", life, ".", w, ".", n)
					id := b.create(name, release)
					if id == "" {
						return // it is dead
					}
					mu.Lock()
					acknowledged[name] = id
					if left--; left == 0 {
						b.server.Process.Kill()
					}
					mu.Unlock()
				}
			})
		}
		writers.Wait()
		b.server.Wait()
		b.start()
		there := map[string]string{}
		for line := range strings.Lines(b.run("campaign", "list", "--json")) {
			var c rest.Campaign
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Fatal(err)
			}
			there[c.Name] = c.Id
		}
		for name, id := range acknowledged {
			if there[name] != id {
				t.Fatalf("%s was acknowledged with id %s, and is %q after the server was killed", name, id, there[name])
			}
		}
		if more := len(there) - len(acknowledged); more > 4*(life+1) {
			t.Errorf("%d campaigns were never acknowledged", more)
		}
	}
	if len(acknowledged) < 5*lives {
		t.Errorf("%d writes in %d lives", len(acknowledged), lives)
	}
	if err := b.server.Process.Signal(os.Interrupt); err == nil { // Windows has none
		if err := b.server.Wait(); err != nil {
			t.Errorf("the server that was asked to end: %v", err)
		}
	}
}

// create makes a draft and returns its id, or nothing if there was no answer.
func (b *bench) create(name, release string) string {
	d, err := json.Marshal(rest.Draft{Name: name, Release: release, Settings: rest.Settings{
		Targets: rest.Selector{Products: []string{"demo"}}, Policy: rest.Policy{Waves: []rest.Wave{{}}}}})
	if err != nil {
		b.Error(err)
		return ""
	}
	q, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.url+"/api/v1/campaigns", bytes.NewReader(d))
	if err != nil {
		b.Error(err)
		return ""
	}
	q.Header.Set("Authorization", "Bearer "+b.token)
	for {
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			return ""
		}
		var c rest.Campaign
		err = json.NewDecoder(resp.Body).Decode(&c)
		resp.Body.Close()
		switch {
		case err != nil:
			return ""
		case resp.StatusCode == http.StatusTooManyRequests:
			q.Body = io.NopCloser(bytes.NewReader(d))
		case resp.StatusCode != http.StatusCreated:
			b.Errorf("creating %s: %s", name, resp.Status)
			return ""
		default:
			return c.Id
		}
	}
}

// The commands that use a server, one after the other, as people do.
func TestCommandsUseServer(t *testing.T) {
	b := newBench(t)
	b.start()
	want := func(out string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(out, part) {
				t.Errorf("%q is not in:\n%s", part, out)
			}
		}
	}
	release := strings.TrimSpace(b.run("release", "upload", "--manifest", "fw.manifest", "fw.bin"))
	b.run("release", "upload", "--manifest", "fw.manifest", "fw.bin") // again, as when it was cut off
	want(b.run("release", "list"), release, "demo", "1.0", "fw.bin", "anna")
	if err := os.WriteFile(b.path("other"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(b.refused("release", "upload", "--manifest", "fw.manifest", "other"), "no such thing")

	b.run("token", "create", "--role", "viewer", "--name", "vera", "--out", "vera.token")
	b.run("token", "create", "--role", "operator", "--name", "otto", "--out", "otto.token")
	want(b.refused("token", "create", "--role", "viewer", "--name", "eve", "--out", "eve.token", "--token-file", "otto.token"), "role operator may not do that")
	if _, err := os.Stat(b.path("eve.token")); err == nil {
		t.Error("there is a file for a token that was not made")
	}
	want(b.refused("token", "create", "--role", "viewer", "--name", "x", "--token-file", "vera.token"), "role viewer may not do that")
	tokens := b.run("token", "list")
	want(tokens, "anna", "admin", "vera", "viewer")
	vera := regexp.MustCompile(`(\w+)\s+vera`).FindStringSubmatch(tokens)[1]
	want(b.run("token", "list", "--token-file", "anna.token", "--json"), `"event":"token"`, `"name":"vera"`)
	b.run("token", "revoke", vera)
	want(b.refused("release", "list", "--token-file", "vera.token"), "unknown or revoked")

	b.run("device", "enrol", "--device", "device-1", "--site", "lab", "--out", "device-1.token")
	if info, err := os.Stat(b.path("device-1.token")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the enrolment token: %v, %v", info, err)
	}
	want(b.refused("device", "show", "device-1"), "no such thing")
	b.run("device", "enrol", "--device", "device-9", "--out", "device-9.token")
	invited := regexp.MustCompile(`(\w+)\s+device-9`).FindStringSubmatch(b.run("device", "enrolments"))[1]
	b.run("device", "revoke-enrolment", invited)
	want(b.refused("device", "revoke-enrolment", invited), "no such thing")
	if list := b.run("device", "enrolments"); strings.Contains(list, "device-9") || !strings.Contains(list, "device-1") {
		t.Errorf("after device-9 was revoked:\n%s", list)
	}
	want(b.run("device", "list", "--key", "pending"), "FINGERPRINT")
	want(b.refused("device", "examine", "--site", "lab"), "no device matches")
	want(b.refused("device", "examine", "device-1"), "no such thing")
	want(b.refused("device", "examine", "--group", "here"), "239.1.2.3:6003")
	want(b.run("device", "doctor"), "SITE", "WRONG", "NO ANSWER")

	id := strings.TrimSpace(b.run("campaign", "create", "--name", "spring", "--release", release, "--site", "lab", "--quorum", "90", "--ready-timeout", "2h", "--two-people"))
	want(b.run("campaign", "list"), id, "spring", "draft", "anna")
	want(b.run("campaign", "show", "spring"), id, "draft", "no, and it has to be", "0 at 0 sites")
	want(b.run("campaign", "show", id, "--json"), `"quorum":90`, `"ready_timeout":7200000000000`, `"ask":true`)
	want(b.refused("campaign", "approve", "spring", "--token-file", "otto.token"), "role operator may not do that")
	want(b.refused("campaign", "approve", "spring"), "approved by somebody else than who made it")
	want(b.refused("campaign", "approve", "spring", "--trust", "keys/release.pub"), "--manifest, --trust and --devices go with --key")
	want(b.refused("campaign", "approve", "spring", "--key", "none.key", "--trust", "keys/release.pub"), "has not begun")
	want(b.refused("campaign", "evidence", "spring", "--out", "spring.evidence"), "has not begun")
	want(b.refused("campaign", "start", "spring"), "no device matches")
	want(b.refused("campaign", "commit", "spring"), "is draft")
	want(b.refused("campaign", "show", "autumn"), `0 campaigns that are not closed have the name "autumn"`)
	b.run("campaign", "discard", "spring")
	want(b.run("campaign", "list", "--phase", "closed"), id)

	settings := `{"targets": {"tags": ["hall-3"]}, "policy": {"waves": [{"quorum": 50, "ask": false}]}, "transport": {"ttl": 4}}`
	if err := os.WriteFile(b.path("settings.json"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	id = strings.TrimSpace(b.run("campaign", "create", "--name", "summer", "--release", release, "--settings", "settings.json", "--rate", "5M", "--segment-hashes"))
	want(b.run("campaign", "show", id, "--json"), `"tags":["hall-3"]`, `"quorum":50`, `"ttl":4`, `"rate":5000000`, `"segment_hashes":true`)
	if shown := b.run("campaign", "show", id, "--json"); strings.Contains(shown, `"ask"`) {
		t.Errorf("it asks: %s", shown)
	}

	id = strings.TrimSpace(b.run("campaign", "create", "--name", "autumn", "--release", release, "--product", "lamp", "--wave", "1%", "--wave", "site=lab,10%", "--soak", "1h", "--errors", "2"))
	want(b.run("campaign", "show", id, "--json"), `"percent":1`, `"sites":["lab"]`, `"percent":10`, `"soak":3600000000000`, `"errors":2`)
	want(b.run("campaign", "show", id), "trouble", "wave 1 of 3")
	want(b.refused("campaign", "create", "--name", "winter", "--release", release, "--wave", "half"), "--wave", "half", "want a percentage")
	want(b.refused("campaign", "commit", "autumn", "--wave", "-1"), "the first is 1")
	want(b.refused("campaign", "pause", "autumn"), "is draft")

	// Where a token could be seen by others it is not sent.
	want(b.refused("release", "list", "--server", "http://192.0.2.1:8443"), "over https only")
	want(b.refused("release", "list", "--token-file", "nothing"), "--token-file")
}

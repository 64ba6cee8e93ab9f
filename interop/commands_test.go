//go:build linux

package interop

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/norm"
)

// commands are normsend and normrecv, for files only.
var commands = implementation{name: "commands", send: normsend, receive: normrecv}

// buildCommands builds both, once.
var buildCommands = sync.OnceValue(func() error {
	build := exec.Command("go", "build", "-o", bin, "./cmd/normsend", "./cmd/normrecv")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

// tree is the directory that the commands send.
const tree = "tree"

func normsend(t *testing.T, n node) *peer {
	t.Helper()
	dir := t.TempDir()
	for _, o := range n.objects {
		path := filepath.Join(dir, o.info)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, o.content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return n.run(t, "normsend", "file", "--dialect", "nrl", "--node-id", fmt.Sprint(n.id), "--rate", fmt.Sprintf("%.0f", n.rate),
		"--grtt", n.grtt.String(), "--backoff", fmt.Sprint(n.backoff), "--group-size", "10", "--linger", "1m",
		"--segment-size", fmt.Sprint(n.code.SegmentSize), "--fec", n.code.String(), filepath.Join(dir, tree))
}

func normrecv(t *testing.T, n node) *peer {
	t.Helper()
	p := n.run(t, "normrecv", "file", "--node-id", fmt.Sprint(n.id), "--out", t.TempDir(), "--count", fmt.Sprint(len(n.objects)))
	p.await(t, "listening")
	return p
}

// run runs a command until it ends, or the test.
func (n node) run(t *testing.T, name string, args ...string) *peer {
	t.Helper()
	if err := buildCommands(); err != nil {
		t.Fatal(err)
	}
	iface := "lo"
	if n.host != nil {
		iface = netns.Interface
	}
	args = append(args, "--group", n.at.String(), "--interface", iface, "--json")
	return startProcess(t, command(t, n.host, filepath.Join(bin, name), args...), name, nil, understandCommand)
}

// understandCommand puts what a command says in the words of peers/nrl.cpp.
func understandCommand(line []byte) (event, error) {
	var said struct {
		Event, Name, SHA256 string
		Size                int64
	}
	err := json.Unmarshal(line, &said)
	e := event{Event: said.Event}
	if said.Event == "complete" {
		e = event{Event: "completed", Kind: kinds[norm.File], Info: hex.EncodeToString([]byte(said.Name)), Size: said.Size, SHA256: said.SHA256}
	}
	return e, err
}

func commandExchanges() []exchange {
	x := transfer{lose: everyThird, objects: []object{
		{kind: norm.File, info: tree + "/image.bin", content: content(300_000, 1)}, {kind: norm.File, info: tree + "/deep/notes.txt", content: content(700, 2)}, {kind: norm.File, info: tree + "/deep/er/one", content: content(1, 3)},
	}}
	return []exchange{
		{what: "a directory of files, every third packet lost", ways: []way{
			{"NRL → `normrecv file`", func(t *testing.T) { x.run(t, nrl, commands) }},
			{"`normsend file` → NRL", func(t *testing.T) { x.run(t, commands, nrl) }},
		}},
	}
}

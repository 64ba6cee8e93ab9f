//go:build linux

package interop

import (
	"bufio"
	"bytes"
	"os/exec"
	"sync"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// command is a program to run on a host, nil being this one.
func command(t *testing.T, host *netns.Host, path string, args ...string) *exec.Cmd {
	if host != nil {
		return host.Exec(path, args...)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

// startProcess makes a peer of a process that says one event a line, which understand puts in the words of peers/nrl.cpp; an
// event without a name is passed over. Stop makes it end.
func startProcess(t *testing.T, cmd *exec.Cmd, name string, stop func() error, understand func(line []byte) (event, error)) *peer {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{name: name, events: make(chan event, eventsHeld)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.events)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			e, err := understand(lines.Bytes())
			if err != nil {
				t.Errorf("%s said %q: %v", name, lines.Text(), err)
			} else if e.Event != "" {
				p.events <- e
			}
		}
	}()
	p.stop = sync.OnceFunc(func() {
		if stop != nil {
			stop()
		}
		<-read
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("%s: %v", name, err)
		}
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("%s: %s", name, bytes.TrimSpace(stderr.Bytes()))
		}
	})
	t.Cleanup(p.stop)
	return p
}

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// A process is a command that runs with --json.
type process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu     sync.Mutex
	events []event       // guarded by mu
	news   chan struct{} // closed, and made anew, with each event; guarded by mu
	stderr bytes.Buffer  // read after done only
}

// An event is what a command says by --json.
type event map[string]any

func (e event) kind() string { s, _ := e["event"].(string); return s }

// patience is how long a test waits for what must happen. A test that passes never waits for so long.
const patience = 55 * time.Second

// start runs a command on a host, or on this one if host is nil.
func start(t testing.TB, host *netns.Host, name string, args ...string) *process {
	t.Helper()
	path, args := filepath.Join(bin, name), append(args, "--json")
	var cmd *exec.Cmd
	if host != nil {
		cmd = host.Exec(path, args...)
	} else {
		cmd = exec.CommandContext(t.Context(), path, args...)
	}
	p := &process{t: t, name: name, cmd: cmd, done: make(chan struct{}), news: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the test is not one of the command
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := json.NewDecoder(out); ; {
			var e event
			if lines.Decode(&e) != nil {
				break
			}
			p.mu.Lock()
			p.events = append(p.events, e)
			close(p.news)
			p.news = make(chan struct{})
			p.mu.Unlock()
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s: %v\n%s%s", cmd, cmd.ProcessState, p.log(), p.stderr.String())
		}
	})
	return p
}

// log is what the process has said, but for progress.
func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, e := range p.events {
		if e.kind() != "progress" {
			line, _ := json.Marshal(e)
			fmt.Fprintf(&b, "%s\n", line)
		}
	}
	return b.String()
}

// await returns the first event for which match holds, among those past and to come.
func (p *process) await(what string, match func(event) bool) event {
	p.t.Helper()
	timeout := time.After(patience)
	for seen := 0; ; {
		p.mu.Lock()
		events, news := p.events[seen:], p.news
		p.mu.Unlock()
		for _, e := range events {
			if match(e) {
				return e
			}
		}
		seen += len(events)
		select {
		case <-news:
		case <-p.done:
			p.mu.Lock()
			more := len(p.events) > seen
			p.mu.Unlock()
			if !more {
				p.t.Fatalf("%s ended without %s", p.name, what)
			}
		case <-timeout:
			p.t.Fatalf("%s: no %s in %v", p.name, what, patience)
		}
	}
}

// awaitEvent returns the first event of a kind.
func (p *process) awaitEvent(kind string) event {
	p.t.Helper()
	return p.await("event "+kind, func(e event) bool { return e.kind() == kind })
}

// all returns the events of a kind so far.
func (p *process) all(kind string) (events []event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.kind() == kind {
			events = append(events, e)
		}
	}
	return events
}

// exit waits for the process to end and returns its status, -1 if it was killed.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s has not ended in %v", p.name, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
}
